"""Checks of an update: its changes and origin before data are loaded, and the held-out data after loading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from rlcl.config import Document, override, read_document, unstructure
from rlcl.deploy.bundle import FORMAT, Bundle
from rlcl.deploy.exporting.reference_rows import held_out_digests
from rlcl.deploy.signature import Signature
from rlcl.errors import BundleError
from rlcl.experiment import Experiment, experiment_from_document
from rlcl.types import Stream

__all__ = ["bundle_experiment", "changed_experiment", "check_held_out", "check_origin", "run_seed"]

REMEDY = "remove the change, or run a new experiment with it"


def run_seed(bundle: Bundle) -> int:
    """Return the seed of the run that a bundle was exported from.

    Raises:
        BundleError: the manifest lacks the seed or the held-out sets.
    """
    run, sets = bundle.manifest.get("run"), bundle.manifest.get("held_out")
    valid = isinstance(sets, list) and all(isinstance(item, dict) and {"index", "load"} <= item.keys() for item in sets)
    if not valid or not isinstance(run, dict) or type(run.get("seed")) is not int:
        raise BundleError(
            f"{bundle.path / 'manifest.json'} lacks the run's seed or the held-out sets; export the run again"
        )
    return int(run["seed"])


def changed_experiment(bundle: Bundle, changes: Sequence[str]) -> Experiment:
    """Return the experiment of a bundle with the changes of an update.

    Args:
        bundle: bundle with ``experiment.yaml``.
        changes: changes of the form ``key.path=value``.

    Raises:
        ConfigError: a change is not valid.
        BundleError: the bundle's state does not support a change of the learner or the encoder.
    """
    original, document = experiment_from_document(bundle_experiment(bundle)), bundle_experiment(bundle, changes)
    learner = document.data["learner"]
    learner_type = learner.get("type", original.learner.type) if isinstance(learner, Mapping) else original.learner.type
    if learner_type != original.learner.type:
        raise BundleError(
            f"command line: learner.type: expected {original.learner.type}, whose state the update resumes, got "
            f"{learner_type}; {REMEDY}"
        )
    # Another type of the encoder is rejected, so its settings are not checked.
    changed = None if ("encoder",) in document.type_changes else experiment_from_document(document)
    if changed is None or unstructure(changed)["encoder"] != unstructure(original)["encoder"]:
        raise BundleError(
            "command line: encoder: an update cannot change the encoder, whose outputs the network was trained on; "
            f"{REMEDY}"
        )
    return changed


def bundle_experiment(bundle: Bundle, changes: Sequence[str] = ()) -> Document:
    """Return the config of the exported run in the format of the present version.

    Args:
        bundle: bundle with ``experiment.yaml``.
        changes: changes of the form ``key.path=value``.

    Raises:
        ConfigError: the config cannot be read, or a change is not valid.
    """
    document = read_document(bundle.path / "experiment.yaml")
    data = FORMAT.read(bundle.manifest["format"], document.data)
    return override(attrs.evolve(document, data=data), changes)


def check_origin(origin: str | Mapping[str, Any], signature: Signature, gain: float) -> None:
    """Check that a model of this signature can be trained on the origin, and that the gain is possible.

    Args:
        origin: ``log``, a file, or a task.
        signature: signature of the deployed model.
        gain: minimum gain.

    Raises:
        BundleError: the combination is not supported; the message names a supported one.
    """
    kind = signature.kind
    if isinstance(origin, Mapping):
        if kind != "policy":
            raise BundleError("--from: this model was trained on arrays; pass log, or an npz file with x and y")
        return
    if kind == "policy":
        raise BundleError(
            "--from: a policy is trained in an environment, not on a log or a file; pass one more task of its stream, "
            "for example --from '{attributes: {gravity: 20}}'"
        )
    if signature.tasks and kind != "classifier":
        raise BundleError(
            f"a model of the kind {kind} that takes task ids cannot be updated, because the deployed model has no "
            "score on a new task; export a run without task ids"
        )
    if signature.tasks and origin == "log":
        raise BundleError(
            "--from log: the log contains known tasks only, but an update is a new task; pass an npz file"
        )
    if kind == "classifier" and gain >= 1:
        raise BundleError(f"--gain {gain:g}: expected a number below 1, because the gain is a difference of accuracies")


def check_held_out(bundle: Bundle, stream: Stream, experiment: Experiment, changes: Sequence[str]) -> None:
    """Check that the held-out data, on which forgetting is judged, are the same as at the export.

    Args:
        bundle: bundle whose manifest contains the SHA-256 of each held-out set.
        stream: stream of the experiment.
        experiment: experiment, which selects the split.
        changes: changes of the experiment, for the message.

    Raises:
        BundleError: the held-out data differ.
    """
    exported = {entry["index"]: entry for entry in bundle.manifest["held_out"]}
    for entry in held_out_digests(stream, experiment.evaluation):
        before = exported.get(entry["index"], {})
        if any(before.get(key) != entry.get(key) for key in ("inputs", "labels", "environment")):
            alternative = f", or remove the changes that affect them ({' '.join(changes)})" if changes else ""
            raise BundleError(
                f"the held-out data of experience {entry['index']} ({entry['name']}) differ from those of the bundle "
                f"(by their SHA-256), so forgetting cannot be judged; restore the data of the run{alternative}"
            )
