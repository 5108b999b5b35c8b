"""Checkpoints: whole or not there, damaged ones passed over, and nothing in them is ever run."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rlcl.errors import CheckpointError
from rlcl.formats import Format
from rlcl.training import checkpoint

FILES = ("checksums.json", "state.json", "tensors.safetensors")


def tree(number: int = 0) -> dict[Any, Any]:
    return {
        "number": number,
        0: {1: ("tuple", [None, True, False, 2**100, -0.1, float("inf")])},
        "array": np.arange(6.0).reshape(2, 3).T,
        "tensors": [torch.tensor(1.5), torch.arange(4)[::2], torch.zeros(0, 3)],
        "empty": {},
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def same(expected: Any, actual: Any) -> bool:
    if isinstance(expected, dict):
        return (
            isinstance(actual, dict)
            and [*expected] == [*actual]
            and all(same(expected[key], actual[key]) for key in expected)
        )
    if isinstance(expected, list | tuple):
        return type(expected) is type(actual) and len(expected) == len(actual) and all(map(same, expected, actual))
    if isinstance(expected, torch.Tensor):
        return isinstance(actual, torch.Tensor) and expected.dtype == actual.dtype and torch.equal(expected, actual)
    if isinstance(expected, np.ndarray):
        return isinstance(actual, np.ndarray) and expected.dtype == actual.dtype and np.array_equal(expected, actual)
    return type(expected) is type(actual) and bool(expected == actual)


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    assert same(tree(), checkpoint.load(checkpoint.save(tmp_path, 0, tree())))


def test_tensors_that_share_memory_can_be_saved(tmp_path: Path) -> None:
    weight = torch.arange(6.0)
    state = {"a": weight, "b": weight, "c": weight[2:4], "d": weight.reshape(2, 3).T}
    assert same(state, checkpoint.load(checkpoint.save(tmp_path, 0, state)))


def test_a_state_without_tensors_can_be_saved(tmp_path: Path) -> None:
    assert same({"a": 1}, checkpoint.load(checkpoint.save(tmp_path, 0, {"a": 1})))


def test_the_newest_ones_stay(tmp_path: Path) -> None:
    for number in (0, 1, 2, 10):
        checkpoint.save(tmp_path, number, tree(number), keep=2)
    assert ["00000002", "00000010"] == names(tmp_path)
    assert 10 == checkpoint.load_newest(tmp_path, pytest.fail)[0]  # type: ignore[index]


def test_a_number_that_is_taken_is_replaced(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 3, {"a": 1})
    checkpoint.save(tmp_path, 3, {"a": 2})
    assert (3, {"a": 2}) == checkpoint.load_newest(tmp_path, pytest.fail)


def test_no_folder_and_an_empty_one_have_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.load_newest(tmp_path / "nothing", pytest.fail) is None
    assert checkpoint.load_newest(tmp_path, pytest.fail) is None


def test_a_checkpoint_is_json_and_safetensors(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 0, tree())
    assert [*FILES] == names(path)
    json.loads((path / "state.json").read_text())
    json.loads((path / "checksums.json").read_text())
    assert 4 == len(load_file(path / "tensors.safetensors"))
    for name in FILES:
        with pytest.raises(Exception, match=r".*"):
            pickle.loads((path / name).read_bytes())


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def missing(path: Path) -> None:
    path.unlink()


def unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [flipped, truncated, emptied, missing, unreadable])
def test_a_damaged_checkpoint_is_told_of_and_the_one_before_it_used(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    for number in range(2):
        checkpoint.save(tmp_path, number, tree(number))
    damage(tmp_path / "00000001" / name)
    warnings: list[str] = []
    found = checkpoint.load_newest(tmp_path, warnings.append)
    assert found is not None
    assert 0 == found[0]
    assert same(tree(0), found[1])
    (warning,) = warnings
    assert str(tmp_path / "00000001") in warning
    assert "damaged" in warning
    assert warning.endswith("; the previous checkpoint is used")


def test_where_all_are_damaged_nothing_is_started_anew(tmp_path: Path) -> None:
    for number in range(2):
        flipped(checkpoint.save(tmp_path, number, tree()) / "state.json")
    warnings: list[str] = []
    with pytest.raises(CheckpointError, match="there is no earlier checkpoint; remove the run"):
        checkpoint.load_newest(tmp_path, warnings.append)
    assert 1 == len(warnings)


def test_a_checkpoint_of_another_version_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoint.save(tmp_path, 0, tree())
    monkeypatch.setattr(checkpoint, "FORMAT", Format("a checkpoint", 2, "Start anew"))
    with pytest.raises(CheckpointError, match=r"a checkpoint of version 1; this rlcl reads version 2. Start anew"):
        checkpoint.load(path)


def test_a_checkpoint_of_the_version_before_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoint.save(tmp_path, 0, {"old": 3})
    monkeypatch.setattr(checkpoint, "FORMAT", Format("a checkpoint", 2, "", {1: lambda state: {"new": state["old"]}}))
    assert {"new": 3} == checkpoint.load(path)


@pytest.mark.parametrize("where", ["save_file", "_checksum", "_flush"])
def test_a_failure_leaves_the_older_one_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    checkpoint.save(tmp_path, 0, tree(0))

    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, where, fail)
        with pytest.raises(OSError, match="No space left"):
            checkpoint.save(tmp_path, 1, tree(1))
    assert ["00000000"] == names(tmp_path)
    assert 0 == checkpoint.load_newest(tmp_path, pytest.fail)[0]  # type: ignore[index]


def test_a_state_that_cannot_be_saved_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="state /a: expected a tensor"):
        checkpoint.save(tmp_path / "new", 0, {"a": object()})
    assert not (tmp_path / "new").exists()


def test_what_a_killed_process_left_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 0, tree(0))
    shutil.copytree(path, tmp_path / ".00000001.4242")
    (tmp_path / ".00000001.4242" / "state.json").unlink()
    assert 0 == checkpoint.load_newest(tmp_path, pytest.fail)[0]  # type: ignore[index]
    checkpoint.save(tmp_path, 1, tree(1))
    assert 1 == checkpoint.load_newest(tmp_path, pytest.fail)[0]  # type: ignore[index]


class Bomb:
    """Leaves a file where its pickle is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def checksummed(path: Path) -> None:
    """Makes the checksums agree with whatever the files hold now."""
    sums = {name: checkpoint._checksum(path / name) for name in ("tensors.safetensors", "state.json")}
    (path / "checksums.json").write_text(json.dumps(sums))


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_file_that_was_made_to_run_something_does_not(tmp_path: Path, name: str, kind: str) -> None:
    path, mark = checkpoint.save(tmp_path, 0, tree()), tmp_path / "it ran"
    if kind == "pickle":
        (path / name).write_bytes(pickle.dumps(Bomb(mark)))
    else:
        torch.save({"state": Bomb(mark)}, path / name)
    checksummed(path)
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.load(path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()  # the bomb is real


@pytest.mark.parametrize(
    "state",
    [
        [],
        {},
        {"version": 1},
        {"version": 1, "state": {"tensor": "/nothing"}},
        {"version": 1, "state": {"two": [], "tags": []}},
        {"version": 1, "state": {"dict": [1, 2]}},
        {"version": 1, "state": {"dict": 3}},
        {"version": 1, "state": {"tensor": ["/x"]}},
    ],
    ids=str,
)
def test_a_state_that_makes_no_sense_is_damaged(tmp_path: Path, state: Any) -> None:
    path = checkpoint.save(tmp_path, 0, tree())
    (path / "state.json").write_text(json.dumps(state))
    checksummed(path)
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.load(path)


def test_numbers_that_json_does_not_have_come_back(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 0, {"best": math.inf, "seen": [-math.inf, (math.nan, 1.5)]})
    text = (path / "state.json").read_text()
    assert "Infinity" not in text
    assert "NaN" not in text
    state = checkpoint.load(path)
    assert (math.inf, -math.inf, 1.5) == (state["best"], state["seen"][0], state["seen"][1][1])
    assert math.isnan(state["seen"][1][0])
