"""Remembered examples are deleted for good, and the learner goes on without them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rlcl.commands import main
from rlcl.deploy.bundle import Bundle
from rlcl.deploy.update_part import forget, memories, parse_rows
from rlcl.errors import BundleError, Problem
from rlcl.launch.restored_run import restore_run
from rlcl.tracking.runs import StoredRun
from rlcl.training import checkpoint


@pytest.fixture
def copied(bundle: Callable[[str], Path], tmp_path: Path) -> Bundle:
    shutil.copytree(bundle("digits"), tmp_path / "digits")
    return Bundle.open(tmp_path / "digits")


def columns(bundle: Bundle) -> Any:
    return checkpoint.load(Bundle.open(bundle.path).update)["methods"][0]["memory"]["columns"]


def test_rows_are_gone_from_the_file_and_the_bundle_is_whole(copied: Bundle) -> None:
    before, digest = columns(copied), copied.digest
    (memory,) = memories(copied)
    assert ("methods/0/memory", 50) == (memory.name, memory.rows)
    assert 46 == forget(copied, [0, 7, 8, 49])
    kept = [row for row in range(50) if row not in (0, 7, 8, 49)]
    assert torch.equal(before["inputs"][kept], columns(copied)["inputs"])
    assert torch.equal(before["targets"][kept], columns(copied)["targets"])
    assert digest == Bundle.open(copied.path).digest  # what is served has not changed
    deleted = before["inputs"][7].numpy().tobytes()
    assert all(deleted not in file.read_bytes() for file in copied.path.parent.rglob("*") if file.is_file())


def test_deleting_is_a_line_of_the_audit(copied: Bundle) -> None:
    forget(copied, [1, 2])
    (line,) = (copied.path.parent / "digits.live" / "audit.jsonl").read_text().splitlines()
    assert ("forget", "methods/0/memory", 2) == tuple(json.loads(line)[key] for key in ("what", "memory", "rows"))


def test_the_learner_goes_on_from_what_is_left(copied: Bundle, finished: Callable[[str], StoredRun]) -> None:
    forget(copied, list(range(40)))
    trainer = restore_run(finished("digits")).trainer
    learner: Any = trainer.learner
    learner.load_state_dict(checkpoint.load(Bundle.open(copied.path).update))
    assert 10 == len(learner.methods[0].memory)


@pytest.mark.parametrize(
    ("rows", "memory", "message"),
    [([50], None, "--rows 50: expected rows of methods/0/memory, 0 to 49"), ([0], "x", "--memory: expected one of")],
)
def test_what_is_not_there_is_refused(rows: list[int], memory: str | None, message: str, copied: Bundle) -> None:
    before = columns(copied)["inputs"]
    with pytest.raises(BundleError, match=message):
        forget(copied, rows, memory)
    assert torch.equal(before, columns(copied)["inputs"])


def test_a_bundle_that_remembers_nothing_says_so(bundle: Callable[[str], Path]) -> None:
    with pytest.raises(BundleError, match="stores no examples"):
        forget(Bundle.open(bundle("averaged")), [0])


def test_rows_are_numbers_and_ranges() -> None:
    assert [3, 5, 6, 7, 9] == parse_rows("3, 5-7,9")
    for wrong in ("", "a", "7-5", "-1"):
        with pytest.raises(Problem, match="--rows: expected integers and ranges"):
            parse_rows(wrong)


def test_the_command_lists_and_deletes(copied: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    for options, printed in (
        ([], "methods/0/memory  50 rows of inputs, targets"),
        (["--rows", "1,3-4"], "3 rows deleted, 47 left"),
    ):
        with pytest.raises(SystemExit):
            main(["forget", str(copied.path), *options])
        assert printed in capsys.readouterr().out
