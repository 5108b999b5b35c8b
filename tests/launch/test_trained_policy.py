"""A trained policy, seen at work."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from rlcl.commands import main
from rlcl.errors import CheckpointError, UnsupportedError
from rlcl.experiment import experiment_from
from rlcl.launch.seeds import run_experiment
from rlcl.launch.trained_policy import load_policy
from rlcl.tracking.runs import StoredRun, find_runs

POLE = {
    "name": "pole",
    "stream": {
        "type": "environments",
        "env": "rlcl_envs/CartPole-v1",
        "tasks": [{"name": "as it is"}, {"name": "heavy", "attributes": {"gravity": 40}}],
    },
    "encoder": {"type": "running_norm"},
    "learner": {"type": "ppo", "n_steps": 64, "batch_size": 32, "epochs": 2},
    "budget": {"env_steps": 128},
    "evaluation": {"episodes": 3},
}
WINDOWS = """
import gymnasium as gym, numpy as np

class Windowed(gym.Env):
    metadata = {"render_modes": ["human"], "render_fps": 50}
    observation_space, action_space = gym.spaces.Box(0, 1, (2,)), gym.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        assert render_mode in (None, "human")
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 4
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(2, np.float32), 0.5, self.left == 0, False, {}
"""


def trained(config: object, root: Path) -> StoredRun:
    run_experiment(experiment_from(config), root, Console(quiet=True))  # type: ignore[arg-type]
    return find_runs(root)[0]


@pytest.fixture(scope="module")
def pole(tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    return trained(POLE, tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("place", [0, 1])
def test_what_is_watched_by_default_is_what_was_evaluated(pole: StoredRun, place: int) -> None:
    policy = load_policy(pole)
    experience = policy.experience(str(place + 1))
    first = policy.source(experience).seed
    played = list(policy.record_episodes(experience, range(first, first + 3), 500, 1))
    assert all(episode.finished for episode in played)
    assert pole.summary["R"][-1][place] == pytest.approx(sum(episode.total_return for episode in played) / 3)


def test_an_experience_is_named_or_numbered(pole: StoredRun) -> None:
    policy = load_policy(pole)
    assert ["as it is", "heavy", "heavy"] == [policy.experience(w).name for w in ("as it is", "2", None)]
    with pytest.raises(UnsupportedError, match="expected a number from 1 to 2, or a name; did you mean heavy"):
        policy.experience("heavi")


def test_a_film_of_all_episodes_is_written(pole: StoredRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "films" / "pole.gif"
    options = ["--gif", str(file), "--episodes", "2", "--steps", "6", "--every", "3", "--seed", "5"]
    with pytest.raises(SystemExit):
        main(["watch", str(pole.path), *options])
    printed = capsys.readouterr().out
    assert "episode 1  seed 5  return 6  (truncated)" in printed
    assert "episode 2  seed 6  return 6  (truncated)" in printed
    with Image.open(file) as film:
        assert 4 == film.n_frames  # type: ignore[attr-defined]
        durations = []
        for frame in range(4):
            film.seek(frame)
            durations.append(film.info["duration"])
    assert [60, 1200, 60, 1200] == durations  # three of 50 steps a second, and the last one held


def test_a_window_is_opened_where_there_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "windowed.py").write_text(WINDOWS)
    stream = {"type": "environments", "env": f"{tmp_path}/windowed.py:Windowed"}
    run = trained({**POLE, "stream": stream, "evaluation": {"episodes": 1}}, tmp_path / "runs")
    with pytest.raises(SystemExit):
        main(["watch", str(run.path), "--episodes", "2"])
    assert "mean return 2\n" in capsys.readouterr().out
    with pytest.raises(UnsupportedError, match="cannot be rendered"):
        list(load_policy(run).record_episodes(load_policy(run).experience(None), range(1), 5, 1))


def test_what_cannot_be_watched_is_refused(tmp_path: Path) -> None:
    run = trained(
        {
            "name": "digits",
            "stream": {"type": "single"},
            "learner": {"type": "nearest_mean"},
            "budget": {"epochs": 1},
        },
        tmp_path,
    )
    with pytest.raises(UnsupportedError, match="learned from data"):
        load_policy(run)


def test_a_run_without_a_checkpoint_is_refused(pole: StoredRun, tmp_path: Path) -> None:
    copy = tmp_path / "pole" / "x" / "seed0"
    copy.mkdir(parents=True)
    for name in ("config.yaml", "status.json", "summary.json"):
        (copy / name).write_text((pole.path / name).read_text())
    with pytest.raises(CheckpointError, match="has no checkpoint"):
        load_policy(find_runs(tmp_path)[0])
