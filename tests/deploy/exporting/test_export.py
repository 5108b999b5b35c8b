"""A bundle answers as the run's learner does, says where it comes from, and refuses what it cannot hold."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import gymnasium as gym
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import rlcl.deploy
from rlcl.commands import main
from rlcl.deploy.bundle import Bundle
from rlcl.deploy.exporting.export import export
from rlcl.deploy.model import Model, PolicyModel
from rlcl.errors import BundleError, RunFolderError, UnsupportedError
from rlcl.experiment import load_experiment
from rlcl.launch.restored_run import restore_run
from rlcl.launch.seeds import run_experiment
from rlcl.tracking.runs import StoredRun, find_runs
from rlcl.training import checkpoint

Made = Callable[[str], Path]
Finished = Callable[[str], StoredRun]


def learner_of(run: StoredRun) -> Any:
    return restore_run(run).trainer


@pytest.mark.parametrize("name", ["digits", "averaged", "memory"])
def test_a_classifier_gives_the_learners_classes(name: str, finished: Finished, bundle: Made) -> None:
    trainer, model = learner_of(finished(name)), rlcl.deploy.load(bundle(name))
    for experience in trainer.stream:
        x = experience.test.read()[0]
        expected = trainer.learner.predict(x)[0].numpy()
        outputs = model.outputs(x.numpy())
        assert expected.tolist() == outputs["class"].tolist() == model.predict(x.numpy()).tolist()
        assert expected.tolist() == outputs["probabilities"].argmax(1).tolist()
        np.testing.assert_allclose(np.ones(len(x)), outputs["probabilities"].sum(1), rtol=1e-5)


@pytest.mark.parametrize("name", ["permuted", "columns", "packed"])
def test_tasks_are_told_apart_row_by_row(name: str, finished: Finished, bundle: Made) -> None:
    trainer, model = learner_of(finished(name)), rlcl.deploy.load(bundle(name))
    assert len(trainer.stream) == model.signature.tasks
    x = trainer.stream[0].test.read()[0][:20]
    expected = [trainer.learner.predict(x, task)[0].numpy() for task in range(model.signature.tasks)]
    assert not np.array_equal(expected[0], expected[1])
    for task, classes in enumerate(expected):
        assert classes.tolist() == model.predict(x.numpy(), task).tolist()
    mixed = np.arange(20) % model.signature.tasks
    answer = model.run({"input": x.numpy(), "task_id": mixed})["class"]
    assert [expected[task][row] for row, task in enumerate(mixed)] == answer.tolist()


def test_a_regressor_and_autoencoders_give_the_learners_numbers(finished: Finished, bundle: Made) -> None:
    for name, shape in (("regressor", (1,)), ("autoencoder", (64,)), ("vae", (64,))):
        trainer, model = learner_of(finished(name)), rlcl.deploy.load(bundle(name))
        x = trainer.stream[0].test.read()[0]
        outputs = model.outputs(x.numpy())
        expected = trainer.learner.predict(x)[0].numpy()
        assert shape == expected.shape[1:]
        np.testing.assert_allclose(expected, outputs[model.signature.outputs[0].name], rtol=1e-4, atol=1e-4)
    trainer, model = learner_of(finished("autoencoder")), rlcl.deploy.load(bundle("autoencoder"))
    x = trainer.stream[0].test.read()[0]
    found = model.outputs(x.numpy())
    np.testing.assert_allclose(trainer.learner.represent(x).numpy(), found["code"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trainer.learner.reconstruction_error(x).numpy(), found["error"], rtol=1e-4)


POLICIES = ["ppo", "continuous", "dqn", "sac", "td3", "puzzle", "sb3_ppo", "sb3_dqn", "sb3_sac", "sb3_a2c"]


@pytest.mark.parametrize("name", [*POLICIES, "sb3_camera", "sb3_picture"])
def test_a_policy_gives_the_learners_actions(name: str, finished: Finished, bundle: Made) -> None:
    trainer, model = learner_of(finished(name)), rlcl.deploy.load(bundle(name))
    assert isinstance(model, PolicyModel)
    source = trainer.stream[0].test
    env = attrs.evolve(source, flat=False).make()
    env.action_space.seed(3)
    observation, _ = env.reset(seed=3)
    for _ in range(12):
        action, _ = model.predict(observation)
        seen = gym.spaces.flatten(env.observation_space, observation) if source.flat else observation
        batch = {k: np.asarray(v)[None] for k, v in seen.items()} if isinstance(seen, dict) else np.asarray(seen)[None]
        expected = np.asarray(trainer.learner.predict(batch)[0])[0]
        np.testing.assert_allclose(expected, action, rtol=1e-4, atol=1e-5)
        assert env.action_space.contains(expected.dtype.type(action) if action.ndim == 0 else action)
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            observation, _ = env.reset()
    env.close()


def test_a_policy_that_remembers_hands_its_state_on(finished: Finished, bundle: Made) -> None:
    learner, model = learner_of(finished("recurrent")).learner, rlcl.deploy.load(bundle("recurrent"))
    assert [("hidden", (8,)), ("cell", (8,))] == [(f.name, f.shape) for f in model.signature.state]
    observations = np.random.default_rng(0).normal(0, 0.05, (6, 2, 4)).astype(np.float32)
    expected: Any = None
    state: Any = None
    for step, rows in enumerate(observations):
        if step == 3:  # the second environment begins an episode
            expected[:, 1] = 0
        actions, expected = learner.predict(rows, None, expected)
        answer, state = model.predict(rows, state, np.array([False, step == 3]))
        assert np.asarray(actions).tolist() == answer.tolist()
        np.testing.assert_allclose(expected, np.stack(state), rtol=1e-4, atol=1e-6)


def test_a_policy_serves_stable_baselines3_and_a_bare_loop(bundle: Made) -> None:
    for name in ("ppo", "recurrent"):
        model = rlcl.deploy.load(bundle(name))
        envs = make_vec_env("CartPole-v1", n_envs=2, seed=0)
        returns, _ = evaluate_policy(model, envs, n_eval_episodes=4, return_episode_rewards=True)
        assert 4 == len(returns)
        assert all(8 <= total <= 500 for total in returns)
    env = gym.make("CartPole-v1")
    observation, _ = env.reset(seed=0)
    ended, total = False, 0.0
    while not ended:
        action, _ = rlcl.deploy.load(bundle("ppo")).predict(observation) if total == 0 else model.predict(observation)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, ended = total + float(reward), terminated or truncated
    assert total >= 8


def test_a_bundle_holds_its_documented_files(bundle: Made) -> None:
    folder = bundle("digits")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    served = {"model.onnx", "weights.safetensors", "signature.json", "experiment.yaml", "MODEL_CARD.md"}
    served |= {"manifest.json", "reference.safetensors", "profile.json", "SHA256SUMS"}
    update = {f"update/{name}" for name in ("tensors.safetensors", "state.json", "checksums.json", "SHA256SUMS")}
    assert served | update == files
    assert [folder.name] == [p.name for p in folder.parent.iterdir() if "digits" in p.name]  # nothing half-written


@pytest.mark.parametrize(
    "name", ["model.onnx", "weights.safetensors", "reference.safetensors", "profile.json", "MODEL_CARD.md"]
)
def test_one_changed_byte_is_refused(name: str, bundle: Made, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(bundle("digits"), folder)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name} was changed"):
        rlcl.deploy.load(folder)


def test_bounds_are_those_of_the_training_data_widened_or_of_the_space(bundle: Made) -> None:
    (pixels,) = Bundle.open(bundle("digits")).signature.inputs
    assert (-16.0, 32.0) == (pixels.low, pixels.high)  # training data lie in [0, 16]
    fields = {field.name: field for field in Bundle.open(bundle("puzzle")).signature.inputs}
    assert (1.0, 4.0) == (fields["place"].low, fields["place"].high)
    assert ([1, 0], [2, 2]) == (np.asarray(fields["dials"].low).tolist(), np.asarray(fields["dials"].high).tolist())
    assert (-1.0, 1.0) == (fields["speed"].low, fields["speed"].high)
    (pole,) = Bundle.open(bundle("ppo")).signature.inputs
    largest = float(np.finfo(np.float32).max)
    low = np.asarray(pole.low)
    assert [pytest.approx(-4.8), -largest, pytest.approx(-0.41887903), -largest] == low.tolist()
    (stacked,) = Bundle.open(bundle("sb3_picture")).signature.inputs
    assert ((2, 40, 40, 3), "uint8", 0.0, 255.0) == (stacked.shape, stacked.dtype, stacked.low, stacked.high)


def test_the_manifest_leads_back_to_run_data_and_held_out_sets(finished: Finished, bundle: Made) -> None:
    run, manifest = finished("digits"), Bundle.open(bundle("digits")).manifest
    assert {"name": "digits", "hash": run.group.name, "seed": 0} == manifest["run"]
    assert run.manifest["data"] == manifest["data"]
    assert str(run.path) not in (bundle("digits") / "manifest.json").read_text()
    assert "MIT" in manifest["licences"]["onnxruntime"]
    held_out = manifest["held_out"]
    assert [0, 1, 2, 3, 4] == [entry["index"] for entry in held_out]
    assert run.summary["R"][-1] == [entry["result"] for entry in held_out]
    test = learner_of(run).stream[2].test
    assert hashlib.sha256(test.read()[0].numpy().tobytes()).hexdigest() == held_out[2]["inputs"]
    assert len(test) == held_out[2]["rows"]
    assert {"experiment": "experiment.yaml", "seed": 0, "experience": 2} == held_out[2]["load"]
    assert sum(entry["rows"] for entry in held_out) == manifest["parity"]["rows"]


def test_the_reference_holds_held_out_rows_with_the_models_answers(bundle: Made) -> None:
    model, stored = rlcl.deploy.load(bundle("digits")), load_file(bundle("digits") / "reference.safetensors")
    assert len(stored["input"]) == len(stored["labels"]) == len(stored["experience"])
    assert {0, 1, 2, 3, 4} == set(stored["experience"].tolist())
    assert (stored["labels"] // 2 == stored["experience"]).all()  # digits 0-1, 2-3, ...
    assert stored["output.class"].tolist() == model.predict(stored["input"]).tolist()


def test_the_reference_of_a_policy_is_whole_episodes(finished: Finished, bundle: Made) -> None:
    model, stored = rlcl.deploy.load(bundle("ppo")), load_file(bundle("ppo") / "reference.safetensors")
    lengths, spacing = stored["episodes.inputs"][:, 0], int(stored["spacing"][0])
    assert (0, 2) == (len(lengths) % 50, len(np.unique(stored["experience"])))  # rounds of 50, both tasks alike
    assert lengths.sum() >= 2000
    assert len(stored["input"]) <= 2000
    assert lengths.sum() / spacing == pytest.approx(len(stored["input"]), abs=len(lengths))
    assert stored["output.action"].tolist() == model.predict(stored["input"])[0].tolist()
    assert [0, 1] == stored["episodes.actions"].tolist()
    shares = stored["episodes.predictions"]
    np.testing.assert_allclose(1, shares.sum(1))
    assert (shares[:, 2] == 0).all()  # no action that there is not
    source = learner_of(finished("ppo")).stream[0].test
    env = source.make()
    (observation, _), seen = env.reset(seed=source.seed), []
    for _ in range(int(lengths[0])):
        seen.append(observation)
        observation, _, terminated, truncated, _ = env.step(model.predict(observation)[0])
    assert terminated or truncated
    expected = [lengths[0], *np.mean(seen, 0, np.float64), *np.std(seen, 0, dtype=np.float64)]
    np.testing.assert_allclose(expected, stored["episodes.inputs"][0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("name", "width"), [("ppo", 4), ("dqn", 12), ("recurrent", 4), ("sb3_ppo", 4), ("sb3_sac", 3)])
def test_the_graph_of_a_policy_gives_what_its_encoder_makes(name: str, width: int, bundle: Made) -> None:
    model = Model(Bundle.open(bundle(name)))
    stored = load_file(bundle(name) / "reference.safetensors")
    encoded = model.encoded({"input": stored["input"]})
    assert encoded is not None
    assert (len(stored["input"]), width) == encoded.shape


def test_the_part_for_updating_restores_the_learner(finished: Finished, bundle: Made) -> None:
    run = finished("digits")
    state = checkpoint.load(Bundle.open(bundle("digits")).update)
    trainer = learner_of(run)
    for parameter in trainer.learner.module.parameters():
        torch.nn.init.zeros_(parameter)
    trainer.learner.load_state_dict(state)
    x = trainer.stream[0].test.read()[0]
    assert learner_of(run).learner.predict(x)[0].tolist() == trainer.learner.predict(x)[0].tolist()


def test_the_weights_are_those_that_predict(finished: Finished, bundle: Made) -> None:
    stored = load_file(bundle("averaged") / "weights.safetensors")
    average = learner_of(finished("averaged")).learner._update.average.module.state_dict()
    for name, tensor in average.items():
        np.testing.assert_array_equal(tensor.numpy(), stored[f"network/networks.0.{name}"])


def test_the_card_tells_objective_results_and_limits(finished: Finished, bundle: Made) -> None:
    run, card = finished("digits"), (bundle("digits") / "MODEL_CARD.md").read_text()
    for text in ("Keep ten digits.", "- no old data", "accuracy.average >= 0.1", "mean of 2 seeds", "digits 4-5"):
        assert text in card
    assert "not a claim of compliance" in card
    seeds = [seed.metrics["accuracy.average"] for seed in find_runs(run.group)]
    assert f"| accuracy.average | {seeds[0]:.3f} | {np.mean(seeds):.3f} |" in card


def test_without_the_part_for_updating(finished: Finished, tmp_path: Path) -> None:
    export(finished("digits"), tmp_path / "b", update=False)
    assert not (tmp_path / "b" / "update").exists()
    rlcl.deploy.load(tmp_path / "b")


def test_a_folder_that_is_there_is_left_alone(finished: Finished, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="exists; remove it, or choose another folder with --to"):
        export(finished("digits"), tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_an_unfinished_run_is_refused(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished("digits").path, tmp_path / "seed0")
    status = json.loads((tmp_path / "seed0" / "status.json").read_text())
    (tmp_path / "seed0" / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    with pytest.raises(RunFolderError, match="is interrupted; finish it with rlcl run"):
        export(find_runs(tmp_path / "seed0")[0], tmp_path / "b")


REFUSED = {
    "nearest": ("learner: {type: nearest_mean}\nbudget: {epochs: 1}", "nearest_mean cannot be exported: .* no network"),
    "icarl": ("learner: {type: icarl, capacity: 20}\nbudget: {updates: 3}", "icarl cannot be exported: .* exemplars"),
    "clusters": ("learner: {type: kmeans}\nbudget: {epochs: 1}", "kmeans cannot be exported: its output is a cluster"),
    "views": (
        "learner: {type: simsiam, augment: [{type: noise}]}\nbudget: {updates: 2}",
        "simsiam cannot be exported: its output is a representation",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_graph_holds_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    text, reason = REFUSED[name]
    stream = "stream: {type: class_incremental, data: {type: digits}, experiences: 2}\nencoder: {type: flatten}"
    (tmp_path / "e.yaml").write_text(f"name: refused\n{stream}\n{text}\n")
    run_experiment(load_experiment(tmp_path / "e.yaml"), tmp_path / "runs")
    with pytest.raises(UnsupportedError, match=reason):
        export(find_runs(tmp_path / "runs")[0], tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_masks_of_actions_are_refused(tmp_path: Path) -> None:
    text = "stream: {type: environments, env: Taxi-v4}\nencoder: {type: flatten}\nevaluation: {episodes: 1}\n"
    text += "learner: {type: ppo, n_steps: 16}\nbudget: {env_steps: 16}"
    (tmp_path / "e.yaml").write_text(f"name: taxi\n{text}\n")
    run_experiment(load_experiment(tmp_path / "e.yaml"), tmp_path / "runs")
    with pytest.raises(UnsupportedError, match="a policy with action masks cannot be exported"):
        export(find_runs(tmp_path / "runs")[0], tmp_path / "b")


def test_a_graph_that_answers_otherwise_is_an_error(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rlcl.deploy.exporting import export as exporting

    real = exporting.onnx_graph
    monkeypatch.setattr(exporting, "onnx_graph", lambda graph, *rest: real(Shifted(graph), *rest))
    with pytest.raises(BundleError, match="parity"):
        export(finished("digits"), tmp_path / "b")
    assert [] == list(tmp_path.iterdir())


class Shifted(torch.nn.Module):
    """Gives the next class."""

    def __init__(self, graph: Any) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, x: torch.Tensor) -> Any:
        classes, *others = self.graph(x)
        return (classes + 1) % 10, *others


def test_the_command_exports_by_name_and_prints_parity(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = finished("digits").group.parents[1]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["export", "digits", "--root", str(root)])
    printed = capsys.readouterr().out
    assert "parity   355 held-out rows, 0 ties" in printed
    assert "bundle   bundles/digits (classifier" in printed
    with pytest.raises(SystemExit):
        main(["export", "digits", "--root", str(root)])
    assert "bundles/digits exists" in capsys.readouterr().err


def test_predicting_imports_nothing_that_trains(bundle: Made) -> None:
    code = (
        "import sys, numpy, rlcl.deploy\n"
        f"model = rlcl.deploy.load({str(bundle('digits'))!r})\n"
        "model.predict(numpy.zeros((2, 1, 8, 8)))\n"
        f"rlcl.deploy.load({str(bundle('ppo'))!r}).predict(numpy.zeros(4))\n"
        "heavy = {'torch', 'avalanche', 'stable_baselines3', 'sb3_contrib', 'tensorboard', 'gymnasium', 'sklearn'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "[]" == done.stdout.strip()
