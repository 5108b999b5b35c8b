"""One seed of an experiment in its run folder: made or resumed, trained, recorded, summed up."""

from __future__ import annotations

import datetime
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen
from rich.console import Console

from rlcl.config import unstructure
from rlcl.errors import RunFolderError
from rlcl.evaluation import METRICS_VERSION
from rlcl.experiment import Experiment, dump
from rlcl.launch.build import make_stream, make_trainer
from rlcl.launch.judging import judged, result_of, write_verdict
from rlcl.launch.latency import latency_ms
from rlcl.launch.stopping import Interrupted, Stop
from rlcl.learners.fast.batched_seeds import Lockstep
from rlcl.objective import Result
from rlcl.sinks.progress import PlainProgress, progress_for
from rlcl.sinks.tensorboard.board import TensorBoard
from rlcl.sinks.tensorboard.seeds import write_seeds
from rlcl.tracking.clock import Clock
from rlcl.tracking.folder import RunFolder, disk_errors, read_json, write_atomically
from rlcl.tracking.manifest import manifest
from rlcl.tracking.runs import dotted, trained_names
from rlcl.training import checkpoint
from rlcl.training.trainer import Outcome, Trainer
from rlcl.types import Boundary, Record, Sink

__all__ = ["Finished", "run_folder", "running", "total_steps"]


@frozen
class Finished:
    """A run that came to its end.

    Args:
        outcome: what it came to.
        names: of the experiences evaluated.
        trained: names of the experiences trained on.
        path: its folder.
        repeated: whether it had been finished before.
        result: what an objective can ask of it.
    """

    outcome: Outcome
    names: tuple[str, ...]
    trained: tuple[str, ...]
    path: Path
    repeated: bool
    result: Result


def run_folder(root: Path, experiment: Experiment, seed: int) -> Path:
    """``<root>/<name>/<hash>/seed<k>``."""
    return root / experiment.name / experiment.hash / f"seed{seed}"


def running(
    experiment: Experiment, seed: int, root: Path, console: Console, stop: Stop, lockstep: Lockstep | None = None
) -> Generator[None, None, Finished]:
    """What :func:`run_seed` does, with a yield after every event or record, and wherever the learner yields.

    Args:
        experiment, seed, root, console: as there.
        stop: which signal came.
        lockstep: of the learners of other seeds, which its own joins; None for none.
    """
    path = run_folder(root, experiment, seed)
    folder = RunFolder(path)
    try:
        if folder.status().get("state") == "finished" and _is_whole(folder):
            return _finished(folder, experiment, repeated=True)
        before = folder.status()
        if before.get("state") == "failed":
            console.print(f"it failed before: {before.get('error')}", style="yellow", highlight=False, soft_wrap=True)
        with disk_errors(path):
            write_atomically(path / "config.yaml", dump(experiment))
        with _status_of(folder):
            stream = make_stream(experiment, seed)
            trainer = make_trainer(experiment, seed, stream)
            _write_manifest(folder, manifest(stream, seed, experiment.threads, trainer.device))
            yield from _run(experiment, trainer, folder, console, stop, lockstep)
        with disk_errors(path):
            write_seeds(path.parent)
        write_verdict(path.parent, experiment)
        return _finished(folder, experiment, repeated=False)
    finally:
        folder.close()


@contextmanager
def _status_of(folder: RunFolder) -> Iterator[None]:
    """Writes down how a run ended, whatever the end was."""
    try:
        yield
    except (Interrupted, SystemExit, KeyboardInterrupt, GeneratorExit):
        folder.write_status("interrupted")
        raise
    except BaseException as error:
        with suppress(Exception):  # the error that ended the run is the one to tell
            folder.write_status("failed", error=f"{type(error).__name__}: {error}")
            with (folder.path / "log.txt").open("a") as log:
                log.write("".join(traceback.format_exception(error)))
        raise


def _run(
    experiment: Experiment,
    trainer: Trainer,
    folder: RunFolder,
    console: Console,
    stop: Stop,
    lockstep: Lockstep | None,
) -> Iterator[None]:
    clock = _resume(trainer, folder, console)
    names = tuple(e.name for e in trainer.stream.evaluated)
    measures = tuple(trainer.learner.measures)
    with disk_errors(folder.path):
        title = f"{experiment.name} seed {trainer.seed}"
        settings = _settings(experiment, trainer.seed)
        board = TensorBoard(folder.path, trainer, experiment.tensorboard, f"{title} {experiment.hash[:4]}", settings)
        trained = tuple(e.name for e in trainer.stream)
        steps = total_steps(trainer)
        progress = progress_for(console, title, trained, measures, steps, bar=lockstep is None)
        log = (folder.path / "log.txt").open("a")
        lines = PlainProgress(Console(file=log, width=200), _now, trained, measures, steps)
        sinks: Sequence[Sink] = (folder, board, lines, progress)
        try:
            with nullcontext() if lockstep is None else lockstep.joined(trainer.learner):
                yield from _drain(experiment, trainer, folder, sinks, progress.step, stop, clock)
            spent = clock.total
            outcome = Outcome(folder.records(), measures, experiment.evaluation.metrics)
            board.summary(dump(experiment), outcome.metrics)
        finally:
            for sink in (board, progress):
                sink.close()
            log.close()
    summary = {
        "metrics": dict(outcome.metrics),
        "metrics_version": METRICS_VERSION,
        "R": outcome.R.tolist(),
        "measures": list(measures),
        "experiences": list(names),
        "trained": list(trained),
        "names": list(experiment.evaluation.metrics),
        "steps": trainer.learner.position.step,
        **attrs.asdict(spent),
        "peak_memory_bytes": clock.peak,
        **_timed(experiment, trainer),
    }
    folder.write_json("summary.json", judged(experiment, outcome, summary))
    folder.write_status("finished", step=trainer.learner.position.step)


