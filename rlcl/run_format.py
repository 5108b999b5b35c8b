"""The version of run folders, and what a config of the version before becomes.

``manifest.json`` holds the version under ``format``; a folder without one is of version 1. Summaries need no migration:
what an earlier one lacks is computed from the records when ``rlcl run`` meets the run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlcl.errors import RunFolderError
from rlcl.formats import Format, parsed

__all__ = ["CONFIG", "RUN_FOLDER", "check_version", "todays_config", "with_sinks"]

CONFIG = "config.yaml"


def with_sinks(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A config whose settings of TensorBoard had a key of their own, with them as those of a sink.

    One without that key stays as it is: an interrupted migration has written the config before the version.
    """
    if "tensorboard" not in config:
        return config
    rest = {key: value for key, value in config.items() if key != "tensorboard"}
    return {**rest, "sinks": [{"type": "tensorboard", **(config["tensorboard"] or {})}]}


RUN_FOLDER = Format(
    "a run folder", 2, "Read it with the rlcl that wrote it, or repeat the run in another --root.", {1: with_sinks}
)


def todays_config(run: Path, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config of a run as today's version has it.

    Args:
        run: its folder, whose manifest names the version.
        config: as its ``config.yaml`` has it.

    Raises:
        RunFolderError: that version cannot be read.
    """
    check_version(run)
    found: Mapping[str, Any] = RUN_FOLDER.read(_version_of(run), config)
    return found


def check_version(run: Path) -> None:
    """Refuses a run's folder of a version that cannot be read.

    Raises:
        RunFolderError: it is of one.
    """
    if refused := RUN_FOLDER.refusal(_version_of(run)):
        raise RunFolderError(f"{run}: {refused}")


def _version_of(run: Path) -> Any:
    """The version that a run's folder was written in; 1 where its manifest names none, or cannot be read."""
    try:
        manifest = parsed((run / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return 1
    return manifest.get("format", 1) if isinstance(manifest, dict) else 1
