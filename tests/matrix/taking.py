"""One combination end to end: run, killed and resumed, reported, compared, exported, asked for predictions."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import asdict, define, field, frozen

from matrix.asking import write_yaml
from matrix.forking import Ended, command, killed

__all__ = ["STAGES", "Taken", "take"]

SECONDS = 300.0  # for one combination
TRACEBACK = "Traceback (most recent call last)"
STAGES = ("run", "killed", "resume", "second", "report", "compare", "export", "predict")
DIVERGED = 5  # the exit status
WALL_CLOCK = ("time", "samples_per_second", "env_steps_per_second")


@frozen
class Taken:
    """What became of a combination.

    Args:
        failure: of which kind, "" for none.
        stage: where it failed.
        text: what was said there.
        exported: "yes", or why there is no bundle of it.
        diverged: whether the run ended because its loss was no longer finite, which is no fault.
        killed: whether a run was really caught in the middle.
        seconds: in all.
    """

    failure: str = ""
    stage: str = ""
    text: str = ""
    exported: str = ""
    diverged: bool = False
    killed: bool = False
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Failed(Exception):
    """A stage that did not end as it should: its kind and what was said."""


@define
class _Course:
    """The stages, in a folder that is thrown away."""

    config: Mapping[str, Any]
    folder: Path
    wanted: frozenset[str]
    stage: str = ""
    exported: str = ""
    diverged: bool = False
    caught: bool = False
    file: str = field(init=False)
    until: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.until = time.monotonic() + SECONDS
        self.file = str(write_yaml(self.config, self.folder / "combination.yaml"))

    def follow(self) -> None:
        if self._run("run", "through") is None:
            return
        root = "through"
        if self.wanted & {"killed", "resume"}:
            root = "killed"
            self._kill_and_resume()
        if self.wanted & {"second", "report", "compare"}:
            self._second(root)
        if "report" in self.wanted:
            self._must("report", "report", f"{root}/combination", "--root", root)
        if "compare" in self.wanted:
            self._may("compare", "compare", f"{root}/combination", "--root", root)
        if self.wanted & {"export", "predict"}:
            self._export()

    def left(self) -> float:
        """Seconds."""
        return max(1.0, self.until - time.monotonic())

    def _run(self, stage: str, root: str, *changes: str) -> Ended | None:
        """A run to its end; None where it diverged, which is no fault of what is tested."""
        self.stage = stage
        ended = command(["run", self.file, *changes, "--root", root], self.folder, self.left())
        _check(ended)
        if ended.status == DIVERGED:
            self.diverged = True
            return None
        if ended.status:
            raise Failed("late refusal", ended.text)
        self._check_records(root)
        for needed in ("seed0/tensorboard/events.*", "R.png"):
            if not list((self.folder / root).glob(f"combination/*/{needed}")):
                raise Failed("file", f"there is no {needed}")
        return ended

    def _check_records(self, root: str) -> None:
        for path in (self.folder / root).glob("combination/*/*/records.jsonl"):
            for record in _lines(path):
                if record["value"] is None or not math.isfinite(record["value"]):
                    raise Failed("not finite", json.dumps(record))

    def _kill_and_resume(self) -> None:
        self.stage = "killed"
        (events,) = (self.folder / "through").glob("combination/*/seed0/events.jsonl")
        half = max(1, len(list(_lines(events))) // 2)
        pattern = "killed/combination/*/seed0/events.jsonl"
        ended = killed(["run", self.file, "--root", "killed"], self.folder, self.left(), pattern, half)
        self.caught = ended.status < 0 and not ended.late
        if not self.caught:
            _check(ended)
        self._run("resume", "killed")
        for name in ("records", "events"):
            for path in (self.folder / "through").rglob(f"{name}.jsonl"):
                other = self.folder / "killed" / path.relative_to(self.folder / "through")
                _same(list(_lines(path)), list(_lines(other)), path.name)

    def _second(self, root: str) -> None:
        """Another learner on the same stream, for the comparison and a page of two."""
        self.stage = "second"
        learner = self.config["learner"]
        size = learner.get("batch_size")  # about as many updates as before
        change = "learner.schedule_over=stream" if size is None else f"learner.batch_size={size + 1}"
        ended = command(["run", self.file, change, "sinks=[]", "--root", root], self.folder, self.left())
        if TRACEBACK in ended.text or ended.late or ended.status < 0:
            _check(ended)

    def _must(self, stage: str, *arguments: str) -> None:
        self.stage = stage
        ended = command(arguments, self.folder, self.left())
        _check(ended)
        if ended.status:
            raise Failed("refusal", ended.text)

    def _may(self, stage: str, *arguments: str) -> Ended:
        """A command that may refuse with one message."""
        self.stage = stage
        ended = command(arguments, self.folder, self.left())
        _check(ended)
        if ended.status and not any(line.startswith("rlcl: ") for line in ended.text.splitlines()):
            raise Failed("no message", ended.text)
        return ended

    def _export(self) -> None:
        (run,) = (self.folder / "through").glob("combination/*/seed0")
        ended = self._may("export", "export", str(run), "--to", "bundle")
        if ended.status:
            self.exported = next(line for line in ended.text.splitlines() if line.startswith("rlcl: "))
            if "parity:" in ended.text:
                raise Failed("parity", ended.text)
            return
        self.exported = "yes"
        signature = json.loads((self.folder / "bundle" / "signature.json").read_text())
        file = _inputs(signature, self.folder)
        ids = ["--task-id", "0"] if signature.get("tasks") else []
        predicted = self._may if signature["state"] else self._must  # policies that remember are refused
        predicted("predict", "predict", "bundle", file, "-o", "answers.csv", *ids)


def take(config: Mapping[str, Any], folder: Path, stages: Iterable[str] = STAGES) -> Taken:
    """Takes a combination through all stages.

    Args:
        config: of the experiment.
        folder: made, and removed at the end.
        stages: those wanted; it is run in any case.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    course = _Course(config, folder, frozenset(stages))
    failure = text = ""
    try:
        course.follow()
    except Failed as failed:
        failure, text = failed.args
    shutil.rmtree(folder, ignore_errors=True)
    return Taken(
        failure=failure,
        stage=course.stage if failure else "",
        text=text[-4000:],
        exported=course.exported,
        diverged=course.diverged,
        killed=course.caught,
        seconds=round(time.monotonic() - began, 1),
    )


