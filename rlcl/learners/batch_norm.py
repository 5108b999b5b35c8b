"""Checks for networks with batch normalization, which needs at least two examples in a minibatch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from rlcl.errors import UnsupportedError
from rlcl.learners.trial_pass import input_shapes
from rlcl.types import Experience, MixingMethod

__all__ = ["check_minibatch_sizes", "explained_single_example_errors"]

REMEDY = "set learner.drop_last: true, or a learner.batch_size that leaves more than one example"


def check_minibatch_sizes(
    module: nn.Module,
    forward: Callable[[], Any],
    stream: Iterable[Experience],
    batch_size: int,
    drop_last: bool,
    accumulate: int = 1,
    mixing: Sequence[MixingMethod] = (),
) -> None:
    """Check that no forward pass has a single example if the network's batch normalization needs two.

    Batch normalization of one example is defined only if its input has several positions (pixels).

    Methods that add examples to a minibatch are expected to do so from the second minibatch of the stream on, or from
    its second experience on if they store examples at the end of an experience.

    Args:
        module: the network to be trained.
        forward: function that runs the network on one example.
        stream: all experiences.
        batch_size, drop_last, accumulate: settings of the learner.
        mixing: methods that add examples to a minibatch.

    Raises:
        UnsupportedError: a forward pass would have one example; the message names the experience and its number of
            rows.
    """
    if not _needs_two_examples(module, forward):
        return
    if batch_size == 1:
        raise UnsupportedError(
            "learner.batch_size: got 1, but the batch normalization of the network needs at least two examples in a "
            "minibatch; set at least 2"
        )
    experiences = list(stream)
    for segment in (part for experience in experiences[: 1 if mixing else None] for part in experience.parts):
        rows = len(segment.arrays)
        sizes = [min(rows, batch_size)]
        if not drop_last and rows > batch_size and rows % batch_size and not any(m.reopens for m in mixing):
            sizes.append(rows % batch_size)
        if any(size // min(accumulate, size) == 1 for size in sizes):
            parts, remedy = "", REMEDY
            if accumulate > 1:
                parts, remedy = f", or a part of one (learner.accumulate: {accumulate}),", f"{REMEDY}, or accumulate: 1"
            raise UnsupportedError(
                f"experience {segment.index} ({segment.name}) has {rows:,} training rows, so that a minibatch of at "
                f"most {batch_size}{parts} has one example; the network's batch normalization needs at least two; "
                f"{remedy}"
            )


def _needs_two_examples(module: nn.Module, forward: Callable[[], Any]) -> bool:
    if any(isinstance(layer, nn.BatchNorm1d) for layer in module.modules()):
        return True
    shapes = input_shapes(module, nn.BatchNorm2d, forward)
    return any(math.prod(shape[2:]) == 1 for _, _, shape in shapes)


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
