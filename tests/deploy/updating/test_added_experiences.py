"""Bundles whose learners need more than arrays: task ids, validation data, a memory that is all they know."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import rlcl.deploy
from rlcl.commands import main
from rlcl.deploy.bundle import Bundle
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.updating.added_experiences import extended_stream, load_added, save_added
from rlcl.deploy.updating.new_data import NewData, TrainingSummary
from rlcl.experiment import experiment_from
from rlcl.launch.build import make_stream
from rlcl.training import checkpoint

Exported = Callable[[str, Path], Path]

NETWORKS = {
    "mlp": "network: {type: mlp, hidden: [32]}",
    "multihead": "network: {type: multihead, body: {type: mlp, hidden: [32]}, features: 16}",
    "masked": "network: {type: mlp, hidden: [32]}, methods: [{type: packnet}, {type: xdg, share: 0.5}]",
}
TASKS = """
stream: {type: task_incremental, data: {type: npz, path: PATH}, experiences: 2}
encoder: {type: standardize}
learner: {type: classifier, NETWORK, optimizer: {type: adam, lr: 3e-3}}
budget: {epochs: 5}
"""


def digits(*classes: int) -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    rows = np.isin(found.target, classes)
    return found.images.reshape(-1, 64).astype(np.float32)[rows], found.target[rows]


def told(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    found = capsys.readouterr()
    return int(ended.value.code or 0), found.out, found.err


def conditions(bundle: Path, name: str) -> dict[str, Any]:
    found = json.loads(Deployment(bundle).verdict_file(name).read_text())["conditions"]
    return {each["name"]: each for each in found}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_task_aware_bundle_learns_one_task_after_another(
    network: str, tmp_path: Path, exported_as: Exported, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = digits(0, 1, 2, 3)
    np.savez(tmp_path / "old.npz", x=x, y=y)
    text = TASKS.replace("PATH", str(tmp_path / "old.npz")).replace("NETWORK", NETWORKS[network])
    bundle = exported_as(text, tmp_path)
    deployment = Deployment(bundle)
    x, y = digits(4, 5)
    rare = np.full((10, 64), 8, np.float32)  # as few as are taken, and the brightest of all
    rare[:, 0], rare[:, 1] = 30, np.arange(10)
    np.savez(tmp_path / "first.npz", x=np.concatenate([x, rare]), y=np.concatenate([y, [6] * 10]))
    for name, classes in (("second", (7, 8)), ("third", (9, 0))):
        np.savez(tmp_path / f"{name}.npz", **dict(zip("xy", digits(*classes), strict=True)))
    for number, name in enumerate(("first", "second", "third"), 1):
        status, out, err = told(["update", str(bundle), "--from", str(tmp_path / f"{name}.npz")], capsys)
        assert status in (0, 4, 5), err
        assert f"training on {name}: " in out
        found = conditions(bundle, f"000{number}")
        assert "passed" == found[f"gain on {name}"]["verdict"]
        deployment.set_alias([f"000{number}", *deployment.alias_names()])
    made = deployment.current()
    assert 5 == made.signature.tasks
    assert [f"gain on {n}" for n in ("third",)] + [
        f"forgetting on {n}" for n in ("old 0-1", "old 2-3", "first", "second")
    ] + ["latency"] == list(found)
    # The class and the range that only what was learned from had are still those of its task.
    field = made.signature.inputs[0]
    assert (-30.0, 60.0) == (field.low, field.high)
    model = rlcl.deploy.load(made.path)
    shares = {task: model.outputs(x, task_id=task)["probabilities"].max(0) for task in range(5)}
    possible = {task: np.flatnonzero(share > 0).tolist() for task, share in shares.items()}
    assert {0: [0, 1], 1: [2, 3], 2: [4, 5, 6], 3: [7, 8], 4: [0, 9]} == possible
    assert 0.9 < float(np.mean(model.predict(digits(9, 0)[0], task_id=4) == digits(9, 0)[1]))


def test_a_second_update_changes_no_bounds(
    tmp_path: Path, exported_as: Exported, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = digits(0, 1)
    np.savez(tmp_path / "old.npz", x=x, y=y)
    text = TASKS.replace("task_incremental", "class_incremental").replace("experiences: 2", "experiences: 1")
    bundle = exported_as(text.replace("PATH", str(tmp_path / "old.npz")).replace("NETWORK", NETWORKS["mlp"]), tmp_path)
    deployment = Deployment(bundle)
    x, y = digits(2, 3)
    held_out = np.flatnonzero(y == 2)[3]  # of a class's rows every third or fourth
    x[held_out, 0] = 25
    np.savez(tmp_path / "new.npz", x=x, y=y)
    told(["update", str(bundle), "--from", str(tmp_path / "new.npz"), "budget.epochs=1"], capsys)
    deployment.set_alias(["0001", "."])
    (kept,) = load_added(deployment.current().update)
    assert 25 == float(kept.test[0].max())
    assert (16.0, 16.0) == (max(kept.summary.high), float(kept.train[0][:, 1:].max()))
    np.savez(tmp_path / "more.npz", x=digits(2, 3)[0] * 0.9, y=y)
    _, out, _ = told(["update", str(bundle), "--from", str(tmp_path / "more.npz"), "budget.epochs=1"], capsys)
    assert "signature" not in out
    assert 32 == Bundle.open(deployment.bundle_folder("0002")).signature.inputs[0].high


def test_rows_that_stand_for_others_bring_their_classes_and_validation_data(tmp_path: Path) -> None:
    experiment = experiment_from(
        {
            "name": "stands",
            "stream": {"type": "task_incremental", "data": {"type": "digits"}, "experiences": 5},
            "learner": {"type": "classifier"},
            "budget": {"epochs": 1},
            "validation": 0.25,
            "evaluation": {"split": "validation"},
        }
    )
    x, y = torch.arange(40, dtype=torch.float32).reshape(20, 2), torch.arange(20) % 4
    first = NewData(name="first", train=(x[:16], y[:16]), test=(x[16:17], y[16:17]), classes=("a", "b", "c", "d"))
    save_added(tmp_path, [first])
    (former,) = load_added(tmp_path)
    assert TrainingSummary(classes=(0, 1, 2, 3), low=(0, 1), high=(30, 31)) == former.summary
    second = NewData(name="second", train=(x, y), test=(x[:2], y[:2]), classes=(*first.classes, "e"))
    base = make_stream(experiment, 3)
    stream = extended_stream(base, [former, second], experiment, 3)
    assert ((0, 1, 2, 3), (0, 1, 2, 3)) == stream.spec.task_classes[5:]
    assert [1, 5] == [len(stream[place].validation) for place in (5, 6)]  # type: ignore[arg-type]
    assert 15 == len(stream[6].train)  # type: ignore[arg-type]
    assert [None, None] == [e.validation for e in stream.evaluated[5:]]  # it is judged on what was held out of all
    (tmp_path / "added" / "0000.json").write_text('{"name": "first", "classes": ["a"], "last": 0}')
    (old,) = load_added(tmp_path)  # of a version that noted less
    assert ("", TrainingSummary(classes=(0,), low=(32, 33), high=(32, 33))) == (old.log_id, old.summary)


STOPPING = """
stream: {type: class_incremental, data: {type: npz, path: PATH}, experiences: 1}
encoder: {type: standardize}
learner:
  type: classifier
  network: {type: mlp, hidden: [32]}
  optimizer: {type: adam, lr: 1e-2}
  early_stopping: {patience: 2, min_delta: 0.02}
  methods: [{type: rehearsal, capacity: 300, batch_size: 32}]
