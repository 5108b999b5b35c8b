"""From runs to a page: what stands in which section, and the file."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from attrs import frozen

from rlcl.comparison.groups import Group, grouped
from rlcl.comparison.naming import places
from rlcl.errors import RunFolderError
from rlcl.evaluation.metrics import AVERAGE, PERFORMANCE, TOPICS
from rlcl.objective import Objective
from rlcl.report.page import comparing
from rlcl.report.page.about import (
    config_text,
    costs_figure,
    differences_figure,
    manifest_figure,
    objective_figure,
    runs_figure,
    times_figure,
)
from rlcl.report.page.figures import (
    called,
    curves_figure,
    metrics_figure,
    performance_figure,
    probes_figure,
    transfer_figures,
)
from rlcl.report.page.matrix import kept_figure, r_figure
from rlcl.report.page.parts import Figure, Section, number
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import Run

__all__ = ["Config", "Tile", "make_page", "rendered"]

POINTS = 160  # of a curve


@frozen
class Tile:
    """A number at the top of the page.

    Args:
        value: of it.
        label: what it is.
        note: its interval.
    """

    value: str
    label: str
    note: str = ""


@frozen
class Config:
    """A config, folded up.

    Args:
        label: of its experiment.
        text: YAML.
    """

    label: str
    text: str


def make_page(runs: Sequence[Run], title: str) -> str:
    """The page of runs: in full where they are seeds of one experiment, a comparison where there are several.

    Args:
        runs: at least one.
        title: for the page, where they are of several experiments.

    Raises:
        RunFolderError: none of them can be read.
    """
    suite, former = _suite(runs), places(runs)[1]
    older = {run.group for run in runs if run.path in former}
    groups = grouped([run for run in runs if run.group not in older])
    shown = [group for group in groups if group.seeds and group.measures]
    if not shown:
        reasons = "\n".join(f"{other.run.path}: {other.reason}" for group in groups for other in group.others)
        raise RunFolderError(f"nothing to report: none of {len(runs)} runs has a record\n{reasons}".rstrip())
    single = len(shown) == 1
    sections = _of_one(shown[0]) if single else comparing.sections(shown, runs, POINTS)
    sections += _about(shown, groups)
    return rendered(
        verb="rlcl report",
        origin="the files of the runs",
        title=str(shown[0].config.get("name", title)) if single else str(suite.get("name", title)),
        subtitle=_subtitle(shown, groups),
        statement=shown[0].objective.statement if single else str(suite.get("statement") or ""),
        told=_told(shown[0].objective) if single else {},
        verdict=shown[0].verdict.said if single and shown[0].verdict is not None else "",
        notices=[*_notices(shown, groups), *_missing(suite, older)],
        tiles=_tiles(shown[0]) if single else [],
        sections=[section for section in sections if section.figures],
        configs=[Config(group.label or "config", config_text(group.config)) for group in shown],
    )


def _told(objective: Objective) -> Mapping[str, Sequence[str]]:
    """What an objective says beside what can be judged, by heading."""
    lists = {
        "Obstacles": objective.obstacles,
        "Intended use": objective.intended_use,
        "Not to be used": objective.out_of_scope,
    }
    return {heading: texts for heading, texts in lists.items() if texts}


def _of_one(group: Group) -> list[Section]:
    """The sections of a single experiment."""
    others = [r_figure(group, measure) for measure in group.measures[1:] if not _is_empty(group, measure)]
    rest = group.about(PERFORMANCE)
    return [
        _section("objective", "Objective", objective_figure(group)),
        _section("R", "What is known after each experience", r_figure(group), *others),
        _section("over-time", "Performance over time", performance_figure(group, POINTS)),
        _section("forgetting", "Forgetting and transfer", kept_figure(group), *transfer_figures(group)),
        _section("metrics", "Performance metrics", metrics_figure(group, rest, "Metrics") if rest else None),
        _section("curves", "Learning curves", curves_figure(group, POINTS)),
        _section("probes", "Probes", probes_figure(group, POINTS)),
        _section("cost", "Cost", costs_figure(group), times_figure(group)),
    ]


def _section(key: str, title: str, *figures: Figure | None) -> Section:
    return Section(key, title, tuple(figure for figure in figures if figure is not None))


def _is_empty(group: Group, measure: str) -> bool:
    return not any(results.rows for results in group.results(measure))


def _about(shown: Sequence[Group], groups: Sequence[Group]) -> list[Section]:
    differing = differences_figure(shown)
    return [
        Section("runs", "Runs", (runs_figure(groups),)),
        Section("config", "Configuration", (*([differing] if differing else []), manifest_figure(shown))),
    ]


def _tiles(group: Group) -> list[Tile]:
    averages = [name for name, told in group.meanings.items() if told.metric == AVERAGE.name]
    chosen = averages[:2] or list(group.about(PERFORMANCE)[:2])
    chosen += [name for topic, most in zip(TOPICS, (1, 2), strict=True) for name in group.about(topic)[:most]]
    tiles = []
    for name in chosen[:4]:
        summary = group.summaries[name]
        half = f"± {number(summary.half_width)}, {summary.seeds} seeds" if summary.seeds > 1 else "1 seed"
        tiles.append(Tile(number(summary.mean), name, half))
    return tiles


def _subtitle(shown: Sequence[Group], groups: Sequence[Group]) -> str:
    runs = [run for group in groups for run in group.runs]
    finished = sum(run.finished for run in runs)
    states = f"{finished} of {len(runs)} run{'s' * (len(runs) > 1)} finished"
    if len(shown) > 1:
        return f"{len(shown)} experiments, {states}"
    group = shown[0]
    stream, learner = group.config.get("stream") or {}, group.config.get("learner") or {}
    count = len(group.names)
    kinds = f"{learner.get('type', 'learner')} on {stream.get('type', 'stream')}"
    return f"{kinds}, {count} experience{'s' * (count > 1)}, {called(group.measure)}; {states}"


def _suite(runs: Sequence[Run]) -> Mapping[str, Any]:
    """What ``rlcl bench`` wrote of the suite that all runs belong to; empty where they are of none, or of one cell."""
    folders = {run.group.parent for run in runs}
    several = len({run.group for run in runs}) > 1
    return read_json(folders.pop() / "suite.json") if len(folders) == 1 and several else {}


def _missing(suite: Mapping[str, Any], older: Collection[Path]) -> list[str]:
    """Says how many cells of a suite have not been run to their end, and what an earlier definition left."""
    cells = suite.get("cells")
    states = [cell.get("state") for cell in cells if isinstance(cell, dict)] if isinstance(cells, list) else []
    missing = len([state for state in states if state != "finished"])
    many = missing > 1
    told = [f"{missing} of {len(states)} cells of the suite {'are' if many else 'is'} not finished."] if missing else []
    if older:
        told.append(
            f"Left out as of an earlier definition of the suite: {len(older)} experiment{'s' * (len(older) > 1)}."
        )
    return told


def _notices(shown: Sequence[Group], groups: Sequence[Group]) -> list[str]:
    """What a reader must know of runs that are not whole."""
    told = [
        f"No seed of {group.label} has finished: this shows what there is up to now."
        for group in shown
        if not group.finished
    ]
    left_out = sum(len(group.others) for group in groups)
    if left_out:
        many = left_out > 1
        told.append(f"{left_out} run{'s are' if many else ' is'} left out; the reasons are under Runs.")
    return told


def rendered(**content: object) -> str:
    """The page of a template's variables, with its style sheet and the time."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("rlcl.report.page", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = files("rlcl.report.page").joinpath("page.css").read_text(encoding="utf-8")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return environment.get_template("page.html").render(**content, style=style, made=now)
