"""The version of run folders, and what a config of the version before becomes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlcl.errors import Problem, RunFolderError
from rlcl.formats import Format
from rlcl.tracking.folder import read_json

__all__ = ["RUN_FOLDER", "todays_config"]


def _with_sinks(config: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 wrote what TensorBoard shows under a key of its own."""
    rest = {key: value for key, value in config.items() if key != "tensorboard"}
    return {**rest, "sinks": [{"type": "tensorboard", **(config.get("tensorboard") or {})}]}


RUN_FOLDER = Format(
    "a run folder", 2, "Read it with the rlcl that wrote it, or run the experiment again.", {1: _with_sinks}
)


def todays_config(run: Path, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config of a run as today's version has it.

    Args:
        run: its folder, whose manifest names the version; 1 where it names none.
        config: as its ``config.yaml`` has it.

    Raises:
        RunFolderError: that version cannot be read.
    """
    try:
        found: Mapping[str, Any] = RUN_FOLDER.read(read_json(run / "manifest.json").get("format", 1), config)
    except Problem as error:
        raise RunFolderError(f"{run}: {error}") from error
    return found
