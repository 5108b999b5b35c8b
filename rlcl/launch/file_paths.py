"""Absolute paths of the files that an experiment names, so that they are found from any working directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlcl.config import unstructure
from rlcl.data.root import find_data
from rlcl.errors import DataError
from rlcl.experiment import Experiment, experiment_from

__all__ = ["absolute_file_paths", "with_absolute_paths"]

PARTS = ("stream", "encoder")  # keys of an experiment whose components read files
FILES = ("path", "test_path", "weights")  # settings of these components that name a file


def absolute_file_paths(experiment: Experiment) -> dict[str, str]:
    """Return the absolute path of each file or folder with a relative path, by the relative path.

    Args:
        experiment: the experiment; files that cannot be found are left out.
    """
    config, paths = unstructure(experiment), {}
    for path in {path for part in PARTS for path in _named_paths(config[part])}:
        try:
            file = find_data(path)
        except DataError:
            continue
        if not Path(path).is_absolute():
            paths[path] = str(file.resolve())
    return dict(sorted(paths.items()))


def with_absolute_paths(experiment: Experiment, paths: Mapping[str, str]) -> Experiment:
    """Return the experiment with absolute paths of the files that still exist; other paths stay as they are.

    The result serves to build a stream or an encoder. Its hash differs from that of the experiment.

    Args:
        experiment: the config of the run.
        paths: the result of :func:`absolute_file_paths` when the run started.
    """
    existing = {path: absolute for path, absolute in paths.items() if Path(absolute).exists()}
    if not existing:
        return experiment
    config = unstructure(experiment)
    return experiment_from({**config, **{part: _with_paths(config[part], existing) for part in PARTS}})


def _named_paths(config: Any) -> Iterator[str]:
    """Yield the values of the settings that name files."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            if key in FILES and isinstance(value, str):
                yield value
            else:
                yield from _named_paths(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _named_paths(value)


def _with_paths(config: Any, paths: Mapping[str, str]) -> Any:
    """Return a config with the paths of its files replaced."""
    if isinstance(config, Mapping):
        return {
            key: paths.get(value, value) if key in FILES and isinstance(value, str) else _with_paths(value, paths)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return [_with_paths(value, paths) for value in config]
    return config
