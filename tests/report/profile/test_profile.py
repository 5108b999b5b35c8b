"""The profile of an experiment: its numbers by hand, its page, its files."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rlcl.commands import main
from rlcl.experiment import Experiment, experiment_from
from rlcl.launch.build import make_stream
from rlcl.report.profile.build import Profile, make_profile, profile_page
from rlcl.report.profile.environments import random_rollout
from rlcl.report.profile.shifts import MeanShift, energy_matrix, mean_shift, standardize

NAN = float("nan")


# Distances.


def test_the_energy_coefficient_by_hand() -> None:
    # Between 0, 1 and 10, 11: distances 10, 11, 9, 10, mean 10; within each 1. (20 - 1 - 1) / 20.
    x, y = np.array([[0.0], [1.0]]), np.array([[10.0], [11.0]])
    assert [[0.0, pytest.approx(0.9)], [pytest.approx(0.9), 0.0]] == energy_matrix([x, y]).tolist()


def test_samples_of_one_distribution_are_about_0_apart_and_points_apart_are_1() -> None:
    rng = np.random.default_rng(0)
    assert energy_matrix([rng.normal(size=(300, 5)), rng.normal(size=(300, 5))])[0, 1] < 0.01
    assert energy_matrix([np.zeros((3, 1)), np.ones((3, 1))])[0, 1] == 1
    assert energy_matrix([np.zeros((3, 1)), np.zeros((4, 1))])[0, 1] == 0


def test_samples_are_standardised_together_and_what_is_missing_or_constant_is_0() -> None:
    # Of 0, 2, 4 and one missing: mean 2, variance 8 / 3.
    x, y = standardize([np.array([[0.0, 5.0], [NAN, 5.0]]), np.array([[2.0, 5.0], [4.0, 5.0]])])
    step = 2 / (8 / 3) ** 0.5
    np.testing.assert_allclose([[-step, 0], [0, 0]], x)
    np.testing.assert_allclose([[0, 0], [step, 0]], y)


def test_a_shift_names_the_feature_that_moved_most() -> None:
    assert MeanShift(mean=1.5, maximum=2.0, feature=1) == mean_shift(
        np.zeros((2, 2)), np.array([[1.0, 2.0], [1.0, 2.0]])
    )


# Profiles.

# The last row of each class is held out, and that of a is like its first.
AGES = [20, 21, 22, 23, "", 25, 26, 27, 28, 20, *range(30, 40)]
CITIES = ["Oslo", "Rome"] * 4 + ["Oslo", "Oslo"] + ["Oslo", "Rome"] * 5
TABLE = "age,city,y\n" + "".join(f"{AGES[i]},{CITIES[i]},{'ab'[i >= 10]}\n" for i in range(20))


def experiment(stream: Any, **settings: Any) -> Experiment:
    given = {"name": "e", "stream": stream, "learner": {"type": "classifier"}, "budget": {"epochs": 1}}
    return experiment_from({**given, **settings})


def profiled(found: Experiment, steps: int = 200) -> Profile:
    return make_profile(found, make_stream(found, 0), steps)


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    monkeypatch.setenv("RLCL_DATA", str(tmp_path))
    (tmp_path / "people.csv").write_text(TABLE)
    return experiment(
        {
            "type": "class_incremental",
            "experiences": 2,
            "data": {"type": "table", "path": "people.csv", "target": "y", "test_fraction": 0.1},
        },
        encoder=["impute"],
    )


def test_the_profile_of_a_table_by_hand(people: Experiment) -> None:
    facts = profiled(people).facts
    first, second = facts["experiences"]
    assert ["a", "b"] == facts["classes"]
    # Ages 20 to 28 without 24: (216 - 24) / 8.
    assert (9, [9, 0], 0) == (first["train"]["rows"], first["train"]["classes"], first["train"]["duplicates"])
    assert ["age", "city"] == [f["name"] for f in first["train"]["features"]]
    age, city = first["train"]["features"]
    # Of the first nine rows Oslo has every other one and the ninth.
    assert {"Oslo": 5, "Rome": 4} == city["texts"]
    assert (2, 0) == (first["train"]["of"], first["train"]["constant"])
    assert (24, 20, 28, pytest.approx(1 / 9)) == (
        age["mean"], age["least"], age["greatest"], age["missing"]
    )  # fmt: skip
    assert (1, 1) == (first["test"]["rows"], first["test"]["copies"])
    assert (9, 1, 0) == (second["train"]["rows"], second["test"]["rows"], second["test"]["copies"])
    (moved,) = facts["distances"]["shifts"]
    assert ("people a", "people b", "age") == (moved["from"], moved["to"], moved["feature"])
    assert moved["energy"] == facts["distances"]["energy"][1][0] > 0.2


def test_the_page_of_a_table_tells_what_a_reader_should_not_miss(people: Experiment) -> None:
    page = profile_page(profiled(people), people)
    assert "people a: 1 test rows are copies of training rows." in page
    assert "Values are missing in people a: add an encoder that fills them in." in page
    assert "24.0 ± " in page


DIGITS = {"type": "class_incremental", "experiences": 5}


def test_the_profile_is_the_same_always_and_leaves_the_run_as_it_is() -> None:
    assert profiled(experiment(DIGITS)).facts == profiled(experiment(DIGITS)).facts


def test_images_are_shown_and_the_page_needs_nothing_else() -> None:
    found = experiment(DIGITS)
    page = profile_page(profiled(found), found)
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert 5 == len(pictures)
    with Image.open(io.BytesIO(base64.b64decode(pictures[0]))) as picture:
        assert (
            10 * (8 * 6 + 6),
            8 * 6,
        ) == picture.size  # ten images of 8 x 8, six times as large, and a gap after each
    assert 'alt="10 training images of digits 0-1: 0, 0, 0, 0, 0, 1, 1, 1, 1, 1"' in page
    assert [] == re.findall(r'(?:src|href)="(?!data:|#)[^"]*"|url\(|@import', page)
    assert "rlcl profile" in page


def test_a_single_experience_has_no_distances() -> None:
    found = experiment({"type": "single", "data": "diabetes"}, learner={"type": "regressor"})
    facts = profiled(found).facts
    assert facts["distances"] is None
    assert 1 == len(facts["experiences"][0]["train"]["targets"])
    assert "Distances between experiences" not in profile_page(profiled(found), found)


POLES = {"type": "environments", "env": "CartPole-v1", "tasks": [{}, {"attributes": {"gravity": 40}}]}


def test_environments_are_played_at_random() -> None:
    found = experiment(POLES, learner={"type": "ppo"}, budget={"env_steps": 100})
    profile = profiled(found, steps=1000)
    pole, heavy = profile.facts["experiences"]
    assert ("Discrete(2)", 1000, 4) == (pole["action_space"], pole["env_steps"], len(pole["observations"]))
    # Each step of CartPole gives 1, and no episode is truncated so early.
    assert {"mean": 1.0, "deviation": 0.0, "least": 1.0, "greatest": 1.0} == pole["reward"]
    assert pole["return"] == pole["length"]
    assert pole["episodes"] == pole["terminated"] > 3
    assert heavy["length"]["mean"] < pole["length"]["mean"]
    assert heavy["steps_per_second"] > 0
    assert 0 < profile.facts["distances"]["energy"][0][1] < 0.5
    page = profile_page(profile, found)
    assert "Random actions" in page
    assert "gravity 40" in page


def test_of_large_observations_some_numbers_are_kept(tmp_path: Path) -> None:
    (tmp_path / "wide.py").write_text(WIDE)
    found = experiment(
        {"type": "environments", "env": f"{tmp_path / 'wide.py'}:Wide", "tasks": [{}, {}]},
        learner={"type": "ppo"},
        budget={"env_steps": 100},
    )
    played = random_rollout(make_stream(found, 0)[0].train, 3)  # type: ignore[arg-type]
    assert (3, 1024) == played.observations.shape
    assert [0, 4999] == played.indices[[0, -1]].tolist()
    assert [0, 4999] == played.observations[0, [0, -1]].tolist()
    facts = profiled(found, steps=20).facts
    assert 64 == len(facts["experiences"][0]["observations"])
    json.dumps(facts, allow_nan=False)


WIDE = """
import gymnasium as gym
import numpy as np

class Wide(gym.Env):
    observation_space = gym.spaces.Box(0, 5000, (5000,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.arange(5000, dtype=np.float32), {}

    def step(self, action):
        return np.arange(5000, dtype=np.float32), 0.0, False, False, {}
"""


def test_the_command_writes_both_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["profile", "quickstart", "stream.experiences=2"])
    assert 0 == left.value.code
    assert "quickstart-profile/profile.html" in capsys.readouterr().out
    facts = json.loads((tmp_path / "quickstart-profile" / "profile.json").read_text())
    assert ["digits 0-4", "digits 5-9"] == [e["name"] for e in facts["experiences"]]
    assert (tmp_path / "quickstart-profile" / "profile.html").read_text().lstrip().startswith("<!doctype html>")


def test_several_files_are_one_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["profile", "quickstart.yaml", "quickstart"])
    assert "expected one experiment to profile, got 2" in capsys.readouterr().err
