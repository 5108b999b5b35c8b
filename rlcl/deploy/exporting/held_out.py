"""What a bundle is checked on, and monitored against: inputs that nothing learned from, with the learner's answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from attrs import evolve, frozen

from rlcl.data.sources import Environment, pieces
from rlcl.evaluation.measures import arrays_of, source_of
from rlcl.evaluation.plan import Plan
from rlcl.training.trainer import Trainer
from rlcl.types import Experience, Stream

__all__ = ["Reference", "array_reference", "digests", "shown_task", "with_holes"]

Array = np.ndarray[Any, Any]
ROWS, SEED = 2000, 0
ROWS_WITH_HOLES, HOLES = 256, 0.25  # of them, and the share of their values that is left out


@frozen(kw_only=True, eq=False)
class Reference:
    """Held-out inputs of all experiences, in the order of the stream.

    Args:
        inputs: (N, *shape) by the names of fields.
        labels: (N, ...), None without labels.
        experiences: (N,) int64, which experience each row is of.
        task_ids: (N,) int64, None where the model is told none.
        states: (N, K) before each row, by name, of recurrent policies.
        predicted: (N, ...) what the learner answers.
        following: (N, K) the states that it hands on.
    """

    inputs: Mapping[str, Array]
    labels: Array | None
    experiences: Array
    task_ids: Array | None
    states: Mapping[str, Array]
    predicted: Array
    following: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.experiences)

    def arrays(self) -> dict[str, Array]:
        """What the graph is fed with."""
        told = {} if self.task_ids is None else {"task_id": self.task_ids}
        return {**self.inputs, **told, **self.states}


def shown_task(experience: Experience, stream: Stream) -> int | None:
    """The task id that the learner is told at evaluation."""
    return experience.task_id if stream.visibility.at_evaluation else None


def array_reference(trainer: Trainer, tasks: int, dtype: str) -> Reference:
    """At most 2,000 rows, drawn over all experiences alike.

    Args:
        trainer: with the learner's state loaded.
        tasks: that the model is told apart by, 0 for none.
        dtype: of the input field.
    """
    experiences = trainer.stream.evaluated
    sources = [arrays_of(e, trainer.evaluation) for e in experiences]
    counts = [len(source) for source in sources]
    drawn = np.random.default_rng(SEED).permutation(sum(counts))[:ROWS]
    starts = np.concatenate([[0], np.cumsum(counts)])
    inputs, labels, predicted, numbers, ids = [], [], [], [], []
    for place, (experience, source) in enumerate(zip(experiences, sources, strict=True)):
        rows = np.sort(drawn[(drawn >= starts[place]) & (drawn < starts[place + 1])]) - starts[place]
        if not len(rows):
            continue
        x, y = source.subset(torch.from_numpy(rows)).read()
        task = shown_task(experience, trainer.stream)
        predicted.append(np.asarray(trainer.learner.predict(x, task)[0]))
        inputs.append(x.numpy().astype(dtype, copy=False))
        numbers.append(np.full(len(rows), experience.index))
        ids.append(np.full(len(rows), task if task is not None else 0))
        if y is not None:
            labels.append(y.numpy())
    return Reference(
        inputs={"input": np.concatenate(inputs)},
        labels=np.concatenate(labels) if labels else None,
        experiences=np.concatenate(numbers),
        task_ids=np.concatenate(ids) if tasks else None,
        states={},
        predicted=np.concatenate(predicted),
        following={},
    )


def with_holes(reference: Reference, trainer: Trainer) -> Reference:
    """Some of the same rows with a quarter of their values missing, the first row with all of them.

    Which values were missing in the data is chance: the graph must fill in any as the learner's encoder does.

    Args:
        reference: of arrays.
        trainer: with the learner's state loaded.
    """
    rng = np.random.default_rng(SEED)
    rows = np.sort(rng.permutation(len(reference))[:ROWS_WITH_HOLES])
    x = reference.inputs["input"][rows].copy()
    x[rng.random(x.shape) < HOLES] = np.nan
    x[0] = np.nan
    tasks = {e.index: shown_task(e, trainer.stream) for e in trainer.stream.evaluated}
    numbers = reference.experiences[rows]
    parts = [
        np.asarray(trainer.learner.predict(torch.from_numpy(x[numbers == number]), tasks[number])[0])
        for number in np.unique(numbers)  # they come in the order of the stream
    ]
    return evolve(
        reference,
        inputs={"input": x},
        labels=None,
        experiences=numbers,
        task_ids=None if reference.task_ids is None else reference.task_ids[rows],
        predicted=np.concatenate(parts),
    )


def digests(stream: Stream, plan: Plan) -> Iterator[dict[str, Any]]:
    """Of each experience what it is evaluated on: rows and SHA-256 of its arrays, or its environment's recipe."""
    for experience in stream.evaluated:
        source = source_of(experience, plan)
        split = "validation" if source is experience.validation else "test"
        described = {"index": experience.index, "name": experience.name, "split": split}
        if isinstance(source, Environment):  # its recipe holds more than the protocol shows
            recipe = repr((str(source.env), dict(source.kwargs), dict(source.attributes), source.frames, source.flat))
            yield {**described, "seed": source.seed, "environment": hashlib.sha256(recipe.encode()).hexdigest()}
            continue
        assert source.kind == "arrays"
        inputs, labels = hashlib.sha256(), hashlib.sha256()
        for x, y in pieces(source):
            inputs.update(x.contiguous().numpy().data)
            if y is not None:
                labels.update(y.contiguous().numpy().data)
        known = {} if source.targets is None else {"labels": labels.hexdigest()}
        yield {**described, "rows": len(source), "inputs": inputs.hexdigest(), **known}
