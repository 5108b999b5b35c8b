"""Run of one seed in its run folder: start or resume, training, records and summary."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path

from rich.console import Console

from rlcl.config import unstructure
from rlcl.errors import RunFolderError
from rlcl.evaluation.scores import derived_scores
from rlcl.experiment import Experiment, dump
from rlcl.launch.baselines import baselines_of, check_baselines, copied_records
from rlcl.launch.build import make_stream, make_trainer
from rlcl.launch.checkpoint_schedule import CheckpointPosition, CheckpointTimer
from rlcl.launch.checkpoints import Checkpoints
from rlcl.launch.continuation.parent_runs import check_parent_state
from rlcl.launch.data_parallel import agreed_signal, lead
from rlcl.launch.file_paths import absolute_file_paths
from rlcl.launch.finished_run import FinishedRun, is_finished, read_finished_run, run_summary
from rlcl.launch.initial_state import load_initial_state
from rlcl.launch.memory_errors import memory_errors
from rlcl.launch.setting_warnings import warn_about_settings
from rlcl.launch.signals import Interrupted, ResumePosition, StopSignal
from rlcl.launch.verdicts import write_verdict
from rlcl.run_format import RUN_FOLDER, check_run_version
from rlcl.sinks.run_sinks import run_sinks
from rlcl.tracking.folder import (
    BASELINES,
    RunFolder,
    RunFolderInUseError,
    disk_errors,
    read_records,
    write_atomically,
    write_baselines,
)
from rlcl.tracking.json_files import read_json
from rlcl.tracking.manifest import manifest
from rlcl.training.trainer import Trainer
from rlcl.types import Boundary, Budgeted, Event, Learner, Record, RunStart, Sink

__all__ = ["run_folder", "run_seed_steps", "total_steps"]

POLL_SECONDS = 0.5  # time between two checks whether a baseline of another process has finished


def run_folder(root: Path, experiment: Experiment, seed: int) -> Path:
    """Return the folder ``<root>/<name>/<hash>/seed<k>``."""
    return root / experiment.name / experiment.hash / f"seed{seed}"


def _no_context(learner: Learner) -> AbstractContextManager[None]:
    return nullcontext()


def run_seed_steps(
    experiment: Experiment,
    seed: int,
    root: Path,
    console: Console,
    stop: StopSignal,
    training_context: Callable[[Learner], AbstractContextManager[None]] = _no_context,
    bar: bool = True,
    timer: CheckpointTimer | None = None,
    resume_position: CheckpointPosition | None = None,
) -> Generator[None, None, FinishedRun]:
    """Run a seed like :func:`rlcl.launch.seeds.run_seed`, with a yield after each event or record and learner yield.

    Args:
        experiment, seed, root, console: see :func:`rlcl.launch.seeds.run_seed`.
        stop: the received signal.
        training_context: context manager for the training of the learner, whose state is loaded; it batches the
            learner with those of other seeds.
        bar: whether a progress bar may be drawn on the console; a terminal shows one at a time.
        timer: timer of the checkpoints within an experience; a separate timer by default.
        resume_position: position of the checkpoint to resume from, if there is one; the newest one by default.
    """
    folder = RunFolder(run_folder(root, experiment, seed))
    try:
        check_run_version(folder.path)
        if is_finished(folder):
            if (yield from _add_baselines(experiment, seed, folder, root, console, stop)):
                with disk_errors(folder.path):
                    run_sinks(experiment.sinks).seeds_changed(folder.path.parent)
            return read_finished_run(folder, experiment, repeated=True)
        _write_config(folder, experiment, console)
        with _status_written(folder), memory_errors(experiment):
            sinks = run_sinks(experiment.sinks)
            trainer = _make_trainer(experiment, seed, folder)
            warn_about_settings(trainer, total_steps(trainer))
            timer = timer or CheckpointTimer(experiment.checkpoint_minutes * 60)
            checkpoints = Checkpoints(trainer, folder, timer, resume_position)
            if not checkpoints.resume(console):
                check_parent_state(experiment, folder.path)
            lead(experiment, trainer)
            with disk_errors(folder.path), closing(sinks):
                sinks.open(_run_start(experiment, trainer, folder, console, bar))
                with training_context(trainer.learner):
                    yield from _train(trainer, folder, sinks, checkpoints, stop)
                summary = run_summary(experiment, trainer, folder, checkpoints.clock)
                folder.write_json("summary.json", summary)
                sinks.finish(summary)
            folder.write_status("finished", step=trainer.learner.position.step)
        yield from _add_baselines(experiment, seed, folder, root, console, stop)
        with disk_errors(folder.path):
            sinks.seeds_changed(folder.path.parent)
        write_verdict(folder.path.parent, experiment)
        return read_finished_run(folder, experiment, repeated=False)
    finally:
        folder.close()


def _write_config(folder: RunFolder, experiment: Experiment, console: Console) -> None:
    """Write the config, and print the error of an earlier attempt."""
    status = folder.status()
    if status.get("state") == "failed":
        message = f"the previous attempt failed: {status.get('error')}"
        console.print(message, style="yellow", soft_wrap=True)
    with disk_errors(folder.path):
        write_atomically(folder.path / "config.yaml", dump(experiment))


@contextmanager
def _status_written(folder: RunFolder) -> Iterator[None]:
    """Write the status of a run that does not finish: interrupted or failed."""
    try:
        yield
    except (Interrupted, SystemExit, KeyboardInterrupt, GeneratorExit):
        folder.write_status("interrupted")
        raise
    except BaseException as error:
        with suppress(Exception):  # the error that ended the run is the one to raise
            folder.write_status("failed", error=f"{type(error).__name__}: {error}")
            with (folder.path / "log.txt").open("a") as log:
                log.write("".join(traceback.format_exception(error)))
        raise


def _make_trainer(experiment: Experiment, seed: int, folder: RunFolder) -> Trainer:
    """Build the trainer, and add this session to the manifest, which keeps the entries of the first session.

    Raises:
        RunFolderError: the data have changed since the run started.
        RlclError: the components are not compatible.
    """
    stream = make_stream(experiment, seed)
    check_baselines(experiment, seed, len(stream.evaluated))
    start = load_initial_state(experiment, seed, folder.checkpoints)
    trainer = make_trainer(experiment, seed, stream, start)
    current = manifest(stream, seed, experiment.threads, trainer.device)
    current["files"] = absolute_file_paths(experiment)
    if start is not None:
        current["initial"] = dict(start.origin)
    first = read_json(folder.path / "manifest.json")
    if first and first.get("data") != current["data"]:
        raise RunFolderError(
            f"the data of {folder.path} have changed since the run started; remove the run with rlcl runs rm, and "
            "start it again"
        )
    session = {key: current[key] for key in ("started", "command", "git", "packages")}
    sessions = [*first.get("sessions", []), session]
    folder.write_json("manifest.json", {**current, **first, "format": RUN_FOLDER.version, "sessions": sessions})
    return trainer


def _run_start(experiment: Experiment, trainer: Trainer, folder: RunFolder, console: Console, bar: bool) -> RunStart:
    """Return the description of the run for the sinks; the trainer's state must be loaded."""
    return RunStart(
        folder=folder.path,
        name=experiment.name,
        hash=experiment.hash,
        seed=trainer.seed,
        config=unstructure(experiment),
        experiences=tuple(experience.name for experience in trainer.stream),
        evaluated=tuple(experience.name for experience in trainer.stream.evaluated),
        measures=trainer.measures,
        steps=total_steps(trainer),
        step=trainer.learner.position.step,
        trainer=trainer,
        console=console,
        bar=bar,
    )


