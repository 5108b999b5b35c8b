"""The figures of a profile."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from rlcl.report.page.parts import Cell, Data, Figure, Panel, Table, heat, number
from rlcl.report.profile.arrays import Pictured

__all__ = [
    "PICTURED", "classes", "distances", "environments", "features", "notices", "pictures", "shifts", "sizes", "some",
    "spaces",
]  # fmt: skip

PICTURED = 12  # experiences whose samples are shown
SHOWN = 12  # experiences that a table of features has a column for
HIGH = 48  # pixels that a picture has at least

Facts = Mapping[str, Any]


def some(*figures: Figure | None) -> tuple[Figure, ...]:
    """Those that there are."""
    return tuple(figure for figure in figures if figure is not None)


def sizes(facts: Facts) -> Figure:
    """Rows, duplicates and the range of numbers of each experience."""
    numbers = ("least", "mean", "deviation", "greatest", "missing")
    columns = ("experience", "train rows", "test rows", "duplicates", "copies", *numbers)
    rows = []
    for each in facts["experiences"]:
        train, test = each["train"], each["test"]
        counts = (train["rows"], test["rows"], train["duplicates"], test["copies"])
        rows.append((each["name"], *counts, *(train[key] for key in numbers)))
    return Figure(
        "Sizes",
        "Duplicates are training rows that equal an earlier one, bit for bit; copies are test rows that equal a "
        "training row. Numbers, and the share that is missing, are of at most 5,000 evenly spread training rows.",
        Data("experiences", columns, tuple(rows)),
        table=_table(columns, rows),
    )


def classes(facts: Facts) -> Figure | None:
    """Training rows of each class in each experience; None without classes."""
    names = facts["classes"]
    if not names:
        return None
    most = max(max(each["train"]["classes"]) for each in facts["experiences"]) or 1
    rows, data = [], []
    for each in facts["experiences"]:
        counts, tests = each["train"]["classes"], each["test"]["classes"]
        cells = [
            heat(f"{n:,}" if n else "", n / most, f"{each['name']}, {c}: {n}")
            for c, n in zip(names, counts, strict=True)
        ]
        rows.append((Cell(each["name"], heading=True), *cells))
        data += [(each["name"], c, n, t) for c, n, t in zip(names, counts, tests, strict=True)]
    return Figure(
        "Training rows of each class",
        "The stronger the colour, the more rows.",
        Data("classes", ("experience", "class", "train rows", "test rows"), tuple(data)),
        table=Table(("", *(f"#{name}" for name in names)), tuple(rows), "heatmap"),
    )


def pictures(found: Sequence[tuple[str, Pictured]]) -> Figure | None:
    """Samples of each experience; None where inputs are no images."""
    if not found:
        return None
    low = min(float(each.images.min()) for _, each in found)
    high = max(float(each.images.max()) for _, each in found)
    panels = [Panel(name, _sheet(name, each, low, high)) for name, each in found]
    rows = [(name, ", ".join(each.labels)) for name, each in found]
    return Figure(
        "Training images",
        f"Of different classes where there are any; from {low:g} (black) to {high:g} (white).",
        Data("samples", ("experience", "classes"), tuple(rows)),
        tuple(panels),
        wide=True,
    )


def _sheet(name: str, found: Pictured, low: float, high: float) -> Markup:
    """One row of images as a PNG within the page."""
    from PIL import Image

    images = (found.images.double().numpy() - low) / ((high - low) or 1) * 255
    scale = max(-(-HIGH // images.shape[2]), 1)
    large = images.round().astype(np.uint8).repeat(scale, 2).repeat(scale, 3)
    spaced = np.pad(large, ((0, 0), (0, 0), (0, 0), (0, scale)), constant_values=127)
    row = np.concatenate(list(spaced), axis=2).transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(row[..., 0] if row.shape[2] == 1 else row).save(file, "PNG", optimize=True)
    address = base64.b64encode(file.getvalue()).decode()
    told = f"{len(images)} training images of {name}" + (f": {', '.join(found.labels)}" if found.labels else "")
    style = "max-width:100%;image-rendering:pixelated"
    return Markup(f'<img alt="{escape(told)}" style="{style}" src="data:image/png;base64,{address}">')


def features(facts: Facts) -> Figure | None:
    """Mean and deviation of each feature in each experience; None where features are too many to be told."""
    experiences = [e for e in facts["experiences"] if e.get("train", {}).get("features")]
    if not experiences:
        return None
    columns = ("experience", "feature", "mean", "deviation", "least", "greatest", "missing share")
    keys = ("name", "mean", "deviation", "least", "greatest", "missing")
    data = [(e["name"], *(f[key] for key in keys)) for e in experiences for f in e["train"]["features"]]
    shown = experiences[:SHOWN]
    rows = []
    for place, feature in enumerate(shown[0]["train"]["features"]):
        found = [e["train"]["features"][place] for e in shown]
        rows.append((Cell(feature["name"], heading=True), *(_feature(each, found[0]) for each in found)))
    more = "" if len(shown) == len(experiences) else f" The first {SHOWN} of {len(experiences)} experiences."
    return Figure(
        "Features of the training inputs",
        "Mean ± standard deviation, and the share that is missing; the stronger the colour, the further the mean has "
        f"moved from the first experience's, in its deviations.{more}",
        Data("features", columns, tuple(data)),
        table=Table(("feature", *(f"#{e['name']}" for e in shown)), tuple(rows), "heatmap"),
    )


def _feature(found: Facts, first: Facts) -> Cell:
    if found["mean"] is None:
        return Cell("missing")
    missing = f", {found['missing']:.0%} missing" if found["missing"] else ""
    moved = 0.0
    if first["mean"] is not None and first["deviation"]:
        moved = abs(found["mean"] - first["mean"]) / first["deviation"]
    told = f"from {number(found['least'])} to {number(found['greatest'])}"
    return heat(f"{number(found['mean'])} ± {number(found['deviation'])}{missing}", moved / 3, told)


def environments(facts: Facts) -> Figure:
    """Rewards, episodes and speed under random actions."""
    ended = ("terminated", "length", "return", "return ±")
    columns = ("experience", "episodes", *ended, "reward", "reward ±", "least", "greatest", "steps/s")
    rows = []
    for each in facts["experiences"]:
        returned, length, reward = (each[key] or {} for key in ("return", "length", "reward"))
        episodes = (each["terminated"], length.get("mean"), returned.get("mean"), returned.get("deviation"))
        rewards = [reward.get(key) for key in ("mean", "deviation", "least", "greatest")]
        rows.append((each["name"], each["episodes"], *episodes, *rewards, round(each["steps_per_second"])))
    steps = facts["experiences"][0]["env_steps"]
    return Figure(
        "Under random actions",
        f"{steps:,} env steps in one environment each, actions drawn evenly among those that are allowed; means, and "
        "standard deviations after ±. Episodes that were not terminated were truncated. Steps/s are of one environment "
        "on this machine, without a learner.",
        Data("environments", columns, tuple(rows)),
        table=_table(columns, rows),
    )


def spaces(facts: Facts) -> Figure | None:
    """What each environment observes and does; None for arrays."""
    if facts["kind"] != "environment":
        return None
    columns = ("experience", "environment", "observations", "actions", "kwargs and attributes")
    rows = []
    for each in facts["experiences"]:
        changes = ", ".join(f"{key} {value}" for key, value in {**each["kwargs"], **each["attributes"]}.items())
        rows.append((each["name"], each["environment"], each["observation_space"], each["action_space"], changes))
    return Figure(
        "Spaces", "As Gymnasium writes them.", Data("spaces", columns, tuple(rows)), table=_table(columns, rows)
    )


def distances(facts: Facts) -> Figure | None:
    """Energy coefficients of all pairs; None with a single experience."""
    found = facts["distances"]
    if found is None:
        return None
    names, matrix = found["experiences"], found["energy"]
    pairs = list(zip(names, matrix, strict=True))
    rows = [
        (Cell(a, heading=True), *(heat(f"{v:.2f}", v, f"{a}, {b}") for b, v in zip(names, values, strict=True)))
        for a, values in pairs
    ]
    data = [(a, b, float(v)) for a, values in pairs for b, v in zip(names, values, strict=True)]
    return Figure(
        "Distance of each two experiences",
        "The energy coefficient (2 E|X-Y| - E|X-X'| - E|Y-Y'|) / 2 E|X-Y| of inputs, each feature standardised over "
        "all experiences: 0 where both are drawn alike, 1 where they have nothing in common. Of at most 400 evenly "
        "spread rows each; labels are not looked at.",
        Data("distances", ("experience", "other", "energy"), tuple(data)),
        table=Table(("", *(f"#{name}" for name in names)), tuple(rows), "heatmap"),
    )


def shifts(facts: Facts) -> Figure | None:
    """What changes from one experience to the next; None with a single one."""
    found = facts["distances"]
    if found is None:
        return None
    columns = ("from", "to", "energy", "mean shift", "greatest shift", "of feature")
    rows = [tuple(each[k] for k in ("from", "to", "energy", "mean", "greatest", "feature")) for each in found["shifts"]]
    return Figure(
        "From one experience to the next",
        "Shifts are differences of a feature's mean, in standard deviations over all experiences together.",
        Data("shifts", columns, tuple(rows)),
        table=_table(columns, rows),
    )


def notices(facts: Facts) -> list[str]:
    """What a reader should not miss."""
    copied = [(e["name"], e["test"]["copies"]) for e in facts["experiences"] if e.get("test", {}).get("copies")]
    told = [f"{name}: {count} test rows are copies of training rows." for name, count in copied[:3]]
    absent = [e["name"] for e in facts["experiences"] if e.get("train", {}).get("missing")]
    return [
        *told,
        *([f"Values are missing in {', '.join(absent[:5])}: an encoder must fill them in."] if absent else []),
    ]


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    numeric = [all(not isinstance(row[i], str) for row in rows) for i in range(len(columns))]
    heads = tuple(f"#{name}" if right else name for name, right in zip(columns, numeric, strict=True))
    cells = [(Cell(str(row[0]), heading=True), *(Cell(_shown(value)) for value in row[1:])) for row in rows]
    return Table(heads, tuple(cells))


def _shown(value: Any) -> str:
    if isinstance(value, str) or value is None:
        return value or ""
    return f"{value:,}" if isinstance(value, int) else number(float(value))
