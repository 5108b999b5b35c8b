"""Data whose inputs or labels drift with the number of examples."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch
from attrs import frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.drift import Drift, drift_values, numbered_permutation
from rlcl.data.readers.scikit import Digits
from rlcl.data.sources import LabelledArrays, loaded
from rlcl.errors import Problem, did_you_mean
from rlcl.seeding import Seeds
from rlcl.streams.rotated import Rotation
from rlcl.streams.stream import Stream, array_spec
from rlcl.types import ArraySource, Budget, Data, DataSet, Experience, Visibility

__all__ = ["DriftingData"]

INPUTS = ("input.scale", "input.offset", "input.permutation", "input.rotation")
LABELS = ("label.permutation", "label.offset")


@frozen(kw_only=True)
class DriftingData:
    """One data set in random order, whose inputs or labels drift.

    The training data are divided into parts, which are trained one after the other. The values of the parameters in a
    part are those at its first example, counted over the whole stream. The rows of R are the evaluations; its columns
    are the test set at the present values and at the ``probes``.

    Args:
        data: data set.
        drift: parameters that drift with the number of examples: ``input.scale``, ``input.offset``,
            ``input.permutation`` and ``label.permutation`` (number of the permutation, 0 for none), ``input.rotation``
            (degrees, for images), ``label.offset`` (for numbers to predict).
        parts: number of parts of the training data, selected with the seed of the run.
        visibility: information about tasks and boundaries that the learner receives; a boundary is the start of a part.

    Source of the setting: Gama et al. 2014, A survey on concept drift adaptation, section 2 (virtual and real drift).
    """

    data: DataSet = option(factory=Digits)
    drift: tuple[Drift, ...] = option()
    parts: int = option(20, ge=1, le=100_000)
    visibility: Visibility = option(factory=lambda: Visibility(boundaries="hidden"))

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        data = loaded(self.data)
        self._check(data)
        drift = tuple(
            attrs.evolve(d, function=d.function.seeded(seeds.child(f"drift {index}").integer()))
            for index, d in enumerate(self.drift)
        )
        rows = len(data.train)
        if self.parts > rows:
            raise Problem(f"parts: expected at most {rows}, the rows of {data.name}, got {self.parts}")
        order = torch.from_numpy(seeds.child("order").numpy().permutation(rows))
        return self._stream(data, drift, order, order[:0], budget)

    def _stream(self, data: Data, drift: tuple[Drift, ...], order: Tensor, held_out: Tensor, budget: Budget) -> Stream:
        """Return the stream.

        Args:
            data: the data set.
            drift: the drifting parameters.
            order: training rows in their order.
            held_out: training rows for validation.
            budget: of each part.
        """
        shares = torch.tensor_split(order, self.parts)
        starts = [sum(map(len, shares[:index])) for index in range(self.parts)]
        validation = data.train.subset(held_out) if len(held_out) else None

        def experience(index: int, name: str, rows: Tensor, values: Mapping[str, float]) -> Experience:
            return Experience(
                index,
                name,
                train=drifted(data.train.subset(rows.sort().values), values, data.classes),
                test=drifted(data.test, values, data.classes),
                budget=budget,
                validation=None if validation is None else drifted(validation, values, data.classes),
            )

        experiences = tuple(
            experience(index, f"{data.name} from example {start:,}", share, drift_values(drift, start))
            for index, (start, share) in enumerate(zip(starts, shares, strict=True))
        )
        initial = drift_values(drift, 0)
        columns = [("present", initial)]
        columns += [(f"{d.parameter} {value:g}", {**initial, d.parameter: value}) for d in drift for value in d.probes]
        evaluated = tuple(experience(index, name, order, values) for index, (name, values) in enumerate(columns))
        spec = attrs.evolve(array_spec(data, [range(data.classes)] * len(columns)), columns=())

        def hold_out(fraction: float, seeds: Seeds) -> Stream:
            shuffled = torch.from_numpy(seeds.child("validation").numpy().permutation(len(order)))
            count = round(fraction * len(order))
            if len(order) - count < self.parts:
                raise Problem(f"validation leaves {len(order) - count} training rows for {self.parts} parts")
            kept, held = shuffled[count:].sort().values, shuffled[:count]
            return self._stream(data, drift, order[kept], order[held].sort().values, budget)

        moments = DataMoments(drift, tuple(starts), (data.test, validation), data.classes)
        return Stream(experiences, spec, self.visibility, evaluated, moments=moments, hold_out=hold_out)

    def _check(self, data: Data) -> None:
        """Check the drifting parameters.

        Raises:
            Problem: there is none, or one is unknown, listed twice, or not defined for the data.
        """
        if not self.drift:
            raise Problem("drift: expected at least one parameter")
        names = [drift.parameter for drift in self.drift]
        for index, name in enumerate(names):
            where = f"drift[{index}].parameter"
            if name not in INPUTS + LABELS:
                known = ", ".join(INPUTS + LABELS)
                raise Problem(f"unknown parameter {name!r} ({known}){did_you_mean(name, INPUTS + LABELS)}", where)
            if name in names[:index]:
                raise Problem(f"{name} is listed twice; remove one", where)
            if name == "label.permutation" and not data.classes:
                raise Problem(f"label.permutation needs classes, and {data.name} has none", where)
            if name == "label.offset" and not data.regression:
                raise Problem(f"label.offset needs numbers to predict, and {data.name} has none", where)
            if name == "input.rotation" and len(data.observation_shape) != 3:
                raise Problem(
                    f"input.rotation needs images (channels, height, width), but {data.name} has inputs of shape "
                    f"{data.observation_shape}",
                    where,
                )


@frozen(eq=False)
class DataMoments:
    """Values of the drifting parameters at the evaluations; see :class:`rlcl.types.Moments`.

    Args:
        drift: the parameters.
        starts: first example of each part.
        sources: test set and validation set without drift; None if there is no validation set.
        classes: number of classes.
    """

    drift: tuple[Drift, ...]
    starts: tuple[int, ...]
    sources: tuple[ArraySource, ArraySource | None]
    classes: int

    def column(self, column: Experience, trained_on: int, step: int) -> Experience:
        if column.index > 0:
            return column
        values = self.values(trained_on, step)
        test, validation = (None if s is None else drifted(s, values, self.classes) for s in self.sources)
        return attrs.evolve(column, test=test, validation=validation)

    def without_test(self) -> DataMoments:
        validation = self.sources[1]
        assert validation is not None  # checked by the stream
        return attrs.evolve(self, sources=(validation, validation))

    def values(self, trained_on: int, step: int) -> Mapping[str, float]:
        return drift_values(self.drift, self.starts[max(trained_on, 0)])


@frozen
class DriftedInputs:
    """A transformation of inputs (B, *observation): scaled, offset, rotated and permuted, in this order.

    Args:
        values: values of the drifting parameters, by name.
    """

    values: Mapping[str, float]

    def __call__(self, x: Tensor) -> Tensor:
        if not {"input.scale", "input.offset", "input.rotation"}.isdisjoint(self.values):
            x = x.float()  # also while the values change nothing: the type of the inputs must not drift
        scale, offset = self.values.get("input.scale", 1.0), self.values.get("input.offset", 0.0)
        if (scale, offset) != (1.0, 0.0):
            x = x * scale + offset
        x = Rotation(self.values.get("input.rotation", 0.0))(x)
        order = numbered_permutation(self.values.get("input.permutation", 0), x[0].numel() if len(x) else 1)
        if order is not None and len(x):
            x = x.flatten(1).index_select(1, torch.from_numpy(order)).reshape(x.shape)
        return x


def drifted(source: ArraySource, values: Mapping[str, float], classes: int) -> ArraySource:
    """Return a view of a source with drifted inputs and labels."""
    if any(name in INPUTS for name in values):
        source = source.transformed(DriftedInputs(values))
    if not isinstance(source, LabelledArrays):
        return source
    order = numbered_permutation(values.get("label.permutation", 0), classes)
    labels: Tensor = source.labels if order is None else torch.from_numpy(order)[source.labels]
    offset = values.get("label.offset", 0.0)
    return attrs.evolve(source, labels=labels + offset if offset else labels)
