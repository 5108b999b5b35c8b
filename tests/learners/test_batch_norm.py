"""Batch normalisation and minibatches of one example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlcl.errors import UnsupportedError
from rlcl.experiment import experiment_from
from rlcl.launch.build import make_trainer

NETWORK = """
from torch import nn
from attrs import frozen

@frozen(kw_only=True)
class Normed:
    def build(self, shape, outputs, tasks):
        return nn.Sequential(nn.Linear(shape[0], 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, outputs))
"""


def trainer(folder: Path, rows: int, experiences: int = 1, **learner: Any) -> Any:
    (folder / "normed.py").write_text(NETWORK)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(rows, 3)), np.arange(rows) % 2
    np.savez(folder / "x.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    made = {"type": "classifier", "batch_size": 8, "network": {"type": f"{folder / 'normed.py'}:Normed"}, **learner}
    stream = {
        "type": "data_incremental",
        "experiences": experiences,
        "data": {"type": "npz", "path": str(folder / "x.npz")},
    }
    return make_trainer(
        experiment_from({"name": "n", "stream": stream, "learner": made, "budget": {"epochs": 2}, "sinks": []}), 0
    )


def test_a_last_minibatch_of_one_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        UnsupportedError, match=r"has 17 training rows, .* has one example; .*; set learner\.drop_last: true"
    ):
        trainer(tmp_path, 17)
    with pytest.raises(
        UnsupportedError, match=r"learner\.batch_size: got 1, but the batch normalization of the network"
    ):
        trainer(tmp_path, 16, batch_size=1)


@pytest.mark.parametrize(("rows", "settings"), [(17, {"drop_last": True}), (16, {}), (18, {})])
def test_what_leaves_no_example_alone_is_learned(rows: int, settings: dict[str, Any], tmp_path: Path) -> None:
    trainer(tmp_path, rows, **settings).fit()


def test_a_single_example_within_training_is_told_as_well(tmp_path: Path) -> None:
    with pytest.raises(
        UnsupportedError, match="a minibatch has one example, but batch normalization needs at least two"
    ):
        trainer(tmp_path, 32, experiences=2, methods=[{"type": "a_gem", "capacity": 1}]).fit()


@pytest.mark.parametrize(
    ("rows", "learner"),
    [
        (17, {"methods": [{"type": "ewc"}]}),  # which adds nothing to a minibatch
        (
            17,
            {"methods": [{"type": "rehearsal", "per_class": 4, "memory": "herding", "fill": "experience"}]},
        ),  # nothing yet
        (18, {"accumulate": 2}),
        (16, {"accumulate": 5}),
    ],
)
def test_methods_and_accumulation_are_taken_into_account(rows: int, learner: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="has one example"):
        trainer(tmp_path, rows, **learner)


def test_a_minibatch_of_one_is_possible_where_a_method_adds_to_it(tmp_path: Path) -> None:
    trainer(tmp_path, 17, methods=[{"type": "rehearsal", "capacity": 8}]).fit()
