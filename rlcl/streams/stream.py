"""Implementation of streams, checks of their data, and helpers for scenarios."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, overload

import attrs
import torch
from attrs import field, frozen
from torch import Tensor

from rlcl.data.validation import warn_once
from rlcl.errors import DataError, Problem
from rlcl.seeding import Seeds
from rlcl.types import Data, EnvironmentSource, Experience, Moments, Source, StreamSpec, Visibility

__all__ = ["Stream", "array_spec", "check_classes", "check_sources", "describe_classes", "hold_out_validation"]

MAX_NAMES = 3  # maximum number of experiences in a message

Arrangement = Callable[[tuple[Experience, ...]], tuple[Experience, ...]]


@frozen(eq=False)
class Stream(Sequence[Experience]):
    """An indexable sequence of experiences. A slice is a stream, whose experiences are numbered from 0.

    Args:
        experiences: experiences in the order of training.
        spec: shapes and classes.
        visibility: information that the trainer shows to the learner.
        columns: evaluated experiences, if they differ from those trained on, as in joint training.
        arrange: function from ``columns`` to ``experiences``.
        moments: for a drifting stream, its parameters and columns at the moment of an evaluation.
        hold_out: function from a share of the training rows and seeds to the stream with these rows held out for
            validation; by default they are held out of each experience.
    """

    experiences: tuple[Experience, ...]
    spec: StreamSpec
    visibility: Visibility = field(factory=Visibility)
    columns: tuple[Experience, ...] = ()
    arrange: Arrangement | None = None
    moments: Moments | None = None
    hold_out: Callable[[float, Seeds], Stream] | None = None

    @property
    def evaluated(self) -> tuple[Experience, ...]:
        """The experiences that are evaluated: the columns of the result matrix R."""
        return self.columns or self.experiences

    @property
    def visited(self) -> tuple[int, ...]:
        """Column of R whose task each experience trains; empty if an experience trains no single column."""
        if self.moments is not None:
            return ()
        if not self.columns:
            return tuple(range(len(self.experiences)))
        columns = {column.task_id: index for index, column in enumerate(self.columns)}
        tasks = [experience.task_id for experience in self.experiences]
        if len(columns) < len(self.columns) or None in columns or any(task not in columns for task in tasks):
            return tuple(range(len(tasks))) if len(tasks) == len(self.columns) else ()
        return tuple(columns[task] for task in tasks)

    @overload
    def __getitem__(self, key: int) -> Experience: ...

    @overload
    def __getitem__(self, key: slice) -> Stream: ...

    def __getitem__(self, key: int | slice) -> Experience | Stream:
        if not isinstance(key, slice):
            return self.experiences[key]

        def part(experiences: tuple[Experience, ...]) -> tuple[Experience, ...]:
            return tuple(attrs.evolve(e, index=index) for index, e in enumerate(experiences[key]))

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
        """Return a copy with the arguments replaced that are not None; see the class for their meaning."""
        return attrs.evolve(
            self,
            experiences=self.experiences if experiences is None else experiences,
            spec=spec or self.spec,
            visibility=visibility or self.visibility,
        )

    def with_environments(
        self, change: Callable[[EnvironmentSource], EnvironmentSource], shape: tuple[int, ...]
    ) -> Stream:
        """Return the stream with changed environments.

        Args:
            change: function that is applied to each environment.
            shape: shape of one observation of the changed environments.
        """

        def changed(experience: Experience) -> Experience:
            return experience.with_sources(lambda source: change(source) if source.kind == "environment" else source)

        return attrs.evolve(
            self,
            experiences=tuple(map(changed, self.experiences)),
            columns=tuple(map(changed, self.columns)),
            spec=attrs.evolve(self.spec, observation_shape=shape, encodable=True),
        )

    def with_validation(self, fraction: float, seeds: Seeds) -> Stream:
        """Return the stream with a seeded share of each experience's training data held out.

        Streams of environments are returned unchanged: they validate in the training environment with other seeds.

        Args:
            fraction: share of each experience's rows, in [0, 1).
            seeds: source of randomness of the run.
        """
        if fraction == 0 or self.spec.kind == "environment":
            return self
        if self.hold_out is not None:
            return self.hold_out(fraction, seeds)
        if self.arrange is not None:
            # Split before arranging, so that no experience trains on held-out rows.
            columns = tuple(hold_out_validation(e, fraction, seeds) for e in self.columns)
            return attrs.evolve(self, experiences=self.arrange(columns), columns=columns)
        return attrs.evolve(self, experiences=tuple(hold_out_validation(e, fraction, seeds) for e in self.experiences))

    def first(self, count: int) -> Stream:
        """Return the stream of the first experiences, which is evaluated on the tasks that they train only.

        Args:
            count: number of experiences, at least 1.

        Raises:
            Problem: there are fewer experiences, or they do not each train one of the evaluated tasks.
        """
        if count > len(self.experiences):
            raise Problem(f"expected at most {len(self.experiences)}, the number of experiences, got {count}", "first")
        if not self.visited:
            raise Problem(
                "the experiences of this stream do not each train one of its tasks; set first to null", "first"
            )
        kept = sorted(set(self.visited[:count]))
        columns = (
            tuple(attrs.evolve(self.columns[old], index=new) for new, old in enumerate(kept)) if self.columns else ()
        )
        return attrs.evolve(self, experiences=self.experiences[:count], columns=columns, arrange=None, hold_out=None)

    def without_test(self) -> Stream:
        """Return the stream with the validation data of each experience in the place of its test data.

        Raises:
            Problem: an experience has no validation data.
        """

        def replaced(experience: Experience) -> Experience:
            if experience.validation is None:
                raise Problem(
                    f"no row of experience {experience.index} ({experience.name}) is held out; set a larger fraction",
                    "validation",
                )
            return attrs.evolve(experience, test=experience.validation)

        if self.spec.kind == "environment":
            return self
        columns = tuple(map(replaced, self.columns))
        experiences = tuple(map(replaced, self.experiences)) if self.arrange is None else self.arrange(columns)
        return attrs.evolve(
            self,
            experiences=experiences,
            columns=columns,
            moments=None if self.moments is None else self.moments.without_test(),
        )

    def arranged(self, arrange: Arrangement) -> Stream:
        """Return a stream that trains on ``arrange`` of the experiences and is evaluated on the experiences.

        Args:
            arrange: function from the evaluated experiences to those trained on.

        Raises:
            Problem: the stream drifts, so that its columns are not its experiences.
        """
        if self.moments is not None:
            raise Problem("of: a drifting stream has no tasks that could be joined or repeated")
        columns, inner = self.evaluated, self.arrange

        def composed(experiences: tuple[Experience, ...]) -> tuple[Experience, ...]:
            return arrange(experiences if inner is None else inner(experiences))

        return attrs.evolve(self, experiences=composed(columns), columns=columns, arrange=composed)


def hold_out_validation(experience: Experience, fraction: float, seeds: Seeds) -> Experience:
    """Return an experience of arrays with a seeded share of its training data as validation data.

    Args:
        experience: the experience; it is returned unchanged if the share is no row or all rows.
        fraction: share of the rows, in [0, 1).
        seeds: source of randomness of the stream.
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
    """Check the data of a stream: finite values, labels within the classes of the stream, and training rows.

    Streams of :class:`rlcl.data.sources.Data` have been checked already, but a user's stream may use other sources.

    Raises:
        DataError: a value or label is invalid, or an experience has no training rows; the message names the
            experience and the row.
    """
    _check_filled(stream)
    seen: set[int] = set()
    for experience in (*stream, *stream.evaluated):
        for split, source in experience.splits:
            if source.kind == "environment":
                continue
            where = f"stream: the {split} set of experience {experience.index} ({experience.name})"
            for array in source.shared:
                if isinstance(array, Tensor) and id(array) not in seen:  # several sources may be views of one array
                    seen.add(id(array))
                    _check_finite(where, array, stream.spec.missing and array is source.inputs)
            if stream.spec.kind == "labelled" and source.targets is not None:
                _check_labels(where, source.targets, stream.spec.classes)


