"""Update of a deployed model: training of a candidate, its export, and its judgement by the gate."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console

from rlcl.config import unstructure
from rlcl.console import make_console
from rlcl.data.sources import read_chunks
from rlcl.deploy.bundle import UPDATE, Bundle
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.exporting.candidate_card import candidate_card
from rlcl.deploy.exporting.export import BundleDescription, data_profile, write_bundle
from rlcl.deploy.exporting.reference_rows import held_out_digests
from rlcl.deploy.log import RequestLog
from rlcl.deploy.model import Model
from rlcl.deploy.signature import Signature
from rlcl.deploy.updating.added_experiences import ADDED, extended_stream, load_added
from rlcl.deploy.updating.candidate import Candidate, train_candidate
from rlcl.deploy.updating.checks import changed_experiment, check_held_out, check_origin, run_seed
from rlcl.deploy.updating.gate import GateCondition
from rlcl.deploy.updating.gate_evaluation import DEFAULT_GATE, GateSettings, UpdateResult, judge_candidate
from rlcl.deploy.updating.label_agreement import label_agreement
from rlcl.deploy.updating.new_data import NewData, check_classes, read_log, without_inputs
from rlcl.deploy.updating.npz_file import read_npz, use_trusted_rows
from rlcl.errors import BundleError
from rlcl.evaluation.measures import arrays_of
from rlcl.evaluation.results import measure_named
from rlcl.experiment import Experiment, experiment_from
from rlcl.formats import parse_json
from rlcl.launch.build import make_stream
from rlcl.launch.file_paths import with_absolute_paths
from rlcl.streams.stream import Stream
from rlcl.strict_json import json_text
from rlcl.tracking.manifest import data_hash
from rlcl.training import checkpoint
from rlcl.types import Experience, Spending

__all__ = ["update"]

Describe = Callable[[Signature, Mapping[str, Any], Bundle], BundleDescription]


def update(
    deployment: Deployment,
    origin: str | Mapping[str, Any],
    changes: Sequence[str] = (),
    gate: GateSettings = DEFAULT_GATE,
    console: Console | None = None,
    *,
    trusted: Path | None = None,
    accept_labels: bool = False,
) -> UpdateResult:
    """Train a candidate on new data with the run's learner, methods and memory, and judge it.

    Args:
        deployment: deployment whose current bundle is updated; this bundle does not change and remains deployed.
        origin: ``log``, an npz file with x and y, or one more task of an environment stream.
        changes: changes of the experiment, of the form ``key.path=value``; the candidate stores them.
        gate: thresholds of the gate.
        console: console for progress messages.
        trusted: npz file with verified labels, in the form of ``origin``; the gain is judged on its rows, and all new
            rows are used for training.
        accept_labels: whether to train on new labels that the deployed model contradicts.

    Returns:
        The result of the update; with the verdict ``labels disagree`` no candidate was trained.

    Raises:
        BundleError: there are no new data, the bundle has no update part, or the held-out data have changed.
        ConfigError: a change is not valid.
        UnsupportedError: the network cannot be extended, or the learner cannot be exported.
    """
    console = make_console() if console is None else console
    current = deployment.current()
    part = current.update
    experiment = changed_experiment(current, changes)
    check_origin(origin, current.signature, gate.gain)
    seed, added = run_seed(current), load_added(part)
    files = current.manifest.get("files", {})
    if isinstance(origin, Mapping):
        if trusted is not None:
            raise BundleError(
                "--trusted: not supported for policies, which are judged in their environments; remove the option"
            )
        extended = _with_task(experiment, origin)
        check_held_out(current, make_stream(with_absolute_paths(experiment, files), seed), experiment, changes)
        experiment, stream = extended, make_stream(with_absolute_paths(extended, files), seed)
    else:
        new_data = _read_new_data(origin, deployment, current, added, gate)
        check_classes(new_data, current.signature.classes)
        if trusted is not None:
            new_data = use_trusted_rows(trusted, current.signature, new_data)
        base = make_stream(with_absolute_paths(experiment, files), seed)
        check_held_out(current, base, experiment, changes)
        earlier = extended_stream(base, added, experiment, seed)
        added.append(_without_held_out(new_data, earlier, experiment, console))
        stream = extended_stream(base, added, experiment, seed)
        if trusted is None and not accept_labels:
            condition = label_agreement(Model(current), added[-1], stream, experiment.evaluation)
            if condition.verdict == "labels disagree":
                return _result_without_candidate(deployment, current, condition, origin)
    name, state = _next_name(deployment), checkpoint.load(part)
    console.print(_training_message(stream.evaluated[-1], current.signature, stream), soft_wrap=True)
    origin_text = origin if isinstance(origin, str) else json.dumps(dict(origin))
    update_record = {"candidate": name, "parent": current.digest, "from": origin_text, "changes": list(changes)}
    deployment.audit("update", update_record)
    candidate = train_candidate(experiment, seed, stream, state, len(added), console, current.signature.classes, files)
    path = deployment.bundle_folder(name)
    console.print(f"exporting candidate {name}", soft_wrap=True)
    results = list[UpdateResult]()

    def judge(bundle: Bundle) -> UpdateResult:
        results.append(judge_candidate(name, current, bundle, stream, experiment, gate, console))
        return results[0]

    describe = _describe(current, candidate, stream, update_record, judge)
    write_bundle(candidate.restored, path, describe, added=added)
    result = attrs.evolve(results[0], path=path)
    verdict = {**result.to_json(), "parent": current.digest, "digest": Bundle.open(path).digest}
    deployment.verdict_file(name).write_text(json_text(verdict, indent=2) + "\n")
    deployment.audit("judge", verdict)
    return result


def _result_without_candidate(
    deployment: Deployment, current: Bundle, condition: GateCondition, origin: str
) -> UpdateResult:
    """Record that no candidate was trained because a person has to inspect the labels."""
    result = UpdateResult(name=None, path=current.path, conditions=(condition,))
    deployment.audit("judge", {**result.to_json(), "parent": current.digest, "from": origin})
    return result


def _read_new_data(
    origin: str, deployment: Deployment, current: Bundle, added: Sequence[NewData], gate: GateSettings
) -> NewData:
    if origin != "log":
        return read_npz(Path(origin), current.signature, gate.held_out)
    log = RequestLog.open(deployment.log)
    try:
        return read_log(log, current.signature, added, gate.held_out)
    finally:
        log.close()


def _without_held_out(new_data: NewData, earlier: Stream, experiment: Experiment, console: Console) -> NewData:
    """Remove training rows that are held out of earlier experiences, on which forgetting is judged.

    Raises:
        BundleError: no training rows remain.
    """
    held_out = [x for e in earlier.evaluated for x, _ in read_chunks(arrays_of(e, experiment.evaluation))]
    remaining, count = without_inputs(new_data, held_out)
    if count:
        message = f"{count:,} inputs are held out of earlier experiences; they are excluded from training"
        console.print(message, style="yellow")
    if not len(remaining.train[0]):
        raise BundleError(
            f"{new_data.name}: every input is held out of an earlier experience, so none remains for training; add rows"
        )
    return remaining


def _with_task(experiment: Experiment, task: Mapping[str, Any]) -> Experiment:
    """Return the experiment with one more task at the end of its environment stream.

    Raises:
        BundleError: the stream consists of arrays.
        ConfigError: the task is not valid.
    """
    resolved = unstructure(experiment)
    if "tasks" not in resolved["stream"]:
        raise BundleError("--from: this model was trained on arrays; pass log, or an npz file with x and y")
    stream = {**resolved["stream"], "tasks": [*resolved["stream"]["tasks"], dict(task)]}
    count = len(resolved["stream"]["tasks"])
    visits = list(stream["sequence"] or range(count)) * stream["repeat"]
    if visits != list(range(count)):
        stream |= {"sequence": [*visits, count], "repeat": 1}
    return experiment_from({**resolved, "stream": stream}, "--from")


def _next_name(deployment: Deployment) -> str:
    numbers = [int(p.name) for p in deployment.candidates.glob("*") if p.name.isdigit()]
    return f"{max(numbers, default=0) + 1:04d}"


def _describe(
    current: Bundle,
    candidate: Candidate,
    stream: Stream,
    update_record: Mapping[str, Any],
    judge: Callable[[Bundle], UpdateResult],
) -> Describe:
    """Return a function that creates manifest, data profile and model card of a candidate.

    The lineage is that of the parent; all figures are those of the candidate.
    """
    experience_name = candidate.experience.name

    def describe(signature: Signature, parity: Mapping[str, Any], bundle: Bundle) -> BundleDescription:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        parent, trainer = current.manifest, candidate.restored.trainer
        result = judge(bundle)
        manifest = {
            **parent,
            "exported": now,
            "data": data_hash(trainer.stream),
            "parity": dict(parity),
            "held_out": _held_out(parent["held_out"], stream, candidate, result),
            "costs": {**(attrs.asdict(trainer.learner.costs()) if isinstance(trainer.learner, Spending) else {}),
                      "steps": trainer.learner.position.step},
            "updates": [*parent.get("updates", []), {**update_record, "experience": experience_name, "at": now}],
        }  # fmt: skip
        new_profile = data_profile(candidate.restored, _new_experience_stream(candidate), run_seed(current))
        profile = _extended_profile(current, new_profile)
        card = candidate_card(candidate.restored, signature, manifest, profile, result.conditions)
        return BundleDescription(manifest, card, profile)

    return describe


def _held_out(
    parent_entries: Sequence[Mapping[str, Any]], stream: Stream, candidate: Candidate, result: UpdateResult
) -> list[dict[str, Any]]:
    """Return the manifest entries of the held-out sets: their sources, and the candidate's scores on them."""
    known = {entry["index"]: entry for entry in parent_entries}
    measure = candidate.restored.trainer.learner.measures[0]
    sign = measure_named(measure).sign
    scores = {c.experience: sign * c.after for c in result.conditions if c.after is not None}
    entries = []
    for entry in held_out_digests(stream, candidate.restored.experiment.evaluation):
        load = known.get(entry["index"], {"load": {"update": f"{UPDATE}/{ADDED}"}})["load"]
        entries.append({**entry, "measure": measure, "result": scores.get(entry["index"]), "load": load})
    return entries


