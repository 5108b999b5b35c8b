"""Verb ``rlcl runs``, which lists, shows, compares, removes, merges, sends and imports runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
            _update_seeds(path.parent)


def merge(
    target: Annotated[Path, typer.Argument(help="Folder of all runs, to which runs are copied.")],
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Folders of runs; they are not changed.")],
) -> None:
    """Copy the runs of other folders to a folder of runs.

    A run that is in both folders is copied only if it is further in the source. Runs that have finished with different
    records are left out, and the exit status is 1.
    """
    from rlcl.errors import RunFolderError
    from rlcl.tracking.merge import merge_runs, merge_suites

    for source in sources:
        if not source.is_dir():
            raise RunFolderError(f"{source}: no such folder; name folders of runs: rlcl runs merge TARGET SOURCE...")
    counts = {"copied": 0, "already there": 0, "left out": 0}
    problems, groups = [], set()
    for source in sources:
        for merged in merge_runs(source, target):
            counts[merged.action] += 1
            if merged.action == "copied":
                typer.echo(f"copied  {merged.run}")
                groups.add((target / merged.run).parent)
            elif merged.reason:
                problems.append(f"left out  {merged.run}: {merged.reason}")
        problems += merge_suites(source, target)
    for group in sorted(groups):
        _update_seeds(group)
    for problem in problems:
        typer.echo(problem, err=True)
    one = counts["copied"] == 1
    typer.echo(f"{counts['copied']} run{'s' * (not one)} copied to {target}, {counts['already there']} already there")
    if problems:
        raise typer.Exit(1)


def _update_seeds(folder: Path) -> None:
    """Update the results over the seeds of an experiment, after a run was removed or added."""
    from rlcl.errors import ConfigError
    from rlcl.launch.seed_groups import update_seed_group

    try:
        update_seed_group(folder)
    except ConfigError as error:
        typer.echo(f"the verdict and the sinks of {folder} show its former runs: {error}", err=True)


def migrate(
    root: Annotated[Path, typer.Argument(help="Folder of all runs.")] = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the planned moves.")] = False,
) -> None:
    """Move runs of a former version of rlcl to the folders of their experiments' current hashes."""
    from rlcl.errors import RlclError
    from rlcl.tracking.migration import migrate as migrate_folders

    if not root.is_dir():
        raise RlclError(f"{root} is not a folder; name the folder of all runs: rlcl runs migrate ROOT")
    moved, skipped = 0, 0
    for move in migrate_folders(root, dry_run):
        if move.skipped:
            typer.echo(f"skipped {move.folder}: {move.skipped}", err=True)
            skipped += 1
        else:
            typer.echo(f"{'would move' if dry_run else 'moved'} {move.folder} to {move.target}")
            moved += 1
    if not moved and not skipped:
        typer.echo(f"nothing to migrate in {root}: every run is in the folder of its experiment's current hash")
    if skipped:
        raise typer.Exit(1)


def send(
    runs: Annotated[
        list[str], typer.Argument(help="Names as listed by 'rlcl runs list', or their beginnings; supports * and ?.")
    ],
    to: Annotated[list[str], typer.Option(help="Sink: a name, or its settings in braces: '{type: mlflow, uri: ...}'.")],
    root: Root = Path("runs"),
) -> None:
    """Send finished runs to trackers, or write their records and events as tables.

    Example:
        rlcl runs send digits --to mlflow

    This also repairs a copy: a tracker that did not answer during training receives what it lacks, and nothing twice.
    """
    from rlcl.config import Document, component, override
    from rlcl.console import make_console
    from rlcl.launch.sent_runs import send_run
    from rlcl.tracking.runs import named_runs

    sinks = [component("sink", override(Document("--to", {}), [f"sink={text}"]).data["sink"]) for text in to]
    for stored in [stored for run in runs for stored in named_runs(run, root)]:
        send_run(stored, sinks, make_console())
        typer.echo(f"sent {stored.path} to {', '.join(sink.type for sink in sinks)}")


def import_results(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...",
            help="Folders with the results of one run each: evaluations.npz or monitor.csv of Stable-Baselines3, or "
            "the files of Avalanche's CSVLogger.",
        ),
    ],
    on: Annotated[
        str, typer.Option(metavar="EXPERIMENT", help="Experiment with the same stream, budget and evaluation.")
    ],
    learner: Annotated[str, typer.Option(metavar="NAME", help="Name of the learner in comparisons.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first run; the others have the following seeds.")] = 0,
    training_episodes: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Without evaluations: take the mean return of the last N training episodes."
        ),
    ] = None,
    root: Root = Path("runs"),
) -> None:
    """Import the results of runs of Stable-Baselines3 or Avalanche, so that they can be compared and reported.

    Example:
        rlcl runs import logs/ppo/CartPole-v1_* --on cartpole.yaml --learner "SB3 PPO"

    The experiment names the stream that the runs were trained on; its learner is not used. Steps are those of the other
    library: env steps for Stable-Baselines3, epochs for Avalanche.
    """
    from rlcl.experiment import load_experiment
    from rlcl.launch.importing.write import import_run

    experiment = load_experiment(on)
    for index, folder in enumerate(folders):
        imported = import_run(folder, experiment, learner, seed + index, root, training_episodes)
        action = "imported" if imported.new else "already imported"
        typer.echo(f"{action} {folder} ({imported.library}) as {imported.path}")


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
