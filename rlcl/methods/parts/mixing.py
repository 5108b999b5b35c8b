"""Mixing of the loss on replayed examples with the loss on the minibatch."""

from __future__ import annotations

from typing import Literal

__all__ = ["Mixing", "loss_shares"]

Mixing = Literal["concat", "sum", "weighted"]


def loss_shares(mixing: Mixing, experiences: int) -> tuple[float, float] | None:
    """Return the factors of the minibatch's mean loss and of the replay's mean loss; None for one mean over both.

    Args:
        mixing: the kind of mixing.
        experiences: number of experiences so far, including the current one.

    Source: ``weighted`` is van de Ven et al. 2022, Three types of incremental learning, Methods.
    """
    if mixing == "concat":
        return None
    share = 1 / max(experiences, 1)
    return (1.0, 1.0) if mixing == "sum" else (share, 1 - share)
