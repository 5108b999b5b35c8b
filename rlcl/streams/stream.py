"""A stream: an indexable sequence of experiences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, overload

import attrs
import torch
from attrs import field, frozen
from torch import Tensor

from rlcl.data.validation import tell
from rlcl.errors import DataError
from rlcl.seeding import Seeds
from rlcl.types import Data, EnvironmentSource, Experience, Source, StreamSpec, Visibility

__all__ = ["Stream", "array_spec", "check_classes", "check_sources", "describe_classes", "split_off"]

NAMED = 3  # experiences that a message names

Arrangement = Callable[[tuple[Experience, ...]], tuple[Experience, ...]]


@frozen(eq=False)
class Stream(Sequence[Experience]):
    """An indexable sequence of experiences; a slice of it is a stream, numbered from 0 again.

    Args:
        experiences: in the order they are trained on.
        spec: shapes and classes.
        visibility: what the trainer shows of it.
        columns: the experiences that are evaluated, where they are not the ones trained on (joint).
        arrange: how those that are trained on are made of the columns.
    """

    experiences: tuple[Experience, ...]
    spec: StreamSpec
    visibility: Visibility = field(factory=Visibility)
    columns: tuple[Experience, ...] = ()
    arrange: Arrangement | None = None

    @property
    def evaluated(self) -> tuple[Experience, ...]:
        """What R has a column for."""
        return self.columns or self.experiences

    @overload
    def __getitem__(self, key: int) -> Experience: ...

    @overload
    def __getitem__(self, key: slice) -> Stream: ...

    def __getitem__(self, key: int | slice) -> Experience | Stream:
        if not isinstance(key, slice):
            return self.experiences[key]

        def part(experiences: tuple[Experience, ...]) -> tuple[Experience, ...]:
            return tuple(attrs.evolve(e, index=place) for place, e in enumerate(experiences[key]))

        if self.arrange is not None:
            return self.arranged(part)
        return attrs.evolve(self, experiences=part(self.experiences))

    def __len__(self) -> int:
        return len(self.experiences)

    def __iter__(self) -> Iterator[Experience]:
        return iter(self.experiences)

    def changed(
        self,
        *,
        experiences: tuple[Experience, ...] | None = None,
        spec: StreamSpec | None = None,
        visibility: Visibility | None = None,
    ) -> Stream:
        """The same stream but for what is given; see the class for what each is."""
        return attrs.evolve(
            self,
            experiences=self.experiences if experiences is None else experiences,
            spec=spec or self.spec,
            visibility=visibility or self.visibility,
        )

    def with_environments(
        self, change: Callable[[EnvironmentSource], EnvironmentSource], shape: tuple[int, ...]
    ) -> Stream:
        """The same stream over changed environments.

        Args:
            change: of each.
            shape: of one of their observations, which are arrays.
        """

        def other(experience: Experience) -> Experience:
            return experience.with_sources(lambda source: change(source) if source.kind == "environment" else source)

        return attrs.evolve(
            self,
            experiences=tuple(map(other, self.experiences)),
            columns=tuple(map(other, self.columns)),
            spec=attrs.evolve(self.spec, observation_shape=shape, encodable=True),
        )

    def with_validation(self, fraction: float, seeds: Seeds) -> Stream:
        """Holds out a seeded share of every experience's training data.

        Args:
            fraction: in [0, 1); of each experience's rows. Environments need no split: theirs is
                the training environment under seeds of its own.
            seeds: the run's.
        """
        if fraction == 0 or self.spec.kind == "environment":
            return self
        if self.arrange is not None:
            # Split before they are arranged: what a column holds out is trained on nowhere.
            columns = tuple(split_off(e, fraction, seeds) for e in self.columns)
            return attrs.evolve(self, experiences=self.arrange(columns), columns=columns)
        return attrs.evolve(self, experiences=tuple(split_off(e, fraction, seeds) for e in self.experiences))

    def arranged(self, arrange: Arrangement) -> Stream:
        """A stream that trains on something made of this one's experiences, and is evaluated on these.

        Args:
            arrange: from the experiences to those that are trained on.
        """
        columns, inner = self.evaluated, self.arrange

        def whole(experiences: tuple[Experience, ...]) -> tuple[Experience, ...]:
            return arrange(experiences if inner is None else inner(experiences))

        return attrs.evolve(self, experiences=whole(columns), columns=columns, arrange=whole)


def split_off(experience: Experience, fraction: float, seeds: Seeds) -> Experience:
    """An experience of arrays with a seeded share of its training data as its validation data.

    Args:
        experience: left as it is where the share comes to no row, or to all.
        fraction: in [0, 1).
        seeds: of the stream.
    """
    source = experience.arrays
    order = torch.from_numpy(seeds.child(f"validation {experience.index}").numpy().permutation(len(source)))
    held_out = round(fraction * len(source))
    if held_out == 0 or held_out == len(source):
        return experience
    return attrs.evolve(
        experience,
        train=source.subset(order[held_out:].sort().values),
        validation=source.subset(order[:held_out].sort().values),
    )


def check_sources(stream: Stream) -> None:
    """Looks for what no stream may hold: values that are not finite, and labels that are no class of it.

    Most streams are made of :class:`rlcl.data.sources.Data`, which were looked at; others are of the user's making.

    Raises:
        DataError: by experience and row; or an experience has nothing to learn from.
    """
    _check_filled(stream)
    seen: set[int] = set()
    for experience in (*stream, *stream.evaluated):
        for split, source in experience.splits:
            if source.kind == "environment":
                continue
            where = f"stream: the {split} set of experience {experience.index} ({experience.name})"
            for array in source.shared:
                if isinstance(array, Tensor) and id(array) not in seen:  # those that share one are views of it
                    seen.add(id(array))
                    _check_finite(where, array, stream.spec.missing and array is source.inputs)
            if stream.spec.kind == "labelled" and source.targets is not None:
                _check_labels(where, source.targets, stream.spec.classes)


def _check_filled(stream: Stream) -> None:
    """Refuses experiences without training rows, and names those without test rows."""
    unlearned, untested = (
        [e for e in experiences if (source := chosen(e)) is not None and source.kind == "arrays" and not len(source)]
        for experiences, chosen in ((stream, _training), (stream.evaluated, _test))
    )
    if unlearned:
        raise DataError(
            f"stream: experience {_listed(unlearned)} has nothing to learn from{_absent_classes(stream)}; number "
            "classes from 0 without gaps, or ask for fewer experiences"
        )
    if untested:
        tell(
            f"stream: experience {_listed(untested)} has no test rows, so that nothing is known of how it is learned: "
            "R has no value there, and metrics that need one, such as average, are left out; add rows, or hold out "
            "more of them (test_fraction)"
        )


def _training(experience: Experience) -> Source | None:
    return experience.train


def _test(experience: Experience) -> Source | None:
    return experience.test


def _listed(experiences: Sequence[Experience]) -> str:
    more = f" and {len(experiences) - NAMED} more" if len(experiences) > NAMED else ""
    return ", ".join(f"{e.index} ({e.name})" for e in experiences[:NAMED]) + more


def _absent_classes(stream: Stream) -> str:
    """The classes that no training row has, as ranges of numbers."""
    if stream.spec.kind != "labelled":
        return ""
    taught = {label for experience in stream for label in _labels(experience.train)}
    absent = [c for c in range(stream.spec.classes) if c not in taught]
    starts = [c for c in absent if c - 1 not in absent]
    ends = [c for c in absent if c + 1 not in absent]
    told = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
    return f": no training rows for the classes {told}" if told else ""


def _check_finite(where: str, array: Tensor, missing: bool) -> None:
    if array.is_floating_point():
        bad = torch.isinf(array) if missing else ~torch.isfinite(array)
        if bool(bad.any()):
            row = int(bad.flatten(1).any(1).nonzero()[0])
            raise DataError(f"{where} holds NaN or infinite values, the first in row {row} of its array; remove them")


def _check_labels(where: str, labels: Tensor, classes: int) -> None:
    outside = ((labels < 0) | (labels >= classes)).nonzero().flatten()
    if len(outside):
        row = int(outside[0])
        raise DataError(
            f"{where}: row {row} has the label {int(labels[row])}, and the stream's classes are 0..{classes - 1}; mend "
            "the label, or the classes of its spec"
        )


def check_classes(stream: Stream) -> None:
    """Looks for classes that are evaluated, and that nothing of the stream teaches.

    Raises:
        DataError: by experience and class.
    """
    if stream.spec.kind != "labelled":
        return
    taught = {label for experience in stream for label in _labels(experience.train)}
    for experience in stream.evaluated:
        for split, source in reversed(experience.splits[1:]):
            unknown = sorted(_labels(source) - taught)
            if unknown:
                raise DataError(
                    f"stream: the {split} set of experience {experience.index} ({experience.name}) holds the classes "
                    f"{unknown}, and no training set of the stream does; remove them, add training data, or hold "
                    "less of them out (validation)"
                )


def _labels(source: Source) -> set[int]:
    labels = source.targets if source.kind == "arrays" else None
    return set() if labels is None else set(torch.unique(labels).tolist())


def array_spec(data: Data, task_classes: Sequence[Sequence[int]]) -> StreamSpec:
    """The spec of a stream over a data set in memory."""
    targets = data.train.targets
    labelled: Literal["labelled", "regression"] = "regression" if data.regression else "labelled"
    return StreamSpec(
        kind="unlabelled" if targets is None else labelled,
        observation_shape=data.observation_shape,
        classes=data.classes,
        task_classes=tuple(tuple(sorted(classes)) for classes in task_classes),
        class_names=data.names,
        targets=targets.shape[1] if data.regression and targets is not None else 0,
        columns=data.columns,
        missing=data.missing,
        reading=data.reading,
    )


def describe_classes(data: Data, classes: Sequence[int]) -> str:
    """``"digits 2-3"``, or ``"digits 1, 7"`` where they are not neighbours."""
    if list(classes) == list(range(classes[0], classes[-1] + 1)) and len(classes) > 1:
        return f"{data.name} {data.names[classes[0]]}-{data.names[classes[-1]]}"
    return f"{data.name} {', '.join(data.names[c] for c in classes)}"
