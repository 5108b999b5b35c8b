"""Promotion of a candidate to the deployed bundle, and rollback to the previous one."""

from __future__ import annotations

from pathlib import Path

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.deployment import Deployment
from rlcl.errors import BundleError
from rlcl.formats import parse_json

__all__ = ["promote", "rollback"]


def promote(
    deployment: Deployment, candidate: str | None = None, *, allow_signature_change: bool = False, force: bool = False
) -> Bundle:
    """Deploy a candidate: replace the alias atomically, which a running server detects, and record it in the audit.

    Args:
        deployment: deployment with the candidate.
        candidate: name of the candidate; None for the last one in ascending order.
        allow_signature_change: whether the candidate may change the signature, for example by a new class.
        force: whether to deploy a candidate that did not pass its gate.

    Returns:
        The deployed bundle.

    Raises:
        BundleError: the candidate does not exist, is damaged, is already deployed, did not pass its gate or changes the
            signature; or another process is changing the alias.
    """
    with deployment.exclusive():
        names = deployment.alias_names()
        name = _candidate(deployment, candidate)
        if name == names[0]:
            raise BundleError(f"{deployment.bundle_folder(name)} is already deployed; name another candidate")
        bundle = Bundle.open(deployment.bundle_folder(name))
        objection = _gate_objection(deployment, name)
        if objection is not None and not force:
            raise BundleError(f"{objection}; use --force to promote it without a passed gate")
        previous = deployment.current()
        changes = previous.signature.changes(bundle.signature)
        if changes and not allow_signature_change:
            change_list = "".join(f"\n  {change}" for change in changes)
            raise BundleError(
                f"{bundle.path} changes the signature; use --allow-signature-change if clients support the changes:"
                f"{change_list}"
            )
        deployment.set_alias([name, *names])
        deployment.audit(
            "promote",
            {
                "candidate": name,
                "from": previous.digest,
                "to": bundle.digest,
                "forced": objection is not None,
                "signature_changes": changes,
            },
        )
        return bundle


def rollback(deployment: Deployment) -> Bundle:
    """Deploy the bundle that was deployed before the last promotion, and record it in the audit.

    Returns:
        The deployed bundle.

    Raises:
        BundleError: there is no previous bundle, the bundle is damaged, or another process is changing the alias.
    """
    with deployment.exclusive():
        names = deployment.alias_names()
        if len(names) < 2:
            raise BundleError(
                f"{deployment.bundle_folder(names[0])} is the first deployed bundle; there is no previous one"
            )
        bundle = Bundle.open(deployment.bundle_folder(names[1]))
        replaced = deployment.digest(names[0])
        deployment.set_alias(names[1:])
        deployment.audit("rollback", {"candidate": names[1], "from": replaced, "to": bundle.digest})
        return bundle


def _candidate(deployment: Deployment, name: str | None) -> str:
    present = deployment.candidate_names()
    if name is None and present:
        return present[-1]
    if name in present:
        return str(name)
    choice = f"available: {', '.join(present)}" if present else "create one with rlcl update"
    raise BundleError(f"{deployment.candidates} has no candidate{'' if name is None else ' ' + name}; {choice}")


def _gate_objection(deployment: Deployment, name: str) -> str | None:
    """Return the reason why a candidate must not be promoted; None if it passed its gate."""
    path: Path = deployment.verdict_file(name)
    try:
        data = parse_json(path.read_text())
    except FileNotFoundError:
        return f"{path} is missing: candidate {name} has no gate verdict"
    except (OSError, ValueError) as error:
        return f"{path} cannot be read: {error}"
    if not isinstance(data, dict) or data.get("passed") is not True:
        return f"candidate {name} did not pass its gate, see {path}"
    if data.get("digest") != deployment.digest(name):
        return f"{path} does not match the files of candidate {name}"
    if data.get("parent") != deployment.digest(deployment.alias_names()[0]):
        return f"candidate {name} was compared with another bundle than the deployed one; run rlcl update again"
    return None
