"""Reference rows of a bundle: held-out inputs with the learner's outputs, for the parity check and for monitoring."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from attrs import evolve, frozen

from rlcl.data.sources import Environment, read_chunks
from rlcl.evaluation.measures import arrays_of, source_of
from rlcl.evaluation.plan import Plan
from rlcl.training.trainer import Trainer
from rlcl.types import Experience, Stream

__all__ = ["ReferenceRows", "array_reference", "held_out_digests", "visible_task_id", "with_missing_values"]

Array = np.ndarray[Any, Any]
MAX_ROWS, SEED = 2000, 0
INCOMPLETE_ROWS, MISSING_SHARE = 256, 0.25  # maximum rows with missing values, and the share of missing values


@frozen(kw_only=True, eq=False)
class ReferenceRows:
    """Inputs of all experiences in the order of the stream, with the learner's outputs.

    Args:
        inputs: (N, *shape) by the names of the fields.
        labels: (N, ...); None if the data have no labels.
        experiences: (N,) int64, index of each row's experience.
        task_ids: (N,) int64; None if the model takes no task ids.
        states: (N, K) by name, states of a recurrent policy before each row; empty for other models.
        predicted: (N, ...) predictions of the learner.
        next_states: (N, K) by name, states of a recurrent policy after each row; empty for other models.
    """

    inputs: Mapping[str, Array]
    labels: Array | None
    experiences: Array
    task_ids: Array | None
    states: Mapping[str, Array]
    predicted: Array
    next_states: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.experiences)

    def arrays(self) -> dict[str, Array]:
        """Return the inputs of the graph by name."""
        task_ids = {} if self.task_ids is None else {"task_id": self.task_ids}
        return {**self.inputs, **task_ids, **self.states}


def visible_task_id(experience: Experience, stream: Stream) -> int | None:
    """Return the task id if it is visible to the learner at evaluation, otherwise None."""
    return experience.task_id if stream.visibility.at_evaluation else None


def array_reference(trainer: Trainer, tasks: int, dtype: str) -> ReferenceRows:
    """Sample at most 2,000 rows uniformly from the evaluation data of all experiences.

    Args:
        trainer: trainer with the learner's state loaded.
        tasks: number of tasks of a model that takes task ids; 0 for other models.
        dtype: dtype of the input field.
    """
    experiences = trainer.stream.evaluated
    sources = [arrays_of(e, trainer.evaluation) for e in experiences]
    counts = [len(source) for source in sources]
    sampled = np.random.default_rng(SEED).permutation(sum(counts))[:MAX_ROWS]
    starts = np.concatenate([[0], np.cumsum(counts)])
    inputs, labels, predicted, numbers, ids = [], [], [], [], []
    for i, (experience, source) in enumerate(zip(experiences, sources, strict=True)):
        rows = np.sort(sampled[(sampled >= starts[i]) & (sampled < starts[i + 1])]) - starts[i]
        if not len(rows):
            continue
        x, y = source.subset(torch.from_numpy(rows)).read()
        task = visible_task_id(experience, trainer.stream)
        predicted.append(np.asarray(trainer.learner.predict(x, task)[0]))
        inputs.append(x.numpy().astype(dtype, copy=False))
        numbers.append(np.full(len(rows), experience.index))
        ids.append(np.full(len(rows), task if task is not None else 0))
        if y is not None:
            labels.append(y.numpy())
    return ReferenceRows(
        inputs={"input": np.concatenate(inputs)},
        labels=np.concatenate(labels) if labels else None,
        experiences=np.concatenate(numbers),
        task_ids=np.concatenate(ids) if tasks else None,
        states={},
        predicted=np.concatenate(predicted),
        next_states={},
    )


def with_missing_values(reference: ReferenceRows, trainer: Trainer) -> ReferenceRows:
    """Return at most 256 of the rows with a quarter of their values missing, and with all values of the first row.

    The graph must impute any missing value in the same way as the learner's encoder, including values that are never
    missing in the data.

    Args:
        reference: rows of arrays.
        trainer: trainer with the learner's state loaded.
    """
    rng = np.random.default_rng(SEED)
    rows = np.sort(rng.permutation(len(reference))[:INCOMPLETE_ROWS])
    x = reference.inputs["input"][rows].copy()
    x[rng.random(x.shape) < MISSING_SHARE] = np.nan
    x[0] = np.nan
    tasks = {e.index: visible_task_id(e, trainer.stream) for e in trainer.stream.evaluated}
    numbers = reference.experiences[rows]
    parts = [
        np.asarray(trainer.learner.predict(torch.from_numpy(x[numbers == number]), tasks[number])[0])
        for number in np.unique(numbers)  # ascending, as in the stream
    ]
    return evolve(
        reference,
        inputs={"input": x},
        labels=None,
        experiences=numbers,
        task_ids=None if reference.task_ids is None else reference.task_ids[rows],
        predicted=np.concatenate(parts),
    )


def held_out_digests(stream: Stream, plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield the digests of the evaluation data of each experience: rows and SHA-256, or the environment's settings."""
    for experience in stream.evaluated:
        source = source_of(experience, plan)
        split = "validation" if source is experience.validation else "test"
        entry = {"index": experience.index, "name": experience.name, "split": split}
        if isinstance(source, Environment):  # the interface has only some of these settings
            settings = f"{source.recipe[:-1]}, {source.frames}, {source.flat})"  # as a tuple, as in older bundles
            yield {**entry, "seed": source.seed, "environment": hashlib.sha256(settings.encode()).hexdigest()}
            continue
        assert source.kind == "arrays"
        inputs, labels = hashlib.sha256(), hashlib.sha256()
        for x, y in read_chunks(source):
            inputs.update(x.contiguous().numpy().data)
            if y is not None:
                labels.update(y.contiguous().numpy().data)
        label_digest = {} if source.targets is None else {"labels": labels.hexdigest()}
        yield {**entry, "rows": len(source), "inputs": inputs.hexdigest(), **label_digest}
