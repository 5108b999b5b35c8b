"""Evaluation of the gate: a candidate and the deployed model on the same held-out samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from attrs import frozen
from rich.console import Console

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.model import Model, PolicyModel
from rlcl.deploy.updating.gate import GateCondition, Verdict, overall_verdict, paired_difference, score_condition
from rlcl.deploy.updating.held_out_scores import held_out_scores, latency
from rlcl.evaluation.measures import source_of
from rlcl.experiment import Experiment
from rlcl.streams.stream import Stream
from rlcl.types import Experience

__all__ = ["DEFAULT_GATE", "GateSettings", "UpdateResult", "judge_candidate"]


@frozen(kw_only=True)
class GateSettings:
    """Thresholds of the gate.

    Args:
        gain: minimum gain over the deployed model on the new data, in units of the score.
        forgetting: maximum decrease of the score on each earlier experience.
        slower: maximum ratio of the candidate's and the deployed model's latency.
        held_out: fraction of the new rows that is held out for the gate.
    """

    gain: float = 0.0
    forgetting: float = 0.05
    slower: float = 1.5
    held_out: float = 0.3


DEFAULT_GATE = GateSettings()


@frozen(kw_only=True)
class UpdateResult:
    """Result of an update.

    Args:
        name: name of the candidate; None if none was trained.
        path: folder of the candidate's bundle; of the deployed bundle if no candidate was trained.
        conditions: conditions of the gate with their verdicts.
        changes: changes of the signature, one line each.
    """

    name: str | None
    path: Path
    conditions: tuple[GateCondition, ...]
    changes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Worst verdict of all conditions."""
        return overall_verdict(self.conditions)

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``candidates/NAME.verdict.json``."""
        return {
            "candidate": self.name,
            "verdict": self.verdict,
            "passed": self.verdict == "passed",
            "conditions": [attrs.asdict(condition) for condition in self.conditions],
            "signature_changes": list(self.changes),
        }


def judge_candidate(
    name: str,
    deployed: Bundle,
    candidate: Bundle,
    stream: Stream,
    experiment: Experiment,
    gate: GateSettings,
    console: Console,
) -> UpdateResult:
    """Judge a candidate on the new data and on all earlier experiences.

    Args:
        name: name of the candidate.
        deployed: deployed bundle.
        candidate: bundle of the candidate.
        stream: stream whose last experience is the new data.
        experiment: experiment of the candidate.
        gate: thresholds of the gate.
        console: console for progress messages.
    """
    kind = PolicyModel if candidate.signature.kind == "policy" else Model
    before, after = kind(deployed), kind(candidate)
    *others, new = stream.evaluated
    earlier = [e for e in others if (source := source_of(e, experiment.evaluation)).kind != "arrays" or len(source)]
    comparisons = [(f"gain on {new.name}", new, gate.gain)]
    comparisons += [(f"forgetting on {experience.name}", experience, -gate.forgetting) for experience in earlier]
    conditions = []
    for number, (condition, experience, minimum) in enumerate(comparisons, 1):
        console.print(f"judging {condition} ({number} of {len(comparisons)})", soft_wrap=True)
        conditions.append(_compare_scores(condition, before, after, experience, experiment, minimum))
    conditions.append(_compare_latency(before, after, new, experiment, gate.slower))
    changes = tuple(deployed.signature.changes(candidate.signature))
    return UpdateResult(name=name, path=candidate.path, conditions=tuple(conditions), changes=changes)


def _compare_scores(
    name: str, before: Model, after: Model, experience: Experience, experiment: Experiment, minimum: float
) -> GateCondition:
    scores = (held_out_scores(model, experience, experiment.evaluation) for model in (before, after))
    return score_condition(name, paired_difference(*scores), minimum, experience.index)


def _compare_latency(
    before: Model, after: Model, experience: Experience, experiment: Experiment, maximum_ratio: float
) -> GateCondition:
    old, new = latency(before, after, experience, experiment.evaluation)
    verdict: Verdict = "passed" if new <= maximum_ratio * old else "rejected"
    reason = (
        f"{new:.3f} ms per prediction, deployed model {old:.3f} ms; ratio {new / old:.2f}, at most {maximum_ratio:g}"
    )
    return GateCondition(name="latency", verdict=verdict, value=new / old, limit=maximum_ratio, reason=reason)
