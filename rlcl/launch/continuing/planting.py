"""The last state of a finished run as the first checkpoint of the run that continues it.

All else is as with any run that is resumed: what is killed goes on, what is finished is not repeated.
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
from rlcl.launch.continuing.parents import OPTION, parent_of
from rlcl.launch.continuing.streams import check_beginning
from rlcl.launch.continuing.taking_up import Past, taken_up
from rlcl.launch.running import run_folder
from rlcl.registry import name_of
from rlcl.run_format import RUN_FOLDER
from rlcl.seeding import preserved_global_state
from rlcl.streams.stream import Stream
from rlcl.strict_json import json_text
from rlcl.tracking.folder import RECORDS, RunFolder, disk_errors
from rlcl.tracking.jsonlines import read_lines
from rlcl.tracking.manifest import data_hash
from rlcl.tracking.runs import Run
from rlcl.tracking.stamp import Stamp
from rlcl.training import checkpoint
from rlcl.training.trainer import Trainer
from rlcl.types import Exportable

__all__ = ["plant"]


def plant(experiment: Experiment, run: Run, root: Path, console: Console) -> None:
    """Prepares the folder of a run that continues another one; nothing where that has been done.

    Args:
        experiment: as :func:`rlcl.launch.continuing.parents.continuing` made it.
        run: finished, of the same seed.
        root: the folder of all runs.
        console: what is continued is said there.

    Raises:
        RlclError: what cannot be continued, by name and reason.
    """
    folder = RunFolder(run_folder(root, experiment, run.seed))
    try:
        if any(folder.checkpoints.glob("[0-9]*")):
            return
        with preserved_global_state():
            stream, trainer, past, said = _continued(experiment, run)
            state = trainer.state_dict()
        lengths = _carry_over(past, experiment, run, folder)
        parent = {"path": str(run.path), "hash": experiment.continued_from, "seed": run.seed, "step": past.step}
        folder.write_json("manifest.json", {"format": RUN_FOLDER.version, "data": data_hash(stream), "parent": parent})
        stamp = Stamp.of_file(folder.path / RECORDS)
        kept = {"trainer": state, "lengths": lengths, "records": stamp.as_json, "clock": past.clock}
        checkpoint.save(folder.checkpoints, 0, kept)
        console.print(f"continuing {run.path} at step {past.step:,}: {said}", highlight=False, soft_wrap=True)
    finally:
        folder.close()


def _continued(experiment: Experiment, run: Run) -> tuple[Stream, Trainer, Past, str]:
    """A trainer in the state that the run left, ready for more; and what there is more of."""
    parent, seed = parent_of([run]), run.seed
    found = checkpoint.load_newest(run.path / "checkpoints", lambda text: warnings.warn(text, stacklevel=2))
    if found is None:
        raise CheckpointError(f"{OPTION}: {run.path} has no checkpoint; remove the run with rlcl runs rm and repeat it")
    old, new = make_stream(parent, seed), make_stream(experiment, seed)
    if data_hash(old) != run.manifest.get("data"):
        raise RunFolderError(f"{OPTION}: the data of {run.path} have changed since it was trained; restore them")
    check_beginning(old, new)
    past = Past.of(run, found[1])
    trainer = make_trainer(experiment, seed, new)
    more = len(new) - len(old)
    if more:
        _load(trainer, {**past.trainer, "learner": _grown(trainer, past.trainer["learner"], old, new)}, run)
        names = ", ".join(e.name for e in new.experiences[len(old) :])
        return new, trainer, past, f"{more} more experience{'s' if more > 1 else ''} ({names})"
    _load(trainer, past.trainer, run)
    past = taken_up(trainer, past, old, parent.budget)
    name = new.experiences[-1].name
    return new, trainer, past, f"{name} from {parent.budget} to {experiment.budget}"


def _grown(trainer: Trainer, state: Mapping[str, Any], old: Stream, new: Stream) -> Mapping[str, Any]:
    learner = trainer.learner
    exportable = learner if isinstance(learner, Exportable) else None
    if old.spec.classes != new.spec.classes and (exportable is None or not exportable.grows):
        raise UnsupportedError(
            f"stream: it has {new.spec.classes} classes, and the run's had {old.spec.classes}; learner "
            f"{name_of('learner', learner)} cannot take more classes: start a new run"
        )
    return state if exportable is None else exportable.grown(state)


def _load(trainer: Trainer, state: Mapping[str, Any], run: Run) -> None:
    try:
        trainer.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError, TypeError, IndexError) as error:
        raise UnsupportedError(
            f"{OPTION}: the state of {run.path} does not fit the learner on this stream "
            f"({str(error).splitlines()[0]}); start a new run"
        ) from error


def _carry_over(past: Past, experiment: Experiment, run: Run, folder: RunFolder) -> dict[str, int]:
    """Copies what a run recorded under the new run's name; the lengths of the files."""
    lines: dict[str, Sequence[Mapping[str, Any]]] = {
        "records": [attrs.asdict(attrs.evolve(r, run=experiment.hash)) for r in past.records],
        "events": list(read_lines(run.path / "events.jsonl")),
        "costs": past.costs,
    }
    lengths = {}
    with disk_errors(folder.path):
        for name, rows in lines.items():
            file = folder.path / f"{name}.jsonl"
            file.write_text("".join(json_text(row, separators=(",", ":")) + "\n" for row in rows))
            lengths[name] = file.stat().st_size
        for shown in ("shown", "projector"):
            if (run.path / "tensorboard" / shown).is_dir():
                shutil.copytree(run.path / "tensorboard" / shown, folder.tensorboard / shown, dirs_exist_ok=True)
    return lengths
