"""Stored examples of a method or learner, with raw or encoded inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from rlcl.errors import Problem, UnsupportedError
from rlcl.methods.memories.memory import Memory
from rlcl.types import Batch, Host, RawHost

__all__ = ["Examples", "Stored", "check_size", "raw_refusal"]

Stored = Literal["encoded", "raw"]


@frozen(eq=False)
class Examples:
    """Memory of a host's examples, which returns encoded inputs.

    Args:
        host: source of the examples; a :class:`rlcl.types.RawHost` for raw inputs.
        memory: selects and stores the examples.
        stored: format of the stored inputs. ``encoded``: inputs are encoded before they are stored. ``raw``: inputs are
            stored in the dtype of the data set, and encoded with the current fit of the encoder each time they are
            returned.
    """

    host: Host | RawHost
    memory: Memory
    stored: Stored

    def __len__(self) -> int:
        return len(self.memory)

    def insert(self, batch: Batch) -> None:
        """Insert a batch of the host into the memory, which may reject some of its examples.

        The inputs are stored, and the targets, task ids and outputs if present.

        Raises:
            UnsupportedError: raw inputs differ in dtype from the stored ones; or see :meth:`Memory.insert`.
        """
        inputs = batch.inputs if self.stored == "encoded" else self._raw(batch)
        self.memory.insert(inputs=inputs, targets=batch.targets, task_ids=batch.task_ids, outputs=batch.outputs)

    def _raw(self, batch: Batch) -> Tensor:
        raw, contents = cast("RawHost", self.host).raw(batch), self.memory.contents()
        if contents and contents["inputs"].dtype != raw.dtype:
            raise UnsupportedError(
                f"stored: raw keeps {contents['inputs'].dtype} inputs, and this experience has {raw.dtype}; "
                "set stored: encoded"
            )
        return raw

    def sample(self, count: int) -> Batch:
        """See :meth:`Memory.sample`."""
        return self.encoded(Batch(**self.memory.sample(count)))

    def sample_evenly(self, count: int, column: str) -> Batch:
        """See :meth:`Memory.sample_evenly`."""
        return self.encoded(Batch(**self.memory.sample_evenly(count, column)))

    def at(self, slots: np.ndarray[Any, Any] | Tensor) -> Batch:
        """See :meth:`Memory.at`."""
        return self.encoded(Batch(**self.memory.at(slots)))

    def contents(self) -> Batch:
        """Return all examples, in the order of their slots."""
        return self.encoded(Batch(**self.memory.contents()))

    def encoded(self, stored: Batch) -> Batch:
        """Return stored examples with encoded inputs."""
        if self.stored == "encoded":
            return stored
        return stored._replace(inputs=cast("RawHost", self.host).encoded(stored.inputs, stored.task_ids))

    def state_dict(self) -> dict[str, Any]:
        return self.memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str) -> None:
        """Restore a state of :meth:`state_dict` on the host's device."""
        self.memory.load_state_dict(state, device)


def raw_refusal(stored: Stored, host: Host) -> str | None:
    """Return the reason why a host does not support a format of stored inputs, or None if it does."""
    if stored == "raw" and not isinstance(host, RawHost):
        return "it stores raw inputs, and the learner provides encoded inputs only; set stored: encoded"
    return None


def check_size(**sizes: int | None) -> None:
    """Check that exactly one setting sets the size of a memory.

    Args:
        sizes: settings by name, None if not set.

    Raises:
        Problem: no setting or several settings are set.
    """
    names = [name for name, size in sizes.items() if size is not None]
    if len(names) != 1:
        raise Problem(f"expected exactly one of {', '.join(sizes)}; got {', '.join(names) or 'none'}")
