"""Streams that drift: their experiences, their rows and columns of R, and their exact continuation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness import prepared
from rich.console import Console

from rlcl.data.drift import CyclicDrift, Drift, LinearDrift, Piecewise
from rlcl.data.readers.scikit import Digits
from rlcl.encoders.scale import Scale
from rlcl.errors import ConfigError, Problem, UnsupportedError
from rlcl.evaluation.results import Results
from rlcl.experiment import load_experiment
from rlcl.launch.seeds import run_experiment
from rlcl.learners.supervised.classifier import Classifier
from rlcl.networks.multihead import Multihead
from rlcl.networks.progressive import Progressive
from rlcl.seeding import Seeds
from rlcl.streams.cumulative import Cumulative
from rlcl.streams.cyclic import Cyclic
from rlcl.streams.drifting import DriftedInputs, DriftingData
from rlcl.streams.environments import Environments, EnvironmentTask
from rlcl.streams.joint import Joint
from rlcl.streams.single_task import SingleTask
from rlcl.types import Budget, Visibility

QUIET = Console(quiet=True)
GRAVITY = Drift(
    parameter="attributes.gravity", function=Piecewise(values=(10, 20, 30), steps=(100, 300)), probes=(10, 40)
)
SCALE = Drift(parameter="reward.scale", function=LinearDrift(start=1, end=2, steps=400))


def environments(*drift: Drift, boundaries: Any = "announced", **settings: Any) -> Any:
    scenario = Environments(
        env="CartPole-v1", drift=drift, visibility=Visibility(boundaries=boundaries), num_envs=2, **settings
    )
    return scenario.make(Seeds(0), Budget(env_steps=400))


def test_announced_jumps_begin_experiences() -> None:
    stream = environments(GRAVITY, SCALE)
    assert [100, 200, 100] == [e.budget.env_steps for e in stream]
    assert ["CartPole-v1", "CartPole-v1, from step 100", "CartPole-v1, from step 300"] == [e.name for e in stream]
    assert [400] == [e.budget.env_steps for e in environments(GRAVITY, boundaries="hidden")]
    assert [400] == [e.budget.env_steps for e in environments(SCALE)]
    assert 3 == len({e.environment.seed for e in stream})


def test_columns_are_the_present_and_the_probes() -> None:
    stream = environments(GRAVITY, SCALE)
    assert ["present", "gravity 10", "gravity 40"] == [e.name for e in stream.evaluated]
    assert stream.moments is not None
    for step, gravity in ((0, 10), (99, 10), (100, 20), (399, 30)):
        present, low, high = (stream.moments.column(c, 0, step).test for c in stream.evaluated)
        assert gravity == present.make().unwrapped.gravity  # type: ignore[union-attr]
        assert [10, 40] == [source.make().unwrapped.gravity for source in (low, high)]  # type: ignore[union-attr]
        assert {"attributes.gravity": gravity, "reward.scale": 1 + step / 400} == stream.moments.values(0, step)
    # Evaluations do not move the parameters.
    env = stream.evaluated[0].test.at(100).make()  # type: ignore[union-attr]
    env.reset(seed=0)
    for _ in range(5):
        env.step(0)
    assert 20 == env.unwrapped.gravity


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drift": (GRAVITY, GRAVITY)}, r"drift\[1\].parameter: attributes.gravity is listed twice"),
        (
            {"drift": (Drift(parameter="reward.scal", function=SCALE.function),)},
            r"drift\[0\].parameter: unknown parameter",
        ),
        ({"drift": (GRAVITY,), "tasks": (EnvironmentTask(), EnvironmentTask())}, "a drifting stream has one task"),
        ({"drift": (GRAVITY,), "spaces": "pad"}, "need no padding"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(Problem, match=message):
        Environments(env="CartPole-v1", **settings).make(Seeds(0), Budget(env_steps=400))


EXPERIMENT = """
name: drifting
stream:
  type: environments
  env: rlcl_envs/CartPole-v1
  vectorization: {vectorization}
  num_envs: 2
  episodes: {episodes}
  visibility: {{boundaries: {boundaries}}}
  drift:
  - parameter: attributes.gravity
    function: {{type: linear, start: 9.8, end: 40, steps: 400}}
    probes: [9.8, 40]
  - {{parameter: reward.scale, function: {{type: piecewise, values: [1, 3], steps: [192]}}}}
  - {{parameter: observation.noise, function: {{type: random_walk, start: 0.1, deviation: 0.05, low: 0}}}}
