"""The finished runs that an experiment continues, and what of its config may differ from theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from rlcl.config import unstructure
from rlcl.errors import ConfigError, RunFolderError
from rlcl.experiment import Experiment, deciding, load_experiment
from rlcl.tracking.runs import Run, dotted

__all__ = ["OPTION", "check_planted", "continuing", "parent_of"]

OPTION = "--continue-from"
ABSENT = "nothing"


def continuing(experiment: Experiment, runs: Sequence[Run], seeds: Sequence[int] = ()) -> tuple[Experiment, list[Run]]:
    """An experiment as it continues finished runs, and the run of each of its seeds.

    Args:
        experiment: with more budget or more experiences than theirs.
        runs: of one experiment.
        seeds: of the runs that are continued; all of them by default.

    Raises:
        RunFolderError: the runs are of several experiments, not finished, or lack a seed.
        ConfigError: something else differs, or nothing.
    """
    parent = parent_of(runs)
    by_seed = {run.seed: run for run in runs}
    missing = sorted(set(seeds) - set(by_seed))
    if missing:
        raise RunFolderError(
            f"seeds: {OPTION} has no run of seed {missing[0]}; expected some of {', '.join(map(str, sorted(by_seed)))}"
        )
    chosen = [by_seed[seed] for seed in seeds or sorted(by_seed)]
    for run in chosen:
        if not run.finished:
            raise RunFolderError(
                f"{OPTION}: {run.path} is {run.state}, and only a finished run is continued; finish it with: rlcl run "
                f"{run.path / 'config.yaml'}"
            )
    _check_config(parent, experiment, runs[0])
    made = attrs.evolve(experiment, continued_from=parent.hash, seeds=tuple(run.seed for run in chosen))
    return made, chosen


def parent_of(runs: Sequence[Run]) -> Experiment:
    """The experiment that runs are of.

    Raises:
        RunFolderError: they are of several, or its config is gone.
    """
    groups = sorted({str(run.group) for run in runs})
    if len(groups) > 1:
        raise RunFolderError(f"{OPTION}: {len(groups)} experiments where one is expected; name {' or '.join(groups)}")
    file = runs[0].path / "config.yaml"
    if not file.is_file():
        raise RunFolderError(f"{OPTION}: {runs[0].path} has no config.yaml, so that its learner cannot be built")
    return load_experiment(file)


def check_planted(experiment: Experiment, folder: Path) -> None:
    """Refuses to start anew what continues other runs.

    Raises:
        RunFolderError: the experiment does, and their state has not been brought into the folder.
    """
    if experiment.continued_from is not None:
        raise RunFolderError(
            f"continued_from: {experiment.continued_from}, and {folder} does not hold the state that a run of that "
            f"hash has left; start it with {OPTION} RUN, or leave the key out to start anew"
        )


def _check_config(parent: Experiment, experiment: Experiment, run: Run) -> None:
    """Refuses changes that no continued run can mean.

    Raises:
        ConfigError: all of them, each with its key and both values.
    """
    before, after = (dotted(_comparable(each)) for each in (parent, experiment))
    changed = [key for key in dict.fromkeys((*before, *after)) if before.get(key) != after.get(key)]
    places = {key.partition(".")[0].partition("[")[0] for key in changed}
    faults = [
        f"{key}: {after.get(key, ABSENT)}, and {run.group} was trained with {before.get(key, ABSENT)}; a continued run "
        "changes the budget or adds experiences to the stream, and nothing else: write the former value"
        for key in changed
        if key.partition(".")[0] not in ("stream", "budget")
    ]
    faults += _budget_faults(parent, experiment, run)
    if places >= {"stream", "budget"}:
        faults.append(
            f"budget: {experiment.budget}, and {run.group} had {parent.budget}, while the stream has changed as well; "
            "continue with more budget first, and continue that run with more experiences"
        )
    if not changed:
        faults.append(
            f"budget: {experiment.budget}, and {run.group} had as much on the same stream, so that nothing is left to "
            f"do; give more, for example budget.{parent.budget.unit}={2 * parent.budget.amount}"
        )
    if faults:
        raise ConfigError(faults)


def _budget_faults(parent: Experiment, experiment: Experiment, run: Run) -> Iterator[str]:
    old, new = parent.budget, experiment.budget
    if new.unit != old.unit:
        yield (
            f"budget.{new.unit}: {new.amount:,}, and {run.group} had a budget in another unit, {old}; write more "
            f"{old.unit} than that"
        )
    elif new.amount < old.amount:
        yield f"budget.{new.unit}: {new.amount:,}, and {run.group} had {old.amount:,} already; give more than that"


def _comparable(experiment: Experiment) -> dict[str, Any]:
    found = deciding(unstructure(experiment))
    found.pop("continued_from", None)
    return found
