"""The three kinds of source: labelled arrays, unlabelled arrays, environments.

An array source is a view (indices and a transformation) of tensors that a whole stream shares; it
becomes a contiguous tensor when it is asked for, so a stream of a hundred experiences costs no
more memory than one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from attrs import evolve, field, frozen
from torch import Tensor

from rlcl.data.columns import Unknown
from rlcl.data.environments.environment import Environment
from rlcl.data.expect import check_expected
from rlcl.data.validation import check_arrays, warn_of
from rlcl.errors import DataError
from rlcl.types import ArraySource, Column, DataSet, Reading, Rows

__all__ = ["Data", "Environment", "LabelledArrays", "UnlabelledArrays", "arrays", "loaded", "pieces"]

Transform = Callable[[Tensor], Tensor]

ROWS_OF_A_PIECE = 1024


@frozen(eq=False)
class LabelledArrays(ArraySource):
    """Inputs with class labels, or with numbers to predict.

    Args:
        inputs: (N, *observation) of any dtype, in memory or on disk.
        labels: (N,) int64 class indices, or (N, K) float32.
        indices: (M,) int64 rows that belong to this source, None for all.
        transform: from (B, *observation) to (B, *observation), applied when read.
        tasks: (N,) int64 task of each row, where a source holds several tasks and may show them.
    """

    kind: ClassVar[Literal["arrays"]] = "arrays"

    inputs: Tensor | Rows
    labels: Tensor
    indices: Tensor | None = None
    transform: Transform | None = None
    tasks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs if self.indices is None else self.indices)

    def read(self) -> tuple[Tensor, Tensor]:
        """Contiguous inputs (M, *observation) and labels (M,), all of them in memory."""
        return _read(self.inputs, self.indices, self.transform), self.targets

    @property
    def shared(self) -> tuple[Tensor | Rows, ...]:
        return self.inputs, self.labels

    @property
    def targets(self) -> Tensor:
        """(M,) int64 or (M, K) float32 labels, without touching the inputs."""
        return self.labels if self.indices is None else self.labels.index_select(0, self.indices)

    @property
    def task_ids(self) -> Tensor | None:
        """(M,) int64, or None."""
        return self.tasks if self.tasks is None or self.indices is None else self.tasks[self.indices]

    @property
    def streamed(self) -> bool:
        """Whether inputs stay on disk, and are read as they are needed."""
        return not isinstance(self.inputs, Tensor)

    @property
    def workers(self) -> int:
        """Processes that read them."""
        return 0 if isinstance(self.inputs, Tensor) else self.inputs.workers

    def subset(self, rows: Tensor) -> LabelledArrays:
        """The source's own rows, by place."""
        return evolve(self, indices=_compose(self.indices, rows))

    def viewing(self, indices: Tensor, tasks: Tensor | None = None) -> LabelledArrays:
        """See :meth:`rlcl.types.ArraySource.viewing`."""
        return evolve(self, indices=indices, tasks=self.tasks if tasks is None else tasks)

    def transformed(self, transform: Transform) -> LabelledArrays:
        return evolve(self, transform=transform)

    def without_task_ids(self) -> LabelledArrays:
        return evolve(self, tasks=None)