validation: 0.2
budget: {epochs: 60}
"""


def test_a_learner_that_stops_early_is_updated_twice(
    tmp_path: Path, exported_as: Exported, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "old.npz", **dict(zip("xy", digits(0, 1, 2, 3), strict=True)))
    bundle = exported_as(STOPPING.replace("PATH", str(tmp_path / "old.npz")), tmp_path)
    deployment = Deployment(bundle)
    before = checkpoint.load(bundle / "update")["position"]["step"]
    for number, classes in enumerate(((4, 5), (6, 7)), 1):
        np.savez(tmp_path / "new.npz", **dict(zip("xy", digits(*classes), strict=True)))
        status, out, err = told(["update", str(bundle), "--from", str(tmp_path / "new.npz")], capsys)
        assert status in (0, 4, 5), out + err
        assert "passed" == conditions(bundle, f"000{number}")["gain on new"]["verdict"]
        after = checkpoint.load(deployment.bundle_folder(f"000{number}") / "update")["position"]["step"]
        assert 5 < after - before < 60 * 7  # before its budget was spent: some 200 rows an epoch
        before = after
        deployment.set_alias([f"000{number}", *deployment.alias_names()])


def test_too_few_rows_for_validation_are_one_line(
    tmp_path: Path, exported_as: Exported, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "old.npz", **dict(zip("xy", digits(0, 1), strict=True)))
    bundle = exported_as(STOPPING.replace("PATH", str(tmp_path / "old.npz")), tmp_path)
    x, y = digits(2, 3)
    rows = np.concatenate([np.flatnonzero(y == label)[:10] for label in (2, 3)])  # as few as are taken
    x, y = x[rows], y[rows]
    np.savez(tmp_path / "new.npz", x=x, y=y)
    status, _, err = told(["update", str(bundle), "--from", str(tmp_path / "new.npz"), "validation=0.01"], capsys)
    assert 2 == status
    assert "experience 1 (new) has no validation data; set validation, for example to 0.1, so that at least one" in err
    assert not list(Deployment(bundle).candidates.glob("[0-9]*"))


GDUMB = """
stream: {type: class_incremental, data: {type: npz, path: PATH}, experiences: 1}
encoder: {type: standardize}
learner:
  type: gdumb
  capacity: 200
  epochs: 10
  network: {type: mlp, hidden: [32]}
  optimizer: {type: adam, lr: 1e-2}
