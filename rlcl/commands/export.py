"""``rlcl export``: a finished run becomes a bundle that is served."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_to"]

NEEDED = ("onnx", "onnxruntime", "onnxscript")


def add_to(app: typer.Typer) -> None:
    """Adds the verb to the command line."""
    app.command("export")(export)


def export(
    run: Annotated[str, typer.Argument(help="One run: its folder, or a name as rlcl runs list has it.")],
    to: Annotated[Path | None, typer.Option(help="The bundle's folder; bundles/NAME by default.")] = None,
    update: Annotated[bool, typer.Option(help="With what updating alone needs: optimizer, methods, memories.")] = True,
    root: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
) -> None:
    """Write a run's model as a bundle: ONNX graph, weights, signature, model card, checksums.

    rlcl export digits

    The ONNX graph must answer as the learner does on held-out inputs. Of a name that stands for several seeds the
    first is exported.
    """
    from rlcl.errors import RunFolderError, UnsupportedError
    from rlcl.tracking.json_files import read_json
    from rlcl.tracking.runs import named_runs

    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UnsupportedError(f"exporting needs {', '.join(missing)}; install it with pip install 'rlcl[deploy]'")
    from rlcl.deploy.exporting.export import export as write

    found = named_runs(run, root)
    groups = list(dict.fromkeys(each.group for each in found))
    if len(groups) > 1:
        names = ", ".join(str(group) for group in groups[:4])
        raise RunFolderError(f"{run} stands for {len(groups)} experiments ({names}, ...); name one, as NAME/HASH")
    chosen = found[0]
    target = to or Path("bundles") / str(chosen.config.get("name", chosen.group.parent.name))
    made = write(chosen, target, update=update)
    parity = made.manifest["parity"]
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    typer.echo(f"run      {chosen.path}")
    typer.echo(
        f"parity   {parity['rows']:,} held-out rows, {parity['ties']} ties, greatest difference "
        f"{parity['greatest_relative_difference']:.1e}"
    )
    judged = read_json(chosen.group / "verdict.json")
    if judged.get("said") in ("not met", "undecided"):
        which = ", ".join(j["condition"] for j in judged.get("judgements", []) if j["said"] == judged["said"])
        typer.echo(f"objective {judged['said']}: {which}")
    typer.echo(f"bundle   {target} ({made.signature.kind}, {size / 1e6:.2f} MB)")
