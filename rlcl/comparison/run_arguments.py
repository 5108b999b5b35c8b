"""Resolution of the arguments of a command to runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlcl.comparison.suites import cells_without_run, suite_folders
from rlcl.errors import ConfigError, RunFolderError
from rlcl.tracking.runs import StoredRun, find_runs, named_runs, runs_at

__all__ = ["runs_of_arguments"]

EXPERIMENT_KEYS = frozenset({"learner", "stream"})


def runs_of_arguments(arguments: Sequence[str], root: Path) -> tuple[list[StoredRun], list[tuple[str, str]]]:
    """Return the runs of arguments, and the cells of suites that have no run yet, each with that reason.

    Args:
        arguments: each is a folder of runs, the name of a run or the beginning of one as listed by ``rlcl runs list``,
            a pattern, the file of an experiment or a suite, or the name of such a file.
        root: folder of all runs.

    Raises:
        RunFolderError: an argument has no run.
        ConfigError: a file contains neither an experiment nor a suite.
    """
    runs: list[StoredRun] = []
    missing: list[tuple[str, str]] = []
    for argument in arguments:
        folders = _folders(argument, root)
        for folder in folders:
            runs += runs_at(folder)
            missing += [(path, "not run yet; start it with rlcl bench") for path in cells_without_run(folder)]
        runs += () if folders else named_runs(argument, root)
    return runs, missing


def _folders(argument: str, root: Path) -> list[Path]:
    """Return the folders of an argument; empty if it can only be a name or a pattern of runs.

    Raises:
        RunFolderError: the experiment or suite of a file has no run.
        ConfigError: a file contains neither an experiment nor a suite.
    """
    if Path(argument).is_dir():
        return [Path(argument)]
    if argument.endswith((".yaml", ".yml")):
        return _folders_of_file(argument, root)
    if suites := suite_folders(argument, root):
        return _single_suite(argument, suites)
    from rlcl.config import find_file

    try:
        find_file(argument)
    except ConfigError:
        return []
    return [] if (root / argument).is_dir() else _folders_of_file(argument, root)


def _folders_of_file(file: str, root: Path) -> list[Path]:
    from rlcl.config import read_document

    data = read_document(file).data
    if data.keys() >= EXPERIMENT_KEYS:
        from rlcl.experiment import load_experiment

        experiment = load_experiment(file)
        folder = root / experiment.name / experiment.hash
        if not find_runs(folder):
            raise RunFolderError(
                f"{file} has no run in {root} with its present settings; start it with: rlcl run {file}"
            )
        return [folder]
    if "sweep" not in data and "base" not in data:
        raise ConfigError(
            [f"{file}: neither an experiment (with stream and learner) nor a suite (with base and sweep)"]
        )
    suites = suite_folders(str(data.get("name", Path(file).stem)), root)
    if not suites:
        raise RunFolderError(f"{file} has no run in {root}; start it with: rlcl bench {file}")
    return _single_suite(file, suites)


def _single_suite(argument: str, suites: Sequence[Path]) -> list[Path]:
    if len(suites) > 1:
        raise RunFolderError(f"{argument} has runs with several budgets; name one of {', '.join(map(str, suites))}")
    return list(suites)
