"""Callback of Lightning that protects a module with continual-learning methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from rlcl.data.torchvision_import import import_torchvision
from rlcl.errors import UnsupportedError
from rlcl.protection.guard import GuardError
from rlcl.protection.model_guard import ModelGuard
from rlcl.protection.protect import protect
from rlcl.types import Method

import_torchvision()  # Lightning imports it, and may find compiled operators that torch does not support
try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as missing:
    raise UnsupportedError(
        "rlcl.protection.lightning needs Lightning; install it with pip install 'rlcl[lightning]'"
    ) from missing

__all__ = ["Protection"]


class Protection(Callback):  # type: ignore[misc]
    """Callback that protects a ``LightningModule``; each call of ``Trainer.fit`` is an experience.

    The module is called with the inputs alone. It must have one optimizer, the same one in each call of ``fit``: create
    it in ``__init__``, and return it in ``configure_optimizers``.

    Args:
        methods: see :func:`rlcl.protect`.
        loss: see :func:`rlcl.protect`.
        minibatch: function that returns inputs and targets ``(x, y)`` of what the loader yields; by default its
            minibatches are such pairs.
        settings: ``kind``, ``task_ids``, ``input_shape``, ``samples`` and ``seed`` of :func:`rlcl.protect`.

    Attributes:
        guard: the guard; None before the first ``fit``.
        task_id: task of the next ``fit``; set it before if ``task_ids`` is true.
    """

    def __init__(
        self,
        methods: Sequence[Method],
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        minibatch: Callable[[Any], tuple[Any, Any]] | None = None,
        **settings: Any,
    ) -> None:
        self.methods, self.loss, self.minibatch, self.settings = methods, loss, minibatch, settings
        self.guard: ModelGuard | None = None
        self.task_id: int | None = None
        self._stored: Mapping[str, Any] | None = None  # state that a checkpoint contains

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if len(trainer.optimizers) != 1:
            raise UnsupportedError(
                f"Protection: expected one optimizer, and configure_optimizers returned {len(trainer.optimizers)}"
            )
        (optimizer,) = trainer.optimizers
        if self.guard is None:
            self.guard = protect(pl_module, optimizer, self.methods, loss=self.loss, **self.settings)
        if optimizer is not self.guard.host.optimizer:
            raise GuardError(
                "Protection: configure_optimizers returned another optimizer than in the first fit, without the "
                "methods; create it in __init__, and return the same object"
            )
        if self._stored is not None:
            self.guard.load_state_dict(self._stored)
            self._stored = None
        loader = trainer.train_dataloader
        readable = isinstance(loader, DataLoader) and self.minibatch is None
        updates = trainer.estimated_stepping_batches
        self.guard.begin(
            loader if readable else None,
            task_id=self.task_id,
            updates=int(updates) if 0 < updates < float("inf") else None,
        )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert self.guard is not None
        x, y = batch if self.minibatch is None else self.minibatch(batch)
        self.guard.see(x, y)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self.guard is not None
        self.guard.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self.guard is not None:
            self.guard.suspend()

    def state_dict(self) -> dict[str, Any]:
        return {} if self.guard is None else self.guard.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._stored = state_dict or None
