"""Verb ``rlcl predict``, which predicts for each row of a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("predict")(predict)


def predict(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    file: Annotated[
        Path,
        typer.Argument(
            help="Raw inputs: .npy, .npz (several inputs by name), .csv, or the file format of a training table."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Output file, .npy or .csv; CSV to the standard output by default."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows per batch.")] = 256,
    task_id: Annotated[
        int | None, typer.Option(min=0, help="Task id of all rows, for a model that requires one.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of ONNX Runtime.")] = 1,
    live: Annotated[Path | None, typer.Option(help="Folder of the alias; BUNDLE.live by default.")] = None,
) -> None:
    """Predict for each row of a file with the deployed bundle: the promoted candidate, if any, else the bundle.

    Example:
        rlcl predict bundles/digits images.npy -o classes.csv

    An .npy file contains only the main output (classes as numbers); CSV contains all outputs (classes as names).
    """
    import rlcl.deploy
    from rlcl.deploy.batch_prediction import check_output_file, predict_batches, read_inputs, write_array, write_table
    from rlcl.deploy.deployment import Deployment

    check_output_file(output)
    deployment = Deployment(bundle) if live is None else Deployment(bundle, live)
    name = deployment.alias_names()[0]
    model = rlcl.deploy.load(bundle if name == "." else deployment.bundle_folder(name), threads)
    if name != ".":
        typer.echo(f"{model.bundle.path} answers ({model.bundle.digest[:12]}), as {deployment.alias} says", err=True)
    inputs = read_inputs(file, model.signature)
    batches = _with_progress(predict_batches(model, inputs, batch_size, task_id), -(-len(inputs) // batch_size))
    if output is None:
        write_table(sys.stdout, model.signature, batches)
        return
    if output.suffix == ".npy":
        count = write_array(output, model.signature.outputs[0].name, batches)
    else:
        count = write_table(output, model.signature, batches)
    typer.echo(f"{output} ({count:,} rows)")


def _with_progress(batches: Iterator[Any], count: int) -> Iterator[Any]:
    """Yield the batches; show a progress bar if the standard error is a terminal."""
    from rich.progress import track

    from rlcl.console import make_console

    console = make_console(stderr=True)
    if not console.is_terminal or count < 2:
        return batches
    return iter(track(batches, "predicting", total=count, console=console, transient=True))
