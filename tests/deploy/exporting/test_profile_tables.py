"""The section Data of a model card is the profile of the data, cut to what a reader takes in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from rlcl.deploy.exporting.profile_tables import profile_tables
from rlcl.launch.restored_run import restore_run
from rlcl.report.profile.build import make_profile
from rlcl.tracking.runs import StoredRun

Made = Callable[[str], Path]
Finished = Callable[[str], StoredRun]


def card(folder: Path) -> str:
    return (folder / "MODEL_CARD.md").read_text()


def test_the_profile_in_the_bundle_is_that_of_rlcl_profile(finished: Finished, bundle: Made) -> None:
    restored = restore_run(finished("digits"))
    expected = make_profile(attrs.evolve(restored.experiment, seeds=(0,)), restored.trainer.stream, 1000).facts
    assert expected == json.loads((bundle("digits") / "profile.json").read_text())
    assert profile_tables(expected) in card(bundle("digits"))


def test_a_table_is_told_feature_by_feature(bundle: Made) -> None:
    text = card(bundle("people"))
    # Every third row says no, 34 of 100, of which every fifth is held out, 6; and 13 of the others.
    assert "| 1 | people | 81 | 0 | 2 (28 to 53 rows each) | 19 | 0 |" in text
    assert "| no | 28 |" in text
    (train,) = (each["train"] for each in json.loads((bundle("people") / "profile.json").read_text())["experiences"])
    age, city, pay = train["features"]
    assert f"| age | 1 to 99 | {age['missing']:.1%} | {age['mean']:.1f} ± {age['deviation']:.1f} |" in text
    assert {"Bern", "Oslo", "Rome"} == set(city["texts"])
    assert round(81 * (1 - city["missing"])) == sum(city["texts"].values())
    often = ", ".join(f"{name} {n}" for name, n in sorted(city["texts"].items(), key=lambda item: -item[1]))
    assert f"| city | {often} | {city['missing']:.1%} |  |" in text
    assert "| pay | 0 to 970 |  |" in text
    assert 0 == pay["missing"]


def test_the_card_says_how_a_row_of_a_table_is_made(bundle: Made) -> None:
    text = card(bundle("people"))
    assert "| input | (B, 3) | float32 | of each column, or missing (NaN, null) |" in text
    assert (
        "Columns of `input`, in this order: `age` (-97 to 197), `city` (0 for Bern, 1 for Oslo, 2 for Rome), "
        "`pay` (-990 to 1980)." in text
    )


def test_images_are_summarised(bundle: Made) -> None:
    text = card(bundle("digits"))
    constant = json.loads((bundle("digits") / "profile.json").read_text())["experiences"][0]["train"]["constant"]
    assert f"| digits 0-1 | 0 to 16 | 4.924 ± 6.087 | {constant / 64:.0%} of 64 |  |" in text
    assert "| class | digits 0-1 | digits 2-3 | digits 4-5 | digits 6-7 | digits 8-9 |" in text
    assert "| digits 0-1 | digits 2-3 | 0.13 |" in text


def test_what_a_regressor_predicts_is_told(bundle: Made) -> None:
    text = card(bundle("regressor"))
    assert "Targets:" in text
    assert "| diabetes | 0 | 25 to 346 |" in text


def test_an_environment_is_told_by_what_random_actions_meet(bundle: Made) -> None:
    text = card(bundle("ppo"))
    assert "| 2 | CartPole-v1 gravity 40 | rlcl_envs/CartPole-v1 | gravity 40 | `Box(" in text
    assert "1.000 ± 0.000 | 1 to 1 |" in text
    assert "Rollouts of 1,000 env steps with random actions" in text


def facts(count: int, classes: int) -> dict[str, Any]:
    """Labelled vectors of one number, which is the number of the experience; one missing in the last experience."""
    names = [str(place) for place in range(classes)]
    experiences = []
    for place in range(count):
        numbers = {"mean": float(place), "deviation": 1.0, "least": place - 1, "greatest": place + 1}
        train = {"rows": 10, "duplicates": 0, "of": 1, "constant": 0, **numbers, "missing": 0.0}
        missing = 0.25 if place == count - 1 else 0.0
        feature = {"name": "x|y", **numbers, "missing": missing}
        split = {**train, "classes": [5] * classes, "features": [feature]}
        experiences.append({"index": place, "name": f"e{place}", "train": split, "test": {**split, "copies": None}})
    return {"kind": "labelled", "classes": names, "experiences": experiences, "distances": None}


def test_of_many_experiences_and_classes_some_are_shown() -> None:
    text = profile_tables(facts(9, 30))
    assert "| feature | values | missing | e0 | e2 | e4 | e6 | e8 |" in text
    assert "| x\\|y | -1 to 9 | 25.0% | 0.000 ± 1.000 | 2.000 ± 1.000 |" in text
    assert "Training rows of each class" not in text
    assert "| 9 | e8 | 10 | 0 | 30 (5 to 5 rows each) | 10 |  |" in text


def test_a_space_is_one_line_however_long() -> None:
    played = {"mean": 1.0, "deviation": 0.0, "least": 1.0, "greatest": 1.0}
    each = {
        "index": 0, "name": "e", "environment": "E", "kwargs": {}, "attributes": {}, "env_steps": 10, "episodes": 0,
        "terminated": 0, "length": None, "return": None, "reward": played, "action_space": "Discrete(2)",
        "observation_space": "Box([0.\n 1.], " + "9, " * 100 + ")",
    }  # fmt: skip
    text = profile_tables({"kind": "environment", "classes": [], "experiences": [each], "distances": None})
    (row,) = (line for line in text.splitlines() if "Discrete(2)" in line)
    assert row.startswith("| 1 | e | E |  | `Box([0. 1.], 9, 9,")
    assert row.endswith("...` | `Discrete(2)` |")
    assert len(row) < 230
    assert "| e | 0 (0 terminated) |  |  | 1.000 ± 0.000 | 1 to 1 |" in text
