"""Provenance of a run: code, versions, hardware and data."""

from __future__ import annotations

import datetime
import hashlib
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import rlcl
from rlcl.process_group import process_group
from rlcl.run_format import RUN_FOLDER
from rlcl.types import Stream

__all__ = ["data_hash", "manifest"]

PACKAGES = ("rlcl", "torch", "numpy", "gymnasium", "stable-baselines3", "avalanche-lib", "scikit-learn")


def manifest(stream: Stream, seed: int, threads: int, device: str) -> dict[str, Any]:
    """Return everything outside the config that may affect a run's results."""
    return {
        "format": RUN_FOLDER.version,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "seed": seed,
        "git": _git(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "hardware": {
            "machine": platform.machine(),
            "processor": platform.processor(),
            "system": platform.platform(),
            "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
            "threads": threads,
            "processes": process_group().size,
        },
        "data": data_hash(stream),
    }


def data_hash(stream: Stream) -> str:
    """Return the SHA-256 of a stream: of its arrays' shapes and bytes, or of its environments' specifications.

    For inputs that stay on disk, it covers the names and sizes of the files instead of their bytes.
    """
    digest = hashlib.sha256()
    seen: set[int] = set()
    never_trained = [column for index, column in enumerate(stream.evaluated) if index not in stream.visited]
    for experience in (*stream, *(never_trained if stream.visited else ())):
        for split, source in experience.splits:
            if split == "validation":
                continue
            if source.kind == "environment":
                digest.update(source.recipe.encode())
                continue
            for array in source.shared:
                if id(array) not in seen:
                    seen.add(id(array))
                    digest.update(repr((tuple(array.shape), str(array.dtype))).encode())
                    digest.update(
                        array.contiguous().numpy().data if isinstance(array, torch.Tensor) else array.identity.encode()
                    )
            if source.indices is not None:
                digest.update(source.indices.numpy().data)
    return digest.hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Return the revision of rlcl's repository, and whether it has uncommitted changes; None without a repository."""
    folder = Path(rlcl.__file__).parents[1]

    def run(*arguments: str) -> str | None:
        try:
            process = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return process.stdout.strip()

    revision = run("rev-parse", "HEAD")
    return None if revision is None else {"revision": revision, "dirty": bool(run("status", "--porcelain"))}
