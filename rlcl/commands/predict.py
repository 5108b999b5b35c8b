"""``rlcl predict``: a bundle's answers for a whole file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("predict")(predict)


def predict(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    file: Annotated[
        Path, typer.Argument(help="Raw inputs: .npy, .npz (several inputs by name), .csv; of a table its own format.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .npy or .csv file; CSV on the standard output by default.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows at a time.")] = 256,
    task_id: Annotated[int | None, typer.Option(min=0, help="Of all rows, where the model tells tasks apart.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of ONNX Runtime.")] = 1,
    live: Annotated[Path | None, typer.Option(help="Folder of the alias; BUNDLE.live by default.")] = None,
) -> None:
    """Predict for every row of a file, by the bundle that answers: the promoted one where there is any.

    rlcl predict bundles/digits images.npy -o classes.csv

    A .npy output holds the decisive output alone (classes by number), CSV all of them (classes by name).
    """
    import rlcl.deploy
    from rlcl.deploy.batches import check_output, in_batches, read_inputs, write_array, write_table
    from rlcl.deploy.deployment import Deployment

    check_output(output)
    deployment = Deployment(bundle) if live is None else Deployment(bundle, live)
    name = deployment.names()[0]
    model = rlcl.deploy.load(bundle if name == "." else deployment.place(name), threads)
    if name != ".":
        typer.echo(f"{model.bundle.path} answers ({model.bundle.digest[:12]}), as {deployment.alias} says", err=True)
    inputs = read_inputs(file, model.signature)
    batches = _shown(in_batches(model, inputs, batch_size, task_id), -(-len(inputs) // batch_size))
    if output is None:
        write_table(sys.stdout, model.signature, batches)
        return
    if output.suffix == ".npy":
        count = write_array(output, model.signature.outputs[0].name, batches)
    else:
        count = write_table(output, model.signature, batches)
    typer.echo(f"{output} ({count:,} rows)")


def _shown(batches: Iterator[Any], count: int) -> Iterator[Any]:
    """The same, with a bar on a terminal that lasts longer than a second."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not console.is_terminal or count < 2:
        return batches
    return iter(track(batches, "predicting", total=count, console=console, transient=True))
