"""Finished runs that an experiment continues, and check of the settings that may differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from rlcl.config import unstructure
from rlcl.errors import ConfigError, RunFolderError
from rlcl.experiment import Experiment, hashed_settings, load_experiment
from rlcl.tracking.runs import StoredRun, dotted_keys

__all__ = ["OPTION", "check_parent_state", "continued_experiment", "parent_experiment"]

OPTION = "--continue-from"
ABSENT = "nothing"


def continued_experiment(
    experiment: Experiment, runs: Sequence[StoredRun], seeds: Sequence[int] = ()
) -> tuple[Experiment, list[StoredRun]]:
    """Return an experiment that continues finished runs, and the parent run of each of its seeds.

    Args:
        experiment: the experiment, with a larger budget or more experiences than the parent runs.
        runs: the parent runs, which belong to one experiment.
        seeds: seeds of the runs to continue; all by default.

    Raises:
        RunFolderError: the runs belong to several experiments, a run is not finished, or a seed is missing.
        ConfigError: the configs are equal, or differ in other settings.
    """
    parent = parent_experiment(runs)
    by_seed = {run.seed: run for run in runs}
    missing = sorted(set(seeds) - set(by_seed))
    if missing:
        raise RunFolderError(
            f"seeds: {OPTION} has no run of seed {missing[0]}; expected some of {', '.join(map(str, sorted(by_seed)))}"
        )
    parents = [by_seed[seed] for seed in seeds or sorted(by_seed)]
    for run in parents:
        if not run.finished:
            raise RunFolderError(
                f"{OPTION}: {run.path} is {run.state}, and only finished runs can be continued; finish it with: rlcl "
                f"run {run.path / 'config.yaml'}"
            )
    _check_config(parent, experiment, runs[0])
    seeds = tuple(run.seed for run in parents)
    return attrs.evolve(experiment, continued_from=parent.hash, seeds=seeds), parents


def parent_experiment(runs: Sequence[StoredRun]) -> Experiment:
    """Return the experiment that some runs belong to.

    Raises:
        RunFolderError: they belong to several experiments, or the config is missing.
    """
    groups = sorted({str(run.group) for run in runs})
    if len(groups) > 1:
        raise RunFolderError(f"{OPTION}: expected one experiment, got {len(groups)}; choose {' or '.join(groups)}")
    file = runs[0].path / "config.yaml"
    if not file.is_file():
        raise RunFolderError(f"{OPTION}: {runs[0].path} has no config.yaml, so its learner cannot be built")
    return load_experiment(file)


def check_parent_state(experiment: Experiment, folder: Path) -> None:
    """Check that an experiment without checkpoints does not continue other runs.

    Raises:
        RunFolderError: the experiment continues other runs, and their state has not been copied to the folder.
    """
    if experiment.continued_from is not None:
        raise RunFolderError(
            f"continued_from: {experiment.continued_from}: {folder} does not contain the final state of a run of that "
            f"hash; start it with {OPTION} RUN, or remove the key to start a new run"
        )


def _check_config(parent: Experiment, experiment: Experiment, run: StoredRun) -> None:
    """Check that only the budget or the stream of an experiment differs from its parent.

    Raises:
        ConfigError: other settings differ, or nothing does; each message contains the key and both values.
    """
    before, after = (dotted_keys(_comparable_settings(e)) for e in (parent, experiment))
    changed = [key for key in dict.fromkeys((*before, *after)) if before.get(key) != after.get(key)]
    changed_parts = {key.partition(".")[0].partition("[")[0] for key in changed}
    faults = [
        f"{key}: {after.get(key, ABSENT)}, and {run.group} was trained with {before.get(key, ABSENT)}; a continued run "
        "may only change the budget or add experiences to the stream; restore the former value"
        for key in changed
        if key.partition(".")[0] not in ("stream", "budget")
    ]
    faults += _budget_faults(parent, experiment, run)
    if changed_parts >= {"stream", "budget"}:
        faults.append(
            f"budget: {experiment.budget}, and {run.group} had {parent.budget}, but the stream has changed as well; "
            "continue with a larger budget first, then continue that run with more experiences"
        )
    if not changed:
        faults.append(
            f"budget: {experiment.budget}, and {run.group} had the same budget on the same stream, so nothing is left "
            f"to do; set a larger one, for example budget.{parent.budget.unit}={2 * parent.budget.amount}"
        )
    if faults:
        raise ConfigError(faults)


def _budget_faults(parent: Experiment, experiment: Experiment, run: StoredRun) -> Iterator[str]:
    old, new = parent.budget, experiment.budget
    if new.unit != old.unit:
        yield (
            f"budget.{new.unit}: {new.amount:,}, and {run.group} had a budget in another unit, {old}; set more "
            f"{old.unit} than that"
        )
    elif new.amount < old.amount:
        yield f"budget.{new.unit}: {new.amount:,}, and {run.group} had {old.amount:,}; set a larger budget"


def _comparable_settings(experiment: Experiment) -> dict[str, Any]:
    settings = hashed_settings(unstructure(experiment))
    settings.pop("continued_from", None)
    return settings
