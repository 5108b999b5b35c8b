"""Several seeds of one experiment at once: the same folders and records as one after the other."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlcl.commands import main
from rlcl.errors import DivergenceError
from rlcl.experiment import Experiment, load_experiment
from rlcl.launch.seeds import SeedsDiverged, run_experiment
from rlcl.launch.signals import Interrupted
from rlcl.learners.reinforcement.dqn import Dqn
from rlcl.learners.reinforcement.ppo import Ppo

QUIET = Console(quiet=True)
LEARNERS = {
    "ppo": "{type: ppo, network: {type: mlp, hidden: [16], activation: tanh}, n_steps: 16, batch_size: 32, epochs: 2, "
    "schedule: {type: linear}}",
    "dqn": "{type: dqn, network: {type: mlp, hidden: [16]}, learning_starts: 64, train_every: 16, gradient_steps: 4, "
    "batch_size: 16, capacity: 500, double: true, target_interval: 64}",
}


def experiment(folder: Path, *changes: str, learner: str = "ppo") -> Experiment:
    (folder / "batch.yaml").write_text(
        "name: batch\nseeds: [0, 1, 2]\nbatched_seeds: true\n"
        "stream: {type: environments, env: rlcl_envs/CartPole-v1, tasks: [{}, {attributes: {gravity: 40}}], "
        "num_envs: 4, vectorization: native}\n"
        f"learner: {LEARNERS[learner]}\nbudget: {{env_steps: 256}}\n"
        "evaluation: {every: {env_steps: 128}, episodes: 1}\nevent_interval: 64\n"
    )
    return load_experiment(folder / "batch.yaml", changes)


def files(folder: Path) -> set[str]:
    """But for those that carry a time in their names."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and "tfevents" not in p.name}


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def last_tensors(folder: Path) -> bytes:
    """Of the last checkpoint: weights, moments, memories, generators."""
    return (max((folder / "checkpoints").iterdir()) / "tensors.safetensors").read_bytes()


@pytest.mark.parametrize("learner", LEARNERS)
def test_runs_leave_the_folders_and_records_that_they_leave_alone(tmp_path: Path, learner: str) -> None:
    at_once = run_experiment(experiment(tmp_path, learner=learner), tmp_path / "at_once", QUIET)
    alone = run_experiment(experiment(tmp_path, "batched_seeds=false", learner=learner), tmp_path / "alone", QUIET)
    assert files(tmp_path / "alone") == files(tmp_path / "at_once")
    for one, other in zip(alone, at_once, strict=True):
        assert one.path.relative_to(tmp_path / "alone") == other.path.relative_to(tmp_path / "at_once")
        expected, actual = rows(one.path), rows(other.path)
        assert len(expected) > 10
        for row, found in zip(expected, actual, strict=True):
            if row["trained_on"] < 0 or row["metric"] != "return":  # returns may differ later, by rounding
                assert row == found
            assert {k: v for k, v in row.items() if k != "value"} == {k: v for k, v in found.items() if k != "value"}
        assert "finished" == json.loads((other.path / "status.json").read_text())["state"]


def test_finished_seeds_are_not_repeated_and_others_join(tmp_path: Path) -> None:
    run_experiment(experiment(tmp_path, "seeds=[1]"), tmp_path / "runs", QUIET)
    found = run_experiment(experiment(tmp_path, "seeds=[2, 1, 0]"), tmp_path / "runs", QUIET)
    assert [False, True, False] == [f.repeated for f in found]
    assert ["seed2", "seed1", "seed0"] == [f.path.name for f in found]


@pytest.mark.parametrize("learner", LEARNERS)
def test_stopped_and_resumed_ends_as_if_it_had_run_through(
    tmp_path: Path, learner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    through = run_experiment(experiment(tmp_path, learner=learner), tmp_path / "through", QUIET)
    stopping, updates = {"ppo": Ppo, "dqn": Dqn}[learner], 0
    update_on = stopping.update_on

    def improved(self: Any, batch: Any) -> Any:
        nonlocal updates
        updates += 1
        if updates == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return update_on(self, batch)

    monkeypatch.setattr(stopping, "update_on", improved)
    with pytest.raises(Interrupted):
        run_experiment(experiment(tmp_path, learner=learner), tmp_path / "stopped", QUIET)
    states = [json.loads(path.read_text()) for path in (tmp_path / "stopped").rglob("status.json")]
    assert ["interrupted"] * 3 == [state["state"] for state in states]
    resumed = run_experiment(experiment(tmp_path, learner=learner), tmp_path / "stopped", QUIET)
    for expected, actual in zip(through, resumed, strict=True):
        assert rows(expected.path) == rows(actual.path)
        assert last_tensors(expected.path) == last_tensors(actual.path)


def test_a_seed_that_diverges_leaves_the_others_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    event = Ppo._event

    def told(self: Ppo, *arguments: Any) -> Any:
        if self.rng is diverging[0] and self.position.step >= 128:
            raise DivergenceError("the loss is nan")
        return event(self, *arguments)

    diverging: list[Any] = []
    prepare = Ppo.prepare

    def prepared(self: Ppo, setup: Any) -> None:
        prepare(self, setup)
        diverging.append(self.rng)

    monkeypatch.setattr(Ppo, "_event", told)
    monkeypatch.setattr(Ppo, "prepare", prepared)
    with pytest.raises(SeedsDiverged, match=r"1 of 3 seeds diverged\nseed 0: the loss is nan") as raised:
        run_experiment(experiment(tmp_path), tmp_path / "runs", QUIET)
    assert ["seed1", "seed2"] == [f.path.name for f in raised.value.finished]
    states = {path.parent.name: json.loads(path.read_text())["state"] for path in tmp_path.rglob("status.json")}
    assert {"seed0": "failed", "seed1": "finished", "seed2": "finished"} == states


def test_another_error_stops_all_and_they_can_be_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update_on = Ppo.update_on
    monkeypatch.setattr(Ppo, "update_on", lambda self, batch: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_experiment(experiment(tmp_path), tmp_path / "runs", QUIET)
    states = sorted(json.loads(path.read_text())["state"] for path in tmp_path.rglob("status.json"))
    assert ["failed", "interrupted", "interrupted"] == states
    monkeypatch.setattr(Ppo, "update_on", update_on)
    assert 3 == len(run_experiment(experiment(tmp_path), tmp_path / "runs", QUIET))


def test_how_seeds_are_trained_does_not_decide_the_hash(tmp_path: Path) -> None:
    assert experiment(tmp_path).hash == experiment(tmp_path, "batched_seeds=false").hash


def test_check_refuses_what_does_not_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment(tmp_path)
    with pytest.raises(SystemExit):
        main(["check", str(tmp_path / "batch.yaml"), "learner.methods=[{type: l2}]"])
    told = " ".join(capsys.readouterr().err.split())
    assert "learner.methods: batched_seeds: true" in told
    assert "or set batched_seeds: false" in told