def _check_filled(stream: Stream) -> None:
    """Check that each experience has training rows, and warn about experiences without test rows."""
    untrained, untested = (
        [e for e in experiences if (source := split(e)) is not None and source.kind == "arrays" and not len(source)]
        for experiences, split in ((stream, _train), (stream.evaluated, _test))
    )
    if untrained:
        raise DataError(
            f"stream: experience {_listed(untrained)} has no training rows{_absent_classes(stream)}; number classes "
            "from 0 without gaps, or set fewer experiences"
        )
    if untested:
        warn_once(
            f"stream: experience {_listed(untested)} has no test rows and cannot be evaluated: the result matrix R has "
            "no value for it, and metrics that need one, such as average, are undefined; add rows, or hold out more "
            "of them (test_fraction)"
        )


def _train(experience: Experience) -> Source | None:
    return experience.train


def _test(experience: Experience) -> Source | None:
    return experience.test


def _listed(experiences: Sequence[Experience]) -> str:
    more = f" and {len(experiences) - MAX_NAMES} more" if len(experiences) > MAX_NAMES else ""
    return ", ".join(f"{e.index} ({e.name})" for e in experiences[:MAX_NAMES]) + more


def _absent_classes(stream: Stream) -> str:
    """Return the classes without training rows as ranges, for a message."""
    if stream.spec.kind != "labelled":
        return ""
    trained = {label for experience in stream for label in _labels(experience.train)}
    absent = [c for c in range(stream.spec.classes) if c not in trained]
    starts = [c for c in absent if c - 1 not in absent]
    ends = [c for c in absent if c + 1 not in absent]
    ranges = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
    return f"; classes without training rows: {ranges}" if ranges else ""


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
            f"{where}: row {row} has the label {int(labels[row])}, but the stream's classes are 0..{classes - 1}; "
            "correct the label, or the classes of the stream's spec"
        )


