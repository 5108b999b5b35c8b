"""The version of a run's folder, and a config of an earlier version as today's has it.

``manifest.json`` holds the version; a folder without one is of the first. Summaries need no migration: what an earlier
one lacks is told by its reader, or computed from the records when ``rlcl run`` meets the run again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlcl.errors import RunFolderError
from rlcl.formats import Format

__all__ = ["CONFIG", "FORMAT", "check_version", "config_of_today"]

CONFIG = "config.yaml"


def _with_sinks(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of TensorBoard, which had a key of their own, as those of a sink.

    A config that has no such key is left as it is: a run that goes on writes its config before its version.
    """
    settings = config.get("tensorboard")
    if not isinstance(settings, Mapping):
        return config
    rest = {key: value for key, value in config.items() if key != "tensorboard"}
    return {**rest, "sinks": [{"type": "tensorboard", **settings}]}


FORMAT = Format("a run folder", 2, "Use the rlcl that wrote it, or repeat the run in another --root", {1: _with_sinks})


def config_of_today(folder: Path, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A run's config as today's version has it.

    Args:
        folder: of the run.
        config: as its ``config.yaml`` has it.

    Raises:
        RunFolderError: the folder is of a version that cannot be read.
    """
    check_version(folder)
    found: Mapping[str, Any] = FORMAT.read(_version_in(folder), config)
    return found


def check_version(folder: Path) -> None:
    """Refuses a run's folder of a version that cannot be read.

    Raises:
        RunFolderError: it is of one.
    """
    if refused := FORMAT.refusal(_version_in(folder)):
        raise RunFolderError(f"{folder}: {refused}")


def _version_in(folder: Path) -> Any:
    """The version that a run's folder was written in; the first where its manifest tells none, or cannot be read."""
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return 1
    return manifest.get("version", 1) if isinstance(manifest, dict) else 1