def _drain(
    experiment: Experiment,
    trainer: Trainer,
    folder: RunFolder,
    sinks: Sequence[Sink],
    count: Callable[[int, int], None],
    stop: Stop,
    clock: Clock,
) -> Iterator[None]:
    """Runs the trainer into the sinks, with a checkpoint at each boundary and every few minutes."""
    learner, interval = trainer.learner, experiment.checkpoint_minutes * 60
    numbers = _next_number(folder)
    saved = time.monotonic()

    def save() -> None:
        state = {"trainer": trainer.state_dict(), "lengths": folder.lengths(), "clock": clock.state_dict()}
        checkpoint.save(folder.checkpoints, next(numbers), state)
        position = learner.position
        folder.write_status("running", step=position.step, experience=position.experience, of=len(trainer.stream))

    for item in trainer.events():
        if item is not None:
            for sink in sinks:
                sink.write(item)
        if isinstance(item, Record):
            yield
            continue
        if isinstance(item, Boundary) and item.trained_on >= 0:
            folder.write_cost(item.trained_on, item.step, clock.lap())
        position = learner.position
        count(position.step, min(position.experience + position.segment, len(trainer.stream) - 1))
        at_boundary = isinstance(item, Boundary)
        due = at_boundary or stop.signum is not None or time.monotonic() - saved > interval
        if due and (learner.resumable_within or not position.learning):
            save()
            saved = time.monotonic()
        if stop.signum is not None:
            raise Interrupted(stop.signum, folder.path, within=learner.resumable_within)
        yield


def _resume(trainer: Trainer, folder: RunFolder, console: Console) -> Clock:
    """Loads the newest whole checkpoint, if any, and cuts the files to what it vouches for; the time so far."""
    clock = Clock()
    found = checkpoint.load_newest(folder.checkpoints, lambda text: console.print(f"[yellow]{text}[/]", soft_wrap=True))
    if found is None:
        folder.open({})
        return clock
    _, state = found
    trainer.load_state_dict(state["trainer"])
    folder.open(state["lengths"])
    step = trainer.learner.position.step
    if step:
        console.print(f"going on with {folder.path} at step {step:,}", highlight=False, soft_wrap=True)
    clock.load_state_dict(state["clock"])
    return clock


def _now() -> str:
    return datetime.datetime.now().isoformat(sep=" ", timespec="seconds")


def _next_number(folder: RunFolder) -> Iterator[int]:
    taken = (
        [int(p.name) for p in folder.checkpoints.glob("*") if p.name.isdigit()] if folder.checkpoints.is_dir() else []
    )
    number = max(taken, default=-1)
    while True:
        number += 1
        yield number


def total_steps(trainer: Trainer) -> int | None:
    """Steps of the whole run, where the learner can tell."""
    tell = getattr(trainer.learner, "steps", None)
    return sum(tell(e) for e in trainer.stream) if tell else None


def _is_whole(folder: RunFolder) -> bool:
    """Whether a finished run's files are there; else its last checkpoint writes the summary again."""
    return {"measures", "experiences", "trained"} <= read_json(folder.path / "summary.json").keys()


def _write_manifest(folder: RunFolder, found: dict[str, Any]) -> None:
    """Keeps where the run began, and adds where it goes on.

    Raises:
        RunFolderError: the data are others than those that it began with.
    """
    before = read_json(folder.path / "manifest.json")
    if before and before.get("data") != found["data"]:
        raise RunFolderError(
            f"the data of {folder.path} have changed since it began; remove it with rlcl runs rm, and run it anew"
        )
    session = {key: found[key] for key in ("started", "command", "git", "packages")}
    sessions = [*before.get("sessions", []), session]
    folder.write_json("manifest.json", {**found, **before, "sessions": sessions})


def _finished(folder: RunFolder, experiment: Experiment, repeated: bool) -> Finished:
    """Reads a finished run, and judges it anew where it had been asked for something else."""
    summary = read_json(folder.path / "summary.json")
    outcome = Outcome(folder.records(), tuple(summary["measures"]), experiment.evaluation.metrics)
    now = judged(experiment, outcome, summary)
    if now != summary:
        with disk_errors(folder.path):
            write_atomically(folder.path / "config.yaml", dump(experiment))
        folder.write_json("summary.json", now)
        write_verdict(folder.path.parent, experiment)
    names, trained = tuple(summary["experiences"]), trained_names(summary)
    return Finished(outcome, names, trained, folder.path, repeated, result_of(outcome, now))


def _timed(experiment: Experiment, trainer: Trainer) -> dict[str, float]:
    """How long a prediction takes, where the objective asks; outside of what two equal runs agree on."""
    asked = experiment.objective is not None and experiment.objective.constraints.latency_ms is not None
    found = latency_ms(trainer) if asked else None
    return {} if found is None else {"latency_ms": found}


def _settings(experiment: Experiment, seed: int) -> dict[str, Any]:
    """What experiments differ in, as dotted keys; what is not set is left out."""
    resolved = unstructure(experiment)
    found = dotted({name: resolved[name] for name in ("stream", "encoder", "learner", "budget")})
    return {"seed": seed, **{key: value for key, value in found.items() if value is not None}}