def _check(ended: Ended) -> None:
    if TRACEBACK in ended.text:
        raise Failed("traceback", ended.text)
    if ended.late:
        raise Failed("time", f"no end within {SECONDS:.0f} s\n{ended.text}")
    if ended.status < 0:
        raise Failed("died", f"of signal {-ended.status}\n{ended.text}")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        yield json.loads(line)


def _same(expected: list[dict[str, Any]], found: list[dict[str, Any]], name: str) -> None:
    """Raises Failed at the first line that differs, wall clock excepted."""
    for number, (one, other) in enumerate(zip(expected, found, strict=False), 1):
        ours, theirs = ({k: repr(v) for k, v in each.items() if k not in WALL_CLOCK} for each in (one, other))
        if ours != theirs:
            raise Failed("not reproduced", f"{name}, line {number}:\nthrough {one}\nresumed {other}")
    if len(expected) != len(found):
        raise Failed("not reproduced", f"{name}: {len(expected)} lines through, {len(found)} resumed")


def _inputs(signature: Mapping[str, Any], folder: Path) -> str:
    """A file of three inputs that a bundle asks for: zeros, or what is nearest to them within the bounds."""
    arrays = {
        each["name"]: np.clip(
            np.zeros((3, *each["shape"])),
            -np.inf if each.get("low") is None else np.asarray(each["low"]),
            np.inf if each.get("high") is None else np.asarray(each["high"]),
        ).astype(each["dtype"])
        for each in signature["inputs"]
        if each["name"] != "task_id"
    }
    if len(arrays) == 1:
        np.save(folder / "inputs.npy", next(iter(arrays.values())))
        return "inputs.npy"
    np.savez(folder / "inputs.npz", **arrays)
    return "inputs.npz"
