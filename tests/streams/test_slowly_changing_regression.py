"""The slowly changing regression, by hand and end to end."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import asdict

from rlcl.data.sources import LabelledArrays
from rlcl.errors import Problem
from rlcl.experiment import experiment_from
from rlcl.launch.seeds import run_experiment
from rlcl.seeding import Seeds
from rlcl.streams.slowly_changing_regression import SlowlyChangingRegression, ThresholdNetwork
from rlcl.types import Budget


def made(seed: int = 0, **settings: Any) -> list[tuple[LabelledArrays, LabelledArrays]]:
    small = {"examples": 250, "period": 50, "bits": 6, "slow_bits": 4, "target_units": 9, **settings}
    stream = SlowlyChangingRegression(**small).make(Seeds(seed), Budget(epochs=1))
    assert ("regression", (small["bits"],), 1) == (
        stream.spec.kind,
        stream.spec.observation_shape,
        stream.spec.targets,
    )
    assert "hidden" == stream.visibility.boundaries == stream.visibility.task_ids
    return [(e.train, e.test) for e in stream]  # type: ignore[misc]


def test_a_unit_fires_where_enough_bits_agree() -> None:
    weights = torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, -1.0]])
    target = ThresholdNetwork(weights, torch.tensor([1.0, -1.0]), torch.tensor([1.0, -1.0]), 1.0, 0.5)
    # Agreeing bits must be above .5 * 4 - 1.5 = .5 for the first unit and above 3.5, never, for the second.
    x = torch.tensor([[0, 0, 1], [1, 0, 1], [1, 0, 0]], dtype=torch.uint8)  # 0, 1 and 2 agree with the first
    assert [[1.0], [2.0], [2.0]] == target(x).tolist()
    low = ThresholdNetwork(weights, torch.tensor([-1.0, 1.0]), torch.tensor([1.0, -1.0]), -1.0, 0.25)
    # Above 1 + 1.5 = 2.5 and above 1 - 1.5 = -.5, always.
    assert [[-2.0], [-1.0]] == low(torch.tensor([[1, 0, 1], [1, 1, 0]], dtype=torch.uint8)).tolist()


def test_everything_in_the_target_is_one_or_minus_one() -> None:
    target = ThresholdNetwork.sample(7, 5, 0.7, Seeds(0).numpy())
    assert (5, 7) == tuple(target.weights.shape)
    drawn = torch.cat([target.weights.flatten(), target.biases, target.outgoing, torch.tensor([target.offset])])
    assert {-1.0, 1.0} == set(drawn.tolist())


def test_slow_bits_hold_for_a_period_and_one_flips_between_two() -> None:
    before = None
    for train, _ in made():
        x, y = train.read()
        assert ((50, 6), (50, 1)) == (tuple(x.shape), tuple(y.shape))
        assert (x[:, :4] == x[0, :4]).all()
        assert all(0 < int(x[:, bit].sum()) < 50 for bit in (4, 5))
        if before is not None:
            assert 1 == int((before != x[0, :4]).sum())
        before = x[0, :4]


def test_slow_bits_may_be_redrawn() -> None:
    found = [train.read()[0][0, :8] for train, _ in made(change="redrawn", bits=10, slow_bits=8, examples=2000)]
    changes = torch.stack([(a != b).sum() for a, b in pairwise(found)]).float()
    assert 4 == pytest.approx(float(changes.mean()), abs=1.0)


def test_one_target_serves_all_periods() -> None:
    values: dict[tuple[int, ...], float] = {}
    for sources in made(seed=1, examples=2000):  # of seed 0 no small unit ever fires
        for source in sources:
            x, y = source.read()
            for bits, value in zip(x.tolist(), y.flatten().tolist(), strict=True):
                assert value == values.setdefault(tuple(bits), value)
    assert len(set(values.values())) > 1


def test_the_test_set_is_every_input_of_the_period_once() -> None:
    for train, test in made():
        x = test.read()[0]
        assert 4 == len(x) == len({tuple(row) for row in x.tolist()})
        assert {tuple(row) for row in x.tolist()} == {tuple(row) for row in train.read()[0].tolist()}


def test_beyond_ten_fast_bits_the_test_set_is_drawn() -> None:
    assert [1024] * 5 == [len(test) for _, test in made(bits=16)]


def test_the_last_period_may_be_shorter() -> None:
    assert [50, 50, 20] == [len(train) for train, _ in made(examples=120)]


def test_more_slow_bits_than_bits_and_another_budget_are_refused() -> None:
    with pytest.raises(Problem, match="slow_bits: expected at most 6, the bits of an input, got 7"):
        made(slow_bits=7)
    with pytest.raises(Problem, match=r"expected a budget of one epoch.*, got 2 epochs; set budget: \{epochs: 1\}"):
        SlowlyChangingRegression().make(Seeds(0), Budget(epochs=2))


def test_the_defaults_are_the_papers() -> None:
    settings = asdict(SlowlyChangingRegression(), recurse=False)
    expected = {"bits": 20, "slow_bits": 15, "period": 10_000, "target_units": 100, "threshold": 0.7}
    assert expected == {name: settings[name] for name in expected}


def test_a_regressor_learns_it_example_by_example_under_a_method(tmp_path: Path) -> None:
    experiment = experiment_from(
        {
            "name": "plasticity",
            "stream": {"type": "slowly_changing_regression", "examples": 600, "period": 200},
            "learner": {
                "type": "regressor",
                "network": {"type": "mlp", "hidden": [5], "initialization": "kaiming"},
                "optimizer": {"type": "sgd", "lr": 0.01},
                "batch_size": 1,
                "methods": [{"type": "continual_backprop"}],
            },
            "budget": {"epochs": 1},
            "evaluation": {"on": "current"},
            "event_interval": 200,
        }
    )
    (finished,) = run_experiment(experiment, tmp_path)
    records = [r for r in finished.outcome.records if r.trained_on >= 0 and r.metric == "squared_error"]
    assert [(200, 0), (400, 1), (600, 2)] == [(r.step, r.evaluated_on) for r in records]
    assert {"squared_error"} == {r.metric for r in records}
