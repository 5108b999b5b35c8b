"""One update of a deployed model: learn, export, judge, keep."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen
from rich.console import Console

from rlcl.config import unstructure
from rlcl.data.sources import pieces
from rlcl.deploy.bundle import UPDATE, Bundle
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.exporting.data_section import data_section
from rlcl.deploy.exporting.export import Description, profiled, write_bundle
from rlcl.deploy.exporting.held_out import digests
from rlcl.deploy.log import Log
from rlcl.deploy.model import Model, Policy
from rlcl.deploy.signature import Signature
from rlcl.deploy.updating.candidate import Candidate, learned
from rlcl.deploy.updating.checks import changed_experiment, check_held_out, check_origin
from rlcl.deploy.updating.file import from_file
from rlcl.deploy.updating.gate import Condition, Verdict, judged, overall, paired
from rlcl.deploy.updating.growing import ADDED, added_to, grown_stream
from rlcl.deploy.updating.held_out import latency, scores
from rlcl.deploy.updating.incoming import Incoming, from_log, without
from rlcl.errors import BundleError
from rlcl.evaluation.measures import arrays_of, source_of
from rlcl.experiment import Experiment, experiment_from
from rlcl.launch.build import make_stream
from rlcl.launch.located import located
from rlcl.streams.stream import Stream
from rlcl.strict_json import json_text
from rlcl.training import checkpoint
from rlcl.types import Experience

__all__ = ["Gate", "Judgement", "update"]

PLAIN: Any = {"highlight": False, "soft_wrap": True, "markup": False}
Descriptions = Callable[[Signature, Mapping[str, Any]], Description]


@frozen(kw_only=True)
class Gate:
    """What a candidate must satisfy.

    Args:
        gain: over the deployed model on the new data, in units of the score, at least.
        forgetting: on each former experience, at most.
        slower: a prediction may take so many times as long.
        held_out: fraction of the new rows that is judged on and not learned from.
    """

    gain: float = 0.0
    forgetting: float = 0.05
    slower: float = 1.5
    held_out: float = 0.3


@frozen(kw_only=True)
class Judgement:
    """What became of an update.

    Args:
        name: of the candidate.
        path: its bundle.
        conditions: one by one.
        changes: of the signature, a line each.
    """

    name: str
    path: Path
    conditions: tuple[Condition, ...]
    changes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        return overall(self.conditions)

    def to_json(self) -> dict[str, Any]:
        """The content of ``candidates/NAME.verdict.json``."""
        return {
            "candidate": self.name,
            "verdict": self.verdict,
            "passed": self.verdict == "passed",
            "conditions": [attrs.asdict(condition) for condition in self.conditions],
            "signature_changes": list(self.changes),
        }


def update(
    deployment: Deployment,
    origin: str | Mapping[str, Any],
    changes: Sequence[str] = (),
    gate: Gate = Gate(),
    console: Console | None = None,
) -> Judgement:
    """Trains a candidate on what is new, by the run's own learner, methods and memory, and judges it.

    Args:
        deployment: whose current bundle is updated; it goes on answering as it is.
        origin: ``log``, an npz file with x and y, or one more task of an environment stream.
        changes: ``key.path=value`` of the experiment, which the candidate keeps.
        gate: what the candidate must satisfy.
        console: progress goes there.

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
    seed, added = int(current.manifest["run"]["seed"]), added_to(part)
    files = current.manifest.get("files", {})
    if isinstance(origin, Mapping):
        wider = _with_task(experiment, origin)
        check_held_out(current, make_stream(located(experiment, files), seed), experiment, changes)
        experiment, stream = wider, make_stream(located(wider, files), seed)
    else:
        incoming = _incoming(origin, deployment, current, added, gate)
        base = make_stream(located(experiment, files), seed)
        check_held_out(current, base, experiment, changes)
        added.append(_unjudged(incoming, grown_stream(base, added, experiment, seed), experiment, console))
        stream = grown_stream(base, added, experiment, seed)
    name, state = _next_name(deployment), checkpoint.load(part)
    console.print(_told(stream.evaluated[-1], current.signature, stream), **PLAIN)
    told = origin if isinstance(origin, str) else json.dumps(dict(origin))
    begun = {"candidate": name, "parent": current.digest, "from": told, "changes": list(changes)}
    deployment.audit("update", begun)
    candidate = learned(experiment, seed, stream, state, len(added), console, files)
    path = deployment.place(name)
    console.print(f"exporting candidate {name}", **PLAIN)
    write_bundle(candidate.restored, path, _descriptions(current, candidate, stream, begun), added=added)
    judgement = _judged(name, current, Bundle.open(path), stream, experiment, gate, console)
    verdict = {**judgement.to_json(), "parent": current.digest, "digest": Bundle.open(path).digest}
    deployment.verdict(name).write_text(json_text(verdict, indent=2) + "\n")
    deployment.audit("judge", verdict)
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


