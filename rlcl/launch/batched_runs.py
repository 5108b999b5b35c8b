"""Runs with batched seeds in this process: the updates of all seeds are one computation."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from rlcl.errors import DivergenceError
from rlcl.experiment import Experiment
from rlcl.launch.checkpoint_schedule import CheckpointPosition, CheckpointTimer, last_common_position
from rlcl.launch.finished_run import FinishedRun, is_finished
from rlcl.launch.seed_run import run_folder, run_seed_steps
from rlcl.launch.signals import Interrupted, StopSignal, catch_signals
from rlcl.learners.fast.batched_seeds import BatchedSeeds
from rlcl.tracking.folder import RunFolder

__all__ = ["run_batched"]


def run_batched(experiment: Experiment, root: Path, console: Console) -> dict[int, FinishedRun | DivergenceError]:
    """Run all seeds of an experiment, alternating between the seeds; see :func:`rlcl.launch.seeds.run_seed`.

    The content of each run folder is the same as without batching, up to rounding. If a seed diverges, the
    others continue. Killed runs are resumed from the last position for which all of them have a checkpoint.
    Finished runs, and runs that are further than others, wait.

    Args:
        experiment: the config.
        root: the folder of all runs.
        console: console for the progress.

    Returns:
        For each seed, its finished run or its divergence.

    Raises:
        Interrupted: a signal was received; all runs can be resumed.
        RlclError: an error that the user can fix, from the first run that raised one.
    """
    batched, shared_stop = BatchedSeeds(), StopSignal()
    timer = CheckpointTimer(experiment.checkpoint_minutes * 60)
    position = _resume_position(experiment, root)
    results: dict[int, FinishedRun | DivergenceError] = {}
    interrupted: list[Interrupted] = []
    runs = {
        seed: run_seed_steps(
            experiment,
            seed,
            root,
            console,
            shared_stop,
            batched.registered,
            bar=False,
            timer=timer,
            resume_position=position,
        )
        for seed in experiment.seeds
    }
    with catch_signals() as stop, ExitStack() as closing_runs:
        for run in runs.values():
            closing_runs.callback(run.close)
        batched.paused = True  # until all learners are registered
        while runs:
            for seed, run in list(runs.items()):
                try:
                    next(run)
                    continue
                except StopIteration as end:
                    results[seed] = end.value
                except DivergenceError as error:
                    results[seed] = error
                except Interrupted as error:
                    interrupted.append(error)
                del runs[seed]
            # All runs receive a signal in the same round, so that they stop at the same position.
            shared_stop.signum = stop.signum
            batched.paused = shared_stop.signum is not None
    if interrupted:
        raise interrupted[0]
    return {seed: results[seed] for seed in experiment.seeds}


def _resume_position(experiment: Experiment, root: Path) -> CheckpointPosition | None:
    """Return the last position from which all unfinished runs can be resumed, or else those that have not failed."""
    folders = [RunFolder(run_folder(root, experiment, seed)) for seed in experiment.seeds]
    unfinished = [folder for folder in folders if not is_finished(folder)]
    position = last_common_position([folder.checkpoints for folder in unfinished])
    if position is None:
        not_failed = [folder for folder in unfinished if folder.status().get("state") != "failed"]
        position = last_common_position([folder.checkpoints for folder in not_failed])
    return position
