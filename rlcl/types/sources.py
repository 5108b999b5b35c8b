"""Protocols of the sources of experiences (arrays and environments) and of data sets."""

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

__all__ = ["MISSING", "ArraySource", "Data", "EnvironmentSource", "Rows", "Source", "TableColumn", "TableFormat"]

MISSING = ("", "NA", "NaN", "nan", "null", "?")  # cells that mean a missing value by default


@frozen
class TableColumn:
    """One column of a table whose rows are inputs.

    Args:
        name: name in the header of the file.
        categories: texts that the integers 0, 1, ... stand for, in this order; empty for a numeric column.
    """

    name: str
    categories: tuple[str, ...] = ()

    @property
    def categorical(self) -> bool:
        """Whether the column is categorical, not numeric."""
        return bool(self.categories)


@frozen
class TableFormat:
    """Format of the text file of a table, so that later files can be read in the same way.

    Args:
        delimiter: character between two cells.
        missing: cells that mean a missing value; in a numeric column, all cells with the same number.
    """

    delimiter: str = ","
    missing: tuple[str, ...] = MISSING


@runtime_checkable
class Rows(Protocol):
    """Inputs on disk, indexed like the rows of a tensor."""

    @property
    def shape(self) -> torch.Size:
        """(N, *observation)."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the inputs that :meth:`index_select` returns."""
        ...

    @property
    def workers(self) -> int:
        """Number of processes that read minibatches."""
        ...

    @property
    def identity(self) -> str:
        """Text that identifies the rows without reading them: names and sizes of the files."""
        ...

    def __len__(self) -> int: ...

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Read rows, given by indices (B,) int64, in that order; ``dim`` is 0."""
        ...


class ArraySource(Protocol):
    """Inputs, with or without labels: a view of arrays that the whole stream shares."""

    @property
    @abstractmethod
    def kind(self) -> Literal["arrays"]:
        """Constant that distinguishes it from an :class:`EnvironmentSource`."""
        ...

    @property
    @abstractmethod
    def inputs(self) -> Tensor | Rows:
        """(N, *observation) of any dtype, shared by all views."""
        ...

    @property
    @abstractmethod
    def indices(self) -> Tensor | None:
        """(M,) int64 indices of the rows of ``inputs`` in this source, None for all rows."""
        ...

    @property
    @abstractmethod
    def transform(self) -> Callable[[Tensor], Tensor] | None:
        """Function from (B, *observation) to (B, *observation) that is applied on reading."""
        ...

    @property
    @abstractmethod
    def shared(self) -> tuple[Tensor | Rows, ...]:
        """The arrays that it is a view of: inputs, then labels if there are any."""
        ...

    @property
    @abstractmethod
    def targets(self) -> Tensor | None:
        """(M,) int64 or (M, K) float32 labels, without reading the inputs; None without labels."""
        ...

    @property
    @abstractmethod
    def task_ids(self) -> Tensor | None:
        """(M,) int64 task index of each row; None unless the source holds several tasks and task ids are visible."""
        ...

    @property
    @abstractmethod
    def streamed(self) -> bool:
        """Whether inputs stay on disk and are read on demand."""
        ...

    @property
    @abstractmethod
    def workers(self) -> int:
        """Number of processes that read the inputs."""
        ...

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self) -> tuple[Tensor, Tensor | None]:
        """Read all contiguous inputs (M, *observation) and targets into memory."""
        ...

    @abstractmethod
    def subset(self, rows: Tensor) -> ArraySource:
        """Return a view of some rows of this source, given by indices (B,) int64 below M."""
        ...

    @abstractmethod
    def viewing(self, indices: Tensor, tasks: Tensor | None = None) -> ArraySource:
        """Return a view of other rows of the shared arrays.

        Args:
            indices: (B,) int64 indices below N.
            tasks: (N,) int64 task index of each row of the shared arrays, to be shown; None leaves it unchanged.
        """
        ...

    @abstractmethod
    def transformed(self, transform: Callable[[Tensor], Tensor]) -> ArraySource:
        """Return a view with another ``transform``."""
        ...

    @abstractmethod
    def without_task_ids(self) -> ArraySource:
        """Return a view whose ``task_ids`` are None."""
        ...


class EnvironmentSource(Protocol):
    """A specification of environments, which are made on demand."""

    @property
    @abstractmethod
    def kind(self) -> Literal["environment"]:
        """Constant that distinguishes it from an :class:`ArraySource`."""
        ...

    @property
    @abstractmethod
    def name(self) -> str:
        """Name for messages."""
        ...

    @property
    @abstractmethod
    def env(self) -> str | Callable[..., gym.Env[Any, Any]]:
        """Gymnasium id, or callable that makes an environment."""
        ...

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
    def recipe(self) -> str:
        """Text that is equal for two sources if their environments are the same, except for their seeds and number."""
        ...

    @property
    @abstractmethod
    def requires_masks(self) -> bool:
        """Whether the environments have actions that are never allowed, so that learners must use the masks."""
        ...

    @property
    @abstractmethod
    def score_range(self) -> tuple[float, float] | None:
        """Returns that correspond to the scores 0 and 1; None if the task does not define them."""
        ...

    @property
    @abstractmethod
    def seed(self) -> int:
        """Seed of the environments."""
        ...

    @property
    @abstractmethod
    def num_envs(self) -> int:
        """Number of parallel environments in training."""
        ...

    @abstractmethod
    def make(self, side_by_side: bool = False) -> gym.Env[Any, Any]:
        """Make one environment.

        Args:
            side_by_side: whether the environment is part of a vector environment; if true, the entries of ``info``
                have the same type and shape in every step.
        """
        ...

    @abstractmethod
    def make_vector(self, num_envs: int | None = None) -> VectorEnv[Any]:
        """Make parallel environments, ``self.num_envs`` by default; a finished episode restarts in the same step."""
        ...

    @abstractmethod
    def check(self) -> None:
        """Check the environment in a few steps.

        Raises:
            DataError: it cannot be made with these settings.
            EnvironmentApiError: it breaks the Gymnasium API.
        """
        ...

    @abstractmethod
    def spaces(self) -> tuple[gym.Space[Any], gym.Space[Any]]:
        """Return the observation space and the action space of one environment."""
        ...

    @abstractmethod
    def random_observations(self, count: int) -> np.ndarray[Any, Any]:
        """Return observations (count, *observation) under uniformly random actions, the same ones in each call."""
        ...

    @abstractmethod
    def alone(self, **kwargs: Any) -> EnvironmentSource:
        """Return a source of one environment in this process, with additional keyword arguments."""
        ...

    @abstractmethod
    def seeded(self, seed: int) -> EnvironmentSource:
        """Return a source whose environments have another seed."""
        ...

    @abstractmethod
    def at(self, step: int) -> EnvironmentSource:
        """Return a source whose drifting parameters have the values of an env step of the stream when it is made."""
        ...

    @abstractmethod
    def stacked(self, frames: int) -> EnvironmentSource:
        """Return a source whose observations are the last frames, (frames, *observation), the oldest first."""
        ...

    @abstractmethod
    def flattened(self) -> EnvironmentSource:
        """Return a source whose structured observations (Dict, Tuple, Discrete) are flattened to vectors."""
        ...

    @abstractmethod
    def without_task_ids(self) -> EnvironmentSource:
        """Return a source that does not show task ids."""
        ...


Source = ArraySource | EnvironmentSource


class Data(Protocol):
    """A data set in memory or on disk, split into training and test set."""

    @property
    def name(self) -> str:
        """Name for messages."""
        ...

    @property
    def train(self) -> ArraySource:
        """Training set."""
        ...

    @property
    def test(self) -> ArraySource:
        """Test set."""
        ...

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
        """Shape of one input."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes."""
        ...

    @property
    def columns(self) -> tuple[TableColumn, ...]:
        """Columns of a table whose rows are inputs; empty for other inputs."""
        ...

    @property
    def missing(self) -> bool:
        """Whether NaN in inputs means a missing value."""
        ...

    @property
    def reading(self) -> TableFormat | None:
        """Format of the text file of a table; None for other inputs."""
        ...
