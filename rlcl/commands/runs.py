"""Verb ``rlcl runs``, which lists, shows, compares, removes, merges, sends and imports runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlcl.commands.run_transfers import import_results, merge, migrate, send, update_seeds
from rlcl.strict_json import json_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from rlcl.tracking.runs import StoredRun

__all__ = ["add_to"]

Root = Annotated[Path, typer.Option(help="Folder of all runs.")]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    group = typer.Typer(
        help="List, show, compare, remove, merge, send and import runs.",
        no_args_is_help=False,
        invoke_without_command=True,
    )
    group.callback()(default)
    group.command("list")(list_runs)
    group.command("show")(show)
    group.command("diff")(diff)
    group.command("rm")(remove)
    group.command("merge")(merge)
    group.command("migrate")(migrate)
    group.command("send")(send)
    group.command("import")(import_results)
    app.add_typer(group, name="runs")


def default(context: typer.Context) -> None:
    """List, show, compare, remove, merge, send and import runs; without a subcommand, list them."""
    if context.invoked_subcommand is None:
        list_runs()


def list_runs(
    root: Root = Path("runs"),
    sort: Annotated[
        str | None, typer.Option(help="Key to sort by: a metric (the best value first), setting or field.")
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="Reverse the order.")] = False,
    where: Annotated[
        list[str] | None, typer.Option(help="Condition: learner.type=ppo, accuracy.average>0.9. May be repeated.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Keys to show, separated by commas: run,learner.optimizer.lr,accuracy.average.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with all metrics.")] = False,
) -> None:
    """List runs with their state and main metrics.

    Example:
        rlcl runs list --sort forgetting.chaudhry --where learner.type=ppo

    A key is a metric, a setting as in an experiment file (learner.methods.type selects the types of all methods), or
    one of run, seed, state, step, updated, seconds, cpu_seconds, error.
    """
    from rlcl.tracking.runs import check_key, find_runs
    from rlcl.tracking.selection import select_runs, sort_runs

    runs = find_runs(root)
    if not runs and not as_json:
        typer.echo(f"no runs in {root}; start one with: rlcl run quickstart")
        return
    keys = [column.strip() for column in (columns or "").split(",") if column.strip()]
    for key in keys:
        check_key(key, runs, "--columns")
    selection = select_runs(runs, where or [])
    selection = sort_runs(selection, sort, reverse) if sort and selection else selection
    if as_json:
        typer.echo(json_text([_as_json(run, keys) for run in selection], indent=2))
        return
    if not selection:
        typer.echo(f"none of {len(runs)} runs in {root} meets {' and '.join(where or [])}")
        return
    _print(selection, keys, [key for key in [sort] if key])


def _print(runs: Sequence[StoredRun], columns: Sequence[str], sort_keys: Sequence[str]) -> None:
    """Print the given columns; without them, the default columns and the sort keys."""
    from rlcl.commands.columns import print_columns
    from rlcl.tracking.runs import FIELDS

    keys = list(columns) or ["run", "state", "step", "updated", *(k for k in sort_keys if k not in FIELDS)]
    table = [[run.values(key) for key in keys] for run in runs]
    rows = [[_cell(key, values) for key, values in zip(keys, row, strict=True)] for row in table]
    right = {i for i in range(len(keys)) if any(isinstance(v, int | float) for row in table for v in row[i][:1])}
    if not columns:
        rows = [[*row, _result(run, keys)] for row, run in zip(rows, runs, strict=True)]
    red = {index for index, run in enumerate(runs) if run.fault}
    print_columns([*keys, *([] if columns else ["result"])], rows, right, red)


def _cell(key: str, values: Sequence[Any]) -> str:
    if len(values) == 1 and isinstance(values[0], float):
        return f"{values[0]:.6g}" if abs(values[0]) < 1000 else f"{values[0]:,.1f}"
    if len(values) == 1 and isinstance(values[0], int) and not isinstance(values[0], bool):
        return f"{values[0]:,}"
    text = ", ".join(map(str, values))
    return text.replace("T", " ").removesuffix("+00:00") if key == "updated" else text


def _as_json(run: StoredRun, columns: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"path": str(run.path), "run": run.name, "seed": run.seed, "state": run.state}
    row |= {key: run.values(key)[0] for key in ("step", "updated", "seconds", "error") if run.values(key)}
    settings = {key: run.values(key) for key in columns if key not in row and key not in run.metrics}
    row |= {key: values[0] if len(values) == 1 else values or None for key, values in settings.items()}
    return {**row, "metrics": dict(run.metrics)}


def show(
    run: Annotated[str, typer.Argument(help="Name as listed by 'rlcl runs list', or its beginning; supports * and ?.")],
    root: Root = Path("runs"),
) -> None:
    """Show a run: its state, R, metrics and provenance."""
    from rlcl.console import make_console
    from rlcl.tracking.runs import named_runs

    console = make_console()
    for stored in named_runs(run, root):
        _show(stored, console)


def _show(run: StoredRun, console: Console) -> None:
    from rich.text import Text

    from rlcl.evaluation.outcome import Outcome
    from rlcl.objective import SeedResult, judge_objective, objective_of
    from rlcl.report.tables import (
        costs_line,
        metrics_table,
        probes_table,
        r_table,
        summarize_metrics,
        undefined_lines,
        verdict_table,
    )
    from rlcl.tracking.folder import read_results
    from rlcl.tracking.runs import trained_names

    error = next(iter(run.values("error")), "")
    console.print(Text.assemble((str(run.path), "bold"), f"  {run.state}  {error}"), soft_wrap=True)
    started, data = run.manifest.get("started", "?"), run.manifest.get("data", "?")[:12]
    console.print(f"{'imported' if run.is_imported else 'started'} {started}  {_origin(run)}  data {data}")
    if run.finished:
        summary = run.summary
        outcome = Outcome(read_results(run.path), tuple(summary["measures"]), tuple(summary["names"]))
        table = r_table([outcome], summary["experiences"], trained_names(summary))
        console.print(table, metrics_table(summarize_metrics([outcome]), outcome.meanings))
        for line in undefined_lines(outcome):
            console.print(line)
        if (probes := probes_table([outcome], trained_names(summary))) is not None:
            console.print(probes)
        if (objective := objective_of(run.config)).has_conditions:
            result = SeedResult.of(outcome.records, outcome.measures, outcome.metrics, summary)
            console.print(verdict_table(judge_objective(objective, [result])))
        console.print(f"cost: {costs_line([outcome], [summary])}", soft_wrap=True)
    if (run.path / "tensorboard").is_dir():
        console.print(f"tensorboard --logdir {run.path}", soft_wrap=True)


def _origin(run: StoredRun) -> str:
    """Return the code that produced a run: the git revision, or the library of an imported run."""
    if run.is_imported:
        imported = run.manifest["imported"]
        return f"from {imported.get('library')} ({imported.get('from')})"
    git = run.manifest.get("git") or {}
    return f"git {(git.get('revision') or '')[:12] or 'no repository'}{' (dirty)' if git.get('dirty') else ''}"


def diff(
    a: Annotated[
        str,
        typer.Argument(help="Name of a run, or of an experiment with all its seeds, as listed by 'rlcl runs list'."),
    ],
    b: Annotated[str, typer.Argument(help="Name of the other run or experiment.")],
    root: Root = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the differences between two runs: settings, versions, metrics (means over their seeds)."""
    import attrs
    from rich.text import Text

    from rlcl.console import make_console
    from rlcl.tracking.difference import difference
    from rlcl.tracking.runs import named_runs

    pair = named_runs(a, root), named_runs(b, root)
    changes = difference(*pair)
    if as_json:
        typer.echo(json_text(attrs.asdict(changes), indent=2))
        return
    console = make_console()
    names = [str(runs[0].path if len(runs) == 1 else runs[0].group) for runs in pair]
    for letter, name, seeds in zip("AB", names, changes.seeds, strict=True):
        console.print(Text.assemble((letter, "bold"), f"  {name}  ({seeds} finished)"))
    rows = {key: [*map(str, values)] for key, values in changes.config.items()}
    console.print(_columns("settings", rows, "the same settings"))
    console.print(_columns("versions", {k: [*map(str, v)] for k, v in changes.versions.items()}, "the same versions"))
    metrics = {name: [*map(_number, (x, y, _minus(y, x)))] for name, (x, y) in changes.metrics.items()}
    console.print(_columns("metrics", metrics, "no metrics", "B - A"))


