"""What experiences are made of: arrays and environments, and the data sets that arrays come from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from attrs import frozen

if TYPE_CHECKING:
    import gymnasium as gym
    import numpy as np
    import torch
    from gymnasium.vector import VectorEnv
    from torch import Tensor

__all__ = ["MISSING", "ArraySource", "Column", "Data", "EnvironmentSource", "Reading", "Rows", "Source"]

MISSING = ("", "NA", "NaN", "nan", "null", "?")  # cells that stand for a missing value, unless told otherwise


@frozen
class Column:
    """One feature of inputs that are rows of a table.

    Args:
        name: as the file's header has it.
        categories: the texts that whole numbers from 0 stand for, in that order; empty for a column of numbers.
    """

    name: str
    categories: tuple[str, ...] = ()

    @property
    def categorical(self) -> bool:
        return bool(self.categories)


@frozen
class Reading:
    """How the text file of a table was read, so that later files are read in the same way.

    Args:
        delimiter: between two cells.
        missing: cells that stand for a missing value; in a column of numbers all cells of the same number.
    """

    delimiter: str = ","
    missing: tuple[str, ...] = MISSING


@runtime_checkable
class Rows(Protocol):
    """Inputs on disk, used like a tensor's rows."""

    @property
    def shape(self) -> torch.Size:
        """(N, *observation)."""
        ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def workers(self) -> int:
        """Processes that read minibatches of them."""
        ...

    @property
    def identity(self) -> str:
        """What tells them from other rows without reading them: names and sizes of files."""
        ...

    def __len__(self) -> int: ...

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Reads rows (B,) int64, in that order; ``dim`` is 0."""
        ...


class ArraySource(Protocol):
    """Inputs, with or without what is to be predicted: a view of arrays that a whole stream shares."""

    @property
    @abstractmethod
    def kind(self) -> Literal["arrays"]:
        """What tells it from an :class:`EnvironmentSource`."""
        ...

    @property
    @abstractmethod
    def inputs(self) -> Tensor | Rows:
        """(N, *observation) of any dtype, that all views share."""
        ...

    @property
    @abstractmethod
    def indices(self) -> Tensor | None:
        """(M,) int64 rows of ``inputs`` that belong to this source, None for all."""
        ...

    @property
    @abstractmethod
    def transform(self) -> Callable[[Tensor], Tensor] | None:
        """From (B, *observation) to (B, *observation), applied when read."""
        ...

    @property
    @abstractmethod
    def shared(self) -> tuple[Tensor | Rows, ...]:
        """The arrays that it is a view of: inputs, then labels where there are any."""
        ...

    @property
    @abstractmethod
    def targets(self) -> Tensor | None:
        """(M,) int64 or (M, K) float32 labels, without touching the inputs; None without labels."""
        ...

    @property
    @abstractmethod
    def task_ids(self) -> Tensor | None:
        """(M,) int64 task of each row, where a source holds several tasks and may show them."""
        ...

    @property
    @abstractmethod
    def streamed(self) -> bool:
        """Whether inputs stay on disk, and are read as they are needed."""
        ...

    @property
    @abstractmethod
    def workers(self) -> int:
        """Processes that read them."""
        ...

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self) -> tuple[Tensor, Tensor | None]:
        """Contiguous inputs (M, *observation) and targets, all of them in memory."""
        ...

    @abstractmethod
    def subset(self, rows: Tensor) -> ArraySource:
        """The source's own rows, by place: (B,) int64 below M."""
        ...

    @abstractmethod
    def viewing(self, indices: Tensor, tasks: Tensor | None = None) -> ArraySource:
        """A view of other rows of the shared arrays, by their place in them.

        Args:
            indices: (B,) int64 below N.
            tasks: (N,) int64 task of each row of the shared arrays, where it is to be shown.
        """
        ...

    @abstractmethod
    def transformed(self, transform: Callable[[Tensor], Tensor]) -> ArraySource: ...

    @abstractmethod
    def without_task_ids(self) -> ArraySource: ...


class EnvironmentSource(Protocol):
    """A recipe for environments, which are made when they are asked for."""

    @property
    @abstractmethod
    def kind(self) -> Literal["environment"]:
        """What tells it from an :class:`ArraySource`."""
        ...

    @property
    @abstractmethod
    def name(self) -> str:
        """For messages."""
        ...

    @property
    @abstractmethod
    def env(self) -> str | Callable[..., gym.Env[Any, Any]]: ...

    @property
    @abstractmethod
    def kwargs(self) -> Mapping[str, Any]:
        """Keyword arguments of the environment."""
        ...

    @property
    @abstractmethod
    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the unwrapped environment, set after it is made."""
        ...

    @property
    @abstractmethod
    def seed(self) -> int:
        """Of the environments."""
        ...

    @property
    @abstractmethod
    def num_envs(self) -> int:
        """Environments that run side by side in training."""
        ...

    @abstractmethod
    def make(self, side_by_side: bool = False) -> gym.Env[Any, Any]:
        """One environment.

        Args:
            side_by_side: whether it becomes one of several, whose ``info`` has to have the same form in every step.
        """
        ...

    @abstractmethod
    def make_vector(self, num_envs: int | None = None) -> VectorEnv[Any]:
        """Environments side by side, ``self.num_envs`` by default; an ended episode restarts in the same step."""
        ...

    @abstractmethod
    def check(self) -> None:
        """Raises DataError or EnvironmentApiError for what is wrong with it, after a few steps."""
        ...

    @abstractmethod
    def spaces(self) -> tuple[gym.Space[Any], gym.Space[Any]]:
        """Observation and action space of one environment."""
        ...

    @abstractmethod
    def random_observations(self, count: int) -> np.ndarray[Any, Any]:
        """(count, *observation) observations under uniformly random actions, the same ones always."""
        ...

    @abstractmethod
    def alone(self, **kwargs: Any) -> EnvironmentSource:
        """One environment in this process, with further keyword arguments."""
        ...

    @abstractmethod
    def stacked(self, frames: int) -> EnvironmentSource:
        """Each observation is the last ones, (frames, *observation), the oldest first."""
        ...

    @abstractmethod
    def flattened(self) -> EnvironmentSource:
        """Observations of several parts, or of one of several things, are vectors."""
        ...

    @abstractmethod
    def without_task_ids(self) -> EnvironmentSource: ...


Source = ArraySource | EnvironmentSource


class Data(Protocol):
    """A data set in memory or on disk, with the split that its authors made."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def train(self) -> ArraySource: ...

    @property
    def test(self) -> ArraySource: ...

    @property
    def classes(self) -> int:
        """Number of classes, 0 without labels and for regression."""
        ...

    @property
    def regression(self) -> bool:
        """Whether labels are numbers to predict, not classes."""
        ...

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """One name a class."""
        ...

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of inputs that are rows of a table."""
        ...

    @property
    def missing(self) -> bool:
        """Whether NaN in inputs stands for a value that is not known."""
        ...

    @property
    def reading(self) -> Reading | None:
        """How the file of a table was read; None for other inputs."""
        ...
