"""The model card: what a model is for, what it learned from, how well it does, and what it does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlcl.deploy.exporting.data_section import data_section
from rlcl.deploy.signature import Field, Signature
from rlcl.evaluation.results import measure_named
from rlcl.experiment import Experiment
from rlcl.launch.restored import Restored
from rlcl.registry import name_of
from rlcl.report.markdown import r_markdown, table_markdown
from rlcl.report.tables import format_number
from rlcl.statistics.intervals import Summary, summarize
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import Run, find_runs, trained_names
from rlcl.types import methods_of

__all__ = ["CHANGES", "annex", "bulleted", "data", "joined", "limits", "made", "model_card", "use"]

Array = np.ndarray[Any, Any]

TEXTS = 12  # of a column that are named

# Regulation (EU) 2024/1689, Annex IV; a section of the card supports these points of it.
ANNEX = (
    ("Objective", "1 (a) intended purpose; 4 appropriateness of the metrics"),
    ("Use", "1 (h) instructions for use; 3 input data, capabilities and limits"),
    ("Data", "2 (d) data requirements, provenance and characteristics"),
    ("Results", "2 (g) validation and testing, metrics; 3 degrees of accuracy"),
    ("Limits", "3 foreseeable limits and unintended outcomes"),
    ("How it was made", "1 (c) versions; 2 (a) steps of development; 2 (b) design; 2 (c) computational resources"),
    (
        "Changes and monitoring",
        "2 (f) predetermined changes; 6 later changes; 9 post-market monitoring",
    ),
)


def model_card(
    run: Run, restored: Restored, signature: Signature, manifest: Mapping[str, Any], facts: Mapping[str, Any]
) -> str:
    """Markdown, its sections mapped to Annex IV of the EU AI Act.

    Args:
        run: that is exported.
        restored: from it.
        signature, manifest: of the bundle.
        facts: the profile of the data.
    """
    experiment = restored.experiment
    seeds = tuple(each for each in find_runs(run.group) if each.finished)
    over = f"Intervals are over {len(seeds)} seed{'s' * (len(seeds) != 1)} of training, not over samples of the world."
    sections = {
        "Objective": _objective(experiment, run, seeds),
        "Use": use(experiment, signature),
        "Data": data(restored, manifest, facts),
        "Results": _results(run, seeds),
        "Limits": limits(signature, over),
        "How it was made": made(restored, manifest),
        "Changes and monitoring": CHANGES,
        "Annex IV of the EU AI Act": annex(),
    }
    origin = manifest["run"]
    head = f"# {experiment.name}\n\nA {signature.kind}: run {origin['name']}/{origin['hash']}, seed {origin['seed']}."
    return "\n\n".join([head, *(f"## {title}\n\n{text}" for title, text in sections.items())]) + "\n"


def _objective(experiment: Experiment, run: Run, seeds: Sequence[Run]) -> str:
    objective = experiment.objective
    if objective is None:
        return "None was stated."
    found = read_json(run.group / "verdict.json")
    judged = found.get("judgements") or _judged(experiment, seeds)
    rows = [[j["condition"], _shown(j.get("value")), j["said"], j.get("reason", "")] for j in judged]
    parts = [objective.statement or "No statement was made.", bulleted("Obstacles", objective.obstacles)]
    if rows:
        count = found.get("seeds", len(seeds))
        title = f"Verdict over {count} seed{'s' * (count != 1)}"
        parts.append(f"{title}:\n\n{table_markdown(['condition', 'value', 'verdict', 'reason'], rows)}")
    return joined(parts)


def _judged(experiment: Experiment, seeds: Sequence[Run]) -> list[dict[str, Any]]:
    """Conditions by the mean over seeds, of a run that no verdict was written of."""
    rows = []
    for criterion in experiment.objective.criteria if experiment.objective else ():
        values = [seed.metrics[criterion.metric] for seed in seeds if criterion.metric in seed.metrics]
        value = float(np.mean(values)) if values else None
        said = "undecided" if value is None else "met" if criterion.met(value) else "not met"
        rows.append({"condition": str(criterion), "value": value, "said": said})
    return rows


def use(experiment: Experiment, signature: Signature) -> str:
    """What the model is for, and how it is asked."""
    objective = experiment.objective
    fields = [*signature.inputs, *signature.state]
    rows = [[f.name, f"(B{''.join(f', {n}' for n in f.shape)})", f.dtype, _bounds(f)] for f in fields]
    task = [["task_id", "(B)", "int64", f"0 to {signature.tasks - 1}"]] if signature.tasks else []
    outputs = ", ".join(f"`{f.name}` (B{''.join(f', {n}' for n in f.shape)}) {f.dtype}" for f in signature.outputs)
    classes = f"Classes: {', '.join(signature.classes)}." if signature.classes else ""
    call = "model.predict(observation)" if signature.kind == "policy" else "model.predict(inputs)"
    return joined(
        [
            bulleted("Intended", objective.intended_use if objective else ()),
            bulleted("Out of scope", objective.out_of_scope if objective else ()),
            f"```python\nimport rlcl.deploy\n\nmodel = rlcl.deploy.load(BUNDLE)\nanswers = {call}\n```",
            "Raw inputs, as the training data had them; other values are refused:\n\n"
            + table_markdown(["input", "shape", "dtype", "bounds"], [*rows, *task]),
            *map(_columns, signature.inputs),
            f"Outputs: {outputs}.",
            classes,
        ]
    )


def _bounds(field: Field) -> str:
    if field.columns:
        return "of each column" + (", or missing (NaN, null)" if field.missing else "")
    ends = ["" if end is None else f"{np.min(end) if i == 0 else np.max(end):g}" for i, end in enumerate(_ends(field))]
    missing = ", or missing (NaN, null)" if field.missing else ""
    return ("none" if ends == ["", ""] else f"{ends[0] or '-inf'} to {ends[1] or 'inf'}") + missing


def _columns(field: Field) -> str:
    """What the values of a row of a table are, in their order."""
    if not field.columns:
        return ""
    ends = zip(*(np.broadcast_to(end, field.shape) for end in _ends(field)), strict=True)
    told = [
        f"`{column.name}` ({_numbered(column.categories) if column.categorical else f'{low:g} to {high:g}'})"
        for column, (low, high) in zip(field.columns, ends, strict=True)
    ]
    return f"Columns of `{field.name}`, in this order: {', '.join(told)}."


def _numbered(texts: Sequence[str]) -> str:
    named = ", ".join(f"{number} for {text}" for number, text in enumerate(texts[:TEXTS]))
    return named if len(texts) <= TEXTS else f"{named}, ... {len(texts)} in `signature.json`"


def _ends(field: Field) -> tuple[Any, Any]:
    return field.low, field.high


def data(restored: Restored, manifest: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """What it learned from."""
    stream, count = restored.trainer.stream, len(facts["experiences"])
    told = f"A stream of {count} experiences, learned in this order." if count > 1 else "One experience."
    return joined(
        [
            f"{told} Tasks are {stream.visibility.task_ids}, boundaries {stream.visibility.boundaries}.",
            data_section(facts),
            f"All of it is in `profile.json`. SHA-256 of the data: `{manifest['data']}`; of every held-out set in "
            "`manifest.json`.",
        ]
    )


def _results(run: Run, seeds: Sequence[Run]) -> str:
    names, measure = list(run.summary["experiences"]), str(run.summary["measures"][0])
    matrices = np.array([_matrix(seed) for seed in seeds])
    sign = measure_named(measure).sign
    last = sign * matrices[:, -1]
    own = sign * _matrix(run)[-1]
    each = [[name, format_number(own[i]), *_interval(last[:, i])] for i, name in enumerate(names[: len(own)])]
    common = [name for name in run.metrics if all(name in seed.metrics for seed in seeds)]
    metrics = [[m, format_number(run.metrics[m]), *_interval([s.metrics[m] for s in seeds])] for m in common]
    over = f"mean of {len(seeds)} seeds" if len(seeds) > 1 else "1 seed"
    columns = ["this model", f"{over}", "95 % interval"]
    return joined(
        [
            f"{measure_named(measure).name} on held-out data, after each experience ({over}):",
            r_markdown(matrices.mean(0), names, measure, trained_names(run.summary)),
            "At the end, experience by experience:",
            table_markdown(["experience", *columns], each),
            table_markdown(["metric", *columns], metrics),
        ]
    )


def _matrix(run: Run) -> Array:
    return np.array([[np.nan if v is None else v for v in row] for row in run.summary["R"]], float)


def _interval(values: Any) -> list[str]:
    found: Summary = summarize([float(v) for v in values])
    ends = "" if np.isnan(found.low) else f"{format_number(found.low)} to {format_number(found.high)}"
    return ["" if np.isnan(found.mean) else format_number(found.mean), ends]


def limits(signature: Signature, intervals: str) -> str:
    """What is not known of the model; ``intervals`` says what those of the results are over."""
    known = [
        "It answers for the experiences above; of others, and of what drifts away from them, nothing is known.",
        intervals,
    ]
    if signature.kind == "classifier":
        known.append("Probabilities are the network's own; nothing calibrated them.")
        known.append("It names one of its classes for whatever it is shown.")
    if signature.kind == "policy":
        known.append("It acts greedily, and was evaluated in simulation.")
    return "\n".join(f"- {text}" for text in known)


def made(restored: Restored, manifest: Mapping[str, Any]) -> str:
    """Learner, methods, costs, versions, and the check of the graph."""
    learner, parity, costs = restored.trainer.learner, manifest["parity"], manifest["costs"]
    methods = [name_of("method", method) for method in methods_of(learner)]
    spent = {key: value for key, value in costs.items() if value is not None}
    trained = manifest["versions"]["trained"]
    code = (manifest["code"]["trained"] or {}).get("revision", "unknown")
    return joined(
        [
            f"Learner `{name_of('learner', learner)}`, methods {', '.join(f'`{m}`' for m in methods) or 'none'}; every "
            "setting is in `experiment.yaml`.",
            table_markdown(["cost", ""], [[key.replace("_", " "), _shown(value)] for key, value in spent.items()]),
            f"Code revision `{code}`; {', '.join(f'{k} {v}' for k, v in trained.items() if v)}. Licences of all "
            "dependencies are in `manifest.json`.",
            f"The ONNX graph was compared with the learner on {parity['rows']:,} rows: {parity['ties']} ties decided "
            f"otherwise, greatest relative difference {parity['greatest_relative_difference']:.1e}.",
        ]
    )


CHANGES = """The bundle does not change: one changed byte is refused. `rlcl serve` logs what is asked and answered,
`rlcl monitor` compares it with `reference.safetensors`, and `rlcl update` trains a candidate that replaces this model
only if it passes a gate on the held-out sets of all experiences. Every step is a line of `audit.jsonl` beside it."""


def annex() -> str:
    """Which sections support which points of the EU AI Act."""
    return joined(
        [
            "Supporting documentation, not a claim of compliance. Sections of this card and the points of Annex IV of "
            "Regulation (EU) 2024/1689 that they may support:",
            table_markdown(["section", "points"], [list(row) for row in ANNEX]),
            "Not covered, and the provider's to write: 1 (b), (d) to (g), 2 (e) human oversight, 2 (h) cybersecurity, "
            "5 risk management, 7 standards applied, 8 declaration of conformity.",
        ]
    )


def bulleted(title: str, items: Sequence[str]) -> str:
    """A list in Markdown, nothing where there are no items."""
    return f"{title}:\n\n" + "\n".join(f"- {item}" for item in items) if items else ""


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else format_number(float(value))


def joined(parts: Sequence[str]) -> str:
    """Paragraphs, those that are empty left out."""
    return "\n\n".join(part for part in parts if part)
