"""How the loss of what a method replays mixes with that of the minibatch."""

from __future__ import annotations

from typing import Literal

__all__ = ["Mixing", "shares_of"]

Mixing = Literal["concat", "sum", "weighted"]


def shares_of(mixing: Mixing, experiences: int) -> tuple[float, float] | None:
    """Factors of the minibatch's mean loss and of the replayed one's; None for one mean over both.

    Args:
        mixing: which.
        experiences: that have begun, the present one included.

    Source: ``weighted`` is van de Ven et al. 2022, Three types of incremental learning, Methods.
    """
    if mixing == "concat":
        return None
    share = 1 / max(experiences, 1)
    return (1.0, 1.0) if mixing == "sum" else (share, 1 - share)