learner: {learner}
budget: {{env_steps: 384}}
evaluation: {{every: {{env_steps: 64}}, episodes: 2}}
sinks: []
checkpoint_minutes: 1.0e-9
"""
PPO = "{type: ppo, n_steps: 32, epochs: 1, network: {type: mlp, hidden: [8]}}"
DQN = "{type: dqn, network: {type: mlp, hidden: [8]}, learning_starts: 32, train_every: 16}"


def experiment(folder: Path, **settings: str) -> Any:
    chosen = {"vectorization": "native", "episodes": "visible", "boundaries": "announced", "learner": PPO, **settings}
    (folder / "drifting.yaml").write_text(EXPERIMENT.format(**chosen))
    return load_experiment(folder / "drifting.yaml")


def test_rows_are_the_evaluations_and_metrics_of_tasks_are_not_defined(tmp_path: Path) -> None:
    (finished,) = run_experiment(experiment(tmp_path), tmp_path, QUIET)
    results = Results(finished.outcome.records, "return")
    assert (64, 128, 192, 256, 320, 384) == results.moments
    assert (6, 3) == results.R.shape
    assert [f"step {step}" for step in results.moments] == finished.outcome.row_names(finished.trained)
    assert results.visits == ()
    assert {"return.average", "return.lifetime"} == set(finished.outcome.metrics)
    gravity = {r.step: r.value for r in finished.outcome.records if r.metric == "drift.attributes.gravity"}
    assert {step: 9.8 + (40 - 9.8) * step / 400 for step in (0, *results.moments)} == pytest.approx(gravity)


@pytest.mark.parametrize("boundaries", ["announced", "hidden"])
@pytest.mark.parametrize("learner", [PPO, DQN])
def test_native_and_single_environments_give_the_same_records(tmp_path: Path, boundaries: str, learner: str) -> None:
    records = []
    for vectorization in ("native", "sync"):
        chosen = experiment(tmp_path, vectorization=vectorization, boundaries=boundaries, learner=learner)
        (finished,) = run_experiment(chosen, tmp_path, QUIET)
        records.append([(r.step, r.evaluated_on, r.metric, r.value) for r in finished.outcome.records])
    assert records[0] == records[1]


def test_a_life_is_judged_by_what_it_earns(tmp_path: Path) -> None:
    (finished,) = run_experiment(experiment(tmp_path, episodes="hidden"), tmp_path, QUIET)
    # CartPole pays 1 for each step, 3 from env step 192 on.
    assert (192 + 192 * 3) / 384 == pytest.approx(finished.outcome.metrics["return.lifetime"])


def test_parts_of_drifting_data() -> None:
    drift = (
        Drift(parameter="input.offset", function=CyclicDrift(values=(0, 5), interval=500), probes=(0, 9)),
        Drift(parameter="label.permutation", function=Piecewise(values=(0, 1), steps=(1000,))),
    )
    stream = DriftingData(data=Digits(), drift=drift, parts=4).make(Seeds(0), Budget(epochs=1))
    rows = sum(len(e.arrays) for e in stream)
    original = Digits().load()
    assert rows == len(original.train)
    assert [0.0, 0.0, 5.0, 0.0] == [float(e.arrays.read()[0].min()) for e in stream]
    assert ["present", "input.offset 0", "input.offset 9"] == [e.name for e in stream.evaluated]
    assert stream.moments is not None
    order = torch.from_numpy(np.random.default_rng([1, 10]).permutation(10))
    for part, (offset, permuted) in enumerate(((0, False), (0, False), (5, False), (0, True))):
        x, y = stream.moments.column(stream.evaluated[0], part, 0).test.read()  # type: ignore[union-attr]
        test_x, test_y = original.test.read()
        assert torch.equal(x, test_x.float() + offset if offset else test_x)
        assert torch.equal(y, order[test_y] if permuted else test_y)  # type: ignore[arg-type, index]
    fixed = stream.moments.column(stream.evaluated[2], 3, 0).test.read()  # type: ignore[union-attr]
    assert torch.equal(fixed[0], original.test.read()[0].float() + 9)
    assert torch.equal(fixed[1], original.test.read()[1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("input.scal", "unknown parameter"),
        ("label.offset", "needs numbers to predict"),
    ],
)
def test_parameters_of_data_that_make_no_sense_are_refused(parameter: str, message: str) -> None:
    drift = (Drift(parameter=parameter, function=SCALE.function),)
    with pytest.raises(Problem, match=message):
        DriftingData(data=Digits(), drift=drift).make(Seeds(0), Budget(epochs=1))


INPUT_SCALE = Drift(parameter="input.scale", function=LinearDrift(start=1, end=2, steps=400), probes=(3,))
DRIFTING = DriftingData(drift=(INPUT_SCALE,))


@pytest.mark.parametrize("wrapper", [Cyclic, Cumulative, Joint, SingleTask])
def test_the_columns_of_a_drifting_stream_are_not_trained_on_as_tasks(wrapper: Any) -> None:
    with pytest.raises(Problem, match="a drifting stream has no task"):
        wrapper(of=DRIFTING).make(Seeds(0), Budget(epochs=1))


def test_a_drifting_stream_of_environments_is_not_repeated() -> None:
    drifting = Environments(env="CartPole-v1", drift=(GRAVITY,))
    for wrapper in (Cyclic, SingleTask):
        with pytest.raises(Problem, match="a drifting stream has no task"):
            wrapper(of=drifting).make(Seeds(0), Budget(env_steps=400))


def test_a_drifting_stream_has_no_baselines(tmp_path: Path) -> None:
    experiment(tmp_path)
    drifting = load_experiment(tmp_path / "drifting.yaml", ["evaluation.baselines=single_task"])
    with pytest.raises(ConfigError, match=r"drifting stream has no task .*; remove single_task"):
        run_experiment(drifting, tmp_path, QUIET)


@pytest.mark.parametrize("network", [Multihead(), Progressive(hidden=(8,))])
def test_a_drifting_stream_has_no_task_ids_for_networks_with_heads(network: Any) -> None:
    drift = Drift(parameter="input.scale", function=LinearDrift(start=1, end=2, steps=10))
    scenario = DriftingData(data=Digits(), drift=(drift,), visibility=Visibility(task_ids="visible"))
    stream = scenario.make(Seeds(0), Budget(updates=10))
    with pytest.raises(UnsupportedError, match="selects a head by the task id, but this stream has no task ids"):
        prepared(Classifier(network=network), stream, encoder=Scale(maximum=16.0))


def test_the_type_of_inputs_does_not_drift() -> None:
    """A memory of raw inputs could not keep inputs of several types."""
    x = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    for name, neutral in (("input.scale", 1.0), ("input.offset", 0.0), ("input.rotation", 0.0)):
        assert torch.float32 == DriftedInputs({name: neutral})(x).dtype == DriftedInputs({name: 2.0})(x).dtype
    assert torch.uint8 == DriftedInputs({"input.permutation": 1})(x).dtype


def test_a_drifting_stream_without_test_data_has_none_at_any_moment() -> None:
    scenario = DriftingData(
        data=Digits(), drift=(Drift(parameter="input.scale", function=LinearDrift(start=1, end=2, steps=99)),), parts=4
    )
    stream = scenario.make(Seeds(0), Budget(epochs=1)).with_validation(0.2, Seeds(0)).without_test()
    assert stream.moments is not None
    column = stream.moments.column(stream.evaluated[0], 2, 50)
    for experience in (*stream, *stream.evaluated, column):
        assert experience.test is not None
        assert experience.validation is not None
        assert len(experience.test) == len(experience.validation)  # type: ignore[arg-type]
    with pytest.raises(Problem, match="do not each train one of its tasks"):
        stream.first(2)
