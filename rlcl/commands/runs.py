"""``rlcl runs``: the runs there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlcl.strict_json import json_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from rlcl.tracking.runs import Run

__all__ = ["add_to"]

Root = Annotated[Path, typer.Option(help="Folder of all runs.")]


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    group = typer.Typer(help="List, compare, show and remove runs.", no_args_is_help=False, invoke_without_command=True)
    group.callback()(default)
    group.command("list")(list_runs)
    group.command("show")(show)
    group.command("diff")(diff)
    group.command("rm")(remove)
    group.command("migrate")(migrate)
    app.add_typer(group, name="runs")


def default(context: typer.Context) -> None:
    """List, compare, show and remove runs; ``rlcl runs`` alone lists."""
    if context.invoked_subcommand is None:
        list_runs()


def list_runs(
    root: Root = Path("runs"),
    sort: Annotated[str | None, typer.Option(help="A metric (the best first), setting or field.")] = None,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="The other way around.")] = False,
    where: Annotated[
        list[str] | None, typer.Option(help="A condition: learner.type=ppo, accuracy.average>0.9. May be repeated.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="What to show, with commas: run,learner.optimizer.lr,accuracy.average.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with all metrics.")] = False,
) -> None:
    """List runs with their state and decisive metrics.

    rlcl runs list --sort forgetting.chaudhry --where learner.type=ppo

    A key is a metric, a setting as in the experiment's file (learner.methods.type is the type of any method), or one
    of run, seed, state, step, updated, seconds, cpu_seconds, error.
    """
    from rlcl.tracking.runs import check_known, find_runs
    from rlcl.tracking.selection import ordered, selected

    every = find_runs(root)
    if not every and not as_json:
        typer.echo(f"no runs in {root}; start one with: rlcl run quickstart")
        return
    wanted = [column.strip() for column in (columns or "").split(",") if column.strip()]
    for column in wanted:
        check_known(column, every, "--columns")
    chosen = selected(every, where or [])
    chosen = ordered(chosen, sort, reverse) if sort and chosen else chosen
    if as_json:
        typer.echo(json_text([_as_json(run, wanted) for run in chosen], indent=2))
        return
    if not chosen:
        typer.echo(f"none of {len(every)} runs in {root} meets {' and '.join(where or [])}")
        return
    _print(chosen, wanted, [key for key in [sort] if key])


def _print(runs: Sequence[Run], wanted: Sequence[str], more: Sequence[str]) -> None:
    """The columns asked for, or the usual ones and what it is sorted by."""
    from rlcl.commands.columns import print_columns
    from rlcl.tracking.runs import FIELDS

    shown = list(wanted) or ["run", "state", "step", "updated", *(k for k in more if k not in FIELDS)]
    told = [[run.values(key) for key in shown] for run in runs]
    rows = [[_cell(key, values) for key, values in zip(shown, each, strict=True)] for each in told]
    right = {i for i in range(len(shown)) if any(isinstance(v, int | float) for each in told for v in each[i][:1])}
    if not wanted:
        rows = [[*row, _result(run, shown)] for row, run in zip(rows, runs, strict=True)]
    red = {place for place, run in enumerate(runs) if run.fault}
    print_columns([*shown, *([] if wanted else ["result"])], rows, right, red)


def _cell(key: str, values: Sequence[Any]) -> str:
    if len(values) == 1 and isinstance(values[0], float):
        return f"{values[0]:.6g}" if abs(values[0]) < 1000 else f"{values[0]:,.1f}"
    if len(values) == 1 and isinstance(values[0], int) and not isinstance(values[0], bool):
        return f"{values[0]:,}"
    text = ", ".join(map(str, values))
    return text.replace("T", " ").removesuffix("+00:00") if key == "updated" else text


def _as_json(run: Run, columns: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"path": str(run.path), "run": run.name, "seed": run.seed, "state": run.state}
    row |= {key: run.values(key)[0] for key in ("step", "updated", "seconds", "error") if run.values(key)}
    settings = {key: run.values(key) for key in columns if key not in row and key not in run.metrics}
    row |= {key: found[0] if len(found) == 1 else found or None for key, found in settings.items()}
    return {**row, "metrics": dict(run.metrics)}


def show(
    run: Annotated[str, typer.Argument(help="As rlcl runs list names it, or the beginning of it; * and ? match.")],
    root: Root = Path("runs"),
) -> None:
    """Show one run: its state, R, metrics and where it comes from."""
    from rlcl.commands.console import console as make_console
    from rlcl.tracking.runs import named_runs

    console = make_console()
    for found in named_runs(run, root):
        _show(found, console)


def _show(run: Run, console: Console) -> None:
    from rich.markup import escape

    from rlcl.evaluation.outcome import Outcome
    from rlcl.objective import Result, stated, verdict
    from rlcl.report.tables import costs_line, metrics_table, probes_table, r_table, summaries, verdict_table
    from rlcl.tracking.folder import read_records
    from rlcl.tracking.runs import trained_names

    error = next(iter(run.values("error")), "")
    console.print(
        f"[bold]{escape(str(run.path))}[/]  {run.state}  {escape(str(error))}", highlight=False, soft_wrap=True
    )
    git = run.manifest.get("git") or {}
    revision = f"{(git.get('revision') or 'no repository')[:12]}{' (dirty)' if git.get('dirty') else ''}"
    data = run.manifest.get("data", "?")[:12]
    console.print(escape(f"started {run.manifest.get('started', '?')}  git {revision}  data {data}"))
    if run.finished:
        summary = run.summary
        outcome = Outcome(read_records(run.path), tuple(summary["measures"]), tuple(summary["names"]))
        table = r_table([outcome], summary["experiences"], trained_names(summary))
        console.print(table, metrics_table(summaries([outcome]), outcome.meanings))
        if (probes := probes_table([outcome], summary["experiences"])) is not None:
            console.print(probes)
        if (objective := stated(run.config)).judged:
            result = Result.of(outcome.records, outcome.measures, outcome.metrics, summary)
            console.print(verdict_table(verdict(objective, [result])))
        console.print(f"cost: {costs_line([outcome], [summary])}", highlight=False, soft_wrap=True)
    if (run.path / "tensorboard").is_dir():
        console.print(f"tensorboard --logdir {run.path}", highlight=False, soft_wrap=True)


def diff(
    a: Annotated[str, typer.Argument(help="A run, or an experiment with all its seeds, as rlcl runs list names it.")],
    b: Annotated[str, typer.Argument(help="Another.")],
    root: Root = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what two runs differ in: settings, versions, metrics (means over their seeds)."""
    import attrs

    from rlcl.commands.console import console as make_console
    from rlcl.tracking.difference import difference
    from rlcl.tracking.runs import named_runs

    pair = named_runs(a, root), named_runs(b, root)
    found = difference(*pair)
    if as_json:
        typer.echo(json_text(attrs.asdict(found), indent=2))
        return
    console = make_console()
    names = [str(runs[0].path if len(runs) == 1 else runs[0].group) for runs in pair]
    for letter, name, seeds in zip("AB", names, found.seeds, strict=True):
        console.print(f"[bold]{letter}[/]  {name}  ({seeds} finished)", highlight=False)
    rows = {key: [*map(str, values)] for key, values in found.config.items()}
    console.print(_columns("settings", rows, "the same settings"))
    console.print(_columns("versions", {k: [*map(str, v)] for k, v in found.versions.items()}, "the same versions"))
    metrics = {name: [*map(_number, (x, y, _minus(y, x)))] for name, (x, y) in found.metrics.items()}
    console.print(_columns("metrics", metrics, "no metrics", "B - A"))


