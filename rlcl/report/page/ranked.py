"""The figures of a comparison: which learner is best, verdicts, profiles and curves; drawn as they were computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from attrs import frozen
from markupsafe import Markup

from rlcl.comparison.tables import TABLES, Report
from rlcl.comparison.tables import Row as TableRow
from rlcl.comparison.verdicts import Comparison, numbers, p_words
from rlcl.evaluation.meaning import Meaning
from rlcl.evaluation.metrics import PERFORMANCE
from rlcl.evaluation.results import Array
from rlcl.report.page.figures import ends_told, negated, spread
from rlcl.report.page.parts import Cell, Data, Figure, Panel, Table, Value, interval_text, number
from rlcl.report.page.svg import Line, Scale, interval_plot, line_chart

__all__ = [
    "Ranked",
    "aggregates_figure",
    "curves_figure",
    "learners_figure",
    "left_out_figure",
    "profiles_figure",
    "refused_figure",
    "rows_data",
    "streams_figure",
    "verdicts_figure",
]

LINES = 8  # of one chart: more cannot be told apart
PAIRS = 40  # verdicts that are shown; the data hold all
STUDENT = "95 % Student interval over seeds"
BOOTSTRAP = "95 % interval by the stratified bootstrap"


@frozen(eq=False)
class Ranked:
    """A comparison with all of its tables.

    Args:
        report: what was compared.
        tables: by name, see :data:`rlcl.comparison.tables.TABLES`.
    """

    report: Report
    tables: Mapping[str, Sequence[TableRow]]

    @classmethod
    def of(cls, report: Report) -> Ranked:
        return cls(report, {name: make(report) for name, make in TABLES.items()})

    @classmethod
    def of_learners(cls, report: Report) -> Ranked:
        """With the means of the learners alone."""
        return cls(report, {"aggregates": (), "learners": TABLES["learners"](report)})

    @property
    def learners(self) -> tuple[str, ...]:
        """The best first where there is one order for all streams, else as they were given."""
        names = [row["learner"] for row in self.tables["aggregates"]]
        if len(self.report.scores.streams) == 1:
            names = [row["learner"] for row in self.tables["learners"]]
        return tuple(dict.fromkeys([*names, *self.report.scores.learners]))

    @property
    def metric(self) -> str:
        """Its name; of several streams each may have its own."""
        scores = self.report.scores
        return ", ".join(dict.fromkeys(map(scores.metric, scores.streams)))

    @property
    def better(self) -> str:
        """A sentence on what the values mean."""
        meanings: list[Meaning] = [cell.meaning for cell in self.report.scores.cells]
        return f"{meanings[0].better.capitalize()} is better.{negated(m for m in meanings if m.topic == PERFORMANCE)}"


def rows_data(name: str, rows: Sequence[TableRow]) -> Data:
    """Rows with the same keys, with every digit."""
    columns = tuple(rows[0]) if rows else ()
    return Data(name, columns, tuple(tuple(_value(row[key]) for key in columns) for row in rows))


def _value(value: object) -> Value:
    return value if value is None or isinstance(value, str | int | float) else str(value)


def refused_figure(paths: Sequence[str], refusal: str) -> Figure:
    """Why runs are not ranked."""
    return Figure(
        "Not ranked",
        "These runs cannot be compared, and rlcl compare refuses them for the same reason. Each experiment is shown by "
        "itself.",
        Data("not-ranked", ("path", "reason"), tuple((path, refusal) for path in paths)),
        table=Table(("reason",), ((Cell(refusal, kind="wrap"),),)),
    )


def left_out_figure(left_out: Sequence[tuple[str, str]]) -> Figure | None:
    """The runs that a comparison leaves out, each with its reason; None where it leaves out none."""
    rows = tuple((Cell(path, heading=True), Cell(reason, kind="wrap")) for path, reason in left_out)
    return None if not rows else Figure(
        "Left out of the comparison",
        "A learner looks better without the seeds that it failed with.",
        Data("left-out", ("path", "reason"), tuple(left_out)),
        table=Table(("run", "reason"), rows),
    )  # fmt: skip


def learners_figure(found: Ranked, stream: str, name: str = "learners") -> Figure:
    """Each learner on one stream, the best first."""
    rows = [row for row in found.tables["learners"] if row["stream"] == stream]
    scores, several = found.report.scores, len(found.report.scores.streams) > 1
    values = [list(scores.values(row["learner"], stream).values()) for row in rows]
    scale = _scale([row[key] for row in rows for key in ("mean", "mean_low", "mean_high")], values)
    cells = []
    for row, points in zip(rows, values, strict=True):
        low, high = _ends(row, "mean")
        plot = interval_plot(row["mean"], low, high, scale, points if len(points) > 1 else ())
        iqm = f"{number(row['iqm'])} ({interval_text(*_ends(row, 'iqm'))})".removesuffix(" ()")
        texts = [number(row["mean"]), interval_text(low, high), iqm, *(number(row[k]) for k in ("median", "least"))]
        texts += [number(row["greatest"]), str(row["seeds"])]
        cells.append((Cell(row["learner"], heading=True), Cell(plot=plot), *map(Cell, texts)))
    columns = ("#mean", "#interval", "#IQM", "#median", "#least", "#greatest", "#seeds")
    return Figure(
        f"{scores.metric(stream)}{f' on {stream}' if several else ' of each learner'}",
        f"Best mean first. {found.better} Dot and bar: the mean with its {STUDENT}; small dots are the seeds. IQM: "
        f"mean of the middle half, with its {BOOTSTRAP}.",
        rows_data(name, rows),
        table=Table(("learner", ends_told(scale.low, scale.high), *columns), tuple(cells), "plots"),
    )


def streams_figure(found: Ranked) -> Figure:
    """The mean of each learner on each of several streams."""
    table = {(row["learner"], row["stream"]): row for row in found.tables["learners"]}
    streams = found.report.scores.streams
    rows = []
    for learner in found.learners:
        texts = []
        for stream in streams:
            row = table.get((learner, stream))
            low, high = _ends(row, "mean") if row else (math.nan, math.nan)
            half = f" ± {number((high - low) / 2)}" if math.isfinite(high) else ""
            texts.append("" if row is None else f"{number(row['mean'])}{half}")
        rows.append((Cell(learner, heading=True), *map(Cell, texts)))
    return Figure(
        f"{found.metric} on each stream",
        f"{found.better} Mean and half of the {STUDENT}.",
        rows_data("learners", found.tables["learners"]),
        table=Table(("learner", *(f"#{stream}" for stream in streams)), tuple(rows)),
    )


def aggregates_figure(found: Ranked) -> Figure | None:
    """Each learner over all streams, the best first; None where they share no scale."""
    rows = found.tables["aggregates"]
    if not rows:
        return None
    names = [key for key in rows[0] if f"{key}_low" in rows[0]]
    scale = _scale([row[key] for row in rows for key in ("iqm", "iqm_low", "iqm_high")], [])
    cells = []
    for row in rows:
        low, high = _ends(row, "iqm")
        texts = [f"{number(row[key])} ({interval_text(*_ends(row, key))})".removesuffix(" ()") for key in names]
        plot = Cell(plot=interval_plot(row["iqm"], low, high, scale))
        cells.append((Cell(row["learner"], heading=True), plot, *map(Cell, texts), Cell(str(row["seeds"]))))
    headings = [f"#{'IQM' if name == 'iqm' else name.replace('_', ' ')}" for name in names]
    return Figure(
        f"{found.metric} over {rows[0]['streams']} streams",
        f"Best IQM first. {found.better} Dot and bar: the IQM, mean of the middle half of all runs, with its "
        f"{BOOTSTRAP}; "
        "optimality gap: how far runs stay below the greatest value (Agarwal et al. 2021).",
        rows_data("aggregates", rows),
        table=Table(("learner", ends_told(scale.low, scale.high), *headings, "#seeds"), tuple(cells), "plots"),
    )


def verdicts_figure(found: Ranked) -> Figure | None:
    """Which learners differ, and how sure that is; None with one learner."""
    shown = found.report.decisive[:PAIRS]
    if not shown:
        return None
    total = len(found.report.comparisons)
    part = "" if len(shown) == total else f" {len(shown)} of {total} pairs are shown; the data hold all."
    return Figure(
        "Which learners differ",
        "Tests over seeds, paired where they match; p with Holm's correction for all pairs of the comparison." + part,
        rows_data("comparisons", found.tables["comparisons"]),
        table=Table(
            ("stream", "ahead", "of", "#by", "#interval", "#p", "verdict", "in words"),
            tuple(_verdict(each) for each in shown),
        ),
    )


def _verdict(each: Comparison) -> tuple[Cell, ...]:
    value, low, high = numbers(each.difference, each.low, each.high)
    p = "" if each.corrected is None else p_words(each.corrected).removeprefix("p ").removeprefix("= ")
    kind = "badge good" if each.distinguishable else "badge open"
    texts = (each.first, each.second, value, f"{low} to {high}" if low else "", p)
    sign = "✓" if each.distinguishable else "·"
    verdict = Cell(f"{sign} {each.verdict}", kind=kind)
    return (Cell(each.stream, heading=True), *map(Cell, texts), verdict, Cell(f"{each.words}.", kind="wrap"))


def profiles_figure(found: Ranked) -> Figure | None:
    """The share of runs above each score; None where streams share no scale, or there is one learner."""
    rows, chosen = found.tables["profiles"], found.learners[:LINES]
    if len({row["learner"] for row in rows}) < 2:
        return None
    lines = _lines(rows, chosen, "threshold", "share")
    drawing = line_chart(
        lines, "share of runs above a score", across=found.metric, span=(0.0, 1.0), width=440, height=230
    )
    return Figure(
        f"Performance profiles: {found.metric}",
        f"The share of runs above each score; higher is better everywhere. 95 % bands by the bootstrap.{_of(found)}",
        rows_data("profiles", rows),
        (Panel(found.metric, drawing),),
        wide=True,
    )


def curves_figure(found: Ranked, points: int) -> Figure | None:
    """The measure over experiences by step, a panel a stream and a line a learner; None without evaluations."""
    rows, chosen = found.tables["curves"], found.learners[:LINES]
    panels: list[Panel] = []
    kept: list[TableRow] = []
    for stream in found.report.scores.streams:
        ours: list[TableRow] = []
        for learner in chosen:
            mine = [row for row in rows if (row["stream"], row["learner"]) == (stream, learner)]
            ours += [mine[place] for place in spread(len(mine), points)] if mine else []
        if ours:
            panels.append(Panel(stream, _curves(ours, chosen, stream)))
            kept += ours
    if not panels:
        return None
    return Figure(
        "Mean over all experiences, by step",
        f"IQM over seeds at each evaluation, with its {BOOTSTRAP}; a loss is negated: higher is better.{_of(found)}",
        rows_data("curves", kept),
        tuple(panels),
        wide=True,
    )


def _curves(rows: Sequence[TableRow], learners: Sequence[str], stream: str) -> Markup:
    told = f"mean over experiences, by step, {stream}"
    return line_chart(_lines(rows, learners, "step", "iqm"), told, across="step", width=440, height=230)


def _lines(rows: Sequence[TableRow], learners: Sequence[str], x: str, y: str) -> list[Line]:
    lines = []
    for place, learner in enumerate(learners):
        ours = [row for row in rows if row["learner"] == learner]
        if ours:
            steps, values, low, high = (_column(ours, key) for key in (x, y, f"{y}_low", f"{y}_high"))
            lines.append(Line(learner, steps, values, low, high, place))
    return lines


def _column(rows: Sequence[TableRow], key: str) -> Array:
    """(rows,): NaN where a value is not known."""
    return np.array([math.nan if row[key] is None else row[key] for row in rows])


def _of(found: Ranked) -> str:
    many = len(found.learners)
    return f" The first {LINES} of {many} learners." if many > LINES else ""


def _ends(row: TableRow, key: str) -> tuple[float, float]:
    low, high = (row[f"{key}{end}"] for end in ("_low", "_high"))
    return (math.nan, math.nan) if low is None or high is None else (low, high)


def _scale(values: Sequence[float | None], points: Sequence[Sequence[float]]) -> Scale:
    known = [v for v in (*values, *(p for each in points for p in each)) if v is not None and math.isfinite(v)]
    low, high = min(known), max(known)
    return Scale(low, high if high > low else low + 1, 8, 172)
