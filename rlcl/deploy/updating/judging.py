"""The gate at work: a candidate and the deployed model on the same held-out samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from attrs import frozen
from rich.console import Console

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.model import Model, Policy
from rlcl.deploy.updating.gate import Condition, Verdict, judged, overall, paired
from rlcl.deploy.updating.held_out import latency, scores
from rlcl.evaluation.measures import source_of
from rlcl.experiment import Experiment
from rlcl.streams.stream import Stream
from rlcl.types import Experience

__all__ = ["DEFAULT", "PLAIN", "Gate", "Judgement", "judge"]

PLAIN: Any = {"highlight": False, "soft_wrap": True, "markup": False}


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


DEFAULT = Gate()


@frozen(kw_only=True)
class Judgement:
    """What became of an update.

    Args:
        name: of the candidate; None where none was made.
        path: its bundle; where none was made the one that answers.
        conditions: one by one.
        changes: of the signature, a line each.
    """

    name: str | None
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


def judge(
    name: str, current: Bundle, made: Bundle, stream: Stream, experiment: Experiment, gate: Gate, console: Console
) -> Judgement:
    """Judges a candidate on what is new, and on what was learned before.

    Args:
        name: of the candidate.
        current: the bundle that answers.
        made: of the candidate.
        stream: its last experience is new.
        experiment: of the candidate.
        gate: what it must satisfy.
        console: progress goes there.
    """
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
    return judged(name, paired(*pair), least, experience.index)


def _latency(before: Model, after: Model, experience: Experience, experiment: Experiment, slower: float) -> Condition:
    old, new = latency(before, after, experience, experiment.evaluation)
    verdict: Verdict = "passed" if new <= slower * old else "rejected"
    reason = f"{new:.3f} ms a prediction, the deployed model {old:.3f} ms: {new / old:.2f} times, at most {slower:g}"
    return Condition(name="latency", verdict=verdict, value=new / old, limit=slower, reason=reason)