@frozen(eq=False)
class UnlabelledArrays(ArraySource):
    """Inputs alone; arguments as in :class:`LabelledArrays`."""

    kind: ClassVar[Literal["arrays"]] = "arrays"

    inputs: Tensor | Rows
    indices: Tensor | None = None
    transform: Transform | None = None

    def __len__(self) -> int:
        return len(self.inputs if self.indices is None else self.indices)

    def read(self) -> tuple[Tensor, None]:
        """Contiguous inputs (M, *observation), all of them in memory, and no labels."""
        return _read(self.inputs, self.indices, self.transform), None

    @property
    def shared(self) -> tuple[Tensor | Rows, ...]:
        return (self.inputs,)

    targets = None
    task_ids = None

    @property
    def streamed(self) -> bool:
        """Whether inputs stay on disk, and are read as they are needed."""
        return not isinstance(self.inputs, Tensor)

    @property
    def workers(self) -> int:
        """Processes that read them."""
        return 0 if isinstance(self.inputs, Tensor) else self.inputs.workers

    def subset(self, rows: Tensor) -> UnlabelledArrays:
        return evolve(self, indices=_compose(self.indices, rows))

    def viewing(self, indices: Tensor, tasks: Tensor | None = None) -> UnlabelledArrays:
        """See :meth:`rlcl.types.ArraySource.viewing`; there is no task of each row."""
        return evolve(self, indices=indices)

    def transformed(self, transform: Transform) -> UnlabelledArrays:
        return evolve(self, transform=transform)

    def without_task_ids(self) -> UnlabelledArrays:
        return self


def pieces(source: ArraySource) -> Iterator[tuple[Tensor, Tensor | None]]:
    """What ``read`` gives: all at once from memory, and from disk a bounded number of rows at a time."""
    if not source.streamed:
        yield source.read()
        return
    for rows in torch.split(torch.arange(len(source)), ROWS_OF_A_PIECE):
        yield source.subset(rows).read()


def arrays(inputs: Tensor | Rows, labels: Tensor | None) -> LabelledArrays | UnlabelledArrays:
    """The kind of source that fits: labelled where there are labels."""
    return UnlabelledArrays(inputs) if labels is None else LabelledArrays(inputs, labels)


def _read(inputs: Tensor | Rows, indices: Tensor | None, transform: Transform | None) -> Tensor:
    if indices is None:
        x = inputs if isinstance(inputs, Tensor) else inputs.index_select(0, torch.arange(len(inputs)))
    else:
        x = inputs.index_select(0, indices)  # 30 times as fast as inputs[indices]
    return x if transform is None else transform(x).contiguous()


def _compose(indices: Tensor | None, rows: Tensor) -> Tensor:
    return rows if indices is None else indices[rows]


def _inputs(array: Any) -> Tensor | Rows:
    return array if not isinstance(array, Tensor) and isinstance(array, Rows) else _tensor(array)


def _tensor(array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array.contiguous()
    # Copied, for an array that is read-only or that its owner changes later must not change ours.
    array = np.array(array, order="C")
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"data: expected numbers, got values such as {array.flat[0]!r}; number texts by numpy.unique(labels, "
            "return_inverse=True)"
            if array.size
            else "data: expected numbers, got an empty array of no numeric type"
        )
    return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float64 else array)


def _labels(array: Any) -> Tensor | None:
    return None if array is None else _tensor(array)


def _whole(labels: Tensor) -> Tensor:
    """Classes as int64; left as they are where they are no whole numbers, for the check to tell."""
    whole = not labels.is_floating_point() or bool((labels == labels.round()).all())
    return labels.to(torch.int64) if whole else labels


