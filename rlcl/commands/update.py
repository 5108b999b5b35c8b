"""Verb ``rlcl update``, which trains a candidate on new data and evaluates it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rlcl.deploy.updating.gate_evaluation import UpdateResult

__all__ = ["add_to"]

STATUS = {"passed": 0, "rejected": 4, "undecided": 5, "labels disagree": 6}


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("update")(update)


def update(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder that rlcl export wrote.")],
    changes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE...]",
            help="Overrides of the config; they are stored with the candidate and kept by later updates.",
        ),
    ] = None,
    origin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="ORIGIN",
            help="Source of the new data: log; an npz file with x and y (class names, or class numbers if no name is "
            "a number); or, for a policy, another task in YAML.",
        ),
    ] = "log",
    gain: Annotated[float, typer.Option(help="Minimum improvement over the deployed model on the new data.")] = 0.0,
    forgetting: Annotated[float, typer.Option(min=0, help="Maximum forgetting on each earlier experience.")] = 0.05,
    slower: Annotated[
        float,
        typer.Option(min=1, help="Maximum ratio of the candidate's prediction time to that of the deployed model."),
    ] = 1.5,
    held_out: Annotated[
        float, typer.Option(min=0.05, max=0.9, help="Fraction of the new rows that is held out for the evaluation.")
    ] = 0.3,
    trusted: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz", help="File of x and y with trusted labels; the gain is evaluated only on them."
        ),
    ] = None,
    accept_labels: Annotated[
        bool, typer.Option("--accept-labels", help="Train even if the deployed model contradicts the labels.")
    ] = False,
    live: Annotated[Path | None, typer.Option(help="Folder of the deployment; BUNDLE.live by default.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")] = False,
) -> None:
    """Train a candidate on new data, and evaluate it on the new data and on all earlier experiences.

    Example:
        rlcl update bundles/digits --from log learner.optimizer.lr=1e-3

    The learner, methods and memory of the exported run continue with one more experience. The candidate passes if it
    improves on the new data and does not forget earlier experiences; the less favourable end of the 95 % confidence
    interval of the paired difference on held-out samples decides. The deployed bundle does not change until rlcl
    promote. If the predictions of the deployed model agree with the new labels much less often than with the labels of
    held-out samples, nothing is trained without --accept-labels, because wrong labels and a real change cannot be
    distinguished.
    Exit status: 0 passed, 4 rejected, 5 too few samples to decide, 6 labels disagree.
    """
    from rlcl.console import make_console
    from rlcl.deploy.deployment import Deployment
    from rlcl.deploy.updating.gate_evaluation import GateSettings
    from rlcl.deploy.updating.update import update as make

    for text in changes or []:
        if "=" not in text:
            raise typer.BadParameter(f"{text}: expected KEY=VALUE; to name the new data, use --from {text}")
    console = make_console(quiet)
    deployment = Deployment(bundle) if live is None else Deployment(bundle, live)
    gate = GateSettings(gain=gain, forgetting=forgetting, slower=slower, held_out=held_out)
    result = make(
        deployment, _origin(origin), changes or [], gate, console, trusted=trusted, accept_labels=accept_labels
    )
    option = "" if live is None else f" --live {live}"
    _show(result, f"{bundle} {result.name}{option}", console)
    raise typer.Exit(STATUS[result.verdict])


def _origin(text: str) -> str | dict[str, object]:
    """Return a task if the text is a YAML mapping, else the text.

    Raises:
        BundleError: the text begins with ``{`` and is not valid YAML.
    """
    from ruamel.yaml import YAML

    from rlcl.errors import BundleError

    if not text.lstrip().startswith("{"):
        return text
    try:
        task = YAML(typ="safe", pure=True).load(text)
    except Exception as error:  # a value that does not match its tag raises any error of Python
        reason = getattr(error, "problem", None) or (str(error).splitlines() or ["not valid"])[0]
        raise BundleError(f"--from {text}: not valid YAML: {reason}") from error
    return dict(task)


def _show(result: UpdateResult, arguments: str, console: Console) -> None:
    """Print the verdict; ``arguments`` are those of ``rlcl promote`` for the candidate."""
    import os.path

    from rich.table import Table
    from rich.text import Text

    colours = {"passed": "green", "rejected": "red", "undecided": "yellow", "labels disagree": "red"}
    title = f"candidate {result.name}" if result.name else "no candidate: nothing was trained"
    table = Table(title=title, title_justify="left")
    for name in ("condition", "verdict", "result"):
        table.add_column(name, overflow="fold")
    for condition in result.conditions:
        verdict = Text(condition.verdict, colours[condition.verdict])
        table.add_row(condition.name, verdict, condition.reason)
    console.print(table)
    for change in result.changes:
        console.print(f"signature      {change}", soft_wrap=True)
    path = min(str(result.path), os.path.relpath(result.path), key=len)
    verdict = Text(result.verdict, f"{colours[result.verdict]} bold")
    console.print(verdict, path, soft_wrap=True)
    if result.verdict == "passed":
        allow = " --allow-signature-change" if result.changes else ""
        console.print(f"deploy it with: rlcl promote {arguments}{allow}", soft_wrap=True)
