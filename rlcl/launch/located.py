"""Where the files that an experiment names lay when it was run, so that they are found from any working directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlcl.config import unstructure
from rlcl.data.root import find_data
from rlcl.errors import DataError
from rlcl.experiment import Experiment, experiment_from

__all__ = ["file_places", "located"]

PARTS = ("stream", "encoder")  # of an experiment, that read files
FILES = ("path", "test_path", "weights")  # their settings that name one


def file_places(experiment: Experiment) -> dict[str, str]:
    """The absolute place of each file or folder that is named by a relative path, by that path.

    Args:
        experiment: whose files are looked for from here; what is not found is left out.
    """
    config, found = unstructure(experiment), {}
    for path in {path for part in PARTS for path in _paths(config[part])}:
        try:
            place = find_data(path)
        except DataError:
            continue
        if not Path(path).is_absolute():
            found[path] = str(place.resolve())
    return dict(sorted(found.items()))


def located(experiment: Experiment, places: Mapping[str, str]) -> Experiment:
    """The experiment with the files where they were found when it was run; those that are gone are looked for anew.

    To build a stream or an encoder with: its hash is another.

    Args:
        experiment: as it was run.
        places: of :func:`file_places`.
    """
    there = {path: place for path, place in places.items() if Path(place).exists()}
    if not there:
        return experiment
    config = unstructure(experiment)
    return experiment_from({**config, **{part: _moved(config[part], there) for part in PARTS}})


def _paths(config: Any) -> Iterator[str]:
    """Values of the settings that name files."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            if key in FILES and isinstance(value, str):
                yield value
            else:
                yield from _paths(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _paths(value)


def _moved(config: Any, there: Mapping[str, str]) -> Any:
    if isinstance(config, Mapping):
        return {
            key: there.get(value, value) if key in FILES and isinstance(value, str) else _moved(value, there)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return [_moved(value, there) for value in config]
    return config
