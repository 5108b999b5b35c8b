"""Random augmentations of training inputs, applied in sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from attrs import define
from torch import Tensor

from rlcl.errors import UnsupportedError
from rlcl.registry import name_of
from rlcl.types import Augmentation

__all__ = ["AugmentationPipeline", "check_augmentations"]


@define(eq=False)
class AugmentationPipeline:
    """A sequence of augmentations with their own random generator.

    Args:
        augmentations: augmentations in the order in which they are applied.
        generator: random generator that only the augmentations use.
    """

    augmentations: Sequence[Augmentation]
    generator: torch.Generator

    def __call__(self, x: Tensor) -> Tensor:
        """Return encoded inputs (B, *encoded) after every augmentation has been applied in turn."""
        for augmentation in self.augmentations:
            x = augmentation(x, self.generator)
        return x

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Use a generator with a fixed seed within the context, and restore the pipeline's own generator afterwards."""
        own_generator, self.generator = self.generator, torch.Generator().manual_seed(seed)
        try:
            yield
        finally:
            self.generator = own_generator


def check_augmentations(augmentations: Sequence[Augmentation], shape: tuple[int, ...]) -> None:
    """Check that each augmentation accepts inputs of a shape and keeps the shape.

    Each augmentation is applied to two inputs of zeros.

    Raises:
        UnsupportedError: an augmentation cannot be applied to inputs of this shape, or it changes the shape.
    """
    for index, augmentation in enumerate(augmentations):
        name = f"learner.augment[{index}]: {name_of('augmentation', augmentation)}"
        try:
            augmented = augmentation(torch.zeros(2, *shape), torch.Generator())
        except (ValueError, IndexError, RuntimeError) as error:
            raise UnsupportedError(
                f"{name} cannot be applied to inputs of shape {shape}; remove the flatten encoder or the augmentation"
            ) from error
        if augmented.shape != (2, *shape):
            raise UnsupportedError(
                f"{name} must keep the shape (B, {', '.join(map(str, shape))}), but returned {tuple(augmented.shape)}"
            )
