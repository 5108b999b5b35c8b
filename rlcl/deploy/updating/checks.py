"""What makes an update impossible, told before any data are loaded, and whether the data are those of the bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from rlcl.config import Document, override, read_document, unstructure
from rlcl.deploy.bundle import FORMAT, Bundle
from rlcl.deploy.exporting.held_out import digests
from rlcl.deploy.signature import Signature
from rlcl.errors import BundleError
from rlcl.experiment import Experiment, structured
from rlcl.types import Stream

__all__ = ["changed_experiment", "check_held_out", "check_origin", "experiment_of", "seed_of"]

REMEDY = "leave the change out, or run a new experiment with it"


def seed_of(bundle: Bundle) -> int:
    """The seed of the run that a bundle was exported from.

    Raises:
        BundleError: its manifest does not have what an update goes by.
    """
    run, sets = bundle.manifest.get("run"), bundle.manifest.get("held_out")
    known = isinstance(sets, list) and all(isinstance(each, dict) and {"index", "load"} <= each.keys() for each in sets)
    if not known or not isinstance(run, dict) or type(run.get("seed")) is not int:
        raise BundleError(
            f"{bundle.path / 'manifest.json'} does not name the run's seed and the held-out sets; export the run again"
        )
    return int(run["seed"])


def changed_experiment(bundle: Bundle, changes: Sequence[str]) -> Experiment:
    """The experiment of a bundle with the changes of an update.

    Args:
        bundle: with its ``experiment.yaml``.
        changes: ``key.path=value``.

    Raises:
        ConfigError: the experiment does not take a change.
        BundleError: no state of the bundle's could go on with it.
    """
    kept, document = structured(experiment_of(bundle)), experiment_of(bundle, changes)
    learner = document.data["learner"]
    asked = learner.get("type", kept.learner.type) if isinstance(learner, Mapping) else kept.learner.type
    if asked != kept.learner.type:
        raise BundleError(
            f"command line: learner.type: an update goes on with the bundle's learner, which is "
            f"{kept.learner.type}, and cannot with {asked}; {REMEDY}"
        )
    # Settings that another encoder lacks are no matter: there can be no other encoder.
    changed = None if ("encoder",) in document.retyped else structured(document)
    if changed is None or unstructure(changed)["encoder"] != unstructure(kept)["encoder"]:
        raise BundleError(
            "command line: encoder: what the bundle's network has learned to read is what its own encoder gives; "
            f"{REMEDY}"
        )
    return changed


def experiment_of(bundle: Bundle, changes: Sequence[str] = ()) -> Document:
    """The config of the run that was exported, as today's version has it.

    Args:
        bundle: with its ``experiment.yaml``.
        changes: ``key.path=value``.

    Raises:
        ConfigError: it cannot be read, or does not take a change.
    """
    document = read_document(bundle.path / "experiment.yaml")
    data = FORMAT.read(bundle.manifest["format"], document.data)
    return override(attrs.evolve(document, data=data), changes)


def check_origin(origin: str | Mapping[str, Any], signature: Signature, gain: float) -> None:
    """Whether a model of this signature can learn from that, and could pass.

    Args:
        origin: ``log``, a file, or a task.
        signature: of the model that answers now.
        gain: that is asked for.

    Raises:
        BundleError: it cannot, and what could be named instead.
    """
    kind = signature.kind
    if isinstance(origin, Mapping):
        if kind != "policy":
            raise BundleError("--from: this model learned from arrays; name log, or an npz file with x and y")
        return
    if kind == "policy":
        raise BundleError(
            "--from: a policy learns from an environment, not from a log or a file; name one more task of its stream, "
            "for example --from '{attributes: {gravity: 20}}'"
        )
    if signature.tasks and kind != "classifier":
        raise BundleError(
            f"this {kind} tells tasks apart, and what it makes of one that it does not know "
            "cannot be compared; export a run without task ids to update it"
        )
    if signature.tasks and origin == "log":
        raise BundleError("--from log: the log is of known tasks, and an update is a new one; name an npz file")
    if kind == "classifier" and gain >= 1:
        raise BundleError(f"--gain {gain:g}: what is judged are shares of right answers; expected a number below 1")


def check_held_out(bundle: Bundle, stream: Stream, experiment: Experiment, changes: Sequence[str]) -> None:
    """Whether what forgetting is judged on is what it was at export.

    Args:
        bundle: whose manifest has the SHA-256 of each held-out set.
        stream: of the experiment.
        experiment: says which split is judged on.
        changes: of the experiment, for the message.

    Raises:
        BundleError: it is not.
    """
    known = {entry["index"]: entry for entry in bundle.manifest["held_out"]}
    for entry in digests(stream, experiment.evaluation):
        before = known.get(entry["index"], {})
        changed = [key for key in ("inputs", "labels", "environment") if before.get(key) != entry.get(key)]
        if changed:
            else_ = f", or leave out what changes them ({' '.join(changes)})" if changes else ""
            raise BundleError(
                f"the held-out data of experience {entry['index']} ({entry['name']}) are not those of the bundle "
                f"(their SHA-256 differ), so that forgetting cannot be judged; restore the data that the run had{else_}"
            )
