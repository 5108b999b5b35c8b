"""Base class of gradient-free learners that need a single pass over the data."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import numpy as np
import torch
from attrs import define, field
from torch import Tensor

from rlcl.config import option
from rlcl.errors import UnsupportedError
from rlcl.learners.boundary import EncoderFitting
from rlcl.learners.minibatches import fitting_rows
from rlcl.learners.stream_kinds import check_stream_kind
from rlcl.registry import name_of
from rlcl.state import clone_state, tensor_bytes
from rlcl.types import Batch, Budget, Costs, Encoder, Event, Experience, Exportable, Position, Setup, TaskIds

__all__ = ["OnePassLearner"]


@define(kw_only=True, eq=False)
class OnePassLearner(Exportable, ABC):
    """Learner that observes each minibatch once, in the order of the source; subclasses define its statistics.

    Args:
        batch_size: samples in a minibatch; the result does not depend on it if the statistics are exact.
    """

    batch_size: int = option(256, ge=1)

    position: Position = field(init=False, factory=Position)
    _setup: Setup = field(init=False, default=None)
    _fitting: EncoderFitting = field(init=False, default=None)
    _samples: int = field(init=False, default=0)
    _raw: Tensor = field(init=False, default=None)

    @property
    @abstractmethod
    def measures(self) -> tuple[str, ...]:
        """See :class:`rlcl.types.Predictor`."""

    @property
    @abstractmethod
    def needs(self) -> frozenset[str]:
        """The supported kinds of stream; see :class:`rlcl.types.StreamSpec`."""

    @abstractmethod
    def start(self, setup: Setup, features: int) -> None:
        """Create empty statistics for a number of encoded features."""

    @abstractmethod
    def observe(self, x: Tensor, y: Tensor | None) -> Mapping[str, float]:
        """Add a minibatch to the statistics.

        Args:
            x: (B, features) float32 encoded inputs.
            y: (B,) int64 targets, or None without labels.

        Returns:
            Values for the next event, by name.
        """

    def finish(self) -> Mapping[str, float]:
        """Finish an experience after all its minibatches, and return values for its last event by name."""
        return {}

    @abstractmethod
    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
        """See :class:`rlcl.types.Predictor`."""

    @abstractmethod
    def statistics(self) -> dict[str, Any]:
        """Return the learned statistics."""

    @abstractmethod
    def load_statistics(self, state: Mapping[str, Any]) -> None:
        """Restore statistics that :meth:`statistics` returned."""

    @property
    def resumable_within(self) -> bool:
        return True

    @property
    def encoder(self) -> Encoder:
        return self._setup.encoder

    def prepare(self, setup: Setup) -> None:
        name = name_of("learner", self)
        check_stream_kind(name, self.needs, setup.spec.kind)
        for experience in setup.stream:
            for part in experience.parts:
                if part.budget != Budget(epochs=1):
                    raise UnsupportedError(
                        f"budget.{part.budget.unit}: got {part.budget.amount}, but learner {name} needs a single pass; "
                        "write budget: {epochs: 1}"
                    )
        self._setup = setup
        self._fitting = EncoderFitting.of(setup)
        self.start(setup, math.prod(setup.encoder.shape(setup.spec.observation_shape)))

    def refuses(self, key: str, value: str) -> str | None:
        """See :class:`rlcl.types.BoundaryLearner`."""
        if key == "encoder":
            return None
        return "its statistics of the examples are all that it learns" if key == "memory" else f"it has no {key}"

    def steps(self, experience: Experience) -> int:
        """Return the number of minibatches in one pass."""
        return sum(math.ceil(_rows(part) / self.batch_size) for part in experience.parts)

    def learn(self, experience: Experience) -> Iterator[Event | None]:
        self.position.begin(experience)
        for part in experience.parts[self.position.segment :]:
            yield from self._learn_part(experience, part)

    def _learn_part(self, experience: Experience, part: Experience) -> Iterator[Event | None]:
        position, interval = self.position, self._setup.event_interval
        source = part.arrays
        if position.update == 0 and self._fitting.due(part):
            self.encoder.fit(fitting_rows(source))
        minibatches = torch.split(torch.arange(len(source)), self.batch_size)
        for rows in minibatches[position.update :]:
            started = time.perf_counter()
            x, y = source.subset(rows).read()
            self._raw = x
            ids = experience.task_id if source.task_ids is None else source.task_ids[rows]
            values = self.observe(self.features(x, ids), y)
            self._samples += len(rows)
            position.advance()
            finished = position.update == len(minibatches)
            if finished and position.end(experience):
                values = {**values, **self.finish()}
            event = None
            if position.step % interval == 0 or finished:
                rate = len(rows) / max(time.perf_counter() - started, 1e-9)
                event = Event(position.step, {**values, "samples_per_second": rate})
            yield event

    def costs(self) -> Costs:
        """See :class:`rlcl.types.Spending`; the statistics count as memory."""
        return Costs(parameters=0, memory_bytes=tensor_bytes(self.statistics()), updates=0, samples=self._samples)

    def raw(self, batch: Batch) -> Tensor:
        """See :class:`rlcl.types.RawHost`; returns the raw inputs of the current minibatch."""
        return self._raw.to(self._setup.device)

    def encoded(self, x: Any, task_id: TaskIds = None) -> Tensor:
        """See :class:`rlcl.types.RawHost`."""
        tensor = x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))
        return self.encoder.encode(tensor, task_id).to(self._setup.device)

    def features(self, x: Any, task_id: TaskIds = None) -> Tensor:
        """Return the encoded features (B, features) float32 of raw inputs (B, *observation)."""
        return self.encoded(x, task_id).flatten(1)

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = clone_state(
            {
                "position": attrs.asdict(self.position),
                "encoder": self.encoder.state_dict(),
                "statistics": self.statistics(),
                "samples": self._samples,
            }
        )
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        state = clone_state(state)
        self.position = Position(**state["position"])
        self.encoder.load_state_dict(state["encoder"])
        self.load_statistics(state["statistics"])
        self._samples = state["samples"]


def _rows(experience: Experience) -> int:
    return len(experience.arrays)
