"""Sending of finished runs to sinks that need nothing but the files of a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from rich.console import Console

from rlcl.config import Component, build
from rlcl.errors import RlclError, RunFolderError, UnsupportedError, short_error
from rlcl.tracking.folder import RunFolder
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import StoredRun, trained_names
from rlcl.types import RunStart

__all__ = ["send_run"]


def send_run(run: StoredRun, sinks: Sequence[Component], console: Console) -> None:
    """Send a finished run to sinks; what a tracker already has is not sent again.

    Args:
        run: the run.
        sinks: components of the sinks.
        console: console for messages of the sinks.

    Raises:
        UnsupportedError: a sink needs the trainer of the run.
        RunFolderError: the run has not finished.
        RlclError: a sink failed.
    """
    built = build(tuple(sinks), ("sinks",))
    for component, sink in zip(sinks, built, strict=True):
        if not sink.from_files:
            raise UnsupportedError(f"sink {component.type} reads the trainer during training; choose another")
    summary = read_json(run.path / "summary.json")
    if run.state != "finished" or "measures" not in summary:
        raise RunFolderError(f"{run.path} is {run.state}; resume it with its sinks, or finish it first")
    with closing(RunFolder(run.path)):
        start = RunStart(
            folder=run.path,
            name=run.group.parent.name,
            hash=run.group.name,
            seed=run.seed,
            config=run.config,
            experiences=tuple(trained_names(summary)),
            evaluated=tuple(summary["experiences"]),
            measures=tuple(summary["measures"]),
            steps=summary["steps"],
            step=summary["steps"],
            trainer=None,
            console=console,
            bar=False,
        )
        for component, sink in zip(sinks, built, strict=True):
            try:
                sink.open(start)
                with closing(sink):
                    sink.finish(summary)
            except Exception as error:
                message = f"{run.path} was not sent to {component.type}: {short_error(error)}"
                raise RlclError(f"{message}; repeat the command when the sink can be used") from error