def total_steps(trainer: Trainer) -> int | None:
    """Return the steps of the whole run; None if the learner does not report them."""
    learner, position = trainer.learner, trainer.learner.position
    if not isinstance(learner, Budgeted):
        return None
    if position.segment:
        return sum(map(learner.steps, trainer.stream))
    remaining = list(trainer.stream)[position.experience :]  # earlier experiences may have had another budget
    return position.step - position.update + sum(map(learner.steps, remaining))


def _train(
    trainer: Trainer, folder: RunFolder, sinks: Sink, checkpoints: Checkpoints, stop: StopSignal
) -> Iterator[None]:
    """Train and write to folder and sinks, with a checkpoint at each boundary and every few minutes.

    Raises:
        Interrupted: a signal was received; a checkpoint has been saved if the learner supports it.
    """
    learner, last = trainer.learner, len(trainer.stream) - 1
    for item in _events(trainer, folder, stop):
        if item is not None:
            folder.write(item)
            sinks.write(item)
        if isinstance(item, Record):  # a checkpoint between two records would lose the later ones
            yield
            continue
        at_boundary, signum = isinstance(item, Boundary), agreed_signal(stop, trainer, item)
        if isinstance(item, Boundary) and item.trained_on >= 0:
            folder.write_cost(item.trained_on, item.step, checkpoints.clock.lap())
        position = learner.position
        sinks.step(position.step, min(position.experience + position.segment, last))
        if at_boundary or signum is not None or checkpoints.overdue:
            checkpoints.save()
        if signum is not None:
            raise Interrupted(signum, folder.path, _resume_position(learner))
        yield


