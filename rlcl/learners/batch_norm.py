"""Batch normalisation, which can make nothing of one example alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from rlcl.errors import UnsupportedError
from rlcl.types import Experience

__all__ = ["check_single", "single_examples_told"]

REMEDY = "set learner.drop_last: true, or a learner.batch_size that leaves more than one"


def check_single(
    module: nn.Module, parts: Sequence[Experience], batch_size: int, drop_last: bool, *, joined: bool
) -> None:
    """Refuses minibatches of one example for networks that normalise over a minibatch.

    Args:
        module: that learns.
        parts: of the stream.
        batch_size, drop_last: of the learner.
        joined: whether methods may join examples to the minibatch, so that only the very first is sure to stay alone.

    Raises:
        UnsupportedError: by experience and rows.
    """
    if not any(isinstance(layer, nn.BatchNorm1d) for layer in module.modules()):
        return
    if batch_size == 1:
        raise UnsupportedError(
            "learner.batch_size: 1, and the network has batch normalisation, which needs at least two examples at a "
            "time; set at least 2"
        )
    for part in parts[:1] if joined else parts:
        rows = len(part.arrays)
        if rows == 1 or (rows % batch_size == 1 and not drop_last and not joined):
            raise UnsupportedError(
                f"experience {part.index} ({part.name}) has {rows:,} training rows, so that the last minibatch of "
                f"{batch_size} holds one, which the network's batch normalisation cannot learn from; {REMEDY}"
            )


@contextmanager
def single_examples_told(name: str) -> Iterator[None]:
    """Says as an error of the config what torch says of one example: of a memory, or of images of one pixel.

    Args:
        name: of the learner.

    Raises:
        UnsupportedError: it said so.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UnsupportedError(
            f"learner {name}: a minibatch of one example, which batch normalisation cannot learn from; {REMEDY}, and "
            "let methods remember more than one (capacity, per_experience, batch_size)"
        ) from error
