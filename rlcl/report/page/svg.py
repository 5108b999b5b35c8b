"""Small SVG drawings, colored by the page's style sheet so that they support light mode, dark mode and print."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from attrs import frozen
from markupsafe import Markup, escape

from rlcl.evaluation.results import Array

__all__ = [
    "COLORS",
    "ChartLine",
    "LinearScale",
    "draw_axes",
    "interval_plot",
    "line_chart",
    "short_number",
    "span_of",
    "svg_element",
    "ticks",
]

COLORS = 6  # in the style sheet; lines with a higher number are dashed
LETTER_WIDTH = 6.0  # of labels, in units of the drawing
LABEL_DISTANCE = 12.0  # minimum vertical distance of the labels of lines
MAX_DOTS = 40  # lines with more points have no dots


@frozen(eq=False)
class ChartLine:
    """A line of a chart.

    Args:
        label: label at the end of the line, drawn if the chart has several lines.
        steps: (P,) horizontal positions.
        values: (P,) values; NaN is a gap.
        low, high: (P,) ends of the band; NaN is a gap. None for no band.
        color: index of the color.
    """

    label: str
    steps: Array
    values: Array
    low: Array | None = None
    high: Array | None = None
    color: int = 0


@frozen
class LinearScale:
    """A linear scale from values in [low, high] to positions in [start, end] of the drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the position of a value; the middle if the range of the values is empty."""
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return self.start + share * (self.end - self.start)


def short_number(value: float) -> str:
    """Return a number as text with about three significant digits, with k for thousands and M for millions."""
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
    """Return about ``count`` round numbers within a range."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def line_chart(
    lines: Sequence[ChartLine],
    description: str,
    *,
    x_label: str = "",
    span: tuple[float, float] | None = None,
    boundaries: Sequence[float] = (),
    shaded: Sequence[tuple[float, float]] = (),
    width: int = 340,
    height: int = 176,
) -> Markup:
    """Draw lines over steps, with their bands, boundaries, and labels at the ends of the lines.

    Args:
        lines: at least one line with at least one value.
        description: text for screen readers.
        x_label: label of the horizontal axis.
        span: range of the vertical axis; by default the range of the values.
        boundaries: steps with a vertical line.
        shaded: first and last step of each shaded section.
        width, height: size in units of the drawing.
    """
    labeled = len(lines) > 1
    right = min(0.36 * width, LETTER_WIDTH * max(len(line.label) for line in lines) + 12) if labeled else 10
    low, high = span_of(lines) if span is None else span
    steps = np.concatenate([line.steps for line in lines])
    first, last = float(np.min(steps)), float(np.max(steps))
    for start, end in shaded:
        first, last = min(first, start), max(last, end)
    y_ticks = ticks(low, high)
    left = max(26.0, LETTER_WIDTH * max(len(short_number(v)) for v in y_ticks) + 9)
    x = LinearScale(first, last, left, width - right)
    y = LinearScale(low, high, height - (30.0 if x_label else 18.0), 10)
    parts = [draw_axes(x, y, y_ticks, x_label, width)]
    for start, end in shaded:
        parts.insert(0, _rectangle(x(start), y(high), x(end) - x(start), y(low) - y(high), "training"))
    parts += [f'<line class="boundary" x1="{x(s):.1f}" x2="{x(s):.1f}" y1="{y(high):.1f}" y2="{y(low):.1f}"/>'
              for s in boundaries if first < s < last]  # fmt: skip
    parts += [_band(line, x, y) for line in lines if line.low is not None]
    parts += [_curve(line, x, y) for line in lines]
    if labeled:
        parts.append(_line_labels(lines, y, width - right + 5, int(right / LETTER_WIDTH) - 1))
    return svg_element("".join(parts), description, width, height)


def interval_plot(
    value: float,
    low: float,
    high: float,
    scale: LinearScale,
    points: Sequence[float] = (),
    color: int = 0,
    height: int = 20,
) -> Markup:
    """Draw a value with its interval and the values of single seeds for a row of a table.

    A vertical line marks 0 if the scale contains it.

    Args:
        value: the value; NaN if there is no value.
        low, high: ends of the interval; NaN if there is no interval.
        scale: scale of the column.
        points: values of the seeds.
        color: index of the color.
        height: height in units of the drawing.
    """
    middle = height / 2
    parts = []
    if scale.low <= 0 <= scale.high:
        parts.append(f'<line class="zero" x1="{scale(0):.1f}" x2="{scale(0):.1f}" y1="0" y2="{height}"/>')
    if math.isfinite(low) and math.isfinite(high):
        ends = scale(max(low, scale.low)), scale(min(high, scale.high))
        parts.append(f'<line class="interval c{color}" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" '
                     f'y1="{middle}" y2="{middle}"/>')  # fmt: skip
    parts += [f'<circle class="seed c{color}" cx="{scale(p):.1f}" cy="{middle}" r="2"/>' for p in points]
    if math.isfinite(value):
        parts.append(f'<circle class="value c{color}" cx="{scale(value):.1f}" cy="{middle}" r="4"/>')
    width = scale.end + scale.start
    inner = "".join(parts)
    return Markup(f'<svg class="inline" viewBox="0 0 {width:.0f} {height}" aria-hidden="true">{inner}</svg>')