def _columns(title: str, rows: Mapping[str, Sequence[str]], empty: str, *more: str) -> Table | str:
    """Return a table of both values of each key, or the text ``empty`` if there are no keys."""
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return empty
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in ("A", "B", *more):
        table.add_column(column, justify="right" if more else "left", overflow="fold")
    for key, cells in rows.items():
        table.add_row(Text(key), *map(Text, cells))
    return table


def _minus(b: float | None, a: float | None) -> float | None:
    return None if a is None or b is None else b - a


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def remove(
    runs: Annotated[
        list[str], typer.Argument(help="Names as listed by 'rlcl runs list', or their beginnings; supports * and ?.")
    ],
    root: Root = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Permanently remove runs."""
    import shutil

    from rlcl.tracking.folder import RunFolder
    from rlcl.tracking.runs import named_runs

    folders = [stored.path for run in runs for stored in named_runs(run, root)]
    for path in folders:
        if not yes and not typer.confirm(f"remove {path}?"):
            continue
        RunFolder(path).close()  # raises if another process uses it
        shutil.rmtree(path)
        typer.echo(f"removed {path}")
        for parent, pattern in zip(path.parents, ("seed*", "*/seed*"), strict=False):
            if not any(parent.glob(pattern)):
                shutil.rmtree(parent)
        if path.parent.is_dir():
            update_seeds(path.parent)


def _shortened(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _main_metrics(run: StoredRun, metrics: Mapping[str, float]) -> list[str]:
    """Return the names of at most two metrics: the main metric, and one of forgetting or transfer."""
    from rlcl.evaluation.metric_meaning import main_metric
    from rlcl.evaluation.metrics import TOPICS

    first = main_metric(run.meanings) or next(iter(metrics), "")
    others = [name for topic in TOPICS for name, meaning in run.meanings.items() if meaning.topic == topic]
    return [name for name in (first, *others[:1]) if name in metrics]


def _result(run: StoredRun, columns: Sequence[str]) -> str:
    """Return the text of the result column, without the metrics that have their own columns."""
    if run.fault:
        return _shortened(run.fault)
    metrics = {name: value for name, value in run.metrics.items() if name not in columns}
    text = "  ".join(f"{name} {metrics[name]:.3f}" for name in _main_metrics(run, metrics))
    return text or _shortened(str(next(iter(run.values("error")), "")))