def _events(trainer: Trainer, folder: RunFolder, stop: StopSignal) -> Iterator[Event | Record | Boundary | None]:
    """Yield the events of a trainer.

    Raises:
        Interrupted: a signal to the whole process group, such as that of Slurm or systemd, has ended worker processes
            of the learner too, so that the step could not be finished.
    """
    try:
        yield from trainer.events()
    except Exception as error:
        if stop.signum is None:
            raise
        position = _resume_position(trainer.learner)
        raise Interrupted(
            stop.signum, folder.path, "the last checkpoint" if position == "this step" else position
        ) from error


def _resume_position(learner: Learner) -> ResumePosition:
    return "this step" if learner.resumable_within else "the end of the last experience"


def _add_baselines(
    experiment: Experiment, seed: int, folder: RunFolder, root: Path, console: Console, stop: StopSignal
) -> Generator[None, None, bool]:
    """Run the baselines of a finished run that are not finished, and copy their records to its folder.

    A baseline that another process is running is waited for, after all others have been run.

    Returns:
        Whether records were added.

    Raises:
        Interrupted: a signal was received; the same command resumes the baseline.
    """
    summary = read_json(folder.path / "summary.json")
    kinds = list(experiment.evaluation.baselines)
    if not kinds or (summary.get("baselines") == kinds and (folder.path / BASELINES).is_file()):
        return False
    baselines = baselines_of(experiment, seed, len(summary["experiences"]))
    waiting = {b.experiment.hash: b.experiment for b in baselines}
    console.print(f"{len(waiting)} baseline{'s' * (len(waiting) > 1)} of {experiment.name}")
    while waiting:
        before = len(waiting)
        for key, baseline in list(waiting.items()):
            try:
                yield from run_seed_steps(baseline, seed, root, console, stop)
            except RunFolderInUseError:
                continue
            del waiting[key]
        if len(waiting) == before:
            if stop.signum is not None:
                raise Interrupted(stop.signum, folder.path, "this step")
            time.sleep(POLL_SECONDS)
            yield
    runs = {b.experiment.hash: read_records(run_folder(root, b.experiment, seed)) for b in baselines}
    copied = [record for b in baselines for record in copied_records(b, runs[b.experiment.hash])]
    scores = derived_scores((*folder.records(), *copied)) if "score" in experiment.evaluation.measures else ()
    write_baselines(folder.path, (*copied, *scores))
    folder.write_json("summary.json", {**summary, "baselines": kinds, "names": None})
    return True
