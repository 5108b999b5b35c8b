"""Figures of a data profile."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from rlcl.report.page.parts import Figure, FigureData, PageTable, Panel, TableCell, heat_cell, number_text
from rlcl.report.profile.arrays import SampleImages

__all__ = [
    "MAX_IMAGE_EXPERIENCES",
    "classes",
    "distances",
    "environments",
    "features",
    "images",
    "notices",
    "shifts",
    "sizes",
    "spaces",
    "transfer",
    "without_none",
]

MAX_IMAGE_EXPERIENCES = 12  # experiences with sample images
MAX_FEATURE_COLUMNS = 12  # experiences with a column in the table of features
MIN_IMAGE_HEIGHT = 48  # pixels; smaller images are enlarged

# Headings that differ from the name of the column in the data.
HEADINGS = {"least": "minimum", "greatest": "maximum", "greatest shift": "maximum shift", "of feature": "feature"}

Facts = Mapping[str, Any]


def without_none(*figures: Figure | None) -> tuple[Figure, ...]:
    """Return the figures other than None."""
    return tuple(figure for figure in figures if figure is not None)


def sizes(facts: Facts) -> Figure:
    """Return a table of rows, duplicates and the range of values of each experience."""
    numbers = ("least", "mean", "deviation", "greatest", "missing")
    columns = ("experience", "train rows", "test rows", "duplicates", "copies", *numbers)
    rows = []
    for experience in facts["experiences"]:
        train, test = experience["train"], experience["test"]
        counts = (train["rows"], test["rows"], train["duplicates"], test["copies"])
        rows.append((experience["name"], *counts, *(train[key] for key in numbers)))
    return Figure(
        "Sizes",
        "Duplicates: training rows that are equal to an earlier training row. Copies: test rows that are equal to a "
        "training row. Minimum, mean, standard deviation, maximum and the fraction of missing values are computed from "
        "at most 5,000 evenly spaced training rows.",
        FigureData("experiences", columns, tuple(rows)),
        table=_table(columns, rows),
    )


def classes(facts: Facts) -> Figure | None:
    """Return a heatmap of the training rows of each class in each experience; None without classes."""
    names = facts["classes"]
    if not names:
        return None
    maximum = max(max(experience["train"]["classes"]) for experience in facts["experiences"]) or 1
    rows, data = [], []
    for experience in facts["experiences"]:
        counts, test_counts = experience["train"]["classes"], experience["test"]["classes"]
        cells = [
            heat_cell(f"{n:,}" if n else "", n / maximum, f"{experience['name']}, {c}: {n}")
            for c, n in zip(names, counts, strict=True)
        ]
        rows.append((TableCell(experience["name"], heading=True), *cells))
        data += [(experience["name"], c, n, t) for c, n, t in zip(names, counts, test_counts, strict=True)]
    return Figure(
        "Training rows of each class",
        "Stronger colors are more rows.",
        FigureData("classes", ("experience", "class", "train rows", "test rows"), tuple(data)),
        table=PageTable(("", *(f"#{name}" for name in names)), tuple(rows), "heatmap"),
    )


def images(samples: Sequence[tuple[str, SampleImages]]) -> Figure | None:
    """Draw sample images of each experience; None if inputs are not images."""
    if not samples:
        return None
    low = min(float(sample.images.min()) for _, sample in samples)
    high = max(float(sample.images.max()) for _, sample in samples)
    panels = [Panel(name, _image_row(name, sample, low, high)) for name, sample in samples]
    rows = [(name, ", ".join(sample.labels)) for name, sample in samples]
    return Figure(
        "Training images",
        f"Images of different classes if there are classes. Values from {low:g} (black) to {high:g} (white).",
        FigureData("samples", ("experience", "classes"), tuple(rows)),
        tuple(panels),
        wide=True,
    )


def _image_row(name: str, sample: SampleImages, low: float, high: float) -> Markup:
    """Return one row of images as a PNG file within the page."""
    from PIL import Image

    pixels = (sample.images.double().numpy() - low) / ((high - low) or 1) * 255
    scale = max(-(-MIN_IMAGE_HEIGHT // pixels.shape[2]), 1)
    enlarged = pixels.round().astype(np.uint8).repeat(scale, 2).repeat(scale, 3)
    spaced = np.pad(enlarged, ((0, 0), (0, 0), (0, 0), (0, scale)), constant_values=127)
    row = np.concatenate(list(spaced), axis=2).transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(row[..., 0] if row.shape[2] == 1 else row).save(file, "PNG", optimize=True)
    encoded = base64.b64encode(file.getvalue()).decode()
    labels = f": {', '.join(sample.labels)}" if sample.labels else ""
    description = f"{len(pixels)} training images of {name}{labels}"
    style = "max-width:100%;image-rendering:pixelated"
    return Markup(f'<img alt="{escape(description)}" style="{style}" src="data:image/png;base64,{encoded}">')


def features(facts: Facts) -> Figure | None:
    """Return a heatmap of mean and deviation of each feature in each experience; None with too many features."""
    experiences = [e for e in facts["experiences"] if e.get("train", {}).get("features")]
    if not experiences:
        return None
    columns = ("experience", "feature", "mean", "deviation", "least", "greatest", "missing share")
    keys = ("name", "mean", "deviation", "least", "greatest", "missing")
    data = [(e["name"], *(f[key] for key in keys)) for e in experiences for f in e["train"]["features"]]
    shown = experiences[:MAX_FEATURE_COLUMNS]
    rows = []
    for i, feature in enumerate(shown[0]["train"]["features"]):
        statistics = [e["train"]["features"][i] for e in shown]
        cells = (_feature_cell(feature_statistics, statistics[0]) for feature_statistics in statistics)
        rows.append((TableCell(feature["name"], heading=True), *cells))
    complete = len(shown) == len(experiences)
    selection = "" if complete else f" The first {MAX_FEATURE_COLUMNS} of {len(experiences)} experiences."
    return Figure(
        "Features of the training inputs",
        "Mean ± standard deviation, and the fraction of missing values. Stronger colors are larger differences between "
        f"the mean and that of the first experience, in standard deviations of the first experience.{selection}",
        FigureData("features", columns, tuple(data)),
        table=PageTable(("feature", *(f"#{e['name']}" for e in shown)), tuple(rows), "heatmap"),
    )


def _feature_cell(statistics: Facts, first: Facts) -> TableCell:
    if statistics["mean"] is None:
        return TableCell("missing")
    missing = f", {statistics['missing']:.0%} missing" if statistics["missing"] else ""
    difference = 0.0
    if first["mean"] is not None and first["deviation"]:
        difference = abs(statistics["mean"] - first["mean"]) / first["deviation"]
    tooltip = f"from {number_text(statistics['least'])} to {number_text(statistics['greatest'])}"
    text = f"{number_text(statistics['mean'])} ± {number_text(statistics['deviation'])}{missing}"
    return heat_cell(text, difference / 3, tooltip)


def environments(facts: Facts) -> Figure:
    """Return a table of rewards, episodes and speed under random actions."""
    episode_columns = ("terminated", "length", "return", "return ±")
    columns = ("experience", "episodes", *episode_columns, "reward", "reward ±", "least", "greatest", "steps/s")
    rows = []
    for experience in facts["experiences"]:
        returns, length, reward = (experience[key] or {} for key in ("return", "length", "reward"))
        episodes = (experience["terminated"], length.get("mean"), returns.get("mean"), returns.get("deviation"))
        rewards = [reward.get(key) for key in ("mean", "deviation", "least", "greatest")]
        speed = round(experience["steps_per_second"])
        rows.append((experience["name"], experience["episodes"], *episodes, *rewards, speed))
    steps = facts["experiences"][0]["env_steps"]
    return Figure(
        "Random actions",
        f"{steps:,} env steps in one environment per experience, with allowed actions sampled uniformly. Columns with "
        "± are standard deviations, the columns before them means. Minimum and maximum are those of the reward. "
        "Episodes that were not terminated were truncated. Steps/s: speed of one environment on this machine without "
        "a learner.",
        FigureData("environments", columns, tuple(rows)),
        table=_table(columns, rows),
    )


def spaces(facts: Facts) -> Figure | None:
    """Return a table of the observation and action spaces; None for arrays."""
    if facts["kind"] != "environment":
        return None
    columns = ("experience", "environment", "observations", "actions", "kwargs and attributes")
    rows = []
    for experience in facts["experiences"]:
        settings = {**experience["kwargs"], **experience["attributes"]}
        changes = ", ".join(f"{key} {value}" for key, value in settings.items())
        spaces_text = (experience["observation_space"], experience["action_space"])
        rows.append((experience["name"], experience["environment"], *spaces_text, changes))
    return Figure(
        "Spaces", "In Gymnasium's notation.", FigureData("spaces", columns, tuple(rows)), table=_table(columns, rows)
    )


def transfer(facts: Facts) -> Figure | None:
    """Return a heatmap of the returns of single-task policies on all tasks; None if they were not trained."""
    transfer_facts = facts.get("transfer")
    if transfer_facts is None:
        return None
    names, returns, scores = (transfer_facts[key] for key in ("tasks", "returns", "scores"))
    rows = [
        (
            TableCell(f"policy of {policy}", heading=True),
            *(
                heat_cell(number_text(value), score or 0.0, f"policy of {policy} on {task}: score {number_text(score)}")
                for task, value, score in zip(names, values, policy_scores, strict=True)
            ),
        )
        for policy, values, policy_scores in zip(names, returns, scores, strict=True)
    ]
    random = (number_text(value) for value in transfer_facts["random"])
    rows.append((TableCell("random actions", heading=True), *map(TableCell, random)))
    data = [
        (policy, task, value, score)
        for policy, values, policy_scores in zip(names, returns, scores, strict=True)
        for task, value, score in zip(names, values, policy_scores, strict=True)
    ]
    return Figure(
        "Return of single-task policies on all tasks",
        f"{transfer_facts['statement']} Stronger colors are higher scores.",
        FigureData("transfer", ("policy of", "task", "return", "score"), tuple(data)),
        table=PageTable(("", *(f"#{name}" for name in names)), tuple(rows), "heatmap"),
    )


def distances(facts: Facts) -> Figure | None:
    """Return a heatmap of the energy coefficients of all pairs of experiences; None with a single experience."""
    distance_facts = facts["distances"]
    if distance_facts is None:
        return None
    names, matrix = distance_facts["experiences"], distance_facts["energy"]
    pairs = list(zip(names, matrix, strict=True))
    rows = [
        (
            TableCell(a, heading=True),
            *(heat_cell(f"{v:.2f}", v, f"{a}, {b}") for b, v in zip(names, values, strict=True)),
        )
        for a, values in pairs
    ]
    data = [(a, b, float(v)) for a, values in pairs for b, v in zip(names, values, strict=True)]
    return Figure(
        "Distance between each two experiences",
        "The energy coefficient (2 E|X-Y| - E|X-X'| - E|Y-Y'|) / 2 E|X-Y| of the inputs, with each feature "
        "standardized over all experiences. It is 0 for equal distributions and at most 1. It is computed from at most "
        "400 evenly spaced rows of each experience, without labels.",
        FigureData("distances", ("experience", "other", "energy"), tuple(data)),
        table=PageTable(("", *(f"#{name}" for name in names)), tuple(rows), "heatmap"),
    )


def shifts(facts: Facts) -> Figure | None:
    """Return a table of the shifts between consecutive experiences; None with a single experience."""
    distance_facts = facts["distances"]
    if distance_facts is None:
        return None
    columns = ("from", "to", "energy", "mean shift", "greatest shift", "of feature")
    keys = ("from", "to", "energy", "mean", "greatest", "feature")
    rows = [tuple(shift[key] for key in keys) for shift in distance_facts["shifts"]]
    return Figure(
        "Shifts between consecutive experiences",
        "A shift is the difference between the means of a feature, in standard deviations over all experiences. "
        "The last column is the feature with the maximum shift.",
        FigureData("shifts", columns, tuple(rows)),
        table=_table(columns, rows),
    )


def notices(facts: Facts) -> list[str]:
    """Return notices on copies of training rows in the test set, and on missing values."""
    copies = [(e["name"], e["test"]["copies"]) for e in facts["experiences"] if e.get("test", {}).get("copies")]
    texts = [f"{name}: {count} test rows are copies of training rows." for name, count in copies[:3]]
    incomplete = [e["name"] for e in facts["experiences"] if e.get("train", {}).get("missing")]
    if incomplete:
        texts.append(f"Values are missing in {', '.join(incomplete[:5])}: add an encoder that fills them in.")
    return texts


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> PageTable:
    numeric = [all(not isinstance(row[i], str) for row in rows) for i in range(len(columns))]
    headings = [HEADINGS.get(name, name) for name in columns]
    aligned = tuple(f"#{name}" if right else name for name, right in zip(headings, numeric, strict=True))
    cells = [(TableCell(str(row[0]), heading=True), *(TableCell(_text(value)) for value in row[1:])) for row in rows]
    return PageTable(aligned, tuple(cells))


def _text(value: Any) -> str:
    if isinstance(value, str) or value is None:
        return value or ""
    return f"{value:,}" if isinstance(value, int) else number_text(float(value))
