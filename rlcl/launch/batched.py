"""Runs with batched seeds, in this process: each is as it is alone, and their updates are one computation."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from rlcl.errors import DivergenceError
from rlcl.experiment import Experiment
from rlcl.launch.finished import Finished, is_finished
from rlcl.launch.moments import Due, Moment, common_moment
from rlcl.launch.running import run_folder, running
from rlcl.launch.stopping import Interrupted, Stop, catching_signals
from rlcl.learners.fast.batched_seeds import BatchedSeeds
from rlcl.tracking.folder import RunFolder

__all__ = ["run_batched"]


def run_batched(experiment: Experiment, root: Path, console: Console) -> dict[int, Finished | DivergenceError]:
    """Runs all seeds of an experiment, a few steps of one after a few of another; see :func:`run_seed`.

    What a seed's run folder holds is what it holds when it is run alone, up to rounding. One that diverges
    leaves the others to go on. Runs that were killed are resumed from one moment, the last that all have a
    checkpoint of; those that were finished, or are further than others, wait.

    Args:
        experiment: the config.
        root: the folder of all runs.
        console: progress goes there.

    Returns:
        By seed what became of it.

    Raises:
        Interrupted: a signal came; all runs can be resumed.
        RlclError: anything that a person can mend, of the first run that it was found in.
    """
    batched, told, due = BatchedSeeds(), Stop(), Due(experiment.checkpoint_minutes * 60)
    moment = _moment(experiment, root)
    found: dict[int, Finished | DivergenceError] = {}
    interrupted: list[Interrupted] = []
    runs = {
        seed: running(experiment, seed, root, console, told, batched.joined, bar=False, due=due, moment=moment)
        for seed in experiment.seeds
    }
    with catching_signals() as stop, ExitStack() as opened:
        for run in runs.values():
            opened.callback(run.close)
        batched.paused = True  # until all are there
        while runs:
            for seed, run in list(runs.items()):
                try:
                    next(run)
                    continue
                except StopIteration as end:
                    found[seed] = end.value
                except DivergenceError as error:
                    found[seed] = error
                except Interrupted as error:
                    interrupted.append(error)
                del runs[seed]
            # All are told of a signal in the same round, so that they stop at the same place.
            told.signum = stop.signum
            batched.paused = told.signum is not None
    if interrupted:
        raise interrupted[0]
    return {seed: found[seed] for seed in experiment.seeds}


def _moment(experiment: Experiment, root: Path) -> Moment | None:
    """The last moment from which all unfinished runs can be resumed, or else all that have not failed."""
    folders = [RunFolder(run_folder(root, experiment, seed)) for seed in experiment.seeds]
    left = [folder for folder in folders if not is_finished(folder)]
    found = common_moment([folder.checkpoints for folder in left])
    if found is None:
        found = common_moment([each.checkpoints for each in left if each.status().get("state") != "failed"])
    return found
