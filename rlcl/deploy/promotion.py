"""Which bundle answers from now on: forward to a candidate, or back to the one before."""

from __future__ import annotations

from pathlib import Path

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.deployment import Deployment
from rlcl.errors import BundleError
from rlcl.formats import parsed

__all__ = ["promote", "rollback"]


def promote(
    deployment: Deployment, candidate: str | None = None, *, allow_signature_change: bool = False, force: bool = False
) -> Bundle:
    """Lets a candidate answer, in one atomic step that a running server notices, and writes it into the audit.

    Args:
        deployment: whose candidate.
        candidate: its name; None takes the last one, by name.
        allow_signature_change: whether clients may notice, as they do of a new class.
        force: whether a candidate that did not pass its gate may answer.

    Returns:
        The bundle that answers now.

    Raises:
        BundleError: there is no such candidate, it is damaged, did not pass or changes the signature; it answers
            already; or another process is at it.
    """
    with deployment.alone():
        names = deployment.names()
        name = _candidate(deployment, candidate)
        if name == names[0]:
            raise BundleError(f"{deployment.place(name)} answers already")
        bundle = Bundle.open(deployment.place(name))
        verdict = _passed(deployment, name)
        if verdict is not None and not force:
            raise BundleError(f"{verdict}; use --force to promote it all the same")
        before = deployment.current()
        changes = before.signature.changes(bundle.signature)
        if changes and not allow_signature_change:
            listed = "".join(f"\n  {change}" for change in changes)
            raise BundleError(
                f"{bundle.path} changes the signature; use --allow-signature-change if clients can bear it:{listed}"
            )
        deployment.point([name, *names])
        deployment.audit(
            "promote",
            {
                "candidate": name,
                "from": before.digest,
                "to": bundle.digest,
                "forced": verdict is not None,
                "signature_changes": changes,
            },
        )
        return bundle


def rollback(deployment: Deployment) -> Bundle:
    """Lets the bundle answer that did before the last promotion, and writes it into the audit.

    Returns:
        The bundle that answers now.

    Raises:
        BundleError: there was none before, it is damaged, or another process is at it.
    """
    with deployment.alone():
        names = deployment.names()
        if len(names) < 2:
            raise BundleError(
                f"{deployment.place(names[0])} is the first to answer; there is none before it to go back to"
            )
        bundle = Bundle.open(deployment.place(names[1]))
        leaving = deployment.digest(names[0])
        deployment.point(names[1:])
        deployment.audit("rollback", {"candidate": names[1], "from": leaving, "to": bundle.digest})
        return bundle


def _candidate(deployment: Deployment, name: str | None) -> str:
    present = deployment.candidate_names()
    if name is None and present:
        return present[-1]
    if name in present:
        return str(name)
    there = f"there are {', '.join(present)}" if present else "there is none; make one with rlcl update"
    raise BundleError(f"{deployment.candidates} has no candidate{'' if name is None else ' ' + name}; {there}")


def _passed(deployment: Deployment, name: str) -> str | None:
    """Why a candidate must not be promoted; None where it passed its gate."""
    path: Path = deployment.verdict(name)
    try:
        data = parsed(path.read_text())
    except FileNotFoundError:
        return f"{path} is missing: nobody has judged candidate {name}"
    except (OSError, ValueError) as error:
        return f"{path} cannot be read: {error}"
    if not isinstance(data, dict) or data.get("passed") is not True:
        return f"candidate {name} did not pass its gate, see {path}"
    if data.get("digest") != deployment.digest(name):
        return f"{path} is of another bundle than candidate {name} is now"
    if data.get("parent") != deployment.digest(deployment.names()[0]):
        return f"candidate {name} was judged beside another bundle than the one that answers now; update again"
    return None
