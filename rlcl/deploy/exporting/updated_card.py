"""The model card of a candidate: every figure is its own, none its parent's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlcl.deploy.exporting.card import CHANGES, annex, bulleted, data, joined, limits, made, use
from rlcl.deploy.signature import Signature
from rlcl.deploy.updating.gate import Condition
from rlcl.experiment import Experiment
from rlcl.launch.restored import Restored
from rlcl.report.markdown import table_markdown
from rlcl.report.tables import format_number

__all__ = ["updated_card"]

OVER = "Intervals are over held-out samples, of this one candidate, not over seeds of training."


def updated_card(
    restored: Restored,
    signature: Signature,
    manifest: Mapping[str, Any],
    facts: Mapping[str, Any],
    conditions: Sequence[Condition],
) -> str:
    """Markdown with the sections of :func:`rlcl.deploy.exporting.card.model_card`.

    Args:
        restored: the candidate.
        signature, manifest: of its bundle; the last entry of ``updates`` is this update.
        facts: the profile of all that was learned.
        conditions: of its gate.
    """
    experiment, origin, update = restored.experiment, manifest["run"], manifest["updates"][-1]
    sections = {
        "Objective": _objective(experiment),
        "Use": use(experiment, signature),
        "Data": data(restored, manifest, facts),
        "Results": _results(conditions),
        "Limits": limits(signature, OVER),
        "How it was made": joined([_updates(manifest["updates"]), made(restored, manifest)]),
        "Changes and monitoring": CHANGES,
        "Annex IV of the EU AI Act": annex(),
    }
    head = (
        f"# {experiment.name}\n\nA {signature.kind}: candidate {update['candidate']}, which learned "
        f"{update['experience']} on {update['at']} from the bundle `{update['parent']}`; run "
        f"{origin['name']}/{origin['hash']}, seed {origin['seed']}, began it."
    )
    return "\n\n".join([head, *(f"## {title}\n\n{text}" for title, text in sections.items())]) + "\n"


def _objective(experiment: Experiment) -> str:
    """What is asked; conditions are of a run's evaluation, which a candidate has not been through."""
    objective = experiment.objective
    if objective is None:
        return "None was stated."
    asked = [*objective.success, *(f"{name} <= {limit:,.10g}" for name, limit in objective.constraints.limits.items())]
    return joined(
        [
            objective.statement or "No statement was made.",
            bulleted("Obstacles", objective.obstacles),
            bulleted("Conditions, which were judged of the run alone, and not of this candidate", asked),
        ]
    )


def _results(conditions: Sequence[Condition]) -> str:
    """The gate's figures: the candidate beside the model that it is to replace."""
    rows = [
        [each.name, _number(each.after), _number(each.before), _between(each), f"{each.samples or ''}", each.verdict]
        for each in conditions
    ]
    head = ["condition", "this model", "before", "difference (95 % interval)", "samples", "verdict"]
    return joined(
        [
            "On held-out data, beside the bundle that it was made from; a score is whether a class is right, of "
            "numbers the negated mean squared error, of a policy an episode's return:",
            table_markdown(head, rows),
            "\n".join(f"- {each.name}: {each.reason}" for each in conditions),
        ]
    )


def _between(condition: Condition) -> str:
    if condition.low is None or condition.high is None:
        return ""
    ends = f"{format_number(condition.low)} to {format_number(condition.high)}"
    return f"{format_number(condition.value)} ({ends})"


def _number(value: float | None) -> str:
    return "" if value is None else format_number(value)


def _updates(updates: Sequence[Mapping[str, Any]]) -> str:
    rows = [[u["at"], u["candidate"], u["experience"], str(u["from"]), " ".join(u["changes"])] for u in updates]
    return "Learned since the run:\n\n" + table_markdown(["at", "candidate", "learned", "from", "changes"], rows)
