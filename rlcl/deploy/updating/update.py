"""One update of a deployed model: learn, export, judge, keep."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console

from rlcl.config import unstructure
from rlcl.data.sources import pieces
from rlcl.deploy.bundle import UPDATE, Bundle
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.exporting.export import Description, profiled, write_bundle
from rlcl.deploy.exporting.held_out import digests
from rlcl.deploy.exporting.updated_card import updated_card
from rlcl.deploy.log import Log
from rlcl.deploy.model import Model
from rlcl.deploy.signature import Signature
from rlcl.deploy.updating.agreement import agreement
from rlcl.deploy.updating.candidate import Candidate, learned
from rlcl.deploy.updating.checks import changed_experiment, check_held_out, check_origin, seed_of
from rlcl.deploy.updating.file import from_file, trusted_rows
from rlcl.deploy.updating.gate import Condition
from rlcl.deploy.updating.growing import ADDED, added_to, grown_stream
from rlcl.deploy.updating.incoming import Incoming, check_classes, from_log, without
from rlcl.deploy.updating.judging import DEFAULT, PLAIN, Gate, Judgement, judge
from rlcl.errors import BundleError
from rlcl.evaluation.measures import arrays_of
from rlcl.evaluation.results import measure_named
from rlcl.experiment import Experiment, experiment_from
from rlcl.formats import parsed
from rlcl.launch.build import make_stream
from rlcl.launch.located import located
from rlcl.streams.stream import Stream
from rlcl.strict_json import json_text
from rlcl.tracking.manifest import data_hash
from rlcl.training import checkpoint
from rlcl.types import Experience, Spending

__all__ = ["update"]

Descriptions = Callable[[Signature, Mapping[str, Any], Bundle], Description]


def update(
    deployment: Deployment,
    origin: str | Mapping[str, Any],
    changes: Sequence[str] = (),
    gate: Gate = DEFAULT,
    console: Console | None = None,
    *,
    trusted: Path | None = None,
    accept_labels: bool = False,
) -> Judgement:
    """Trains a candidate on what is new, by the run's own learner, methods and memory, and judges it.

    Args:
        deployment: whose current bundle is updated; it goes on answering as it is.
        origin: ``log``, an npz file with x and y, or one more task of an environment stream.
        changes: ``key.path=value`` of the experiment, which the candidate keeps.
        gate: what the candidate must satisfy.
        console: progress goes there.
        trusted: an npz file as ``origin`` may be one, whose labels are known to be right: the gain is judged on it, and
            all that is new is learned from.
        accept_labels: whether new labels are learned from that the deployed model contradicts.

    Returns:
        What became of it; with the verdict ``labels disagree`` nothing was trained.

    Raises:
        BundleError: nothing new, no part for updating, or held-out data that are not those of the bundle.
        ConfigError: changes that the experiment does not take.
        UnsupportedError: a network that does not grow, or a learner that cannot be exported.
    """
    console = Console() if console is None else console
    current = deployment.current()
    part = current.update
    experiment = changed_experiment(current, changes)
    check_origin(origin, current.signature, gate.gain)
    seed, added = seed_of(current), added_to(part)
    files = current.manifest.get("files", {})
    if isinstance(origin, Mapping):
        if trusted is not None:
            raise BundleError("--trusted: a policy is judged in its environments; leave it out")
        wider = _with_task(experiment, origin)
        check_held_out(current, make_stream(located(experiment, files), seed), experiment, changes)
        experiment, stream = wider, make_stream(located(wider, files), seed)
    else:
        incoming = _incoming(origin, deployment, current, added, gate)
        check_classes(incoming, current.signature.classes)
        if trusted is not None:
            incoming = trusted_rows(trusted, current.signature, incoming)
        base = make_stream(located(experiment, files), seed)
        check_held_out(current, base, experiment, changes)
        added.append(_unjudged(incoming, grown_stream(base, added, experiment, seed), experiment, console))
        stream = grown_stream(base, added, experiment, seed)
        if trusted is None and not accept_labels:
            held = agreement(Model(current), added[-1], stream, experiment.evaluation)
            if held.verdict == "labels disagree":
                return _held(deployment, current, held, origin)
    name, state = _next_name(deployment), checkpoint.load(part)
    console.print(_told(stream.evaluated[-1], current.signature, stream), **PLAIN)
    told = origin if isinstance(origin, str) else json.dumps(dict(origin))
    begun = {"candidate": name, "parent": current.digest, "from": told, "changes": list(changes)}
    deployment.audit("update", begun)
    candidate = learned(experiment, seed, stream, state, len(added), console, current.signature.classes, files)
    path = deployment.place(name)
    console.print(f"exporting candidate {name}", **PLAIN)
    judgements = list[Judgement]()

    def judged(made: Bundle) -> Judgement:
        judgements.append(judge(name, current, made, stream, experiment, gate, console))
        return judgements[0]

    write_bundle(candidate.restored, path, _descriptions(current, candidate, stream, begun, judged), added=added)
    judgement = attrs.evolve(judgements[0], path=path)
    verdict = {**judgement.to_json(), "parent": current.digest, "digest": Bundle.open(path).digest}
    deployment.verdict(name).write_text(json_text(verdict, indent=2) + "\n")
    deployment.audit("judge", verdict)
    return judgement


def _held(deployment: Deployment, current: Bundle, condition: Condition, origin: str) -> Judgement:
    """An update that has to wait for a person: nothing is trained."""
    judgement = Judgement(name=None, path=current.path, conditions=(condition,))
    deployment.audit("judge", {**judgement.to_json(), "parent": current.digest, "from": origin})
    return judgement


def _incoming(origin: str, deployment: Deployment, current: Bundle, added: Sequence[Incoming], gate: Gate) -> Incoming:
    if origin != "log":
        return from_file(Path(origin), current.signature, gate.held_out)
    log = Log.open(deployment.log)
    try:
        return from_log(log, current.signature, added, gate.held_out)
    finally:
        log.close()


def _unjudged(incoming: Incoming, former: Stream, experiment: Experiment, console: Console) -> Incoming:
    """Leaves out of what is learned whatever forgetting is judged on.

    Raises:
        BundleError: nothing is left.
    """
    judged_on = [x for e in former.evaluated for x, _ in pieces(arrays_of(e, experiment.evaluation))]
    left, count = without(incoming, judged_on)
    if count:
        console.print(f"{count:,} inputs are held out of former experiences; they are not learned from", style="yellow")
    if not len(left.train[0]):
        raise BundleError(f"{incoming.name}: every input is held out of a former experience; there is nothing to learn")
    return left


def _with_task(experiment: Experiment, task: Mapping[str, Any]) -> Experiment:
    """One more task at the end of an environment stream.

    Raises:
        BundleError: the stream is of arrays.
        ConfigError: it is no task.
    """
    resolved = unstructure(experiment)
    if "tasks" not in resolved["stream"]:
        raise BundleError("--from: this model learned from arrays; name log, or an npz file with x and y")
    stream = {**resolved["stream"], "tasks": [*resolved["stream"]["tasks"], dict(task)]}
    return experiment_from({**resolved, "stream": stream}, "--from")


def _next_name(deployment: Deployment) -> str:
    taken = [int(p.name) for p in deployment.candidates.glob("*") if p.name.isdigit()]
    return f"{max(taken, default=0) + 1:04d}"


def _descriptions(
    current: Bundle,
    candidate: Candidate,
    stream: Stream,
    begun: Mapping[str, Any],
    judged: Callable[[Bundle], Judgement],
) -> Descriptions:
    """The manifest, the profile and the model card of a candidate: lineage is its parent's, every figure its own."""
    learned_on = candidate.experience.name

    def described(signature: Signature, parity: Mapping[str, Any], made: Bundle) -> Description:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        before, trainer = current.manifest, candidate.restored.trainer
        judgement = judged(made)
        manifest = {
            **before,
            "exported": now,
            "data": data_hash(trainer.stream),
            "parity": dict(parity),
            "held_out": _held_out(before["held_out"], stream, candidate, judgement),
            "costs": {**(attrs.asdict(trainer.learner.costs()) if isinstance(trainer.learner, Spending) else {}),
                      "steps": trainer.learner.position.step},
            "updates": [*before.get("updates", []), {**begun, "experience": learned_on, "at": now}],
        }  # fmt: skip
        facts = _grown(current, profiled(candidate.restored, _alone(candidate), seed_of(current)))
        card = updated_card(candidate.restored, signature, manifest, facts, judgement.conditions)
        return Description(manifest, card, facts)

    return described


