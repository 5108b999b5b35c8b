"""A learner that gets more classes keeps what it knew, bit for bit."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
import torch

from rlcl.data.sources import Data
from rlcl.errors import UnsupportedError
from rlcl.experiment import experiment_from
from rlcl.launch.build import make_trainer
from rlcl.learners.growth import grow_state
from rlcl.seeding import Seeds
from rlcl.streams.class_incremental import ClassIncremental
from rlcl.streams.visibility import learner_view
from rlcl.training.trainer import Trainer
from rlcl.types import Budget, DataSet


@attrs.frozen
class Blobs(DataSet):
    """Three or five groups of points."""

    classes: int = 3

    def load(self) -> Data:
        rng = np.random.default_rng(0)
        y = np.arange(20 * self.classes) % self.classes
        x = (rng.normal(size=(len(y), 2)) + 4 * np.stack([np.cos(y), np.sin(y)], 1)).astype(np.float32)
        return Data(x, y, x, y, name="blobs")


def trainer(classes: int, methods: list[dict[str, Any]], optimizer: str = "adam") -> Trainer:
    config = {
        "name": "growth",
        "stream": {"type": "single", "data": {"type": "iris"}},
        "encoder": {"type": "standardize"},
        "learner": {
            "type": "classifier",
            "network": {"type": "mlp", "hidden": [8]},
            "optimizer": {"type": optimizer, "lr": {"adam": 0.01, "sgd": 0.2}[optimizer]},
            "methods": methods,
        },
        "budget": {"epochs": 1},
    }
    stream = ClassIncremental(data=Blobs(classes), experiences=1).make(Seeds(0), Budget(epochs=20))
    return make_trainer(experiment_from(config), 0, stream)


METHODS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "ewc": [{"type": "ewc", "strength": 10}],
    "si": [{"type": "si"}],
    "lwf": [{"type": "lwf"}],
    "rehearsal": [{"type": "rehearsal", "capacity": 20}],
    "der": [{"type": "der", "capacity": 20}],
    "l2_init": [{"type": "l2_init"}],
}


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", METHODS)
def test_a_grown_learner_answers_as_before_and_learns_on(name: str, optimizer: str) -> None:
    small, large = trainer(3, METHODS[name], optimizer), trainer(5, METHODS[name], optimizer)
    small.fit()
    learner: Any = large.learner
    names = [n for n, p in learner.module.named_parameters() if p.requires_grad]
    state = grow_state(small.learner.state_dict(), learner.state_dict(), names, 3, 5)
    fresh = {n: t.clone() for n, t in learner.module.state_dict().items()}
    learner.load_state_dict(state)
    x = torch.randn(50, 2)
    module: Any = small.learner
    with torch.no_grad():
        encoded = module.encoder.encode(x)
        assert torch.equal(module.module(encoded), learner.module(encoded)[:, :3])
    last = names[-1]
    assert torch.equal(fresh[last][3:], learner.module.state_dict()[last][3:])
    experience = attrs.evolve(learner_view(large.stream)[0], index=1)
    assert list(learner.learn(experience))  # goes on: moments, anchors and memories fit
    new = experience.train.labels >= 3
    predicted = learner.predict(experience.train.inputs[new])[0]
    assert 0.5 < float((predicted == experience.train.labels[new]).float().mean())


def test_moments_and_stored_outputs_are_padded() -> None:
    small, large = trainer(3, METHODS["der"]), trainer(5, METHODS["der"])
    small.fit()
    learner: Any = large.learner
    names = [n for n, p in learner.module.named_parameters() if p.requires_grad]
    old = small.learner.state_dict()
    state = grow_state(old, learner.state_dict(), names, 3, 5)
    moment = state["update"]["optimizer"]["state"][3]["exp_avg"]
    assert (5,) == moment.shape
    assert torch.equal(old["update"]["optimizer"]["state"][3]["exp_avg"], moment[:3])
    assert [0.0, 0.0] == moment[3:].tolist()
    before, after = (s["methods"][0]["memory"]["columns"]["outputs"] for s in (old, state))
    assert torch.equal(before, after[:, :3])
    assert torch.equal(before.min(1).values, after[:, 4])


def test_a_network_that_changes_elsewhere_is_refused() -> None:
    small, large = trainer(3, []), trainer(5, [])
    state, fresh = small.learner.state_dict(), large.learner.state_dict()
    first = next(iter(fresh["module"]))
    del fresh["module"][first]
    with pytest.raises(UnsupportedError, match=f"{first} has shape .* before and none after"):
        grow_state(state, fresh, [], 3, 5)