def _training_message(experience: Experience, known: Signature, stream: Stream) -> str:
    """Return a progress message: ``training on new: 376 inputs, 161 held out; new classes 7, 8, 9``."""
    train, test = experience.train, experience.test
    if train.kind == "environment" or test is None or test.kind == "environment":
        return f"training on {experience.name}"
    names = stream.spec.class_names[len(known.classes) :] if known.classes else ()
    new = f"; new class{'es' if len(names) > 1 else ''} {', '.join(names)}" if names else ""
    return f"training on {experience.name}: {len(train):,} inputs, {len(test):,} held out{new}"


def _new_experience_stream(candidate: Candidate) -> Stream:
    """Return a stream of the new experience only."""
    stream = candidate.restored.trainer.stream
    return Stream((candidate.experience,), stream.spec, stream.visibility)


def _extended_profile(current: Bundle, new_profile: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data profile of a bundle, extended by the experiences of another profile."""
    path = current.path / "profile.json"
    try:
        # Bundles of earlier versions have no profile.
        profile = parse_json(path.read_text()) if path.is_file() else {**new_profile, "experiences": []}
        experiences = [_with_classes(entry, len(new_profile["classes"])) for entry in profile["experiences"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} is damaged ({error}); export the run again") from error
    all_experiences = [*experiences, *new_profile["experiences"]]
    return {**profile, "classes": new_profile["classes"], "experiences": all_experiences}


def _with_classes(experience: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return an experience of a profile with counts of 0 for the new classes."""
    train = experience.get("train", {})
    if "classes" not in train:
        return dict(experience)
    counts = [*train["classes"], *[0] * (count - len(train["classes"]))]
    return {**experience, "train": {**train, "classes": counts}}
