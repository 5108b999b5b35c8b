"""One seed of an experiment in its run folder: made or resumed, trained, recorded, summed up."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from pathlib import Path

from rich.console import Console

from rlcl.config import unstructure
from rlcl.errors import RunFolderError
from rlcl.experiment import Experiment, dump
from rlcl.launch.build import make_stream, make_trainer
from rlcl.launch.checkpoints import Checkpoints
from rlcl.launch.continuing.parents import check_planted
from rlcl.launch.finished import Finished, is_finished, read_finished, summed_up
from rlcl.launch.initial import start_of
from rlcl.launch.judging import write_verdict
from rlcl.launch.located import file_places
from rlcl.launch.moments import Due, Moment
from rlcl.launch.remarks import remark
from rlcl.launch.sizes import memory_told
from rlcl.launch.stopping import Interrupted, Stop
from rlcl.run_format import RUN_FOLDER, check_version
from rlcl.sinks.run_sinks import run_sinks
from rlcl.tracking.folder import RunFolder, disk_errors, write_atomically
from rlcl.tracking.json_files import read_json
from rlcl.tracking.manifest import manifest
from rlcl.training.trainer import Trainer
from rlcl.types import Boundary, Budgeted, Learner, Record, RunStart, Sink

__all__ = ["run_folder", "running", "total_steps"]


def run_folder(root: Path, experiment: Experiment, seed: int) -> Path:
    """``<root>/<name>/<hash>/seed<k>``."""
    return root / experiment.name / experiment.hash / f"seed{seed}"


def _alone(learner: Learner) -> AbstractContextManager[None]:
    return nullcontext()


def running(
    experiment: Experiment,
    seed: int,
    root: Path,
    console: Console,
    stop: Stop,
    joined: Callable[[Learner], AbstractContextManager[None]] = _alone,
    bar: bool = True,
    due: Due | None = None,
    moment: Moment | None = None,
) -> Generator[None, None, Finished]:
    """What :func:`run_seed` does, with a yield after every event or record, and wherever the learner yields.

    Args:
        experiment, seed, root, console: as there.
        stop: which signal came.
        joined: has the learner, whose state is loaded, among those of other seeds while it trains.
        bar: whether a bar may be drawn on the console: a terminal has one at a time.
        due: when checkpoints are saved within an experience; by its own time by default.
        moment: to resume from, where there is a checkpoint of it; the newest one by default.
    """
    folder = RunFolder(run_folder(root, experiment, seed))
    try:
        check_version(folder.path)
        if is_finished(folder):
            return read_finished(folder, experiment, repeated=True)
        _begin(folder, experiment, console)
        with _status_of(folder), memory_told(experiment):
            sinks = run_sinks(experiment.sinks)
            trainer = _made_trainer(experiment, seed, folder)
            remark(trainer, total_steps(trainer))
            checkpoints = Checkpoints(trainer, folder, due or Due(experiment.checkpoint_minutes * 60), moment)
            if not checkpoints.resume(console):
                check_planted(experiment, folder.path)
            with disk_errors(folder.path), closing(sinks):
                sinks.open(_run_start(experiment, trainer, folder, console, bar))
                with joined(trainer.learner):
                    yield from _drain(trainer, folder, sinks, checkpoints, stop)
                summary = summed_up(experiment, trainer, folder, checkpoints.clock)
                folder.write_json("summary.json", summary)
                sinks.finish(summary)
            folder.write_status("finished", step=trainer.learner.position.step)
        with disk_errors(folder.path):
            sinks.seeds_changed(folder.path.parent)
        write_verdict(folder.path.parent, experiment)
        return read_finished(folder, experiment, repeated=False)
    finally:
        folder.close()


def _begin(folder: RunFolder, experiment: Experiment, console: Console) -> None:
    """Writes the config, and says how the run failed before, if it did."""
    before = folder.status()
    if before.get("state") == "failed":
        console.print(f"it failed before: {before.get('error')}", style="yellow", highlight=False, soft_wrap=True)
    with disk_errors(folder.path):
        write_atomically(folder.path / "config.yaml", dump(experiment))


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


def _made_trainer(experiment: Experiment, seed: int, folder: RunFolder) -> Trainer:
    """Builds the trainer; the manifest keeps where the run began, and adds where it goes on.

    Raises:
        RunFolderError: the data are others than those that it began with.
        RlclError: components that do not go together.
    """
    stream = make_stream(experiment, seed)
    start = start_of(experiment, seed, folder.checkpoints)
    trainer = make_trainer(experiment, seed, stream, start)
    found = manifest(stream, seed, experiment.threads, trainer.device)
    found["files"] = file_places(experiment)
    if start is not None:
        found["initial"] = dict(start.origin)
    before = read_json(folder.path / "manifest.json")
    if before and before.get("data") != found["data"]:
        raise RunFolderError(
            f"the data of {folder.path} have changed since it began; remove it with rlcl runs rm, and run it anew"
        )
    session = {key: found[key] for key in ("started", "command", "git", "packages")}
    sessions = [*before.get("sessions", []), session]
    folder.write_json("manifest.json", {**found, **before, "format": RUN_FOLDER.version, "sessions": sessions})
    return trainer


def _run_start(experiment: Experiment, trainer: Trainer, folder: RunFolder, console: Console, bar: bool) -> RunStart:
    """What the sinks are told of the run; its state is loaded."""
    return RunStart(
        folder=folder.path,
        name=experiment.name,
        hash=experiment.hash,
        seed=trainer.seed,
        config=unstructure(experiment),
        experiences=tuple(experience.name for experience in trainer.stream),
        evaluated=tuple(experience.name for experience in trainer.stream.evaluated),
        measures=tuple(trainer.learner.measures),
        steps=total_steps(trainer),
        step=trainer.learner.position.step,
        trainer=trainer,
        console=console,
        bar=bar,
    )


def total_steps(trainer: Trainer) -> int | None:
    """Steps of the whole run, where the learner can tell."""
    learner, position = trainer.learner, trainer.learner.position
    if not isinstance(learner, Budgeted):
        return None
    if position.segment:
        return sum(map(learner.steps, trainer.stream))
    left = list(trainer.stream)[position.experience :]  # those before may have had another budget
    return position.step - position.update + sum(map(learner.steps, left))


def _drain(trainer: Trainer, folder: RunFolder, sinks: Sink, checkpoints: Checkpoints, stop: Stop) -> Iterator[None]:
    """Runs the trainer into folder and sinks, with a checkpoint at each boundary and every few minutes.

    Raises:
        Interrupted: a signal came, and what can be saved is saved.
    """
    learner, last = trainer.learner, len(trainer.stream) - 1
    for item in trainer.events():
        if item is not None:
            folder.write(item)
            sinks.write(item)
        if isinstance(item, Record):  # a checkpoint between two records would lose the rest of them
            yield
            continue
        at_boundary, asked = isinstance(item, Boundary), stop.signum
        if isinstance(item, Boundary) and item.trained_on >= 0:
            folder.write_cost(item.trained_on, item.step, checkpoints.clock.lap())
        position = learner.position
        sinks.step(position.step, min(position.experience + position.segment, last))
        if at_boundary or asked is not None or checkpoints.overdue:
            checkpoints.save()
        if asked is not None:
            raise Interrupted(asked, folder.path, within=learner.resumable_within)
        yield
