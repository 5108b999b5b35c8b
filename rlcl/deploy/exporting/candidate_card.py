"""Model card of a candidate; all its figures describe the candidate itself, none its parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlcl.deploy.exporting.card import (
    CHANGES_SECTION,
    annex_section,
    bullet_list,
    data_section,
    development_section,
    limits_section,
    paragraphs,
    use_section,
)
from rlcl.deploy.signature import Signature
from rlcl.deploy.updating.gate import GateCondition
from rlcl.experiment import Experiment
from rlcl.launch.restored_run import RestoredRun
from rlcl.report.markdown import table_markdown
from rlcl.report.tables import format_number

__all__ = ["candidate_card"]

INTERVALS = (
    "Confidence intervals describe held-out samples of this one candidate, not the variation over training seeds."
)


def candidate_card(
    restored: RestoredRun,
    signature: Signature,
    manifest: Mapping[str, Any],
    profile: Mapping[str, Any],
    conditions: Sequence[GateCondition],
) -> str:
    """Return the model card in Markdown, with the sections of :func:`rlcl.deploy.exporting.card.model_card`.

    Args:
        restored: restored run with the candidate's learner.
        signature, manifest: signature and manifest of its bundle; the last entry of ``updates`` is this update.
        profile: data profile of all experiences.
        conditions: conditions of its gate.
    """
    experiment, origin, update = restored.experiment, manifest["run"], manifest["updates"][-1]
    sections = {
        "Objective": _objective(experiment),
        "Use": use_section(experiment, signature),
        "Data": data_section(restored, manifest, profile),
        "Results": _results(conditions),
        "Limits": limits_section(signature, INTERVALS),
        "Development": paragraphs([_updates(manifest["updates"]), development_section(restored, manifest)]),
        "Changes and monitoring": CHANGES_SECTION,
        "Annex IV of the EU AI Act": annex_section(),
    }
    head = (
        f"# {experiment.name}\n\nKind of model: {signature.kind}. Candidate {update['candidate']}, trained on "
        f"{update['experience']} at {update['at']}, starting from the bundle `{update['parent']}`. The first bundle "
        f"was exported from run {origin['name']}/{origin['hash']}, seed {origin['seed']}."
    )
    return "\n\n".join([head, *(f"## {title}\n\n{text}" for title, text in sections.items())]) + "\n"


def _objective(experiment: Experiment) -> str:
    """Return the objective; its conditions are listed without verdicts, which only the evaluation of a run gives."""
    objective = experiment.objective
    if objective is None:
        return "The experiment states no objective."
    conditions = [
        *objective.success,
        *(f"{name} <= {limit:,.10g}" for name, limit in objective.constraints.limits.items()),
    ]
    return paragraphs(
        [
            objective.statement or "The objective has no statement.",
            bullet_list("Obstacles", objective.obstacles),
            bullet_list("Conditions, judged for the run but not for this candidate", conditions),
        ]
    )


def _results(conditions: Sequence[GateCondition]) -> str:
    """Return the figures of the gate for the candidate and the deployed model."""
    rows = [
        [c.name, _format_score(c.after), _format_score(c.before), _difference(c), f"{c.samples or ''}", c.verdict]
        for c in conditions
    ]
    head = ["condition", "this model", "deployed model", "difference (95 % interval)", "samples", "verdict"]
    return paragraphs(
        [
            "Comparison with the parent bundle on held-out data. A score is 1 for a correct and 0 for a wrong class, "
            "the negated mean squared error of numbers, or the return of an episode:",
            table_markdown(head, rows),
            "\n".join(f"- {condition.name}: {condition.reason}" for condition in conditions),
        ]
    )


def _difference(condition: GateCondition) -> str:
    if condition.low is None or condition.high is None:
        return ""
    interval = f"{format_number(condition.low)} to {format_number(condition.high)}"
    return f"{format_number(condition.value)} ({interval})"


def _format_score(value: float | None) -> str:
    return "" if value is None else format_number(value)


def _updates(updates: Sequence[Mapping[str, Any]]) -> str:
    rows = [[u["at"], u["candidate"], u["experience"], str(u["from"]), " ".join(u["changes"])] for u in updates]
    return "Updates since the run:\n\n" + table_markdown(["time", "candidate", "experience", "from", "changes"], rows)
