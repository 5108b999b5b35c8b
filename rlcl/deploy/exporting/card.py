"""Model card of an exported run: objective, use, data, results, limits, development and monitoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlcl.deploy.exporting.profile_tables import profile_tables
from rlcl.deploy.signature import Field, Signature
from rlcl.evaluation.results import measure_named
from rlcl.experiment import Experiment
from rlcl.launch.restored_run import RestoredRun
from rlcl.registry import name_of
from rlcl.report.markdown import r_markdown, table_markdown
from rlcl.report.tables import format_number
from rlcl.statistics.intervals import SeedSummary, summarize
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import StoredRun, find_runs, row_names
from rlcl.types import methods_of

__all__ = [
    "CHANGES_SECTION",
    "annex_section",
    "bullet_list",
    "data_section",
    "development_section",
    "limits_section",
    "model_card",
    "paragraphs",
    "use_section",
]

Array = np.ndarray[Any, Any]

MAX_NAMED_CATEGORIES = 12  # per column

# Sections of the card and the points of Annex IV of Regulation (EU) 2024/1689 that they support.
ANNEX = (
    ("Objective", "1 (a) intended purpose; 4 appropriateness of the metrics"),
    ("Use", "1 (h) instructions for use; 3 input data, capabilities and limits"),
    ("Data", "2 (d) data requirements, provenance and characteristics"),
    ("Results", "2 (g) validation and testing, metrics; 3 degrees of accuracy"),
    ("Limits", "3 foreseeable limits and unintended outcomes"),
    ("Development", "1 (c) versions; 2 (a) steps of development; 2 (b) design; 2 (c) computational resources"),
    (
        "Changes and monitoring",
        "2 (f) predetermined changes; 6 later changes; 9 post-market monitoring",
    ),
)


def model_card(
    run: StoredRun, restored: RestoredRun, signature: Signature, manifest: Mapping[str, Any], profile: Mapping[str, Any]
) -> str:
    """Return the model card in Markdown, with sections that refer to Annex IV of the EU AI Act.

    Args:
        run: exported run.
        restored: the run's restored learner.
        signature, manifest: signature and manifest of the bundle.
        profile: data profile.
    """
    experiment = restored.experiment
    finished_runs = tuple(seed_run for seed_run in find_runs(run.group) if seed_run.finished)
    count = len(finished_runs)
    intervals = (
        f"Confidence intervals describe the variation over {count} training seed{'s' * (count != 1)}, not the "
        "uncertainty of a finite test set."
    )
    sections = {
        "Objective": _objective(experiment, run, finished_runs),
        "Use": use_section(experiment, signature),
        "Data": data_section(restored, manifest, profile),
        "Results": _results(run, finished_runs),
        "Limits": limits_section(signature, intervals),
        "Development": development_section(restored, manifest),
        "Changes and monitoring": CHANGES_SECTION,
        "Annex IV of the EU AI Act": annex_section(),
    }
    origin = manifest["run"]
    head = (
        f"# {experiment.name}\n\nKind of model: {signature.kind}. Exported from run {origin['name']}/{origin['hash']}, "
        f"seed {origin['seed']}."
    )
    return "\n\n".join([head, *(f"## {title}\n\n{text}" for title, text in sections.items())]) + "\n"


def _objective(experiment: Experiment, run: StoredRun, seed_runs: Sequence[StoredRun]) -> str:
    objective = experiment.objective
    if objective is None:
        return "The experiment states no objective."
    verdict = read_json(run.group / "verdict.json")
    judgements = verdict.get("judgements") or _mean_judgements(experiment, seed_runs)
    rows = [[j["condition"], _format_value(j.get("value")), j["said"], j.get("reason", "")] for j in judgements]
    parts = [objective.statement or "The objective has no statement.", bullet_list("Obstacles", objective.obstacles)]
    if rows:
        count = verdict.get("seeds", len(seed_runs))
        title = f"Verdict over {count} seed{'s' * (count != 1)}"
        parts.append(f"{title}:\n\n{table_markdown(['condition', 'value', 'verdict', 'reason'], rows)}")
    return paragraphs(parts)


def _mean_judgements(experiment: Experiment, seed_runs: Sequence[StoredRun]) -> list[dict[str, Any]]:
    """Judge each condition by the mean over seeds; used if the runs have no verdict file."""
    rows = []
    for criterion in experiment.objective.criteria if experiment.objective else ():
        values = [run.metrics[criterion.metric] for run in seed_runs if criterion.metric in run.metrics]
        value = float(np.mean(values)) if values else None
        verdict = "undecided" if value is None else "met" if criterion.is_met(value) else "not met"
        rows.append({"condition": str(criterion), "value": value, "said": verdict})
    return rows


def use_section(experiment: Experiment, signature: Signature) -> str:
    """Return the section about the intended use and the interface."""
    objective = experiment.objective
    fields = [*signature.inputs, *signature.state]
    rows = [[f.name, f"(B{''.join(f', {n}' for n in f.shape)})", f.dtype, _bounds(f)] for f in fields]
    task = [["task_id", "(B)", "int64", f"0 to {signature.tasks - 1}"]] if signature.tasks else []
    outputs = ", ".join(f"`{f.name}` (B{''.join(f', {n}' for n in f.shape)}) {f.dtype}" for f in signature.outputs)
    classes = f"Classes: {', '.join(signature.classes)}." if signature.classes else ""
    call = "model.predict(observation)" if signature.kind == "policy" else "model.predict(inputs)"
    return paragraphs(
        [
            bullet_list("Intended", objective.intended_use if objective else ()),
            bullet_list("Out of scope", objective.out_of_scope if objective else ()),
            f"```python\nimport rlcl.deploy\n\nmodel = rlcl.deploy.load(BUNDLE)\nanswers = {call}\n```",
            "Inputs are raw values in the form of the training data. Values out of bounds are rejected.\n\n"
            + table_markdown(["input", "shape", "dtype", "bounds"], [*rows, *task]),
            *map(_columns, signature.inputs),
            f"Outputs: {outputs}.",
            classes,
        ]
    )


def _bounds(field: Field) -> str:
    if field.columns:
        return "of each column" + (", or missing (NaN, null)" if field.missing else "")
    low = "" if field.low is None else f"{np.min(field.low):g}"
    high = "" if field.high is None else f"{np.max(field.high):g}"
    missing = ", or missing (NaN, null)" if field.missing else ""
    return (f"{low or '-inf'} to {high or 'inf'}" if low or high else "none") + missing


def _columns(field: Field) -> str:
    """List the columns of a table in their order, with bounds or categories."""
    if not field.columns:
        return ""
    low, high = (np.broadcast_to(np.asarray(bound), field.shape) for bound in (field.low, field.high))
    columns = [
        f"`{column.name}` ({_categories(column.categories) if column.categorical else f'{low[i]:g} to {high[i]:g}'})"
        for i, column in enumerate(field.columns)
    ]
    return f"Columns of `{field.name}`, in this order: {', '.join(columns)}."


def _categories(categories: Sequence[str]) -> str:
    shown = ", ".join(f"{index} for {name}" for index, name in enumerate(categories[:MAX_NAMED_CATEGORIES]))
    if len(categories) <= MAX_NAMED_CATEGORIES:
        return shown
    return f"{shown}, ...; all {len(categories)} categories are in `signature.json`"


def data_section(restored: RestoredRun, manifest: Mapping[str, Any], profile: Mapping[str, Any]) -> str:
    """Return the section about the training and held-out data."""
    stream, count = restored.trainer.stream, len(profile["experiences"])
    experiences = f"A stream of {count} experiences, learned in this order." if count > 1 else "One experience."
    return paragraphs(
        [
            f"{experiences} Task ids: {stream.visibility.task_ids}. Task boundaries: {stream.visibility.boundaries}.",
            profile_tables(profile),
            f"The complete data profile is in `profile.json`. SHA-256 of the data: `{manifest['data']}`. The SHA-256 "
            "of every held-out set is in `manifest.json`.",
        ]
    )


def _results(run: StoredRun, seed_runs: Sequence[StoredRun]) -> str:
    names, measure = list(run.summary["experiences"]), str(run.summary["measures"][0])
    matrices = np.array([_matrix(seed_run) for seed_run in seed_runs])
    sign = measure_named(measure).sign
    last_rows = sign * matrices[:, -1]
    row = sign * _matrix(run)[-1]
    experiences = [
        [name, format_number(row[i]), *_interval(last_rows[:, i])] for i, name in enumerate(names[: len(row)])
    ]
    common = [name for name in run.metrics if all(name in seed_run.metrics for seed_run in seed_runs)]
    metrics = [[m, format_number(run.metrics[m]), *_interval([r.metrics[m] for r in seed_runs])] for m in common]
    mean = f"mean of {len(seed_runs)} seeds" if len(seed_runs) > 1 else "1 seed"
    columns = ["this model", mean, "95 % interval"]
    return paragraphs(
        [
            f"{measure_named(measure).name} on held-out data after each experience ({mean}):",
            r_markdown(matrices.mean(0), names, measure, row_names(run.summary)),
            "Results per experience after training:",
            table_markdown(["experience", *columns], experiences),
            table_markdown(["metric", *columns], metrics),
        ]
    )


def _matrix(run: StoredRun) -> Array:
    return np.array([[np.nan if v is None else v for v in row] for row in run.summary["R"]], float)


def _interval(values: Any) -> list[str]:
    summary: SeedSummary = summarize([float(v) for v in values])
    interval = "" if np.isnan(summary.low) else f"{format_number(summary.low)} to {format_number(summary.high)}"
    return ["" if np.isnan(summary.mean) else format_number(summary.mean), interval]


def limits_section(signature: Signature, intervals: str) -> str:
    """Return the section about the limits; ``intervals`` states what the confidence intervals describe."""
    limits = [
        "The model was evaluated on the experiences above only. Its performance on other data, and on data that drift "
        "away from them, is unknown.",
        intervals,
    ]
    if signature.kind == "classifier":
        limits.append("Probabilities are the outputs of the network; they are not calibrated.")
        limits.append("Every input is assigned to one of the classes, including inputs that belong to none of them.")
    if signature.kind == "policy":
        limits.append("The policy returns greedy actions. It was evaluated in simulation.")
    return "\n".join(f"- {text}" for text in limits)


def development_section(restored: RestoredRun, manifest: Mapping[str, Any]) -> str:
    """Return the section about learner, methods, costs, versions and the parity check of the graph."""
    learner, parity, costs = restored.trainer.learner, manifest["parity"], manifest["costs"]
    methods = [name_of("method", method) for method in methods_of(learner)]
    known_costs = {key: value for key, value in costs.items() if value is not None}
    versions = manifest["versions"]["trained"]
    revision = (manifest["code"]["trained"] or {}).get("revision", "unknown")
    return paragraphs(
        [
            f"Learner: `{name_of('learner', learner)}`. Methods: {', '.join(f'`{m}`' for m in methods) or 'none'}. All "
            "settings are in `experiment.yaml`.",
            table_markdown(
                ["cost", "value"], [[key.replace("_", " "), _format_value(value)] for key, value in known_costs.items()]
            ),
            f"Code revision `{revision}`; {', '.join(f'{k} {v}' for k, v in versions.items() if v)}. The licences of "
            "all dependencies are in `manifest.json`.",
            f"The ONNX graph was compared with the learner on {parity['rows']:,} rows. Ties with different decisions: "
            f"{parity['ties']}. Maximum relative difference: {parity['greatest_relative_difference']:.1e}.",
        ]
    )


CHANGES_SECTION = """The bundle is immutable: rlcl rejects it if the checksum of a file differs. `rlcl serve` logs
requests and answers. `rlcl monitor` compares them with `reference.safetensors`. `rlcl update` trains a candidate, which
may replace this model if it passes a gate on the held-out sets of all experiences. Every update, promotion and rollback
is recorded in `audit.jsonl` of the deployment."""


def annex_section() -> str:
    """Return the section about the points of the EU AI Act that the other sections support."""
    return paragraphs(
        [
            "This card is supporting documentation, not a claim of compliance. Its sections may support these points "
            "of Annex IV of Regulation (EU) 2024/1689:",
            table_markdown(["section", "points"], [list(row) for row in ANNEX]),
            "Not covered; to be written by the provider: 1 (b), (d) to (g), 2 (e) human oversight, 2 (h) "
            "cybersecurity, 5 risk management, 7 standards applied, 8 declaration of conformity.",
        ]
    )


def bullet_list(title: str, items: Sequence[str]) -> str:
    """Return a titled list in Markdown; empty if there are no items."""
    return f"{title}:\n\n" + "\n".join(f"- {item}" for item in items) if items else ""


def _format_value(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else format_number(float(value))


def paragraphs(parts: Sequence[str]) -> str:
    """Join the non-empty parts as paragraphs."""
    return "\n\n".join(part for part in parts if part)
