"""Protocols and records of streams: experiences, budgets, visibility, scenarios, data sets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload, runtime_checkable

import attrs
from attrs import frozen

from rlcl.types.sources import ArraySource, Data, EnvironmentSource, Source, TableColumn, TableFormat

if TYPE_CHECKING:
    from rlcl.seeding import Seeds

__all__ = ["UNITS", "Budget", "DataSet", "Experience", "Moments", "Scenario", "Stream", "StreamSpec", "Visibility"]

UNITS = ("epochs", "updates", "samples", "env_steps", "episodes")


@frozen(kw_only=True)
class Budget:
    """Amount of training in each experience. Exactly one of the arguments must be set.

    Args:
        epochs: passes over the training data, at least 1.
        updates: optimizer updates, at least 1.
        samples: training samples, at least 1; rounded up to full minibatches.
        env_steps: environment steps in all parallel environments together, at least 1.
        episodes: finished episodes in all parallel environments together, at least 1.
    """

    epochs: int | None = None
    updates: int | None = None
    samples: int | None = None
    env_steps: int | None = None
    episodes: int | None = None

    def __attrs_post_init__(self) -> None:
        amounts = {k: v for k, v in attrs.asdict(self).items() if v is not None}
        if len(amounts) != 1:
            raise ValueError(f"expected exactly one of {', '.join(UNITS)}; got {', '.join(amounts) or 'none'}")
        ((unit, amount),) = amounts.items()
        if not isinstance(amount, int) or isinstance(amount, bool) or amount < 1:
            raise ValueError(f"{unit}: expected a whole number of at least 1, got {amount!r}")

    @property
    def unit(self) -> str:
        """Unit that is set, for example ``"epochs"``."""
        return self._unit_and_amount[0]

    @property
    def amount(self) -> int:
        """Amount in that unit."""
        return self._unit_and_amount[1]

    @property
    def _unit_and_amount(self) -> tuple[str, int]:
        amounts = (self.epochs, self.updates, self.samples, self.env_steps, self.episodes)
        return next((unit, amount) for unit, amount in zip(UNITS, amounts, strict=True) if amount is not None)

    def __str__(self) -> str:
        unit = self.unit.replace("_", " ")
        return f"{self.amount:,} {unit.removesuffix('s') if self.amount == 1 else unit}"


@frozen(kw_only=True)
class Visibility:
    """Information about the stream that the learner receives; the trainer hides all other information.

    Args:
        task_ids: where task ids are shown: nowhere (``hidden``), in training (``training``), at evaluation
            (``evaluation``), or both (``visible``).
        boundaries: whether the start of a new experience is ``announced`` or ``hidden``.
    """

    task_ids: Literal["hidden", "training", "evaluation", "visible"] = "hidden"
    boundaries: Literal["announced", "hidden"] = "announced"

    @property
    def in_training(self) -> bool:
        """Whether task ids are shown in training."""
        return self.task_ids in ("training", "visible")

    @property
    def at_evaluation(self) -> bool:
        """Whether task ids are shown at evaluation."""
        return self.task_ids in ("evaluation", "visible")


@frozen
class Experience:
    """One part of a stream, with its training and test data.

    Args:
        index: position in the stream, from 0.
        name: human-readable name, for example ``"digits 2-3"``.
        train: training data.
        test: test data, only for evaluation; None in the experience that a learner receives.
        budget: amount of training.
        task_id: index of the task, None if it is hidden.
        validation: held-out part of the training data, None without a split.
        segments: if boundaries are hidden, the experiences that it consists of, in order.
    """

    index: int
    name: str
    train: Source
    test: Source | None
    budget: Budget
    task_id: int | None = None
    validation: Source | None = None
    segments: tuple[Experience, ...] = ()

    @property
    def parts(self) -> tuple[Experience, ...]:
        """The segments in order, or the experience itself if boundaries are announced."""
        return self.segments or (self,)

    @property
    def splits(self) -> tuple[tuple[Literal["train", "validation", "test"], Source], ...]:
        """Names and sources of the splits that exist, the training data first."""
        names: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation", "test")
        pairs = zip(names, (self.train, self.validation, self.test), strict=True)
        return tuple((name, source) for name, source in pairs if source is not None)

    def with_sources(self, change: Callable[[Source], Source]) -> Experience:
        """Return a copy in which ``change`` is applied to all sources, including those of the segments."""
        return attrs.evolve(
            self,
            train=change(self.train),
            test=None if self.test is None else change(self.test),
            validation=None if self.validation is None else change(self.validation),
            segments=tuple(segment.with_sources(change) for segment in self.segments),
        )

    @property
    def arrays(self) -> ArraySource:
        """The training data, in a stream of arrays."""
        assert self.train.kind == "arrays"
        return self.train

    @property
    def environment(self) -> EnvironmentSource:
        """The training environment, in a stream of environments."""
        assert self.train.kind == "environment"
        return self.train


@frozen
class StreamSpec:
    """Information about a stream that a learner receives before it starts.

    Args:
        kind: ``labelled``, ``regression``, ``unlabelled`` or ``environment``.
        observation_shape: shape of one raw input, without the batch dimension.
        classes: number of classes in the whole stream, 0 without classes.
        task_classes: classes of each task, in the order of the stream.
        class_names: human-readable names of the classes.
        targets: number of values to predict for each input, in regression.
        encodable: whether observations are arrays (boxes with at least one dimension), which encoders support.
        columns: columns of a table whose rows are inputs.
        missing: whether NaN in inputs means a missing value.
        reading: format of the text file of a table.
    """

    kind: Literal["labelled", "regression", "unlabelled", "environment"]
    observation_shape: tuple[int, ...]
    classes: int = 0
    task_classes: tuple[tuple[int, ...], ...] = ()
    class_names: tuple[str, ...] = ()
    targets: int = 0
    encodable: bool = True
    columns: tuple[TableColumn, ...] = ()
    missing: bool = False
    reading: TableFormat | None = None


class Moments(Protocol):
    """A drifting stream at the moments of its evaluations, which are the rows of its result matrix R."""

    def column(self, column: Experience, trained_on: int, step: int) -> Experience:
        """Return a column of R as it is evaluated at a moment.

        Args:
            column: one of the evaluated experiences.
            trained_on: index of the experience that is trained on, or has been trained on last; -1 before training.
            step: updates (for environments: env steps) since the start of the stream.
        """
        ...

    def without_test(self) -> Moments:
        """Return the same moments, whose columns have the validation data in the place of the test data."""
        ...

    def values(self, trained_on: int, step: int) -> Mapping[str, float]:
        """Return the present values of the drifting parameters by name, at a moment; see :meth:`column`."""
        ...


@runtime_checkable
class Stream(Protocol):
    """An indexable sequence of experiences. A slice is a stream, whose experiences are numbered from 0."""

    @property
    def experiences(self) -> tuple[Experience, ...]:
        """The experiences in the order of training."""
        ...

    @property
    def spec(self) -> StreamSpec:
        """Shapes and classes."""
        ...

    @property
    def visibility(self) -> Visibility:
        """Information that the trainer shows to the learner."""
        ...

    @property
    def evaluated(self) -> tuple[Experience, ...]:
        """The experiences that are evaluated: the columns of the result matrix R."""
        ...

    @property
    def moments(self) -> Moments | None:
        """Parameters and columns of a drifting stream at its evaluations; None if the stream does not drift."""
        ...

    @property
    def visited(self) -> tuple[int, ...]:
        """Column of R whose task each experience trains; empty if an experience trains no single column."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Experience]: ...

    @overload
    def __getitem__(self, key: int) -> Experience: ...

    @overload
    def __getitem__(self, key: slice) -> Stream: ...

    def changed(
        self,
        *,
        experiences: tuple[Experience, ...] | None = None,
        spec: StreamSpec | None = None,
        visibility: Visibility | None = None,
    ) -> Stream:
        """Return a copy with the arguments replaced that are not None."""
        ...

    def arranged(self, arrange: Callable[[tuple[Experience, ...]], tuple[Experience, ...]]) -> Stream:
        """Return a stream that trains on ``arrange`` of the experiences and is evaluated on the experiences."""
        ...

    def with_environments(
        self, change: Callable[[EnvironmentSource], EnvironmentSource], shape: tuple[int, ...]
    ) -> Stream:
        """Return the stream with ``change`` applied to each environment, whose observations then have this shape."""
        ...

    def with_validation(self, fraction: float, seeds: Seeds) -> Stream:
        """Return the stream with a seeded share in [0, 1) of each experience's training data held out."""
        ...


class DataSet(Protocol):
    """A data set that is loaded on demand."""

    expect: Any = None
    """Expected properties of the data, a :class:`rlcl.data.expect.Expectation`; None without expectations."""

    @abstractmethod
    def load(self) -> Data:
        """Load the data."""
        ...


class Scenario(Protocol):
    """A factory of streams."""

    @abstractmethod
    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        """Make a stream.

        Args:
            seeds: source of randomness of the run.
            budget: amount of training in each experience.
        """
        ...