def span_of(lines: Sequence[ChartLine]) -> tuple[float, float]:
    """Return the range of all values and of their bands, where wide bands are cut off."""
    values = np.concatenate([line.values for line in lines])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.35 * (high - low)
    edges = np.concatenate([edge for line in lines for edge in (line.low, line.high) if edge is not None] or [values])
    known = edges[np.isfinite(edges)]
    if len(known):
        lowest, highest = low - margin, high + margin
        low, high = max(min(low, float(known.min())), lowest), min(max(high, float(known.max())), highest)
    if high == low:
        return low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
    return low, high


def draw_axes(x: LinearScale, y: LinearScale, y_ticks: Sequence[float], x_label: str, width: int) -> str:
    """Return the horizontal grid lines, the ticks of both axes, and the label of the horizontal axis."""
    parts = []
    for value in y_ticks:
        parts.append(f'<line class="grid" x1="{x.start:.1f}" x2="{x.end:.1f}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
                     f'<text class="tick" x="{x.start - 5:.1f}" y="{y(value) + 3.5:.1f}" '
                     f'text-anchor="end">{short_number(value)}</text>')  # fmt: skip
    x_ticks = ticks(x.low, x.high, 3)
    for value in x_ticks:
        anchor = "end" if x(value) > x.end - 8 and x.end > width - 14 else "middle"
        parts.append(f'<text class="tick" x="{x(value):.1f}" y="{y.start + 13:.1f}" '
                     f'text-anchor="{anchor}">{short_number(value)}</text>')  # fmt: skip
    if x_label:
        parts.append(f'<text class="tick unit" x="{x.start:.1f}" y="{y.start + 26:.1f}">{escape(x_label)}</text>')
    return "".join(parts)


def _rectangle(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}"/>'


def _color_classes(line: ChartLine) -> str:
    return f"c{line.color % COLORS}{' dashed' if line.color % (2 * COLORS) >= COLORS else ''}"


def _gapless_slices(*columns: Array) -> list[slice]:
    """Return the slices in which no column has a gap."""
    present = np.all([np.isfinite(column) for column in columns], 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], present.astype(np.int8), [0]])))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _band(line: ChartLine, x: LinearScale, y: LinearScale) -> str:
    assert line.low is not None
    assert line.high is not None
    paths = []
    for part in _gapless_slices(line.low, line.high):
        steps = [*line.steps[part], *line.steps[part][::-1]]
        edge = [*np.clip(line.low[part], y.low, y.high), *np.clip(line.high[part], y.low, y.high)[::-1]]
        paths.append("M" + "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in zip(steps, edge, strict=True)) + "Z")
    return f'<path class="band {_color_classes(line)}" d="{"".join(paths)}"/>' if paths else ""


def _curve(line: ChartLine, x: LinearScale, y: LinearScale) -> str:
    values = np.clip(line.values, y.low, y.high)
    paths, dots = [], []
    for part in _gapless_slices(values):
        pairs = [(x(a), y(b)) for a, b in zip(line.steps[part], values[part], strict=True)]
        paths.append("M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in pairs))
    if len(values) <= MAX_DOTS:
        for step, value in zip(line.steps, line.values, strict=True):
            if np.isfinite(value):
                center = f'cx="{x(step):.1f}" cy="{y(min(max(value, y.low), y.high)):.1f}"'
                name = f"{escape(line.label)}, " if line.label else ""
                title = f"{name}step {step:,.0f}: {short_number(float(value))}"
                dots.append(
                    f'<circle class="dot {_color_classes(line)}" {center} r="2.4"><title>{title}</title></circle>'
                )
    return f'<path class="line {_color_classes(line)}" d="{"".join(paths)}"/>{"".join(dots)}'


def _line_labels(lines: Sequence[ChartLine], y: LinearScale, x_position: float, max_letters: int) -> str:
    """Draw the labels of lines at the height of their last values, moved so that they do not overlap."""
    last = [(y(float(line.values[np.isfinite(line.values)][-1])), line) for line in lines
            if np.isfinite(line.values).any()]  # fmt: skip
    last.sort(key=lambda pair: pair[0])
    heights: list[float] = []
    for height, _ in last:
        heights.append(max(height, heights[-1] + LABEL_DISTANCE if heights else y.end))
    bottom = y.start
    for i in range(len(heights) - 1, -1, -1):
        heights[i] = min(heights[i], bottom)
        bottom = heights[i] - LABEL_DISTANCE
    return "".join(
        f'<text class="end {_color_classes(line)}" x="{x_position:.1f}" y="{height + 3.5:.1f}">'
        f"{escape(_shortened(line.label, max_letters))}</text>"
        for height, (_, line) in zip(heights, last, strict=True)
    )


def _shortened(text: str, max_letters: int) -> str:
    return text if len(text) <= max_letters else f"{text[: max(max_letters - 1, 1)]}…"


def svg_element(inner: str, description: str, width: int, height: int) -> Markup:
    """Return a drawing with a text for screen readers."""
    label = escape(description)
    return Markup(f'<svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}">{inner}</svg>')
