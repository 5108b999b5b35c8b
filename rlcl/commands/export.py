"""Verb ``rlcl export``, which writes a finished run as a deployable bundle."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_to"]

REQUIRED_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("export")(export)


def export(
    run: Annotated[str, typer.Argument(help="Folder of one run, or its name as listed by 'rlcl runs list'.")],
    to: Annotated[Path | None, typer.Option(help="Folder of the bundle; bundles/NAME by default.")] = None,
    update: Annotated[
        bool, typer.Option(help="Include the state that only updates need: optimizer, methods, memories.")
    ] = True,
    mlflow: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Also register the bundle as a version of this model in MLflow's registry."),
    ] = None,
    mlflow_uri: Annotated[
        str | None, typer.Option(metavar="URI", help="Server or store of MLflow; MLflow's own setting by default.")
    ] = None,
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
) -> None:
    """Write a run's model as a bundle: ONNX graph, weights, signature, model card, checksums.

    Example:
        rlcl export digits

    The command compares the outputs of the ONNX graph with those of the learner on held-out inputs. If they differ, no
    bundle is written. If a name matches several seeds, the first one is exported.
    """
    from rlcl.errors import RunFolderError, UnsupportedError
    from rlcl.tracking.json_files import read_json
    from rlcl.tracking.runs import named_runs

    if mlflow is not None and find_spec("mlflow") is None:
        raise UnsupportedError("--mlflow needs MLflow; install it with pip install 'rlcl[mlflow]'")
    if missing := [name for name in REQUIRED_PACKAGES if find_spec(name) is None]:
        raise UnsupportedError(f"exporting needs {', '.join(missing)}; install it with pip install 'rlcl[deploy]'")
    from rlcl.deploy.exporting.export import export as write

    runs = named_runs(run, root)
    groups = list(dict.fromkeys(stored.group for stored in runs))
    if len(groups) > 1:
        names = ", ".join(str(group) for group in groups[:4])
        raise RunFolderError(f"{run} matches {len(groups)} experiments ({names}, ...); name one, as NAME/HASH")
    first = runs[0]
    target = to or Path("bundles") / str(first.config.get("name", first.group.parent.name))
    bundle = write(first, target, update=update)
    parity = bundle.manifest["parity"]
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    typer.echo(f"run      {first.path}")
    typer.echo(
        f"parity   {parity['rows']:,} held-out rows, {parity['ties']} ties, maximum difference "
        f"{parity['greatest_relative_difference']:.1e}"
    )
    verdict = read_json(first.group / "verdict.json")
    if verdict.get("said") in ("not met", "undecided"):
        conditions = ", ".join(j["condition"] for j in verdict.get("judgements", []) if j["said"] == verdict["said"])
        typer.echo(f"objective {verdict['said']}: {conditions}")
    typer.echo(f"bundle   {target} ({bundle.signature.kind}, {size / 1e6:.2f} MB)")
    if mlflow is not None:
        from rlcl.deploy.bundle import Bundle
        from rlcl.deploy.mlflow_flavor import log_bundle
        from rlcl.sinks.trackers.mlflow import tracked_run

        version = log_bundle(Bundle.open(target), mlflow, mlflow_uri, tracked_run(first.path, mlflow_uri))
        typer.echo(f"mlflow   {version}")
