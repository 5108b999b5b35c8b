"""The runs that the arguments of a command stand for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlcl.comparison.suites import cells_without_run, suite_folders
from rlcl.errors import ConfigError, RunFolderError
from rlcl.tracking.runs import Run, find_runs, named_runs, runs_at

__all__ = ["runs_of"]

EXPERIMENT = frozenset({"learner", "stream"})


def runs_of(arguments: Sequence[str], root: Path) -> tuple[list[Run], list[tuple[str, str]]]:
    """Runs, and cells of suites that have none yet, with that reason.

    Args:
        arguments: each a folder of runs, the name of a run or of the beginning of one as ``rlcl runs list`` has it,
            a pattern, an experiment's or a suite's file, or the bare name of one.
        root: the folder of all runs.

    Raises:
        RunFolderError: one stands for no run.
        ConfigError: a file that is neither an experiment's nor a suite's.
    """
    runs: list[Run] = []
    missing: list[tuple[str, str]] = []
    for argument in arguments:
        folders = _folders(argument, root)
        for folder in folders:
            runs += runs_at(folder)
            missing += [(path, "not run yet; rlcl bench runs it") for path in cells_without_run(folder)]
        runs += () if folders else named_runs(argument, root)
    return runs, missing


def _folders(argument: str, root: Path) -> list[Path]:
    """The folders that an argument names; none where it can only be a name or a pattern of runs.

    Raises:
        RunFolderError: a file whose experiment or suite was never run.
        ConfigError: a file that is neither.
    """
    if Path(argument).is_dir():
        return [Path(argument)]
    if argument.endswith((".yaml", ".yml")):
        return _of_file(argument, root)
    if suites := suite_folders(argument, root):
        return _one(argument, suites)
    from rlcl.config import find_file

    try:
        find_file(argument)
    except ConfigError:
        return []
    return [] if (root / argument).is_dir() else _of_file(argument, root)


def _of_file(file: str, root: Path) -> list[Path]:
    from rlcl.config import read_document

    data = read_document(file).data
    if data.keys() >= EXPERIMENT:
        from rlcl.experiment import load_experiment

        experiment = load_experiment(file)
        folder = root / experiment.name / experiment.hash
        if not find_runs(folder):
            raise RunFolderError(f"{file} has no run in {root} as it stands now; start it with: rlcl run {file}")
        return [folder]
    if "sweep" not in data and "base" not in data:
        raise ConfigError(
            [f"{file}: neither an experiment (with stream and learner) nor a suite (with base and sweep)"]
        )
    suites = suite_folders(str(data.get("name", Path(file).stem)), root)
    if not suites:
        raise RunFolderError(f"{file} has no run in {root}; start it with: rlcl bench {file}")
    return _one(file, suites)


def _one(argument: str, suites: Sequence[Path]) -> list[Path]:
    if len(suites) > 1:
        raise RunFolderError(f"{argument} was run with several budgets; name one of {', '.join(map(str, suites))}")
    return list(suites)
