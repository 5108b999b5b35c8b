"""Every method goes on with an update that brings classes and a task that it did not know, or says why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from rlcl.deploy.updating.added_experiences import extended_stream
from rlcl.deploy.updating.candidate import train_candidate
from rlcl.deploy.updating.new_data import NewData
from rlcl.errors import UnsupportedError
from rlcl.experiment import Experiment, experiment_from
from rlcl.launch.build import make_stream, make_trainer
from rlcl.learners.growth import grow_state
from rlcl.registry import entries

MLP = {"type": "mlp", "hidden": [12]}
PROTOCOLS: dict[str, tuple[str, dict[str, Any]]] = {
    "hidden": ("class_incremental", MLP),
    "shared": ("task_incremental", MLP),
    "heads": ("task_incremental", {"type": "multihead", "body": MLP, "features": 8}),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "ewc": {"strength": 1.0},
    "rwalk": {"interval": 2},
    "continual_backprop": {"replacement_rate": 0.05, "maturity": 2},
    "redo": {"every": 3},
    "distill": {"capacity": 20, "samples": 30, "batch_size": 8},
    "rehearsal": {"capacity": 20},
    "a_gem": {"capacity": 20},
    "gem": {"per_experience": 10},
    "der": {"capacity": 20},
    "der_plus_plus": {"capacity": 20},
    "mir": {"capacity": 20, "candidates": 12},
    "generative_replay": {"network": MLP, "decoder": MLP, "code": 3, "likelihood": "gaussian"},
}


def experiment(protocol: str, method: str | None, **settings: Any) -> Experiment:
    stream, network = PROTOCOLS[protocol]
    return experiment_from(
        {
            "name": "methods",
            "stream": {"type": stream, "data": {"type": "iris"}, "experiences": 1},
            "encoder": {"type": "standardize"},
            "learner": {
                "type": "classifier",
                "network": network,
                "optimizer": {"type": "adam"},
                "methods": [] if method is None else [{"type": method, **SETTINGS.get(method, {})}],
                **settings,
            },
            "budget": {"updates": 6},
        }
    )


def update(names: tuple[str, ...], classes: int, first: int) -> NewData:
    x, y = (
        torch.randn(20, 4, generator=torch.Generator().manual_seed(first)) + first,
        torch.arange(20) % classes + first,
    )
    return NewData(name="new", train=(x, y), test=(x[:4], y[:4]), classes=names)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("method", sorted(entries("method")))
def test_a_method_goes_on_with_new_classes_and_a_new_task(method: str, protocol: str) -> None:
    made = experiment(protocol, method)
    base = make_stream(made, 0)
    try:
        trainer = make_trainer(made, 0, base)
    except UnsupportedError as error:
        pytest.skip(str(error))  # whatever is refused is refused before anything is learned
    trainer.fit()
    state: Any = trainer.learner.state_dict()
    names = (*base.spec.class_names, "3", "4")
    added = [update(names, 2, 3)]
    first = train_candidate(
        made, 0, extended_stream(base, added, made, 0), state, 1, Console(quiet=True), base.spec.class_names
    )
    again = [*added, update((*names, "5"), 1, 5)]
    second = train_candidate(
        made, 0, extended_stream(base, again, made, 0), first.restored.state, 2, Console(quiet=True), names
    )
    for candidate, classes, stream in ((first, 5, added), (second, 6, again)):
        learner: Any = candidate.restored.trainer.learner
        assert 6 * (1 + len(stream)) == learner.position.step
        assert classes == learner.outputs(torch.zeros(1, 4), _task(learner)).shape[1]
        assert all(torch.isfinite(t).all() for t in _tensors(candidate.restored.state) if t.is_floating_point())


def test_an_average_of_weights_goes_on_and_begins_at_new_ones_as_they_do() -> None:
    made = experiment("heads", None, ema=0.9)
    base = make_stream(made, 0)
    trainer = make_trainer(made, 0, base)
    trainer.fit()
    before: Any = trainer.learner.state_dict()
    stream = extended_stream(base, [update((*base.spec.class_names, "3"), 1, 3)], made, 0)
    fresh: Any = make_trainer(made, 0, stream).learner
    names = [name for name, _ in fresh.module.named_parameters()]
    state = grow_state(before, fresh.state_dict(), names, 3, 4)
    old, average, new = before["update"]["average"], state["update"]["average"], fresh.module.state_dict()
    assert torch.equal(old["module.heads.0.weight"], average["module.heads.0.weight"][:3])
    assert torch.equal(new["heads.0.weight"][3:], average["module.heads.0.weight"][3:])
    assert torch.equal(new["heads.1.weight"], average["module.heads.1.weight"])
    candidate = train_candidate(made, 0, stream, before, 1, Console(quiet=True), base.spec.class_names)
    assert 12 == candidate.restored.state["position"]["step"]


def _task(learner: Any) -> Tensor | None:
    return torch.tensor([0]) if learner._setup.spec.task_classes else None


def _tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, Mapping):
        return [t for value in tree.values() for t in _tensors(value)]
    return [t for value in tree for t in _tensors(value)] if isinstance(tree, list | tuple) else []
