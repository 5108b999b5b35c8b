"""Examples that a method or learner keeps: a memory decides which, and here is how their inputs are kept."""

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

# Help of the settings that all who keep examples share.


@frozen(eq=False)
class Examples:
    """A memory of a host's examples, which gives them back as the network sees them.

    Args:
        host: where the examples are met; a :class:`rlcl.types.RawHost` where inputs are kept raw.
        memory: decides which are kept, and holds them as they are stored.
        stored: inputs as they were ``encoded`` when they were met, or ``raw`` in the source's own dtype, encoded by
            the encoder's present fit whenever they are given back.
    """

    host: Host | RawHost
    memory: Memory
    stored: Stored

    def __len__(self) -> int:
        return len(self.memory)

    def insert(self, batch: Batch) -> None:
        """Offers the inputs of a batch of the host with their targets, task ids and outputs, as far as it has them.

        Raises:
            UnsupportedError: raw inputs of another dtype than those kept; or see :meth:`Memory.insert`.
        """
        inputs = batch.inputs if self.stored == "encoded" else self._raw(batch)
        self.memory.insert(inputs=inputs, targets=batch.targets, task_ids=batch.task_ids, outputs=batch.outputs)

    def _raw(self, batch: Batch) -> Tensor:
        raw, held = cast("RawHost", self.host).raw(batch), self.memory.held()
        if held and held["inputs"].dtype != raw.dtype:
            raise UnsupportedError(
                f"stored: raw keeps {held['inputs'].dtype} inputs, and this experience has {raw.dtype}; "
                "set stored: encoded"
            )
        return raw

    def draw(self, count: int) -> Batch:
        """See :meth:`Memory.draw`."""
        return self.encoded(Batch(**self.memory.draw(count)))

    def draw_evenly(self, count: int, column: str) -> Batch:
        """See :meth:`Memory.draw_evenly`."""
        return self.encoded(Batch(**self.memory.draw_evenly(count, column)))

    def at(self, slots: np.ndarray[Any, Any] | Tensor) -> Batch:
        """See :meth:`Memory.at`."""
        return self.encoded(Batch(**self.memory.at(slots)))

    def held(self) -> Batch:
        """All examples, in the order of their slots."""
        return self.encoded(Batch(**self.memory.held()))

    def encoded(self, stored: Batch) -> Batch:
        """Examples as they are stored, as the network sees them."""
        if self.stored == "encoded":
            return stored
        return stored._replace(inputs=cast("RawHost", self.host).encoded(stored.inputs))

    def state_dict(self) -> dict[str, Any]:
        return self.memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str) -> None:
        """Restores what :meth:`state_dict` gave, on the host's device."""
        self.memory.load_state_dict(state, device)


def raw_refusal(stored: Stored, host: Host) -> str | None:
    """Why a host's inputs cannot be stored like that, None where they can."""
    if stored == "raw" and not isinstance(host, RawHost):
        return "it stores raw inputs, and the learner gives encoded ones alone; set stored: encoded"
    return None


def check_size(**sizes: int | None) -> None:
    """Refuses settings that do not say the size of a memory exactly once.

    Args:
        sizes: settings by name, None where one is not given.

    Raises:
        Problem: none is given, or several.
    """
    given = [name for name, size in sizes.items() if size is not None]
    if len(given) != 1:
        raise Problem(f"expected exactly one of {', '.join(sizes)}; got {', '.join(given) or 'none'}")
