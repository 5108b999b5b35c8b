"""Small drawings as SVG, coloured by the page's style sheet so that they follow light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from attrs import frozen
from markupsafe import Markup, escape

from rlcl.evaluation.results import Array

__all__ = ["Line", "Scale", "interval_plot", "line_chart", "plain", "span_of", "ticks"]

COLOURS = 6  # of the style sheet; after them lines are dashed
LETTER = 6.0  # width of a letter of a label, in units of the drawing
APART = 12.0  # names of lines
DOTS = 40  # points of a line that are drawn one by one


@frozen(eq=False)
class Line:
    """A curve of a chart.

    Args:
        label: written at its end where there are several.
        steps: (P,).
        values: (P,) NaN where there is a gap.
        low, high: (P,) of its band; NaN where there is none.
        number: of its colour.
    """

    label: str
    steps: Array
    values: Array
    low: Array | None = None
    high: Array | None = None
    number: int = 0


@frozen
class Scale:
    """A linear scale from values to places of the drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return self.start + share * (self.end - self.start)


def plain(value: float) -> str:
    """A number for people: three significant digits, thousands as k and millions as M."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    size = abs(value)
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= unit:
            return f"{value / (1e3 if letter == 'k' else unit):.3g}{letter}"
    if size < 1e-3:
        return f"{value:.1e}".replace("e-0", "e-")
    return f"{value:.4g}" if size >= 1000 else f"{value:.3g}"


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About so many round numbers within a range."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def line_chart(
    lines: Sequence[Line],
    told: str,
    *,
    across: str = "",
    span: tuple[float, float] | None = None,
    boundaries: Sequence[float] = (),
    shaded: tuple[float, float] | None = None,
    width: int = 340,
    height: int = 176,
) -> Markup:
    """Curves over steps, with bands, boundaries, and their names at their ends.

    Args:
        lines: at least one, with at least one value.
        told: what a screen reader says.
        across: what the horizontal axis counts.
        span: of the vertical axis; of the values by default.
        boundaries: steps that get a vertical line.
        shaded: a stretch of steps to shade.
        width, height: in units of the drawing.
    """
    named = len(lines) > 1
    right = min(0.36 * width, LETTER * max(len(line.label) for line in lines) + 12) if named else 10
    low, high = span_of(lines) if span is None else span
    steps = np.concatenate([line.steps for line in lines])
    first, last = float(np.min(steps)), float(np.max(steps))
    if shaded:
        first, last = min(first, shaded[0]), max(last, shaded[1])
    up = ticks(low, high)
    left = max(26.0, LETTER * max(len(plain(v)) for v in up) + 9)
    x, y = Scale(first, last, left, width - right), Scale(low, high, height - (30.0 if across else 18.0), 10)
    parts = [_axes(x, y, up, across, width)]
    if shaded:
        parts.insert(0, _rectangle(x(shaded[0]), y(high), x(shaded[1]) - x(shaded[0]), y(low) - y(high), "training"))
    parts += [f'<line class="boundary" x1="{x(s):.1f}" x2="{x(s):.1f}" y1="{y(high):.1f}" y2="{y(low):.1f}"/>'
              for s in boundaries if first < s < last]  # fmt: skip
    parts += [_band(line, x, y) for line in lines if line.low is not None]
    parts += [_curve(line, x, y) for line in lines]
    if named:
        parts.append(_ends(lines, y, width - right + 5, int(right / LETTER) - 1))
    return _svg("".join(parts), told, width, height)


def interval_plot(
    value: float, low: float, high: float, scale: Scale, points: Sequence[float] = (), number: int = 0, height: int = 20
) -> Markup:
    """A value with its interval and the single seeds, for a row of a table; 0 is marked where the scale holds it.

    Args:
        value: NaN for none.
        low, high: ends of the interval; NaN for none.
        scale: of the column.
        points: values of the seeds.
        number: of the colour.
        height: in units of the drawing.
    """
    middle = height / 2
    parts = []
    if scale.low <= 0 <= scale.high:
        parts.append(f'<line class="zero" x1="{scale(0):.1f}" x2="{scale(0):.1f}" y1="0" y2="{height}"/>')
    if math.isfinite(low) and math.isfinite(high):
        ends = scale(max(low, scale.low)), scale(min(high, scale.high))
        parts.append(f'<line class="interval c{number}" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" '
                     f'y1="{middle}" y2="{middle}"/>')  # fmt: skip
    parts += [f'<circle class="seed c{number}" cx="{scale(p):.1f}" cy="{middle}" r="2"/>' for p in points]
    if math.isfinite(value):
        parts.append(f'<circle class="value c{number}" cx="{scale(value):.1f}" cy="{middle}" r="4"/>')
    width = scale.end + scale.start
    inner = "".join(parts)
    return Markup(f'<svg class="inline" viewBox="0 0 {width:.0f} {height}" aria-hidden="true">{inner}</svg>')


def span_of(lines: Sequence[Line]) -> tuple[float, float]:
    """Of all values and, as far as they are not far beyond them, of the bands."""
    values = np.concatenate([line.values for line in lines])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    furthest = 0.35 * (high - low)
    edges = np.concatenate([edge for line in lines for edge in (line.low, line.high) if edge is not None] or [values])
    known = edges[np.isfinite(edges)]
    if len(known):
        least, most = low - furthest, high + furthest
        low, high = max(min(low, float(known.min())), least), min(max(high, float(known.max())), most)
    if high == low:
        return low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
    return low, high


def _axes(x: Scale, y: Scale, up: Sequence[float], across: str, width: int) -> str:
    parts = []
    for value in up:
        parts.append(f'<line class="grid" x1="{x.start:.1f}" x2="{x.end:.1f}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
                     f'<text class="tick" x="{x.start - 5:.1f}" y="{y(value) + 3.5:.1f}" '
                     f'text-anchor="end">{plain(value)}</text>')  # fmt: skip
    along = ticks(x.low, x.high, 3)
    for value in along:
        anchor = "end" if x(value) > x.end - 8 and x.end > width - 14 else "middle"
        parts.append(f'<text class="tick" x="{x(value):.1f}" y="{y.start + 13:.1f}" '
                     f'text-anchor="{anchor}">{plain(value)}</text>')  # fmt: skip
    if across:
        parts.append(f'<text class="tick unit" x="{x.start:.1f}" y="{y.start + 26:.1f}">{escape(across)}</text>')
    return "".join(parts)


def _rectangle(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}"/>'


def _kind(line: Line) -> str:
    return f"c{line.number % COLOURS}{' dashed' if line.number % (2 * COLOURS) >= COLOURS else ''}"


def _stretches(*columns: Array) -> list[slice]:
    """The stretches in which no column has a gap."""
    whole = np.all([np.isfinite(column) for column in columns], 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], whole.astype(np.int8), [0]])))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _band(line: Line, x: Scale, y: Scale) -> str:
    assert line.low is not None
    assert line.high is not None
    paths = []
    for part in _stretches(line.low, line.high):
        steps = [*line.steps[part], *line.steps[part][::-1]]
        edge = [*np.clip(line.low[part], y.low, y.high), *np.clip(line.high[part], y.low, y.high)[::-1]]
        paths.append("M" + "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in zip(steps, edge, strict=True)) + "Z")
    return f'<path class="band {_kind(line)}" d="{"".join(paths)}"/>' if paths else ""


def _curve(line: Line, x: Scale, y: Scale) -> str:
    values = np.clip(line.values, y.low, y.high)
    paths, dots = [], []
    for part in _stretches(values):
        pairs = [(x(a), y(b)) for a, b in zip(line.steps[part], values[part], strict=True)]
        paths.append("M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in pairs))
    if len(values) <= DOTS:
        for step, value in zip(line.steps, line.values, strict=True):
            if np.isfinite(value):
                place = f'cx="{x(step):.1f}" cy="{y(min(max(value, y.low), y.high)):.1f}"'
                name = f"{escape(line.label)}, " if line.label else ""
                dots.append(f'<circle class="dot {_kind(line)}" {place} r="2.4">'
                            f"<title>{name}step {step:,.0f}: {plain(float(value))}</title></circle>")  # fmt: skip
    return f'<path class="line {_kind(line)}" d="{"".join(paths)}"/>{"".join(dots)}'


def _ends(lines: Sequence[Line], y: Scale, place: float, letters: int) -> str:
    """The names of lines at the height of their last values, apart from each other."""
    last = [(y(float(line.values[np.isfinite(line.values)][-1])), line) for line in lines
            if np.isfinite(line.values).any()]  # fmt: skip
    last.sort(key=lambda pair: pair[0])
    heights: list[float] = []
    for height, _ in last:
        heights.append(max(height, heights[-1] + APART if heights else y.end))
    bottom = y.start
    for i in range(len(heights) - 1, -1, -1):
        heights[i] = min(heights[i], bottom)
        bottom = heights[i] - APART
    return "".join(
        f'<text class="end {_kind(line)}" x="{place:.1f}" y="{height + 3.5:.1f}">'
        f"{escape(_cut(line.label, letters))}</text>"
        for height, (_, line) in zip(heights, last, strict=True)
    )


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: max(letters - 1, 1)]}…"


def _svg(inner: str, told: str, width: int, height: int) -> Markup:
    label = escape(told)
    return Markup(f'<svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}">{inner}</svg>')
