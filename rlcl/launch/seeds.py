"""Runs in this process, one seed after the other, or batched (:mod:`rlcl.launch.batched`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from rlcl.errors import DivergenceError, RlclError
from rlcl.experiment import Experiment
from rlcl.launch.finished import Finished
from rlcl.launch.running import running
from rlcl.launch.stopping import catching_signals

__all__ = ["SeedsDiverged", "run_experiment", "run_seed"]


class SeedsDiverged(RlclError):
    """Some of several seeds diverged.

    Args:
        finished: the others.
        errors: by seed.
    """

    exit_status = DivergenceError.exit_status

    def __init__(self, finished: Sequence[Finished], errors: Mapping[int, DivergenceError]) -> None:
        told = "\n".join(f"seed {seed}: {error}" for seed, error in errors.items())
        super().__init__(f"{len(errors)} of {len(finished) + len(errors)} seeds diverged\n{told}")
        self.finished = tuple(finished)


def run_experiment(experiment: Experiment, root: str | Path = "runs", console: Console | None = None) -> list[Finished]:
    """Runs every seed of an experiment, in turn or all at once; see :func:`run_seed`.

    Args:
        experiment: the config.
        root: the folder of all runs.
        console: progress goes there; standard output by default.

    Raises:
        SeedsDiverged: the loss of some of several seeds was no longer finite; the others have been run.
    """
    console = Console() if console is None else console
    if experiment.batched_seeds:
        from rlcl.launch.batched import run_batched

        found = run_batched(experiment, Path(root), console)
    else:
        found = _run_in_turn(experiment, Path(root), console)
    finished = [outcome for outcome in found.values() if isinstance(outcome, Finished)]
    diverged = {seed: error for seed, error in found.items() if isinstance(error, DivergenceError)}
    if diverged and len(experiment.seeds) == 1:
        raise diverged[experiment.seeds[0]]
    if diverged:
        raise SeedsDiverged(finished, diverged)
    return finished


def _run_in_turn(experiment: Experiment, root: Path, console: Console) -> dict[int, Finished | DivergenceError]:
    found: dict[int, Finished | DivergenceError] = {}
    for seed in experiment.seeds:
        try:
            found[seed] = run_seed(experiment, seed, root, console)
        except DivergenceError as error:
            found[seed] = error
    return found


def run_seed(experiment: Experiment, seed: int, root: Path, console: Console) -> Finished:
    """Runs one seed to its end, or goes on with an unfinished run of it; a finished one is only read.

    Args:
        experiment: the config.
        seed: of the run.
        root: the folder of all runs.
        console: progress goes there.

    Raises:
        Interrupted: a signal came; the run can be resumed.
        RlclError: anything that a person can mend; the run folder says so too.
    """
    with catching_signals() as stop:
        run = running(experiment, seed, root, console, stop)
        while True:
            try:
                next(run)
            except StopIteration as end:
                finished: Finished = end.value
                return finished