budget: {epochs: 1}
"""


def test_gdumb_trains_anew_on_its_memory_of_old_and_new_classes(
    tmp_path: Path, exported_as: Exported, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "old.npz", **dict(zip("xy", digits(0, 1, 2, 3), strict=True)))
    np.savez(tmp_path / "new.npz", **dict(zip("xy", digits(4, 5), strict=True)))
    bundle = exported_as(GDUMB.replace("PATH", str(tmp_path / "old.npz")), tmp_path)
    command = ["update", str(bundle), "--from", str(tmp_path / "new.npz"), "--forgetting", "0.15", "--slower", "9"]
    status, out, err = told(command, capsys)
    assert 0 == status, out + err
    assert "classes: 0, 1, 2, 3 becomes 0, 1, 2, 3, 4, 5" in out
    deployment = Deployment(bundle)
    model = rlcl.deploy.load(deployment.bundle_folder("0001"))
    for classes in ((0, 1, 2, 3), (4, 5)):
        x, y = digits(*classes)
        assert 0.85 < float(np.mean(model.predict(x) == y))
    # Its memory holds as many of each class, and its network follows from the memory alone.
    targets = checkpoint.load(deployment.bundle_folder("0001") / "update")["statistics"]["memory"]["columns"]["targets"]
    assert {33, 34} == set(torch.bincount(targets).tolist())
    told([*command, "learner.network.hidden=[8]", "learner.epochs=1"], capsys)
    shape = rlcl.deploy.load(deployment.bundle_folder("0002")).signature.outputs[1].shape
    assert (6,) == shape
