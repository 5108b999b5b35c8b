"""Checks for networks with batch normalization, which needs at least two examples in a minibatch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from rlcl.errors import UnsupportedError
from rlcl.types import Experience

__all__ = ["check_minibatch_sizes", "explained_single_example_errors"]

REMEDY = "set learner.drop_last: true, or a learner.batch_size that leaves more than one example"


def check_minibatch_sizes(
    module: nn.Module, segments: Sequence[Experience], batch_size: int, drop_last: bool, *, rehearsal: bool
) -> None:
    """Check that no minibatch has a single example if the network has batch normalization.

    Args:
        module: the network to be trained.
        segments: all segments of the stream.
        batch_size, drop_last: settings of the learner.
        rehearsal: whether methods may add examples to a minibatch; then only a first segment of one row is rejected.

    Raises:
        UnsupportedError: a minibatch would have one example; the message names the experience and its number of rows.
    """
    if not any(isinstance(layer, nn.BatchNorm1d) for layer in module.modules()):
        return
    if batch_size == 1:
        raise UnsupportedError(
            "learner.batch_size: got 1, but the batch normalization of the network needs at least two examples in a "
            "minibatch; set at least 2"
        )
    for segment in segments[:1] if rehearsal else segments:
        rows = len(segment.arrays)
        if rows == 1 or (rows % batch_size == 1 and not drop_last and not rehearsal):
            raise UnsupportedError(
                f"experience {segment.index} ({segment.name}) has {rows:,} training rows, so its last minibatch of "
                f"at most {batch_size} has one example; the network's batch normalization needs at least two; {REMEDY}"
            )


@contextmanager
def explained_single_example_errors(name: str) -> Iterator[None]:
    """Convert torch's error about a minibatch of one example into an error about the config.

    It can still occur after :func:`check_minibatch_sizes`: with one example from a memory, or images of one pixel.

    Args:
        name: name of the learner.

    Raises:
        UnsupportedError: a batch normalization layer got a single value per channel.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UnsupportedError(
            f"learner {name}: a minibatch has one example, but batch normalization needs at least two; {REMEDY}, and "
            "let methods store more than one (capacity, per_experience, batch_size)"
        ) from error
