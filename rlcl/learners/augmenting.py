"""Random changes of training inputs, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from attrs import define
from torch import Tensor

from rlcl.errors import UnsupportedError
from rlcl.registry import name_of
from rlcl.types import Augmentation

__all__ = ["Augmenting", "try_augmentations"]


@define(eq=False)
class Augmenting:
    """Augmentations, and what they draw from.

    Args:
        augmentations: in the order in which they are applied.
        generator: theirs alone.
    """

    augmentations: Sequence[Augmentation]
    generator: torch.Generator

    def __call__(self, x: Tensor) -> Tensor:
        """Encoded inputs (B, *encoded), changed at random by every augmentation in turn."""
        for augmentation in self.augmentations:
            x = augmentation(x, self.generator)
        return x

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Draw the same numbers each time, and leave the generator as it was."""
        kept, self.generator = self.generator, torch.Generator().manual_seed(seed)
        try:
            yield
        finally:
            self.generator = kept


def try_augmentations(augmentations: Sequence[Augmentation], shape: tuple[int, ...]) -> None:
    """Apply each to two inputs of a shape.

    Raises:
        UnsupportedError: one cannot change such inputs, or changes their shape.
    """
    for index, augmentation in enumerate(augmentations):
        name = f"learner.augment[{index}]: {name_of('augmentation', augmentation)}"
        try:
            changed = augmentation(torch.zeros(2, *shape), torch.Generator())
        except (ValueError, IndexError, RuntimeError) as error:
            raise UnsupportedError(
                f"{name} does not go with inputs of shape {shape}; leave out the flatten encoder, or the augmentation"
            ) from error
        if changed.shape != (2, *shape):
            raise UnsupportedError(
                f"{name} must keep the shape (B, {', '.join(map(str, shape))}), and gave {tuple(changed.shape)}"
            )
