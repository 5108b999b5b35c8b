"""``rlcl runs``: the runs there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to"]

Root = Annotated[Path, typer.Option(help="Folder of all runs.")]


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    group = typer.Typer(help="List, show and remove runs.", no_args_is_help=False, invoke_without_command=True)
    group.callback()(default)
    group.command("list")(list_runs)
    group.command("show")(show)
    group.command("rm")(remove)
    app.add_typer(group, name="runs")


def default(context: typer.Context) -> None:
    """List, show and remove runs; ``rlcl runs`` alone lists."""
    if context.invoked_subcommand is None:
        list_runs()


def found(root: Path) -> Iterator[Path]:
    """Yields the folders of all runs, in the order of their names."""
    yield from sorted(path for path in root.glob("*/*/seed*") if path.is_dir())


def list_runs(root: Root = Path("runs")) -> None:
    """List all runs with their state and decisive metrics."""
    from rich.table import Table

    from rlcl.commands.console import console as make_console

    table = Table(box=None, pad_edge=False)
    # What is wide gives way to what is not: only the run's name and its result may be cut.
    for column, width in {"run": 1, "state": 11, "step": 11, "updated": 19, "result": 1}.items():
        table.add_column(column, no_wrap=True, min_width=width, justify="right" if column == "step" else "left")
    count = 0
    for path in found(root):
        count += 1
        status, summary = _read(path)
        table.add_row(
            str(path.relative_to(root)),
            status.get("state", "[red]no status.json[/]"),
            f"{step:,}" if isinstance(step := status.get("step", 0), int) else "?",
            str(status.get("updated", "")).replace("T", " ").removesuffix("+00:00"),
            _result(summary) or _shortened(status.get("error", "")),
        )
    if not count:
        typer.echo(f"no runs in {root}; start one with: rlcl run quickstart")
        return
    make_console().print(table, highlight=False)


def show(
    run: Annotated[str, typer.Argument(help="As rlcl runs list names it, or the beginning of it; * and ? match.")],
    root: Root = Path("runs"),
) -> None:
    """Show one run: its state, R, metrics and where it comes from."""
    from rlcl.commands.console import console as make_console

    console = make_console()
    for path in _folders(run, root):
        _show(path, console)


def _show(path: Path, console: Console) -> None:
    from rlcl.report.tables import costs_line, metrics_table, probes_table, r_table, summaries
    from rlcl.tracking.folder import read_json, read_records
    from rlcl.training.trainer import Outcome

    status, summary = _read(path)
    console.print(f"[bold]{path}[/]  {status.get('state', 'unknown')}  {status.get('error', '')}", highlight=False)
    origin = read_json(path / "manifest.json")
    git = origin.get("git") or {}
    revision = f"{git.get('revision', 'no repository')[:12]}{' (dirty)' if git.get('dirty') else ''}"
    console.print(f"started {origin.get('started', '?')}  git {revision}  data {origin.get('data', '?')[:12]}")
    if summary:
        outcome = Outcome(read_records(path), tuple(summary["measures"]), tuple(summary["names"]))
        console.print(r_table([outcome], summary["experiences"]), metrics_table(summaries([outcome])))
        if (probes := probes_table([outcome], summary["experiences"])) is not None:
            console.print(probes)
        console.print(f"cost: {costs_line([outcome], [summary])}", highlight=False, soft_wrap=True)
    console.print(f"tensorboard --logdir {path}", highlight=False, soft_wrap=True)


def remove(
    runs: Annotated[list[str], typer.Argument(help="As rlcl runs list names them, or beginnings; * and ? match.")],
    root: Root = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove runs for good."""
    import shutil

    from rlcl.tracking.folder import RunFolder
    from rlcl.tracking.tensorboard.seeds import write_seeds

    folders = [path for run in runs for path in _folders(run, root)]
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
            write_seeds(path.parent)


def _folders(run: str, root: Path) -> list[Path]:
    """The runs that a name, the beginning of one, a pattern or a folder stands for.

    Raises:
        RunFolderError: there are none.
    """
    from fnmatch import fnmatch

    from rlcl.errors import RunFolderError, did_you_mean

    if (Path(run) / "config.yaml").is_file():
        return [Path(run)]
    known = {str(path.relative_to(root)): path for path in found(root)}
    wanted = run.removeprefix(f"{root}/").rstrip("/")
    chosen = [path for name, path in known.items() if fnmatch(name, wanted) or fnmatch(name, f"{wanted}/*")]
    if not chosen:
        raise RunFolderError(f"no run {run} in {root}{did_you_mean(run, known)}")
    return chosen


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    from rlcl.tracking.folder import read_json

    return read_json(path / "status.json"), read_json(path / "summary.json")


def _shortened(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _result(summary: dict[str, Any]) -> str:
    metrics = summary.get("metrics", {})
    first = [name for name in metrics if name.endswith(".average")][:1]
    chosen = [*first, *(n for n in ("forgetting.chaudhry", "backward_transfer") if n in metrics)]
    return "  ".join(f"{name} {metrics[name]:.3f}" for name in chosen[:2])
