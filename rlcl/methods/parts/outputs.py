"""Outputs of a host as a torch module, and temporary substitution of its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from rlcl.types import Host

__all__ = ["OutputsModule", "WeightSubstitution"]


class OutputsModule(nn.Module):
    """Module that returns a host's outputs, so that they can be computed with other weights (a frozen teacher)."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.module = host.modules[host.primary]
        self.host = host

    def forward(self, x: Tensor, task_ids: Tensor | None) -> Tensor:
        """Map encoded inputs (B, *encoded) to outputs (B, K)."""
        return self.host.outputs(x, task_ids)


class WeightSubstitution:
    """Temporary substitution of a module's weights, without the overhead of ``functional_call``.

    Args:
        module: changed only within :meth:`applied`.
        tensors: by the names of the module's parameters and buffers. Names that the module lacks are ignored.
    """

    def __init__(self, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        self._slots: list[tuple[dict[str, Any], str, Tensor]] = []
        names = dict(module.named_modules(remove_duplicate=False))
        for name, tensor in tensors.items():
            parent, _, attribute = name.rpartition(".")
            for slots in (names[parent]._parameters, names[parent]._buffers) if parent in names else ():
                if attribute in slots:
                    self._slots.append((slots, attribute, tensor))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the module these weights inside the context."""
        before = [slots[name] for slots, name, _ in self._slots]
        for slots, name, tensor in self._slots:
            slots[name] = tensor
        try:
            yield
        finally:
            for (slots, name, _), tensor in zip(self._slots, before, strict=True):
                slots[name] = tensor
