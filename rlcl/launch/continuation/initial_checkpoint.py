"""First checkpoint of a run that continues a finished run, with the final state of that run.

From this checkpoint, the run is resumed like any other run.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console

from rlcl.errors import CheckpointError, RunFolderError, UnsupportedError
from rlcl.experiment import Experiment
from rlcl.launch.build import make_stream, make_trainer
from rlcl.launch.continuation.parent_runs import OPTION, parent_experiment
from rlcl.launch.continuation.reopened_experience import ParentState, reopen_last_experience
from rlcl.launch.continuation.stream_check import check_budgets_continue, check_stream_continues
from rlcl.launch.seed_run import run_folder
from rlcl.registry import name_of
from rlcl.run_format import RUN_FOLDER
from rlcl.seeding import preserved_global_state
from rlcl.streams.stream import Stream
from rlcl.strict_json import json_text
from rlcl.tracking.checksum import Checksum
from rlcl.tracking.folder import RECORDS, RunFolder, disk_errors
from rlcl.tracking.jsonlines import read_lines
from rlcl.tracking.manifest import data_hash
from rlcl.tracking.runs import StoredRun
from rlcl.training import checkpoint
from rlcl.training.trainer import Trainer
from rlcl.types import Exportable

__all__ = ["write_initial_checkpoint"]


def write_initial_checkpoint(experiment: Experiment, run: StoredRun, root: Path, console: Console) -> None:
    """Prepare the folder of a run that continues another run; do nothing if it has a checkpoint already.

    Args:
        experiment: the experiment from :func:`rlcl.launch.continuation.parent_runs.continued_experiment`.
        run: the finished run of the same seed.
        root: the folder of all runs.
        console: console for a message about the continued run.

    Raises:
        RlclError: the run cannot be continued.
    """
    folder = RunFolder(run_folder(root, experiment, run.seed))
    try:
        if any(folder.checkpoints.glob("[0-9]*")):
            return
        with preserved_global_state():
            stream, trainer, parent_state, change = _continued_trainer(experiment, run)
            state = trainer.state_dict()
        lengths = _copy_files(parent_state, experiment, run, folder)
        step = parent_state.step
        parent = {"path": str(run.path), "hash": experiment.continued_from, "seed": run.seed, "step": step}
        folder.write_json("manifest.json", {"format": RUN_FOLDER.version, "data": data_hash(stream), "parent": parent})
        records = Checksum.of_file(folder.path / RECORDS).as_json
        content = {"trainer": state, "lengths": lengths, "records": records, "clock": parent_state.clock}
        checkpoint.save(folder.checkpoints, 0, content)
        console.print(f"continuing {run.path} at step {step:,}: {change}", soft_wrap=True)
    finally:
        folder.close()


def _continued_trainer(experiment: Experiment, run: StoredRun) -> tuple[Stream, Trainer, ParentState, str]:
    """Return the new stream, a trainer in the final state of the run, that state, and a description of the change."""
    parent, seed = parent_experiment([run]), run.seed
    numbered_state = checkpoint.load_newest(run.path / "checkpoints", lambda text: warnings.warn(text, stacklevel=2))
    if numbered_state is None:
        raise CheckpointError(f"{OPTION}: {run.path} has no checkpoint; remove the run with rlcl runs rm and repeat it")
    old, new = make_stream(parent, seed), make_stream(experiment, seed)
    if data_hash(old) != run.manifest.get("data"):
        raise RunFolderError(f"{OPTION}: the data of {run.path} have changed since it was trained; restore them")
    check_stream_continues(old, new)
    if experiment.budget == parent.budget:
        check_budgets_continue(old, new)
    parent_state = ParentState.of(run, numbered_state[1])
    trainer = make_trainer(experiment, seed, new)
    added = len(new) - len(old)
    if added:
        learner_state = _grown_state(trainer, parent_state.trainer["learner"], old, new)
        _load(trainer, {**parent_state.trainer, "learner": learner_state}, run)
        names = ", ".join(e.name for e in new.experiences[len(old) :])
        return new, trainer, parent_state, f"{added} more experience{'s' if added > 1 else ''} ({names})"
    _load(trainer, parent_state.trainer, run)
    parent_state = reopen_last_experience(trainer, parent_state, old, parent.budget)
    before, after = old.experiences[-1], new.experiences[-1]
    return new, trainer, parent_state, f"{after.name} from {before.budget} to {after.budget}"


def _grown_state(trainer: Trainer, state: Mapping[str, Any], old: Stream, new: Stream) -> Mapping[str, Any]:
    """Return a learner's state, grown to the classes and tasks of the new stream if the learner supports it."""
    learner = trainer.learner
    exportable = learner if isinstance(learner, Exportable) else None
    if old.spec.classes != new.spec.classes and (exportable is None or not exportable.grows):
        raise UnsupportedError(
            f"stream: it has {new.spec.classes} classes, and the run's stream had {old.spec.classes}; learner "
            f"{name_of('learner', learner)} cannot take more classes; start a new run"
        )
    return state if exportable is None else exportable.grown(state)


def _load(trainer: Trainer, state: Mapping[str, Any], run: StoredRun) -> None:
    try:
        trainer.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError, TypeError, IndexError) as error:
        raise UnsupportedError(
            f"{OPTION}: the state of {run.path} does not fit the learner on this stream "
            f"({str(error).splitlines()[0]}); start a new run"
        ) from error


def _copy_files(parent: ParentState, experiment: Experiment, run: StoredRun, folder: RunFolder) -> dict[str, int]:
    """Copy records, events, costs and TensorBoard files of a run to the new folder; return the lengths of the files."""
    lines: dict[str, Sequence[Mapping[str, Any]]] = {
        "records": [attrs.asdict(attrs.evolve(r, run=experiment.hash)) for r in parent.records],
        "events": list(read_lines(run.path / "events.jsonl")),
        "costs": parent.costs,
    }
    lengths = {}
    with disk_errors(folder.path):
        for name, rows in lines.items():
            file = folder.path / f"{name}.jsonl"
            file.write_text("".join(json_text(row, separators=(",", ":")) + "\n" for row in rows))
            lengths[name] = file.stat().st_size
        for name in ("shown", "projector"):
            if (run.path / "tensorboard" / name).is_dir():
                shutil.copytree(run.path / "tensorboard" / name, folder.tensorboard / name, dirs_exist_ok=True)
    return lengths
