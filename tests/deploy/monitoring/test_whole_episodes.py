"""Requests of policies: whole episodes where they are named, few enough requests where they are not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import gymnasium as gym
import numpy as np
import pytest

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.log import AnswerPage
from rlcl.deploy.model import Model
from rlcl.deploy.monitoring.episode_summaries import MAX_STEPS, EpisodeSummary, action_shares
from rlcl.deploy.monitoring.episodes import EpisodeWindows
from rlcl.deploy.monitoring.monitor import Monitor, MonitorSettings
from rlcl.deploy.monitoring.reference import ReferenceSample
from rlcl.deploy.monitoring.windows import RequestWindows, select_rows
from rlcl.deploy.signature import Field, Signature

SIGNATURE = Signature(
    kind="policy",
    inputs=(Field(name="input", shape=(1,), dtype="float32"),),
    outputs=(Field(name="action", shape=(), dtype="int64"),),
)
Array = np.ndarray[Any, Any]


def page(x: Array, names: Sequence[str | None], first: int = 1) -> AnswerPage:
    numbers = np.arange(first, first + len(x))
    return AnswerPage(
        numbers=numbers, times=numbers * 1.0, bundle="d", signature=SIGNATURE, task_ids=[None] * len(x),
        inputs={"input": np.asarray(x, np.float32).reshape(-1, 1)}, outputs={"action": np.asarray(x > 0, np.int64)},
        feedback=[None] * len(x), episodes=list(names),
    )  # fmt: skip


def met(seed: int, episodes: int, steps: int = 50) -> Array:
    """(episodes, steps): each episode has a level of its own, which all of its steps are near to."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(episodes, 1)) + 0.3 * rng.normal(size=(episodes, steps))


def reference_of(levels: Array) -> ReferenceSample:
    played = [EpisodeSummary() for _ in levels]
    for summary, steps in zip(played, levels, strict=True):
        for x in steps:
            summary.add(
                {"inputs": [x], "encoded": [x], "predictions": action_shares(np.array([x > 0]), np.arange(2))[0]}
            )
    rows = [summary.rows(discrete_actions=True) for summary in played]
    x = levels.ravel()
    return ReferenceSample(
        SIGNATURE, {"input": x.astype(np.float32)[:, None]}, {"action": (x > 0).astype(np.int64)},
        episodes={kind: np.stack([row[kind] for row in rows]) for kind in rows[0]}, actions=np.arange(2),
    )  # fmt: skip


REFERENCE = reference_of(met(0, 60))


