"""What a stream is made of, and how much of it is shown."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload, runtime_checkable

import attrs
from attrs import frozen

from rlcl.types.sources import ArraySource, Column, Data, EnvironmentSource, Reading, Source

if TYPE_CHECKING:
    from rlcl.seeding import Seeds

__all__ = ["UNITS", "Budget", "DataSet", "Experience", "Scenario", "Stream", "StreamSpec", "Visibility"]

UNITS = ("epochs", "updates", "samples", "env_steps", "episodes")


@frozen(kw_only=True)
class Budget:
    """How much training one experience gets, in exactly one unit.

    Args:
        epochs: passes over the training data, at least 1.
        updates: optimizer updates, at least 1.
        samples: training samples drawn, at least 1; rounded up to whole minibatches.
        env_steps: environment steps over all parallel environments, at least 1.
        episodes: episodes finished over all parallel environments, at least 1.
    """

    epochs: int | None = None
    updates: int | None = None
    samples: int | None = None
    env_steps: int | None = None
    episodes: int | None = None

    def __attrs_post_init__(self) -> None:
        given = {k: v for k, v in attrs.asdict(self).items() if v is not None}
        if len(given) != 1:
            found = f"got {', '.join(given)}" if given else "got none"
            raise ValueError(f"expected exactly one of {', '.join(UNITS)}; {found}")
        ((unit, amount),) = given.items()
        if not isinstance(amount, int) or isinstance(amount, bool) or amount < 1:
            raise ValueError(f"{unit}: expected a whole number of at least 1, got {amount!r}")

    @property
    def unit(self) -> str:
        """The unit that was given, for example ``"epochs"``."""
        return self._given[0]

    @property
    def amount(self) -> int:
        """How many of that unit."""
        return self._given[1]

    @property
    def _given(self) -> tuple[str, int]:
        amounts = (self.epochs, self.updates, self.samples, self.env_steps, self.episodes)
        return next((unit, amount) for unit, amount in zip(UNITS, amounts, strict=True) if amount is not None)

    def __str__(self) -> str:
        unit = self.unit.replace("_", " ")
        return f"{self.amount:,} {unit.removesuffix('s') if self.amount == 1 else unit}"


@frozen(kw_only=True)
class Visibility:
    """What the protocol shows of the stream; the trainer hides the rest.

    Args:
        task_ids: where the task's number is shown: nowhere (``hidden``), while training
            (``training``), at evaluation (``evaluation``), or in both (``visible``).
        boundaries: whether the start of a new experience is ``announced`` or ``hidden``.
    """

    task_ids: Literal["hidden", "training", "evaluation", "visible"] = "hidden"
    boundaries: Literal["announced", "hidden"] = "announced"

    @property
    def in_training(self) -> bool:
        return self.task_ids in ("training", "visible")

    @property
    def at_evaluation(self) -> bool:
        return self.task_ids in ("evaluation", "visible")


@frozen
class Experience:
    """One stretch of a stream, with what it is trained and evaluated on.

    Args:
        index: place in the stream, from 0.
        name: for people, for example ``"digits 2-3"``.
        train: what is learned from.
        test: what evaluation alone sees; None in a learner's hands.
        budget: how much training it gets.
        task_id: the task's number, None where the protocol hides it.
        validation: held out of the training data, None without a split.
        segments: where boundaries are hidden, the experiences it is made of, drawn in order.
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
        """The segments in the order they are drawn; itself where boundaries are announced."""
        return self.segments or (self,)

    @property
    def splits(self) -> tuple[tuple[Literal["train", "validation", "test"], Source], ...]:
        """Those sources that there are, by name, the training data first."""
        names: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation", "test")
        pairs = zip(names, (self.train, self.validation, self.test), strict=True)
        return tuple((name, source) for name, source in pairs if source is not None)

    def with_sources(self, change: Callable[[Source], Source]) -> Experience:
        """The same experience, its segments' too, of changed sources."""
        return attrs.evolve(
            self,
            train=change(self.train),
            test=None if self.test is None else change(self.test),
            validation=None if self.validation is None else change(self.validation),
            segments=tuple(segment.with_sources(change) for segment in self.segments),
        )

    @property
    def arrays(self) -> ArraySource:
        """What is learned from, in a stream of arrays."""
        assert self.train.kind == "arrays"
        return self.train

    @property
    def environment(self) -> EnvironmentSource:
        """What is learned from, in a stream of environments."""
        assert self.train.kind == "environment"
        return self.train


@frozen
class StreamSpec:
    """What a learner may know of a stream before it starts.

    Args:
        kind: ``labelled``, ``regression``, ``unlabelled`` or ``environment``.
        observation_shape: shape of one raw input, without the batch.
        classes: number of classes over the whole stream, 0 without classes.
        task_classes: the classes of each task, in the order of the stream.
        class_names: for people.
        targets: numbers to predict for each input, in regression.
        encodable: whether observations are arrays (boxes of one dimension or more), which an encoder takes.
        columns: of inputs that are rows of a table.
        missing: whether NaN in inputs stands for a value that is not known.
        reading: how the file of a table was read.
    """

    kind: Literal["labelled", "regression", "unlabelled", "environment"]
    observation_shape: tuple[int, ...]
    classes: int = 0
    task_classes: tuple[tuple[int, ...], ...] = ()
    class_names: tuple[str, ...] = ()
    targets: int = 0
    encodable: bool = True
    columns: tuple[Column, ...] = ()
    missing: bool = False
    reading: Reading | None = None


@runtime_checkable
class Stream(Protocol):
    """An indexable sequence of experiences; a slice of it is a stream, numbered from 0 again."""

    @property
    def experiences(self) -> tuple[Experience, ...]:
        """In the order in which they are trained on."""
        ...

    @property
    def spec(self) -> StreamSpec: ...

    @property
    def visibility(self) -> Visibility:
        """What the trainer shows of it."""
        ...

    @property
    def evaluated(self) -> tuple[Experience, ...]:
        """What R has a column for."""
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
        """The same stream but for what is given."""
        ...

    def arranged(self, arrange: Callable[[tuple[Experience, ...]], tuple[Experience, ...]]) -> Stream:
        """A stream that trains on something made of this one's experiences, and is evaluated on these."""
        ...

    def with_environments(
        self, change: Callable[[EnvironmentSource], EnvironmentSource], shape: tuple[int, ...]
    ) -> Stream:
        """The same stream over changed environments, each observation an array of that shape."""
        ...

    def with_validation(self, fraction: float, seeds: Seeds) -> Stream:
        """Holds out a seeded share in [0, 1) of every experience's training data."""
        ...


class DataSet(Protocol):
    """A data set by name, loaded when it is needed."""

    expect: Any = None
    """What the data are expected to be, a :class:`rlcl.data.expect.Expectation`; None where nothing is said."""

    @abstractmethod
    def load(self) -> Data: ...


class Scenario(Protocol):
    """Makes a stream out of sources."""

    @abstractmethod
    def make(self, seeds: Seeds, budget: Budget) -> Stream: ...
