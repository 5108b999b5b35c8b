"""Runs of an experiment in this process, one seed after another or batched (:mod:`rlcl.launch.batched_runs`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from rlcl.console import make_console
from rlcl.errors import DivergenceError, RlclError
from rlcl.experiment import Experiment
from rlcl.launch.finished_run import FinishedRun
from rlcl.launch.seed_run import run_seed_steps
from rlcl.launch.signals import catch_signals

__all__ = ["SeedsDiverged", "run_experiment", "run_seed"]


class SeedsDiverged(RlclError):
    """The error that some of several seeds diverged.

    Args:
        finished: the finished runs of the other seeds.
        errors: the error of each diverged seed.
    """

    exit_status = DivergenceError.exit_status

    def __init__(self, finished: Sequence[FinishedRun], errors: Mapping[int, DivergenceError]) -> None:
        lines = "\n".join(f"seed {seed}: {error}" for seed, error in errors.items())
        super().__init__(f"{len(errors)} of {len(finished) + len(errors)} seeds diverged\n{lines}")
        self.finished = tuple(finished)


def run_experiment(
    experiment: Experiment, root: str | Path = "runs", console: Console | None = None
) -> list[FinishedRun]:
    """Run every seed of an experiment, one after another or batched; see :func:`run_seed`.

    Args:
        experiment: the config.
        root: the folder of all runs.
        console: console for the progress; standard output by default.

    Raises:
        DivergenceError: the experiment has a single seed, and its loss was no longer finite.
        SeedsDiverged: the loss of some of several seeds was no longer finite; the other seeds have finished.
    """
    console = make_console() if console is None else console
    if experiment.batched_seeds:
        from rlcl.launch.batched_runs import run_batched

        results = run_batched(experiment, Path(root), console)
    else:
        results = _run_sequentially(experiment, Path(root), console)
    finished = [result for result in results.values() if isinstance(result, FinishedRun)]
    diverged = {seed: result for seed, result in results.items() if isinstance(result, DivergenceError)}
    if diverged and len(experiment.seeds) == 1:
        raise diverged[experiment.seeds[0]]
    if diverged:
        raise SeedsDiverged(finished, diverged)
    return finished


def _run_sequentially(experiment: Experiment, root: Path, console: Console) -> dict[int, FinishedRun | DivergenceError]:
    results: dict[int, FinishedRun | DivergenceError] = {}
    for seed in experiment.seeds:
        try:
            results[seed] = run_seed(experiment, seed, root, console)
        except DivergenceError as error:
            results[seed] = error
    return results


def run_seed(experiment: Experiment, seed: int, root: Path, console: Console) -> FinishedRun:
    """Run one seed to its end, or resume its unfinished run; a finished run is only read.

    Args:
        experiment: the config.
        seed: the seed of the run.
        root: the folder of all runs.
        console: console for the progress.

    Raises:
        Interrupted: a signal was received; the run can be resumed.
        RlclError: an error that the user can fix; it is stored in the run folder too.
    """
    with catch_signals() as stop:
        run = run_seed_steps(experiment, seed, root, console, stop)
        while True:
            try:
                next(run)
            except StopIteration as end:
                finished: FinishedRun = end.value
                return finished
