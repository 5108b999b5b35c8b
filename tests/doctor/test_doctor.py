"""The examination of environments: each habit is found by its check, and a healthy one has none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ill_environments import Healthy

from rlcl.commands import main
from rlcl.data.environments.wrappers import EnvironmentWrapper
from rlcl.data.sources import Environment
from rlcl.doctor.examine import CHECKS, Examination, examine
from rlcl.errors import SettingError

HERE = Path(__file__).with_name("ill_environments.py")


def examined(habit: str = "", *wrappers: str, steps: int = 200) -> Examination:
    around = tuple(EnvironmentWrapper(wrapper=name) for name in wrappers)
    return examine(Environment(Healthy, kwargs={"habit": habit}, wrappers=around, name="walk"), steps)


def found(examination: Examination, check: str) -> list[tuple[str, str]]:
    return [(f.severity, f.text) for f in examination.findings if f.check == check]


def test_a_healthy_environment_has_no_errors_and_no_warnings() -> None:
    examination = examined()
    assert [f for f in examination.findings if f.severity in ("warning", "error")] == []
    assert examination.worst == "note"
    assert {f.check for f in examination.findings if f.severity == "ok"} >= {
        "seed",
        "global randomness",
        "observation space",
        "observation scale",
        "action space",
        "rewards",
        "episodes",
        "autoreset",
        "arrays",
        "wrappers",
        "saved state",
        "copy",
        "worker processes",
        "gymnasium",
        "speed",
        "rendering",
    }


HABITS: dict[str, tuple[str, str, str]] = {
    "ignores the seed": ("seed", "error", "with the same seed .* differ in the first observation"),
    "no chance": ("seed", "note", "the seed changes nothing"),
    "remembers": ("seed", "error", "two resets of one environment with the same seed differ"),
    "global": ("global randomness", "warning", "numpy.random"),
    "python's random": ("global randomness", "warning", "generator of random"),
    "leaves the space": ("observation space", "error", r"element \[0\] is 1000"),
    "NaN": ("observation space", "error", "nan|NaN"),
    "large": ("observation scale", "warning", "1 of 2 elements exceed 100"),
    "constant": ("observation scale", "note", "1 of 2 elements never changed: 1"),
    "channels last": ("images", "note", "channels last"),
    "float pixels": ("images", "warning", "float32 and exceed 2"),
    "no bounds": ("action space", "warning", "has no bounds"),
    "other bounds": ("action space", "note", r"\[-2, 2\]"),
    "masks": ("action masks", "ok", "50% of the actions"),
    "no reward": ("rewards", "warning", "all 200 rewards of random actions are 0"),
    "large rewards": ("rewards", "warning", "rewards are large"),
    "the same reward": ("rewards", "warning", "every reward is 1"),
    "NaN reward": ("rewards", "error", "the reward of env step 3 is nan"),
    "endless": ("episodes", "warning", "no episode ended in 200 env steps, and no wrapper TimeLimit"),
    "terminates by time": ("episodes", "warning", "terminated after exactly 12 env steps"),
    "both ends": ("episodes", "note", "terminated and truncated in the same step"),
    "resets itself": ("autoreset", "error", "resets itself"),
    "one buffer": ("arrays", "warning", "env step 1 wrote into the observation"),
    "shares its state": ("arrays", "warning", "changes the environment"),
    "writes the action": ("arrays", "warning", "env step 1 changed the action"),
    "saves the wrong state": ("saved state", "error", "does something else"),
    "unpicklable": ("copy", "note", "do not work"),
    "raises": ("steps", "error", "RuntimeError at env step 4: the motor is hot"),
    "no action": ("action masks", "error", "no action is allowed before env step 6"),
    "strange actions": ("action space", "error", "not supported by any learner"),
}


@pytest.mark.parametrize("habit", HABITS)
def test_each_habit_is_found_by_its_check(habit: str) -> None:
    check, severity, text = HABITS[habit]
    texts = found(examined(habit), check)
    assert any(s == severity and re.search(text, t) for s, t in texts), texts


@pytest.mark.parametrize("habit", ["forbids", "bandit"])
def test_what_is_no_fault_is_not_found(habit: str) -> None:
    assert [f for f in examined(habit).findings if f.severity in ("warning", "error")] == []


def test_actions_of_several_parts_are_one_error() -> None:
    errors = [(f.check, f.severity) for f in examined("parts").findings if f.severity == "error"]
    assert errors == [("action space", "error")]


def test_ends_that_a_stream_hides_are_examined() -> None:
    hidden = Environment(Healthy, continuing=True, name="walk")
    assert [f for f in examine(hidden, 100).findings if f.check == "episodes" and f.severity == "ok"]


@pytest.mark.parametrize("habit", HABITS)
def test_every_error_and_warning_has_a_remedy(habit: str) -> None:
    assert [f for f in examined(habit).findings if f.severity in ("warning", "error") and not f.remedy] == []


@pytest.mark.parametrize(
    ("wrappers", "text"),
    [
        (("ClipReward",), "changes rewards"),
        (("ClipReward", "RecordEpisodeStatistics"), "records changed rewards"),
        (("FrameStackObservation",), ""),
    ],
)
def test_wrappers_and_their_order(wrappers: tuple[str, ...], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"FrameStackObservation": {"stack_size": 2}, "ClipReward": {"max_reward": 1.0}}
    around = tuple(EnvironmentWrapper(wrapper=name, kwargs=settings.get(name, {})) for name in wrappers)
    source = Environment(Healthy, wrappers=around, name="walk")
    texts = [t for severity, t in found(examine(source, 60), "wrappers") if severity == "warning"]
    assert any(text in t for t in texts) if text else texts == []


def test_a_state_that_cannot_be_saved_is_a_note() -> None:
    examination = examined("", f"{HERE}:Unsavable")
    assert found(examination, "saved state") == [
        ("note", "its state cannot be saved: an interrupted run restarts the episodes in progress")
    ]


def test_a_check_in_which_the_environment_fails_is_a_finding() -> None:
    def failing(*_: Any) -> Any:
        raise RuntimeError("no more power")
        yield

    failing.__name__ = "check_power"
    import rlcl.doctor.examine as module

    before = module.CHECKS
    module.CHECKS = (failing, *before)  # type: ignore[assignment]
    try:
        (first, *_) = examined().findings
    finally:
        module.CHECKS = before
    assert (first.check, first.severity) == ("power", "error")
    assert "RuntimeError: no more power" in first.text


def test_an_unknown_environment_is_a_mistake_of_the_user() -> None:
    with pytest.raises(SettingError, match="Walk-v7"):
        examine(Environment("Walk-v7", name="Walk-v7"))


def test_every_check_says_something_of_a_healthy_environment_or_does_not_concern_it() -> None:
    assert len(CHECKS) == 16


# The command.


def rlcl(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    return int(ended.value.code or 0)


def test_the_exit_status_is_that_of_errors_and_with_strict_of_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    env = f"{HERE}:Healthy"
    assert rlcl(env, "--steps", "60") == 0
    assert rlcl(env, "habit=large", "--steps", "60") == 0
    assert rlcl(env, "habit=large", "--steps", "60", "--strict") == 1
    assert rlcl(env, "habit=NaN reward", "--steps", "60") == 1
    assert "the reward of env step 3 is nan" in capsys.readouterr().out


def test_json_has_all_findings(capsys: pytest.CaptureFixture[str]) -> None:
    assert rlcl(f"{HERE}:Healthy", "habit=large", "--steps", "60", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["environment"].endswith("Healthy")
    assert found["counts"]["warning"] == 1
    (warning,) = [f for f in found["findings"] if f["severity"] == "warning"]
    assert warning["check"] == "observation scale"
    assert "running_norm" in warning["remedy"]


def test_all_environments_of_an_experiment_are_examined_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "walks.yaml"
    file.write_text(
        f"""
name: walks
stream:
  type: environments
  env: {HERE}:Healthy
  tasks: [{{name: one}}, {{name: large, kwargs: {{habit: large}}}}, {{name: one again}}]
learner: dqn
budget: {{env_steps: 50}}
"""
    )
    assert rlcl(str(file), "--steps", "40", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [len(each["findings"]) > 10 for each in found] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["CartPole-v1", "Pendulum-v1"], "expected one environment or experiment file, got 2"),
        (["size=3"], "expected one environment or experiment file, got 0"),
        (["CartPole-v1", "strength=9"], "kwargs {'strength': 9} are not accepted"),
        (["CartPole-v9"], "CartPole-v9"),
        (["quickstart.yaml", "--wrapper", "TimeLimit"], "names its own wrappers"),
        (["CartPole-v1", "--wrapper", "NormalizeReward"], "use encoder|fixed scale"),
    ],
)
def test_a_mistake_is_one_message(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert rlcl(*arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rlcl: ")]
    assert len(errors) == 1
    assert re.search(re.escape(message) if "|" not in message else message, errors[0])
