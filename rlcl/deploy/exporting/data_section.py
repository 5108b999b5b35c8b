"""What a model learned from, as a section of its card: the profile of its data, cut to what a reader takes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlcl.report.markdown import table_markdown
from rlcl.report.page.figures import spread
from rlcl.report.tables import format_number

__all__ = ["data_section"]

Facts = Mapping[str, Any]

CLASSES, EXPERIENCES, TEXTS = 20, 5, 6  # that a table names one by one
LETTERS = 160  # of a space

FEATURES_NOTE = """Features of at most 5,000 training rows of each experience, mean ± standard deviation of the values
that are there:"""
SHIFT_NOTE = """How far each experience's inputs are from those of the one before: the energy coefficient (0 where both
are drawn alike, 1 where they have nothing in common), and how far means have moved, in standard deviations over all:"""


def data_section(facts: Facts) -> str:
    """Markdown: tables of rows, classes, features and distances; of environments spaces, rewards and episodes.

    Args:
        facts: of :func:`rlcl.report.profile.build.make_profile`.
    """
    if facts["kind"] == "environment":
        parts = [_environments(facts), _played(facts)]
    else:
        parts = [_rows(facts), _classes(facts), _features(facts), _targets(facts)]
    return "\n\n".join(part for part in (*parts, _shifts(facts)) if part)


def _rows(facts: Facts) -> str:
    classes = facts["kind"] == "labelled"
    head = ["", "experience", "training rows", "duplicates", *(["classes"] if classes else []), "held out", "copies"]
    rows = []
    for each in facts["experiences"]:
        train, test = each["train"], each["test"]
        counts = [n for n in train.get("classes", ()) if n]
        balance = [f"{len(counts)} ({min(counts):,} to {max(counts):,} rows each)"] if classes else []
        copies = "" if test["copies"] is None else f"{test['copies']:,}"
        rows.append(
            [str(each["index"] + 1), each["name"], f"{train['rows']:,}", f"{train['duplicates']:,}", *balance,
             f"{test['rows']:,}", copies]
        )  # fmt: skip
    told = "Duplicates are training rows that equal an earlier one, copies held-out rows that equal a training row:"
    return f"{told}\n\n{table_markdown(head, rows)}"


def _classes(facts: Facts) -> str:
    """Training rows of each class; where classes are many, the table of rows tells the least and the most."""
    names, experiences = facts["classes"], _some(facts)
    if not 0 < len(names) <= CLASSES:
        return ""
    rows = [
        [name, *(f"{n:,}" if (n := each["train"]["classes"][place]) else "" for each in experiences)]
        for place, name in enumerate(names)
    ]
    return f"Training rows of each class:\n\n{table_markdown(['class', *_names(experiences)], rows)}"


def _features(facts: Facts) -> str:
    """A row a feature where they are few, else a summary of each experience."""
    experiences = _some(facts)
    if "features" not in experiences[0]["train"]:
        return f"{FEATURES_NOTE}\n\n{_summary(facts)}"
    rows = []
    for place, feature in enumerate(experiences[0]["train"]["features"]):
        every = [each["train"]["features"][place] for each in facts["experiences"]]
        found = [each["train"]["features"][place] for each in experiences]
        rows.append([feature["name"], _values(every), _missing(every), *map(_spread, found)])
    head = ["feature", "values", "missing", *_names(experiences)]
    return f"{FEATURES_NOTE}\n\n{table_markdown(head, rows)}"


def _summary(facts: Facts) -> str:
    rows = []
    for each in facts["experiences"]:
        train = each["train"]
        constant = f"{train['constant'] / train['of']:.0%} of {train['of']:,}"
        rows.append([each["name"], _values([train]), _spread(train), constant, _missing([train])])
    return table_markdown(["experience", "values", "mean", "features that never change", "missing"], rows)


def _targets(facts: Facts) -> str:
    if facts["kind"] != "regression":
        return ""
    rows = [
        [each["name"], str(place), _values([target]), _spread(target)]
        for each in facts["experiences"]
        for place, target in enumerate(each["train"]["targets"])
    ]
    return f"What is predicted:\n\n{table_markdown(['experience', 'number', 'values', 'mean'], rows)}"


def _shifts(facts: Facts) -> str:
    if facts["distances"] is None:
        return ""
    rows = [
        [each["from"], each["to"], f"{each['energy']:.2f}", f"{each['mean']:.2f}",
         f"{each['greatest']:.2f} ({each['feature']})"]
        for each in facts["distances"]["shifts"]
    ]  # fmt: skip
    head = ["from", "to", "distance", "means moved by", "most (feature)"]
    return f"{SHIFT_NOTE}\n\n{table_markdown(head, rows)}"


def _environments(facts: Facts) -> str:
    rows = []
    for each in facts["experiences"]:
        changes = ", ".join(f"{key} {value}" for key, value in {**each["kwargs"], **each["attributes"]}.items())
        spaces = [_space(each["observation_space"]), _space(each["action_space"])]
        rows.append([str(each["index"] + 1), each["name"], each["environment"], changes, *spaces])
    return table_markdown(["", "experience", "environment", "changes", "observations", "actions"], rows)


def _played(facts: Facts) -> str:
    rows = []
    for each in facts["experiences"]:
        ended = f"{each['episodes']} ({each['terminated']} terminated)"
        moments = [_spread(each[key] or {}) for key in ("length", "return", "reward")]
        rows.append([each["name"], ended, *moments, _values([each["reward"]])])
    steps = facts["experiences"][0]["env_steps"]
    told = f"What {steps:,} env steps under random actions meet, mean ± standard deviation:"
    head = ["experience", "episodes", "length", "return", "reward", "rewards"]
    return f"{told}\n\n{table_markdown(head, rows)}"


def _space(text: str) -> str:
    """On one line, and not longer than a reader reads; the bounds of an image are a page."""
    line = " ".join(text.split())
    return f"`{line if len(line) <= LETTERS else line[: LETTERS - 3] + '...'}`"


def _some(facts: Facts) -> list[Facts]:
    """Experiences that have a column of their own: evenly spread, the first and the last among them."""
    experiences = facts["experiences"]
    return [experiences[place] for place in spread(len(experiences), EXPERIENCES)]


def _names(experiences: Sequence[Facts]) -> list[str]:
    return [each["name"] for each in experiences]


def _values(found: Sequence[Facts | None]) -> str:
    """The range over all of them; of a column of texts the most frequent ones."""
    known = [each for each in found if each and each["mean"] is not None]
    if not known:
        return ""
    if "texts" in known[0]:
        counts = {text: sum(each["texts"][text] for each in known) for text in known[0]["texts"]}
        often = sorted(counts, key=lambda text: -counts[text])
        more = f" and {len(often) - TEXTS} more" if len(often) > TEXTS else ""
        return ", ".join(f"{text} {counts[text]:,}" for text in often[:TEXTS]) + more
    return f"{min(each['least'] for each in known):g} to {max(each['greatest'] for each in known):g}"


def _spread(found: Facts) -> str:
    if found.get("mean") is None or "texts" in found:
        return ""
    return f"{format_number(found['mean'])} ± {format_number(found['deviation'])}"


def _missing(found: Sequence[Facts]) -> str:
    """The greatest share of all of them."""
    most = max(each["missing"] for each in found)
    return f"{most:.1%}" if most else ""