def _columns(title: str, rows: Mapping[str, Sequence[str]], nothing: str, *more: str) -> Table | str:
    """A table of both values of each key."""
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return nothing
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
    runs: Annotated[list[str], typer.Argument(help="As rlcl runs list names them, or beginnings; * and ? match.")],
    root: Root = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove runs for good."""
    import shutil

    from rlcl.tracking.folder import RunFolder
    from rlcl.tracking.runs import named_runs

    folders = [found.path for run in runs for found in named_runs(run, root)]
    for path in folders:
        if not yes and not typer.confirm(f"remove {path}?"):
            continue
        RunFolder(path).close()  # refuses one that is being worked on
        shutil.rmtree(path)
        typer.echo(f"removed {path}")
        for parent, runs_in in zip(path.parents, ("seed*", "*/seed*"), strict=False):
            if not any(parent.glob(runs_in)):
                shutil.rmtree(parent)
        if path.parent.is_dir():
            _tell_sinks(path.parent)


def _tell_sinks(folder: Path) -> None:
    """Tells the sinks of a config that one of its runs was removed."""
    from rlcl.errors import ConfigError
    from rlcl.experiment import load_experiment
    from rlcl.sinks.run_sinks import run_sinks

    left = sorted(folder.glob("seed*/config.yaml"))
    try:
        if left:
            run_sinks(load_experiment(left[0]).sinks).seeds_changed(folder)
    except ConfigError as error:
        typer.echo(f"what sinks show of all seeds in {folder} still has the removed run: {error}", err=True)


def migrate(
    root: Annotated[Path, typer.Argument(help="Folder of all runs.")] = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be moved, and change nothing.")] = False,
) -> None:
    """Move runs of an earlier rlcl to where today's hash of their experiment looks for them."""
    from rlcl.errors import RlclError
    from rlcl.tracking.migration import migrate as migrated

    if not root.is_dir():
        raise RlclError(f"{root} is no folder; name the folder of all runs: rlcl runs migrate ROOT")
    moved, skipped = 0, 0
    for move in migrated(root, dry_run):
        if move.skipped:
            typer.echo(f"skipped {move.folder}: {move.skipped}")
            skipped += 1
        else:
            typer.echo(f"{'would move' if dry_run else 'moved'} {move.folder} to {move.target}")
            moved += 1
    if not moved and not skipped:
        typer.echo(f"nothing to migrate in {root}: every run is under today's hash of its experiment")
    if skipped:
        raise typer.Exit(1)


def _shortened(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _principal(run: Run, metrics: Mapping[str, float]) -> list[str]:
    """The names of two metrics at most: the one that runs are compared by, and one of forgetting or transfer."""
    from rlcl.evaluation.meaning import decisive
    from rlcl.evaluation.metrics import TOPICS

    first = decisive(run.meanings) or next(iter(metrics), "")
    others = [name for topic in TOPICS for name, told in run.meanings.items() if told.topic == topic]
    return [name for name in (first, *others[:1]) if name in metrics]


def _result(run: Run, shown: Sequence[str]) -> str:
    if run.fault:
        return _shortened(run.fault)
    metrics = {name: value for name, value in run.metrics.items() if name not in shown}
    told = "  ".join(f"{name} {metrics[name]:.3f}" for name in _principal(run, metrics))
    return told or _shortened(str(next(iter(run.values("error")), "")))