@frozen(eq=False)
class Data:
    """A data set in memory, with the split that its authors made.

    Args:
        train_inputs: (N, *observation), NumPy, torch, or :class:`rlcl.data.storage.Rows` on disk, of any
            dtype; images channels first.
        train_labels: (N,) whole numbers from 0, or None.
        test_inputs: (M, *observation).
        test_labels: (M,), or None.
        name: for messages.
        class_names: for people; the numbers themselves by default.
        regression: whether labels are numbers to predict, (N,) or (N, K), not classes.
        columns: of inputs (N, F) that are rows of a table, F of them.
        lines: of its file, that each training and each test row stands in, for messages.
        missing: whether NaN in inputs stands for a value that is not known; else it is refused.
        unknown: texts of test rows that are missing for no training row has them, for ``expect``.
        reading: how the file of a table was read.

    Raises:
        DataError: shapes that do not agree, a value that is not finite, labels that are not whole
            numbers from 0, or a class that appears only in the test set.
    """

    train_inputs: Tensor | Rows = field(converter=_inputs)
    train_labels: Tensor | None = field(converter=_labels)
    test_inputs: Tensor | Rows = field(converter=_inputs)
    test_labels: Tensor | None = field(converter=_labels)
    name: str = "data"
    class_names: tuple[str, ...] = ()
    regression: bool = False
    columns: tuple[Column, ...] = ()
    lines: tuple[Sequence[int], Sequence[int]] | None = None
    missing: bool = False
    unknown: tuple[Unknown, ...] = ()
    reading: Reading | None = None

    def __attrs_post_init__(self) -> None:
        for half, labels in (("train_labels", self.train_labels), ("test_labels", self.test_labels)):
            if labels is not None:
                width = labels.shape[1:].numel()
                values = labels.float().reshape(len(labels), width) if self.regression else _whole(labels)
                object.__setattr__(self, half, values)
        flags = (self.regression, self.missing)
        check_arrays(self.name, "train", self.train_inputs, self.train_labels, None, *flags)
        check_arrays(self.name, "test", self.test_inputs, self.test_labels, self.train_labels, *flags)
        ours, theirs = tuple(self.train_inputs.shape[1:]), tuple(self.test_inputs.shape[1:])
        if ours != theirs:
            raise DataError(f"data {self.name!r}: training inputs have the shape {ours} each, test inputs {theirs}")
        if self.class_names and len(self.class_names) < self.classes:
            raise DataError(
                f"data {self.name!r}: {len(self.class_names)} class names for labels from 0 to {self.classes - 1}; "
                "number the classes from 0, or give each a name"
            )
        if (self.train_labels is None) != (self.test_labels is None):
            raise DataError(f"data {self.name!r}: give labels to both the training and the test set, or to neither")

    @property
    def classes(self) -> int:
        """Number of classes, 0 without labels and for regression."""
        return 0 if self.train_labels is None or self.regression else int(self.train_labels.max()) + 1

    @property
    def observation_shape(self) -> tuple[int, ...]:
        return tuple(self.train_inputs.shape[1:])

    @property
    def names(self) -> tuple[str, ...]:
        """One name a class."""
        return self.class_names or tuple(map(str, range(self.classes)))

    def place(self, split: str, row: int, feature: int | None = None) -> str:
        """Where something is, for messages: ``"test set, row 3 (line 17), column age"``.

        Args:
            split: ``train`` or ``test``.
            row: from 0, of that split.
            feature: from 0, of one flattened input.
        """
        line = "" if self.lines is None else f" (line {self.lines[split == 'test'][row]})"
        said = f"{split} set, row {row}{line}"
        if feature is None:
            return said
        if self.columns:
            return f"{said}, column {self.columns[feature].name}"
        return f"{said}, value {[int(i) for i in np.unravel_index(feature, self.observation_shape)]}"

    def labelled(self) -> tuple[LabelledArrays, LabelledArrays]:
        """The training and the test set of a data set with labels."""
        assert self.train_labels is not None
        assert self.test_labels is not None
        return LabelledArrays(self.train_inputs, self.train_labels), LabelledArrays(self.test_inputs, self.test_labels)

    @property
    def train(self) -> LabelledArrays | UnlabelledArrays:
        return arrays(self.train_inputs, self.train_labels)

    @property
    def test(self) -> LabelledArrays | UnlabelledArrays:
        return arrays(self.test_inputs, self.test_labels)


def loaded(data_set: DataSet) -> Data:
    """What a data set loads, compared with what its setting ``expect`` says, where it has one.

    Raises:
        DataError: it is no :class:`Data`, or not as expected.
    """
    data: object = data_set.load()
    if not isinstance(data, Data):
        name = type(data_set).__name__
        raise DataError(f"data {name}: load() must return rlcl.data.sources.Data, got {type(data).__name__}")
    expected = data_set.expect
    if expected is not None:
        check_expected(data, expected)
    warn_of(data, overlap=expected is None or expected.overlap is None)
    return data
