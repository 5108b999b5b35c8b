"""Results of Stable-Baselines3: ``evaluations.npz`` of EvalCallback, and ``monitor.csv`` of Monitor."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from rlcl.errors import DataError
from rlcl.launch.importing.results import Evaluation, ForeignResults, only_file
from rlcl.types import Event

__all__ = ["read_stable_baselines3"]

EVALUATIONS = "evaluations.npz"
ARRAYS = {"results": "return", "ep_lengths": "episode_length", "successes": "success"}


@frozen
class Episode:
    """An episode of training.

    Args:
        end: wall-clock time in seconds since 1970.
        length: env steps.
        total: sum of its rewards.
    """

    end: float
    length: int
    total: float


def read_stable_baselines3(folder: Path, training_episodes: int | None = None) -> ForeignResults | None:
    """Read the results in a folder; return None if there are none.

    Args:
        folder: folder with ``evaluations.npz``, ``monitor.csv`` or ``*.monitor.csv``, or both.
        training_episodes: number of last training episodes whose mean is the return of a run that was not evaluated.

    Raises:
        DataError: a file is damaged, or the run was not evaluated and ``training_episodes`` is None.
    """
    evaluations = only_file(folder, EVALUATIONS)
    monitors = sorted((*folder.glob("monitor.csv"), *folder.glob("*.monitor.csv")))
    if evaluations is None and not monitors:
        return None
    starts, episodes = _read_monitors(monitors)
    steps = np.cumsum([episode.length for episode in episodes]).tolist()
    events = [
        Event(step, {"episode_return": e.total, "episode_length": float(e.length)})
        for step, e in zip(steps, episodes, strict=True)
    ]
    seconds = max(e.end for e in episodes) - min(starts) if episodes else None
    if evaluations is not None:
        return ForeignResults("stable-baselines3", list(_evaluations(evaluations)), events, seconds)
    if training_episodes is None:
        raise DataError(
            f"{folder} contains returns of training episodes ({monitors[0].name}) and no {EVALUATIONS}; their mean "
            "over the last N episodes can be imported as the return: --training-episodes N"
        )
    if len(episodes) < training_episodes:
        raise DataError(
            f"{folder}: --training-episodes {training_episodes}: there are {len(episodes)} training episodes"
        )
    mean = float(np.mean([episode.total for episode in episodes[-training_episodes:]]))
    return ForeignResults("stable-baselines3", [Evaluation(steps[-1], 0, 0, "return", mean)], events, seconds)


def _evaluations(path: Path) -> Iterator[Evaluation]:
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays: Mapping[str, Any] = {name: np.asarray(content[name]) for name in content.files}
        steps = arrays["timesteps"].astype(np.int64)
        means = {m: arrays[n].reshape(len(steps), -1).mean(1) for n, m in ARRAYS.items() if n in arrays}
        if "return" not in means or not len(steps):
            raise KeyError("results")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read: {error}; expected the arrays timesteps (E,) and results (E, episodes)"
        ) from error
    for index, step in enumerate(steps.tolist()):
        for measure, values in means.items():
            yield Evaluation(step, 0, 0, measure, float(values[index]))


def _read_monitors(paths: list[Path]) -> tuple[list[float], list[Episode]]:
    """Return the start times of the environments, and all episodes in the order of their ends."""
    starts, episodes = [], list[Episode]()
    for path in paths:
        start, found = _read_monitor(path)
        starts.append(start)
        episodes += found
    return starts, sorted(episodes, key=lambda episode: episode.end)


def _read_monitor(path: Path) -> tuple[float, list[Episode]]:
    number = 1
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header = json.loads(file.readline().removeprefix("#"))
            start = float(header["t_start"])
            episodes = []
            for number, row in enumerate(csv.DictReader(file), 3):  # noqa: B007
                episodes.append(Episode(start + float(row["t"]), int(row["l"]), float(row["r"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}:{number} is damaged ({type(error).__name__}: {error}); expected a first line such as "
            '#{"t_start": 1700000000.0, "env_id": "CartPole-v1"}, and columns r, l and t'
        ) from error
    return start, episodes
