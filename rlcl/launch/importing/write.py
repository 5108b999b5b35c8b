"""Run folders for results of other libraries."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import frozen

from rlcl.config import unstructure
from rlcl.errors import DataError, RunFolderError
from rlcl.evaluation.outcome import Outcome
from rlcl.experiment import Experiment, config_hash, dump_config
from rlcl.launch.build import make_stream
from rlcl.launch.finished_run import outcome_summary
from rlcl.launch.importing.avalanche import read_avalanche
from rlcl.launch.importing.results import ForeignResults, raise_no_results
from rlcl.launch.importing.stable_baselines3 import read_stable_baselines3
from rlcl.run_format import RUN_FOLDER
from rlcl.streams.stream import Stream
from rlcl.tracking.folder import RunFolder, disk_errors, read_records, write_atomically
from rlcl.tracking.manifest import data_hash
from rlcl.types import Boundary, Record

__all__ = ["Imported", "import_run"]


@frozen
class Imported:
    """An imported run.

    Args:
        path: its run folder.
        library: library of the results.
        new: False if the same results had been imported before.
    """

    path: Path
    library: str
    new: bool


def import_run(
    folder: Path, experiment: Experiment, learner: str, seed: int, root: Path, training_episodes: int | None = None
) -> Imported:
    """Write the results of a run of another library as a finished run.

    Args:
        folder: folder with the results of one run.
        experiment: experiment with the stream, budget and evaluation of the run; its learner is not used.
        learner: name of the learner in comparisons.
        seed: seed of the run.
        root: folder of all runs.
        training_episodes: see :func:`rlcl.launch.importing.stable_baselines3.read_stable_baselines3`.

    Raises:
        DataError: there are no results, they are damaged, or they have other experiences than the stream.
        RunFolderError: another result is stored as this run.
    """
    results = read_stable_baselines3(folder, training_episodes) or read_avalanche(folder)
    if results is None:
        raise_no_results(folder)
    stream = make_stream(experiment, seed)
    _check_experiences(results, stream, folder)
    config = _config(experiment, learner, results.library)
    key = config_hash(config)
    records = [Record(key, seed, e.step, e.trained_on, e.evaluated_on, e.measure, e.value) for e in results.evaluations]
    path = root / experiment.name / key / f"seed{seed}"
    if (path / "summary.json").is_file():
        if list(read_records(path)) == records:
            return Imported(path, results.library, new=False)
        raise RunFolderError(
            f"{path} contains other results for {learner} with seed {seed}; import these with another --seed or "
            "--learner, or remove the run with rlcl runs rm"
        )
    with closing(RunFolder(path)) as run:
        _write(run, config, records, results, stream, seed, folder)
    return Imported(path, results.library, new=True)


def _check_experiences(results: ForeignResults, stream: Stream, folder: Path) -> None:
    columns = 1 + max(evaluation.evaluated_on for evaluation in results.evaluations)
    rows = 1 + max(evaluation.trained_on for evaluation in results.evaluations)
    if columns > len(stream.evaluated) or rows > len(stream):
        raise DataError(
            f"{folder} contains {rows} trained and {columns} evaluated experiences, and the stream of the experiment "
            f"has {len(stream)} and {len(stream.evaluated)}; name the experiment whose stream was used: --on"
        )


def _config(experiment: Experiment, learner: str, library: str) -> dict[str, Any]:
    config = unstructure(experiment)
    imported = {"type": learner, "imported_from": library}
    return {**config, "learner": imported, "encoder": None, "boundary": None, "objective": None, "sinks": []}


def _write(
    run: RunFolder,
    config: Mapping[str, Any],
    records: list[Record],
    results: ForeignResults,
    stream: Stream,
    seed: int,
    source: Path,
) -> None:
    with disk_errors(run.path):
        write_atomically(run.path / "config.yaml", dump_config(config))
    run.open({})
    for item in (*results.events, *records):
        run.write(item)
    last = max(record.step for record in records)
    run.write(Boundary(last, len(stream) - 1))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    provenance = {"imported": {"from": str(source), "library": results.library}}
    run.write_json(
        "manifest.json",
        {"format": RUN_FOLDER.version, "started": now, "seed": seed, "data": data_hash(stream), **provenance},
    )
    measures = tuple(dict.fromkeys(record.metric for record in records))
    outcome = Outcome(tuple(records), measures, tuple(config["evaluation"]["metrics"] or ()))
    summary = {
        **outcome_summary(outcome, stream),
        "steps": last,
        **({} if results.seconds is None else {"seconds": results.seconds}),
        "records": run.checksum().as_json,
    }
    run.write_json("summary.json", summary)
    run.write_status("finished", step=last)
