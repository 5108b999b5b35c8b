"""Tables of the data profile for the model card, limited to a readable size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlcl.report.markdown import table_markdown
from rlcl.report.page.figures import evenly_spaced
from rlcl.report.tables import format_number

__all__ = ["profile_tables"]

Facts = Mapping[str, Any]

MAX_CLASSES, MAX_EXPERIENCES, MAX_CATEGORIES = 20, 5, 6  # listed individually in a table
MAX_SPACE_LENGTH = 160  # characters

FEATURES_NOTE = """Features of at most 5,000 training rows per experience, as mean ± standard deviation of the values
that are not missing:"""
SHIFT_NOTE = """Distance of each experience's inputs from those of the previous one: the energy coefficient (0 for equal
distributions, 1 for distributions without overlap) and the shift of the means in standard deviations over all:"""


def profile_tables(facts: Facts) -> str:
    """Return tables in Markdown: rows, classes, features and distances, or spaces, rewards and episodes.

    Args:
        facts: profile from :func:`rlcl.report.profile.build.make_profile`.
    """
    if facts["kind"] == "environment":
        tables = [_environments(facts), _rollouts(facts)]
    else:
        tables = [_rows(facts), _classes(facts), _features(facts), _targets(facts)]
    return "\n\n".join(table for table in (*tables, _shifts(facts)) if table)


def _rows(facts: Facts) -> str:
    classes = facts["kind"] == "labelled"
    head = ["", "experience", "training rows", "duplicates", *(["classes"] if classes else []), "held out", "copies"]
    rows = []
    for experience in facts["experiences"]:
        train, test = experience["train"], experience["test"]
        counts = [n for n in train.get("classes", ()) if n]
        balance = [f"{len(counts)} ({min(counts):,} to {max(counts):,} rows each)"] if classes else []
        copies = "" if test["copies"] is None else f"{test['copies']:,}"
        rows.append(
            [str(experience["index"] + 1), experience["name"], f"{train['rows']:,}", f"{train['duplicates']:,}",
             *balance, f"{test['rows']:,}", copies]
        )  # fmt: skip
    note = "Duplicates are training rows that equal an earlier one; copies are held-out rows that equal a training row:"
    return f"{note}\n\n{table_markdown(head, rows)}"


def _classes(facts: Facts) -> str:
    """Return the training rows of each class; of many classes, the table of rows has the minimum and maximum."""
    names, experiences = facts["classes"], _selected_experiences(facts)
    if not 0 < len(names) <= MAX_CLASSES:
        return ""
    rows = [
        [name, *(f"{n:,}" if (n := experience["train"]["classes"][i]) else "" for experience in experiences)]
        for i, name in enumerate(names)
    ]
    return f"Training rows of each class:\n\n{table_markdown(['class', *_names(experiences)], rows)}"


def _features(facts: Facts) -> str:
    """Return one row per feature if the profile has them, otherwise a summary of each experience."""
    experiences = _selected_experiences(facts)
    if "features" not in experiences[0]["train"]:
        return f"{FEATURES_NOTE}\n\n{_summary(facts)}"
    rows = []
    for i, feature in enumerate(experiences[0]["train"]["features"]):
        everywhere = [experience["train"]["features"][i] for experience in facts["experiences"]]
        selected = [experience["train"]["features"][i] for experience in experiences]
        rows.append([feature["name"], _values(everywhere), _missing(everywhere), *map(_mean, selected)])
    head = ["feature", "values", "missing", *_names(experiences)]
    return f"{FEATURES_NOTE}\n\n{table_markdown(head, rows)}"


def _summary(facts: Facts) -> str:
    rows = []
    for experience in facts["experiences"]:
        train = experience["train"]
        constant = f"{train['constant'] / train['of']:.0%} of {train['of']:,}"
        rows.append([experience["name"], _values([train]), _mean(train), constant, _missing([train])])
    return table_markdown(["experience", "values", "mean", "constant features", "missing"], rows)


def _targets(facts: Facts) -> str:
    if facts["kind"] != "regression":
        return ""
    rows = [
        [experience["name"], str(i), _values([target]), _mean(target)]
        for experience in facts["experiences"]
        for i, target in enumerate(experience["train"]["targets"])
    ]
    return f"Targets:\n\n{table_markdown(['experience', 'target', 'values', 'mean'], rows)}"


def _shifts(facts: Facts) -> str:
    if facts["distances"] is None:
        return ""
    rows = [
        [shift["from"], shift["to"], f"{shift['energy']:.2f}", f"{shift['mean']:.2f}",
         f"{shift['greatest']:.2f} ({shift['feature']})"]
        for shift in facts["distances"]["shifts"]
    ]  # fmt: skip
    head = ["from", "to", "distance", "mean shift", "maximum shift (feature)"]
    return f"{SHIFT_NOTE}\n\n{table_markdown(head, rows)}"


def _environments(facts: Facts) -> str:
    rows = []
    for experience in facts["experiences"]:
        settings = {**experience["kwargs"], **experience["attributes"]}
        changes = ", ".join(f"{key} {value}" for key, value in settings.items())
        spaces = [_space(experience["observation_space"]), _space(experience["action_space"])]
        rows.append([str(experience["index"] + 1), experience["name"], experience["environment"], changes, *spaces])
    return table_markdown(["", "experience", "environment", "changes", "observations", "actions"], rows)


def _rollouts(facts: Facts) -> str:
    rows = []
    for experience in facts["experiences"]:
        episodes = f"{experience['episodes']} ({experience['terminated']} terminated)"
        means = [_mean(experience[key] or {}) for key in ("length", "return", "reward")]
        rows.append([experience["name"], episodes, *means, _values([experience["reward"]])])
    steps = facts["experiences"][0]["env_steps"]
    note = f"Rollouts of {steps:,} env steps with random actions, as mean ± standard deviation:"
    head = ["experience", "episodes", "length", "return", "reward", "range of rewards"]
    return f"{note}\n\n{table_markdown(head, rows)}"


def _space(text: str) -> str:
    """Return a space on one line, cut to a readable length; the bounds of an image would fill a page."""
    line = " ".join(text.split())
    return f"`{line if len(line) <= MAX_SPACE_LENGTH else line[: MAX_SPACE_LENGTH - 3] + '...'}`"


def _selected_experiences(facts: Facts) -> list[Facts]:
    """Return evenly spaced experiences for the columns of a table, including the first and the last."""
    experiences = facts["experiences"]
    return [experiences[i] for i in evenly_spaced(len(experiences), MAX_EXPERIENCES)]


def _names(experiences: Sequence[Facts]) -> list[str]:
    return [experience["name"] for experience in experiences]


def _values(summaries: Sequence[Facts | None]) -> str:
    """Return the range over all summaries, or the most frequent categories of a categorical column."""
    known = [summary for summary in summaries if summary and summary["mean"] is not None]
    if not known:
        return ""
    if "texts" in known[0]:
        counts = {text: sum(summary["texts"][text] for summary in known) for text in known[0]["texts"]}
        by_count = sorted(counts, key=lambda text: -counts[text])
        more = f" and {len(by_count) - MAX_CATEGORIES} more" if len(by_count) > MAX_CATEGORIES else ""
        return ", ".join(f"{text} {counts[text]:,}" for text in by_count[:MAX_CATEGORIES]) + more
    return f"{min(summary['least'] for summary in known):g} to {max(summary['greatest'] for summary in known):g}"


def _mean(summary: Facts) -> str:
    if summary.get("mean") is None or "texts" in summary:
        return ""
    return f"{format_number(summary['mean'])} ± {format_number(summary['deviation'])}"


def _missing(summaries: Sequence[Facts]) -> str:
    """Return the maximum share of missing values; empty if it is 0."""
    share = max(summary["missing"] for summary in summaries)
    return f"{share:.1%}" if share else ""