def _held_out(
    before: Sequence[Mapping[str, Any]], stream: Stream, candidate: Candidate, judgement: Judgement
) -> list[dict[str, Any]]:
    """What the manifest has of each held-out set: where it is from, and the candidate's score on it."""
    known = {entry["index"]: entry for entry in before}
    measure = candidate.restored.trainer.learner.measures[0]
    sign = measure_named(measure).sign
    scores = {c.experience: sign * c.after for c in judgement.conditions if c.after is not None}
    entries = []
    for entry in digests(stream, candidate.restored.experiment.evaluation):
        load = known.get(entry["index"], {"load": {"update": f"{UPDATE}/{ADDED}"}})["load"]
        entries.append({**entry, "measure": measure, "result": scores.get(entry["index"]), "load": load})
    return entries


def _told(experience: Experience, known: Signature, stream: Stream) -> str:
    """What is about to be learned: ``learning new: 376 inputs, 161 held out; new classes 7, 8, 9``."""
    train, test = experience.train, experience.test
    if train.kind == "environment" or test is None or test.kind == "environment":
        return f"learning {experience.name}"
    names = stream.spec.class_names[len(known.classes) :] if known.classes else ()
    new = f"; new class{'es' if len(names) > 1 else ''} {', '.join(names)}" if names else ""
    return f"learning {experience.name}: {len(train):,} inputs, {len(test):,} held out{new}"


def _alone(candidate: Candidate) -> Stream:
    """A stream of what was learned just now, and nothing else."""
    stream = candidate.restored.trainer.stream
    return Stream((candidate.experience,), stream.spec, stream.visibility)


def _grown(current: Bundle, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The profile that a bundle came with, and the experiences of another one behind its own."""
    path = current.path / "profile.json"
    try:
        before = parsed(path.read_text()) if path.is_file() else {**facts, "experiences": []}  # there was none before
        own = [_with_classes(each, len(facts["classes"])) for each in before["experiences"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} is damaged ({error}); export the run again") from error
    return {**before, "classes": facts["classes"], "experiences": [*own, *facts["experiences"]]}


def _with_classes(experience: Mapping[str, Any], count: int) -> dict[str, Any]:
    """An experience of a profile, with no rows of the classes that it did not know."""
    train = experience.get("train", {})
    if "classes" not in train:
        return dict(experience)
    counts = [*train["classes"], *[0] * (count - len(train["classes"]))]
    return {**experience, "train": {**train, "classes": counts}}