def check_classes(stream: Stream) -> None:
    """Check that all evaluated classes have training rows.

    Raises:
        DataError: a class has none; the message names the experience and the class.
    """
    if stream.spec.kind != "labelled":
        return
    trained = {label for experience in stream for label in _labels(experience.train)}
    for experience in stream.evaluated:
        for split, source in reversed(experience.splits[1:]):
            untrained = sorted(_labels(source) - trained)
            if untrained:
                raise DataError(
                    f"stream: the {split} set of experience {experience.index} ({experience.name}) has the classes "
                    f"{untrained}, which no training set of the stream has; remove them, add training data, or hold "
                    "out fewer of them (validation)"
                )


def _labels(source: Source) -> set[int]:
    labels = source.targets if source.kind == "arrays" else None
    return set() if labels is None else set(torch.unique(labels).tolist())


def array_spec(data: Data, task_classes: Sequence[Sequence[int]]) -> StreamSpec:
    """Return the spec of a stream over a data set.

    Args:
        data: data set.
        task_classes: classes of each task, in the order of the stream.
    """
    targets = data.train.targets
    kind_with_labels: Literal["labelled", "regression"] = "regression" if data.regression else "labelled"
    return StreamSpec(
        kind="unlabelled" if targets is None else kind_with_labels,
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
    """Return a name for an experience: ``"digits 2-3"``, or ``"digits 1, 7"`` if the classes are not consecutive."""
    if list(classes) == list(range(classes[0], classes[-1] + 1)) and len(classes) > 1:
        return f"{data.name} {data.names[classes[0]]}-{data.names[classes[-1]]}"
    return f"{data.name} {', '.join(data.names[c] for c in classes)}"
