"""Version of run folders, and migration of configs of former versions.

``manifest.json`` contains the version as ``format``; a folder without it has version 1. Summaries need no migration:
``rlcl run`` computes missing values from the records when it is called again for the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlcl.errors import RunFolderError
from rlcl.formats import Format, parse_json

__all__ = ["CONFIG", "RUN_FOLDER", "check_run_version", "move_tensorboard_to_sinks", "upgraded_config"]

CONFIG = "config.yaml"


def move_tensorboard_to_sinks(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a config of version 1 with its ``tensorboard`` settings moved to ``sinks``.

    A config without this key is returned unchanged: an interrupted migration may have written the new config, but
    not yet the new version.
    """
    if "tensorboard" not in config:
        return config
    rest = {key: value for key, value in config.items() if key != "tensorboard"}
    return {**rest, "sinks": [{"type": "tensorboard", **(config["tensorboard"] or {})}]}


RUN_FOLDER = Format(
    "a run folder",
    2,
    "Read it with the rlcl that wrote it, or repeat the run in another --root.",
    {1: move_tensorboard_to_sinks},
)


def upgraded_config(run: Path, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the config of a run converted to the current version.

    Args:
        run: the run's folder, whose manifest contains the version.
        config: content of its ``config.yaml``.

    Raises:
        RunFolderError: the version is not supported.
    """
    check_run_version(run)
    upgraded: Mapping[str, Any] = RUN_FOLDER.read(_version_of(run), config)
    return upgraded


def check_run_version(run: Path) -> None:
    """Check that the version of a run folder is supported.

    Raises:
        RunFolderError: it is not.
    """
    if fault := RUN_FOLDER.version_fault(_version_of(run)):
        raise RunFolderError(f"{run}: {fault}")


def _version_of(run: Path) -> Any:
    """Return the version of a run folder; 1 if its manifest contains none or cannot be read."""
    try:
        manifest = parse_json((run / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return 1
    return manifest.get("format", 1) if isinstance(manifest, dict) else 1
