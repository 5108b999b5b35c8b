"""A host's outputs as a torch module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from rlcl.types import Host

__all__ = ["OutputsModule", "Weights"]


class OutputsModule(nn.Module):
    """A host's outputs as a module, which torch can evaluate with other weights than its own (a frozen teacher)."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.module = host.modules[host.primary]
        self.host = host

    def forward(self, x: Tensor, task_ids: Tensor | None) -> Tensor:
        """(B, *encoded) to (B, K)."""
        return self.host.outputs(x, task_ids)


class Weights:
    """Other weights for a module, put in its place for a moment, without the overhead of ``functional_call``.

    Args:
        module: left as it is but within :meth:`instead`.
        tensors: by the names of its parameters and buffers; those that it no longer has are left out.
    """

    def __init__(self, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        self._slots: list[tuple[dict[str, Any], str, Tensor]] = []
        names = dict(module.named_modules(remove_duplicate=False))
        for name, tensor in tensors.items():
            parent, _, own = name.rpartition(".")
            for slots in (names[parent]._parameters, names[parent]._buffers) if parent in names else ():
                if own in slots:
                    self._slots.append((slots, own, tensor))

    @contextmanager
    def instead(self) -> Iterator[None]:
        """The module with these weights."""
        before = [slots[name] for slots, name, _ in self._slots]
        for slots, name, tensor in self._slots:
            slots[name] = tensor
        try:
            yield
        finally:
            for (slots, name, _), tensor in zip(self._slots, before, strict=True):
                slots[name] = tensor
