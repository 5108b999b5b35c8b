"""Creation of the HTML page of runs: its sections and its file."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from attrs import frozen

from rlcl.comparison.groups import SeedGroup, group_runs
from rlcl.comparison.run_labels import label_runs
from rlcl.comparison.search import read_search
from rlcl.comparison.suites import cell_runs
from rlcl.errors import RunFolderError
from rlcl.evaluation.metrics import AVERAGE, PERFORMANCE, TOPICS
from rlcl.objective import Objective
from rlcl.report.page.comparison_sections import comparison_sections
from rlcl.report.page.figures import (
    drift_figure,
    learning_curves_figure,
    measure_title,
    metrics_figure,
    performance_figure,
    probes_figure,
    transfer_figures,
    videos_figure,
)
from rlcl.report.page.matrix import r_figure, retention_figure
from rlcl.report.page.parts import Figure, Section, number_text
from rlcl.report.page.run_details import (
    config_text,
    costs_figure,
    differences_figure,
    manifest_figure,
    objective_figure,
    runs_figure,
    times_figure,
)
from rlcl.report.page.search_section import search_section
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import StoredRun, state_of

__all__ = ["ConfigText", "Tile", "make_page", "render_page"]

MAX_POINTS = 160  # of a curve


@frozen
class Tile:
    """A number at the top of the page.

    Args:
        value: the number as text.
        label: name of the number.
        note: interval of the number.
    """

    value: str
    label: str
    note: str = ""


@frozen
class ConfigText:
    """A config that the page shows on demand.

    Args:
        label: label of the experiment.
        text: the config as YAML.
    """

    label: str
    text: str


def make_page(runs: Sequence[StoredRun], title: str) -> str:
    """Return the page of runs: all details for a single experiment, a comparison for several ones.

    Args:
        runs: at least one run.
        title: title of a page of several experiments.

    Raises:
        RunFolderError: no run has readable records.
    """
    suite_folder, former = _suite_folder(runs), label_runs(runs)[1]
    suite = {} if suite_folder is None else read_json(suite_folder / "suite.json")
    former_groups = {run.group for run in runs if run.path in former}
    groups = group_runs([run for run in runs if run.group not in former_groups])
    shown = [group for group in groups if group.seeds and group.measures]
    if not shown:
        reasons = "\n".join(
            f"{excluded.run.path}: {excluded.reason}" for group in groups for excluded in group.excluded
        )
        raise RunFolderError(f"nothing to report: none of {len(runs)} runs has a record\n{reasons}".rstrip())
    single = len(shown) == 1
    sections = _experiment_sections(shown[0]) if single else comparison_sections(shown, runs, MAX_POINTS)
    sections += _run_sections(shown, groups)
    return render_page(
        verb="rlcl report",
        origin="the files of the runs",
        title=str(shown[0].config.get("name", title)) if single else str(suite.get("name", title)),
        subtitle=_subtitle(shown, groups),
        statement=shown[0].objective.statement if single else str(suite.get("statement") or ""),
        objective_notes=_objective_notes(shown[0].objective) if single else {},
        verdict=shown[0].verdict.status if single and shown[0].verdict is not None else "",
        notices=[*_run_notices(shown, groups), *_suite_notices(suite_folder, former_groups)],
        tiles=_tiles(shown[0]) if single else [],
        sections=[section for section in sections if section.figures or section.note],
        configs=[ConfigText(group.label or "config", config_text(group.config)) for group in shown],
    )


def _objective_notes(objective: Objective) -> Mapping[str, Sequence[str]]:
    """Return the texts of an objective that are no conditions, by heading."""
    lists = {
        "Obstacles": objective.obstacles,
        "Intended use": objective.intended_use,
        "Out of scope": objective.out_of_scope,
    }
    return {heading: texts for heading, texts in lists.items() if texts}


def _experiment_sections(group: SeedGroup) -> list[Section]:
    """Return the sections of a single experiment."""
    others = [r_figure(group, measure) for measure in group.measures[1:] if not _is_empty(group, measure)]
    measures = [m for m in group.measures if m == group.measure or not _is_empty(group, m)]
    over_time = [performance_figure(group, measure, MAX_POINTS) for measure in measures]
    performance_metrics = group.metrics_about(PERFORMANCE)
    metrics = metrics_figure(group, performance_metrics, "Metrics") if performance_metrics else None
    undefined = [f"{name} is not defined: {reason}." for name, reason in group.undefined.items()]
    return [
        _section("objective", "Objective", objective_figure(group)),
        *_search_sections(group),
        _section("R", "Evaluations after each experience (R)", r_figure(group), *others),
        _section("over-time", "Performance over time", *over_time, drift_figure(group, MAX_POINTS)),
        _section("videos", "Episodes", videos_figure(group)),
        _section("forgetting", "Forgetting and transfer", retention_figure(group), *transfer_figures(group)),
        _section("metrics", "Performance metrics", metrics, note=" ".join(undefined)),
        _section("curves", "Learning curves", learning_curves_figure(group, MAX_POINTS)),
        _section("probes", "Probes", probes_figure(group, MAX_POINTS)),
        _section("cost", "Cost", costs_figure(group), times_figure(group)),
    ]


def _search_sections(group: SeedGroup) -> list[Section]:
    """Return the section of the search whose winner the group is; none if it is no winner."""
    folder = group.runs[0].group
    search = read_search(folder.parent)
    return [search_section(search)] if search is not None and search.winner_hash == folder.name else []


def _section(key: str, title: str, *figures: Figure | None, note: str = "") -> Section:
    return Section(key, title, tuple(figure for figure in figures if figure is not None), note)


def _is_empty(group: SeedGroup, measure: str) -> bool:
    return not any(results.rows for results in group.results(measure))


def _run_sections(shown: Sequence[SeedGroup], groups: Sequence[SeedGroup]) -> list[Section]:
    differences = differences_figure(shown)
    return [
        Section("runs", "Runs", (runs_figure(groups),)),
        Section("config", "Configuration", (*([differences] if differences else []), manifest_figure(shown))),
    ]


def _tiles(group: SeedGroup) -> list[Tile]:
    averages = [name for name, meaning in group.meanings.items() if meaning.metric == AVERAGE.name]
    names = averages[:2] or list(group.metrics_about(PERFORMANCE)[:2])
    names += [name for topic, limit in zip(TOPICS, (1, 2), strict=True) for name in group.metrics_about(topic)[:limit]]
    tiles = []
    for name in names[:4]:
        summary = group.summaries[name]
        half = f"± {number_text(summary.half_width)}, {summary.seeds} seeds" if summary.seeds > 1 else "1 seed"
        tiles.append(Tile(number_text(summary.mean), name, half))
    return tiles


def _subtitle(shown: Sequence[SeedGroup], groups: Sequence[SeedGroup]) -> str:
    runs = [run for group in groups for run in group.runs]
    finished = sum(run.finished for run in runs)
    states = f"{finished} of {len(runs)} run{'s' * (len(runs) > 1)} finished"
    if len(shown) > 1:
        return f"{len(shown)} experiments, {states}"
    group = shown[0]
    stream, learner = group.config.get("stream") or {}, group.config.get("learner") or {}
    count = len(group.evaluated_names)
    kinds = f"{learner.get('type', 'learner')} on {stream.get('type', 'stream')}"
    return f"{kinds}, {count} experience{'s' * (count > 1)}, {measure_title(group.measure)}; {states}"


def _suite_folder(runs: Sequence[StoredRun]) -> Path | None:
    """Return the folder of the suite of all runs; None if they have no common suite, or only one cell."""
    folders = {run.group.parent for run in runs}
    several = len({run.group for run in runs}) > 1
    return folders.pop() if len(folders) == 1 and several else None


def _suite_notices(folder: Path | None, former_groups: Collection[Path]) -> list[str]:
    """Return notices on the unfinished cells of a suite, and on experiments that are no longer part of it."""
    runs = [] if folder is None else cell_runs(folder)
    unfinished = sum(state_of(run) != "finished" for run in runs)
    verb = "are" if unfinished > 1 else "is"
    notices = [f"{unfinished} of {len(runs)} cells of the suite {verb} not finished."] if unfinished else []
    if former_groups:
        count = len(former_groups)
        notices.append(f"Left out because the suite no longer contains them: {count} experiment{'s' * (count > 1)}.")
    return notices


def _run_notices(shown: Sequence[SeedGroup], groups: Sequence[SeedGroup]) -> list[str]:
    """Return notices on unfinished and excluded runs."""
    notices = [
        f"No seed of {group.label} has finished; the page shows the present state."
        for group in shown
        if not group.finished
    ]
    excluded = sum(len(group.excluded) for group in groups)
    if excluded:
        verb = "s are" if excluded > 1 else " is"
        notices.append(f"{excluded} run{verb} left out; the section Runs lists the reasons.")
    return notices


def render_page(**content: object) -> str:
    """Return the page for the variables of its template, with the style sheet and the time of creation."""
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
    return environment.get_template("page.html").render(**content, style=style, created=now)