def told(monitor: Monitor, asked: AnswerPage, cuts: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Lines of a log that is read in parts, each by a monitor that knows of the others what was kept as JSON."""
    lines: list[dict[str, Any]] = []
    for end in (*cuts, len(asked.numbers)):
        lines += monitor.observe(select_rows(asked, np.arange(monitor.last_request, end)))
        kept = json.loads(json.dumps(monitor.state_dict()))
        monitor = Monitor(monitor.find_reference, monitor.settings)
        monitor.load_state_dict(kept)
    return lines


def alarms(reference: ReferenceSample, asked: AnswerPage) -> list[dict[str, Any]]:
    lines = Monitor(lambda _: reference, MonitorSettings()).observe(asked)
    return [line for line in lines if line["line"] == "alarm"]


def test_a_summary_by_hand() -> None:
    summary = EpisodeSummary()
    for row in ([1.0, 0.1], [3.0, 0.1], [5.0, 0.1]):
        summary.add({"inputs": row, "predictions": row})
    mean, spread = [3.0, 0.1], [np.sqrt(8 / 3), 0.0]  # what never changes has no spread, to the last bit
    assert [3.0, *mean, *spread] == summary.rows(discrete_actions=False)["inputs"].tolist()
    assert [*mean, *spread] == summary.rows(discrete_actions=False)["predictions"].tolist()
    assert mean == summary.rows(discrete_actions=True)["predictions"].tolist()


def test_shares_know_an_action_that_there_was_not() -> None:
    assert [[1, 0, 0], [0, 0, 1], [0, 1, 0]] == action_shares(np.array([4, 9, 5]), np.array([4, 5])).tolist()


@pytest.mark.parametrize("cut", range(1, 13))
def test_every_third_request_of_four_is_a_window(cut: int) -> None:
    asked, requests = page(np.arange(13.0), [None] * 13), RequestWindows(size=2, stride=3, after=1)
    parts = [select_rows(asked, np.arange(*place)) for place in ((0, cut), (cut, 13))]
    windows = [window for part in parts for window in requests.take(part)]
    assert [[2, 5], [8, 11]] == [window.numbers.tolist() for window in windows]
    assert (13, 13) == (requests.after, requests.before(13))


def test_windows_hold_episodes_in_the_order_of_their_beginning() -> None:
    """Of two clients the one has short episodes: by the order of their ends they would fill the first window."""
    rng, names = np.random.default_rng(1), []
    for step in range(3000):
        names += [f"short {step // 10}", f"long {step // 200}"]
    (first, *_) = EpisodeWindows(REFERENCE, 500, {}).take(page(rng.normal(size=6000), names))
    lengths = first.tables["inputs"][:, 0]
    assert 20 == len(lengths)
    assert [10.0] * 19 + [200.0] == sorted(lengths.tolist())
    assert 200.0 == lengths[1]  # which began as the second one
    assert (1, 400) == first.requests


def test_an_episode_ends_when_nothing_more_comes_of_it_or_it_is_as_long_as_any() -> None:
    names = ["endless" if n % 2 else f"short {n // 100}" for n in range(8000)]
    windows = list(EpisodeWindows(REFERENCE, 500, {}).take(page(np.zeros(8000), names)))
    lengths = [window.tables["inputs"][:, 0].tolist() for window in windows]
    assert [50.0, float(MAX_STEPS)] == sorted(set(lengths[0]))
    assert [[50.0] * 20] * (len(lengths) - 1) == lengths[1:]  # what goes on of it is in no other window


def test_what_one_episode_holds_is_not_taken_for_independent() -> None:
    x, held_out = met(3, 100, 400), met(0, 60, 400)
    named = page(x.ravel(), [f"e{n}" for n in np.repeat(np.arange(100), 400)])
    unnamed, reference, careless = page(x.ravel(), [None] * x.size), reference_of(held_out), reference_of(held_out)
    assert [] == alarms(reference, named)
    assert [] == alarms(reference, unnamed)
    assert reference.stride > 100
    careless.stride = 1
    assert alarms(careless, unnamed)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda x: x + 3.0, "mean of input[0]"),
        (lambda x: 4 * (x - x.mean(1, keepdims=True)) + x.mean(1, keepdims=True), "spread of input[0]"),
        (lambda x: x[:, :25], "length"),
    ],
)
def test_a_change_is_found_by_what_it_changes(change: Callable[[Array], Array], what: str) -> None:
    x = change(met(4, 80))
    asked = page(x.ravel(), [f"e{n}" for n in np.repeat(np.arange(80), x.shape[1])])
    first = next(each for each in alarms(REFERENCE, asked) if each["kind"] == "inputs")
    assert what == first["what"]
    assert 20 == first["episodes"]


def test_another_share_of_actions_is_found_by_the_action() -> None:
    x = np.where(met(5, 80) > -10, 1.0, 0.0)
    asked = page(x.ravel(), [f"e{n}" for n in np.repeat(np.arange(80), 50)])
    (first,) = [each for each in alarms(REFERENCE, asked) if each["kind"] == "predictions"]
    assert first["what"] in ("share of 0", "share of 1")


def interleaved(seed: int) -> AnswerPage:
    """Three clients of unlike haste, one of which names nothing; a name comes again after a long pause."""
    rng = np.random.default_rng(seed)
    names: list[str | None] = []
    for step in range(6000):
        client = int(rng.choice(3, p=[0.5, 0.4, 0.1]))
        again = "again" if 0 <= step % 2000 < 60 else None
        names.append(None if client == 2 else again or f"{client} {step // (70 if client else 230)}")
    return page(rng.normal(size=6000), names)


@pytest.mark.parametrize("cuts", [range(100, 6000, 100), (1, 333, 2999, 3000, 5999)])
def test_in_parts_the_lines_are_those_of_at_once(cuts: Sequence[int]) -> None:
    def monitor() -> Monitor:
        return Monitor(lambda _: REFERENCE, MonitorSettings(window=50))

    whole = told(monitor(), interleaved(0))
    assert len([line for line in whole if "episodes" in line]) >= 3
    assert whole == told(monitor(), interleaved(0), cuts)


def test_a_monitor_reads_no_further_back_than_it_must() -> None:
    monitor = Monitor(lambda _: REFERENCE, MonitorSettings(window=50))
    x = met(6, 100)
    list(monitor.observe(page(x.ravel(), [f"e{n}" for n in np.repeat(np.arange(100), 50)])))
    assert 5000 == monitor.last_request
    assert 4000 == monitor.resume_after  # four windows of twenty episodes, and a fifth that is not full
    assert len(monitor.state_dict()["judged"]) < 5


def asked_for(model: Model, requests: int, shift: Array, named: bool) -> AnswerPage:
    """What a loop of CartPole asks for; from the middle on its sensors are shifted."""
    env, episode, names = gym.make("CartPole-v1"), 0, []
    seen, actions = np.empty((requests, 4), np.float32), np.empty(requests, np.int64)
    observation, _ = env.reset(seed=123)
    for row in range(requests):
        seen[row] = observation + (shift if row >= requests // 2 else 0)
        actions[row] = model.run({"input": seen[row : row + 1]})["action"][0]
        names.append(f"e{episode}")
        observation, _, terminated, truncated, _ = env.step(actions[row])
        if terminated or truncated:
            observation, _ = env.reset()
            episode += 1
    numbers = np.arange(1, requests + 1)
    return AnswerPage(
        numbers=numbers, times=numbers * 1.0, bundle="d", signature=model.signature, task_ids=[None] * requests,
        inputs={"input": seen}, outputs={"action": actions}, feedback=[None] * requests,
        episodes=names if named else [None] * requests,
    )  # fmt: skip


@pytest.mark.parametrize(("named", "requests"), [(True, 8000), (False, 16_000)])
def test_an_exported_policy_is_quiet_until_its_sensors_move(
    bundle: Callable[[str], Path], named: bool, requests: int
) -> None:
    opened = Bundle.open(bundle("sb3_ppo"))
    reference, model = ReferenceSample.read(opened), Model(opened)
    asked = asked_for(model, requests, reference.inputs["input"].std(0), named)
    found = alarms(reference, asked)
    assert {"inputs", "encoded"} <= {line["kind"] for line in found}
    assert all(line["requests"][1] > requests // 2 for line in found)


def test_a_bundle_of_before_there_were_episodes_is_thinned(bundle: Callable[[str], Path]) -> None:
    old = attrs.evolve(REFERENCE, episodes=None, actions=None)
    x = met(7, 400)
    asked = page(x.ravel(), [f"e{n}" for n in np.repeat(np.arange(400), 50)])
    windows = [each for each in Monitor(lambda _: old, MonitorSettings()).observe(asked) if each["line"] == "window"]
    assert windows
    assert {old.stride} == {window["every"] for window in windows}
    assert old.stride > 10
