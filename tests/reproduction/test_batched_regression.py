"""Seeds that step together are the runs that they are one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from rich.console import Console

from rlcl.errors import DivergenceError, UnsupportedError
from rlcl.experiment import Experiment, dump, experiment_from, load_experiment
from rlcl.launch.build import make_trainer
from rlcl.launch.seeds import run_experiment
from rlcl.reproduction.batched_regression import batched_networks, run_seeds_together, unsupported_reason
from rlcl.reproduction.online_regression import ContinualBackpropEdit, HiddenLayerRegressions
from rlcl.reproduction.protocols import load_protocol, protocols_folder
from rlcl.types import Budget, Record

QUIET = Console(quiet=True)
PROTOCOL = load_protocol(protocols_folder() / "dohare2024-slowly-changing.yaml")
QUICK = {"type": "continual_backprop", "replacement_rate": 0.01, "maturity": 10}


def experiment(*methods: dict[str, Any], seeds: Sequence[int] = (3, 4), **learner: Any) -> Experiment:
    """Two periods of 300 examples."""
    data = {
        "name": "slow",
        "seeds": list(seeds),
        "stream": {"type": "slowly_changing_regression", "examples": 600, "period": 300},
        "learner": {
            "type": "regressor",
            "network": {"type": "mlp", "hidden": [5], "initialization": "kaiming"},
            "optimizer": {"type": "sgd", "lr": 0.01},
            "batch_size": 1,
            "methods": list(methods),
            **learner,
        },
        "budget": {"epochs": 1},
        "evaluation": {"every": "end", "before": False, "on": "current", "online": True, "probes": ["dead_units"]},
        "event_interval": 1000,
    }
    if learner.get("network") == "linear":
        data["evaluation"]["probes"] = []  # type: ignore[index]
    return experiment_from(data)


def told(records: Sequence[Record]) -> dict[tuple[str, int, int], float]:
    kept = [r for r in records if r.metric in ("squared_error.online", "dead_units")]
    return {(r.metric, r.step, r.trained_on): r.value for r in kept}


CASES: dict[str, Experiment] = {
    "backprop": experiment(),
    "torch's own weights": experiment(network={"type": "mlp", "hidden": [7]}),
    "l2": experiment(optimizer={"type": "sgd", "lr": 0.01, "weight_decay": 0.05}),
    "linear": experiment(network="linear"),
    "shrink and perturb": experiment({"type": "shrink_and_perturb", "decay": 0.01, "noise": 0.01}),
    "without noise": experiment({"type": "shrink_and_perturb", "decay": 0.01, "noise": 0.0}),
    "linear, perturbed": experiment({"type": "shrink_and_perturb"}, network="linear"),
    "continual backprop": experiment(QUICK),
    "several units at once": experiment({**QUICK, "replacement_rate": 0.4}),
    "both": experiment(QUICK, {"type": "shrink_and_perturb"}),
}


@pytest.mark.parametrize("case", CASES)
def test_records_are_those_of_rlcl_run(case: str, tmp_path: Path) -> None:
    chosen = CASES[case]
    together = run_seeds_together(chosen, tmp_path, QUIET)
    alone = run_experiment(chosen, tmp_path, QUIET)
    for expected, actual in zip(alone, together.runs, strict=True):
        want, have = told(expected.outcome.records), told(actual.outcome.records)
        assert set(want) == set(have)
        assert len(want) == (2 if "linear" in case else 3)
        np.testing.assert_allclose([have[key] for key in want], list(want.values()), rtol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_the_learner(case: str) -> None:
    """Step by step, on the examples in the order in which the learner draws them."""
    trainer = make_trainer(CASES[case], 3)
    learner: Any = trainer.learner
    networks = batched_networks([learner])
    start = networks.theta.copy()
    for _ in zip(range(200), learner.learn(trainer._experiences[0]), strict=False):
        networks.step(learner.batch.inputs.numpy(), learner.batch.targets.numpy()[:, 0])
    weights = np.concatenate([p.detach().numpy().ravel() for p in learner.module.parameters()])[None]
    assert not np.allclose(start, weights, atol=1e-2)
    np.testing.assert_allclose(networks.theta, weights, rtol=2e-3, atol=2e-4)
    if "continual" in case and isinstance(networks, HiddenLayerRegressions):
        (edit,) = networks.edits
        assert isinstance(edit, ContinualBackpropEdit)
        assert 5 < edit.replaced


@pytest.mark.parametrize("case", ["backprop", "linear", "shrink and perturb", "continual backprop"])
def test_a_run_does_not_depend_on_the_others_to_the_bit(case: str, tmp_path: Path) -> None:
    chosen = attrs.evolve(CASES[case], seeds=(3, 4, 5))
    whole = run_seeds_together(chosen, tmp_path / "whole", QUIET)
    apart = run_seeds_together(attrs.evolve(chosen, seeds=(4,)), tmp_path / "apart", QUIET)
    assert whole.runs[1].outcome.records == apart.runs[0].outcome.records


def test_seeds_that_are_there_are_not_repeated(tmp_path: Path) -> None:
    chosen = CASES["backprop"]
    run_seeds_together(chosen, tmp_path, QUIET)
    folder = tmp_path / "slow" / chosen.hash / "together"
    first = (folder / "seed3.json").read_text()
    (folder / "seed4.json").write_text("{}")  # cut off
    run_seeds_together(attrs.evolve(chosen, seeds=(3, 4, 5)), tmp_path, QUIET)
    assert ["seed3.json", "seed4.json", "seed5.json"] == sorted(path.name for path in folder.iterdir())
    assert first == (folder / "seed3.json").read_text()
    assert 4 == json.loads((folder / "seed4.json").read_text())["records"][0]["seed"]


REFUSED = {
    "learner is not supported": "learner={type: classifier}",
    "learner.network is not supported": "learner.network={extends: null, type: cnn}",
    "learner.optimizer is not supported": "learner.optimizer={extends: null, type: adam}",
    "learner.methods is not supported": "learner.methods=[si]",
    "encoder is not supported": "encoder=standardize",
    "learner.batch_size: expected 1, got 2": "learner.batch_size=2",
    "learner.clip_norm: expected None, got 1.0": "learner.clip_norm=1.0",
    "learner.network.hidden: expected (5,), got (5, 6)": "learner.network.hidden=[5,6]",
    "learner.network.hidden: expected (1,), got ()": "learner.network.hidden=[]",
    "learner.network.activation: expected relu, got tanh": "learner.network.activation=tanh",
    "learner.optimizer.momentum: expected 0.0, got 0.9": "learner.optimizer.momentum=0.9",
    "learner.methods.every: expected update": "learner.methods=[{type: shrink_and_perturb, every: boundary}]",
    "evaluation.every: expected end, got experience": "evaluation.every=experience",
    "evaluation.online: expected True, got False": "evaluation.online=false",
    "validation: expected 0.0, got 0.1": "validation=0.1",
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_step_together_is_refused(reason: str, tmp_path: Path) -> None:
    (tmp_path / "slow.yaml").write_text(dump(CASES["backprop"]))
    chosen = load_experiment(tmp_path / "slow.yaml", [REFUSED[reason]])
    found = unsupported_reason(chosen)
    assert found is not None
    assert found.startswith(reason)
    assert "remove together" in found
    with pytest.raises(UnsupportedError, match="together: "):
        run_seeds_together(chosen, tmp_path, QUIET)


def test_the_published_protocol_is_served() -> None:
    assert PROTOCOL.together
    assert [None] * 5 == [unsupported_reason(side) for side in PROTOCOL.sides.values()]


def test_any_pass_over_vectors_with_a_number_will_do(tmp_path: Path) -> None:
    (tmp_path / "slow.yaml").write_text(dump(CASES["backprop"]))
    stream = "stream={extends: null, type: data_incremental, data: {type: diabetes}, experiences: 3}"
    chosen = load_experiment(tmp_path / "slow.yaml", [stream, "learner.optimizer.lr=1e-5"])
    (expected, *_), (actual, *_) = (
        run_experiment(chosen, tmp_path, QUIET),
        run_seeds_together(chosen, tmp_path, QUIET).runs,
    )
    assert told(expected.outcome.records) == pytest.approx(told(actual.outcome.records), rel=1e-4)
    with pytest.raises(UnsupportedError, match="together: only regression streams of vectors"):
        run_seeds_together(attrs.evolve(chosen, budget=Budget(epochs=2)), tmp_path, QUIET)


def test_a_run_that_diverges_is_told(tmp_path: Path) -> None:
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(DivergenceError, match=r"slow, seed 3, is not finite by the end of experience 0; lower"),
    ):
        run_seeds_together(experiment(optimizer={"type": "sgd", "lr": 10.0}), tmp_path, QUIET)