def _descriptions(current: Bundle, candidate: Candidate, stream: Stream, begun: Mapping[str, Any]) -> Descriptions:
    """The manifest and the model card of a candidate: its parent's, and what was learned since."""
    learned_on = candidate.experience.name

    def described(signature: Signature, parity: Mapping[str, Any]) -> Description:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        before = current.manifest
        known = {entry["index"] for entry in before["held_out"]}
        entries = list(digests(stream, candidate.restored.experiment.evaluation))
        new = [{**entry, "load": {"update": f"{UPDATE}/{ADDED}"}} for entry in entries if entry["index"] not in known]
        manifest = {
            **before,
            "exported": now,
            "parity": dict(parity),
            "held_out": [*before["held_out"], *new],
            "updates": [*before.get("updates", []), {**begun, "experience": learned_on, "at": now}],
        }
        card = (current.path / "MODEL_CARD.md").read_text()
        grown = len(signature.classes) - len(current.signature.classes)
        classes = f", with {grown} classes that were not known before" if grown else ""
        section = f"\n## Update {begun['candidate']}\n\nOn {now} it learned {learned_on}{classes}, from the bundle "
        section += f"`{current.digest}`. What was judged then is in the deployment's audit.\n"
        facts = profiled(candidate.restored, _alone(candidate), int(before["run"]["seed"]))
        return Description(manifest, f"{card}{section}\n{data_section(facts)}\n", _grown(current, facts))

    return described


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
    before = json.loads(path.read_text()) if path.is_file() else {**facts, "experiences": []}  # there was none before
    return {**before, "classes": facts["classes"], "experiences": [*before["experiences"], *facts["experiences"]]}


def _judged(
    name: str, current: Bundle, made: Bundle, stream: Stream, experiment: Experiment, gate: Gate, console: Console
) -> Judgement:
    kind = Policy if made.signature.kind == "policy" else Model
    before, after = kind(current), kind(made)
    *before_it, new = stream.evaluated
    former = [e for e in before_it if (source := source_of(e, experiment.evaluation)).kind != "arrays" or len(source)]
    asked = [(f"gain on {new.name}", new, gate.gain)]
    asked += [(f"forgetting on {experience.name}", experience, -gate.forgetting) for experience in former]
    conditions = []
    for place, (what, experience, least) in enumerate(asked, 1):
        console.print(f"judging {what} ({place} of {len(asked)})", **PLAIN)
        conditions.append(_compared(what, before, after, experience, experiment, least))
    conditions.append(_latency(before, after, new, experiment, gate.slower))
    changes = tuple(current.signature.changes(made.signature))
    return Judgement(name=name, path=made.path, conditions=tuple(conditions), changes=changes)


def _compared(
    name: str, before: Model, after: Model, experience: Experience, experiment: Experiment, least: float
) -> Condition:
    pair = (scores(model, experience, experiment.evaluation) for model in (before, after))
    return judged(name, paired(*pair), least)


def _latency(before: Model, after: Model, experience: Experience, experiment: Experiment, slower: float) -> Condition:
    old, new = latency(before, after, experience, experiment.evaluation)
    verdict: Verdict = "passed" if new <= slower * old else "rejected"
    reason = f"{new:.3f} ms a prediction, the deployed model {old:.3f} ms: {new / old:.2f} times, at most {slower:g}"
    return Condition(name="latency", verdict=verdict, value=new / old, limit=slower, reason=reason)
