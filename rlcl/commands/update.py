"""``rlcl update``: a deployed model learns what is new, and is judged before it may answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rlcl.deploy.updating.judging import Judgement

__all__ = ["add_to"]

STATUS = {"passed": 0, "rejected": 4, "undecided": 5, "labels disagree": 6}


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("update")(update)


def update(
    bundle: Annotated[Path, typer.Argument(help="The bundle that was exported.")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE...]", help="Changes of its experiment, which last."),
    ] = None,
    origin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="ORIGIN",
            help="log; an npz file with x and y (names of classes, or their numbers where no name is a number); or one "
            "more task in YAML for a policy.",
        ),
    ] = "log",
    gain: Annotated[float, typer.Option(help="Over the deployed model on the new data, at least.")] = 0.0,
    forgetting: Annotated[float, typer.Option(min=0, help="On each former experience, at most.")] = 0.05,
    slower: Annotated[float, typer.Option(min=1, help="How many times as long a prediction may take.")] = 1.5,
    held_out: Annotated[float, typer.Option(min=0.05, max=0.9, help="Share of the new rows that is judged on.")] = 0.3,
    trusted: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="x and y whose labels are sure: the gain is judged on them alone."),
    ] = None,
    accept_labels: Annotated[
        bool, typer.Option("--accept-labels", help="Learn from labels that the deployed model contradicts.")
    ] = False,
    live: Annotated[Path | None, typer.Option(help="The deployment's folder; BUNDLE.live by default.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
) -> None:
    """Train a candidate on what is new, and judge it on all that was learned before.

    rlcl update bundles/digits --from log learner.optimizer.lr=1e-3

    The run's own learner, methods and memory go on with one more experience. The candidate passes if it gains on
    the new data and forgets nothing else, by the worse end of a paired 95 % interval on held-out samples; what
    answers stays as it is until rlcl promote. Labels that the deployed model contradicts far more often than its
    held-out labels are not learned from before a person has decided: wrong labels and a real change look alike.
    Exit status: 0 passed, 4 rejected, 5 too few samples to decide, 6 labels disagree.
    """
    from rlcl.commands.console import console as make_console
    from rlcl.deploy.deployment import Deployment
    from rlcl.deploy.updating.judging import Gate
    from rlcl.deploy.updating.update import update as make

    for text in changes or []:
        if "=" not in text:
            raise typer.BadParameter(f"{text}: expected KEY=VALUE; what is to be learned is named by --from {text}")
    console = make_console(quiet)
    deployment = Deployment(bundle) if live is None else Deployment(bundle, live)
    gate = Gate(gain=gain, forgetting=forgetting, slower=slower, held_out=held_out)
    judgement = make(
        deployment, _origin(origin), changes or [], gate, console, trusted=trusted, accept_labels=accept_labels
    )
    where = "" if live is None else f" --live {live}"
    _show(judgement, f"{bundle} {judgement.name}{where}", console)
    raise typer.Exit(STATUS[judgement.verdict])


def _origin(text: str) -> str | dict[str, object]:
    """A task where the text is a mapping in YAML.

    Raises:
        BundleError: it begins like one and is none.
    """
    from ruamel.yaml import YAML

    from rlcl.errors import BundleError

    if not text.lstrip().startswith("{"):
        return text
    try:
        found = YAML(typ="safe", pure=True).load(text)
    except Exception as error:  # of a value that its tag does not fit, whatever Python says
        reason = getattr(error, "problem", None) or (str(error).splitlines() or ["not valid"])[0]
        raise BundleError(f"--from {text}: no YAML: {reason}") from error
    return dict(found)


def _show(judgement: Judgement, named: str, console: Console) -> None:
    """Prints the verdict; ``named`` is how ``rlcl promote`` is told of the candidate."""
    import os.path

    from rich.table import Table

    colours = {"passed": "green", "rejected": "red", "undecided": "yellow", "labels disagree": "red"}
    title = f"candidate {judgement.name}" if judgement.name else "no candidate: nothing was trained"
    table = Table(title=title, title_justify="left")
    for name in ("condition", "verdict", "found"):
        table.add_column(name, overflow="fold")
    for condition in judgement.conditions:
        verdict = f"[{colours[condition.verdict]}]{condition.verdict}[/]"
        table.add_row(condition.name, verdict, condition.reason)
    console.print(table)
    for change in judgement.changes:
        console.print(f"signature      {change}", highlight=False, soft_wrap=True)
    path = min(str(judgement.path), os.path.relpath(judgement.path), key=len)
    told = f"[{colours[judgement.verdict]} bold]{judgement.verdict}[/]"
    console.print(told, path, highlight=False, soft_wrap=True)
    if judgement.verdict == "passed":
        allow = " --allow-signature-change" if judgement.changes else ""
        console.print(f"let it answer: rlcl promote {named}{allow}", highlight=False, soft_wrap=True)
