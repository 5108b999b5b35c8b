"""One data set of images, rotated by a different angle in each experience."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from attrs import frozen
from torch import Tensor

from rlcl.config import option
from rlcl.data.readers.scikit import Digits
from rlcl.data.sources import loaded
from rlcl.errors import Problem
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream, array_spec
from rlcl.types import Budget, DataSet, Experience, Visibility

__all__ = ["Rotated", "Rotation"]

ROWS_AT_ONCE = 4096


@frozen
class Rotation:
    """A counter-clockwise rotation of images (B, C, H, W) about their centre, bilinear, with zeros outside the image.

    Args:
        degrees: angle in degrees.
    """

    degrees: float

    def __call__(self, x: Tensor) -> Tensor:
        if not self.degrees:
            return x
        angle = math.radians(self.degrees)
        height, width = x.shape[2:]
        # The coordinates of affine_grid run from -1 to 1 on both axes, so that the matrix includes the aspect ratio.
        matrix = [
            [math.cos(angle), -math.sin(angle) * height / width, 0.0],
            [math.sin(angle) * width / height, math.cos(angle), 0.0],
        ]
        parts = [self._rotate(part, torch.tensor(matrix)) for part in torch.split(x, ROWS_AT_ONCE)]
        return torch.cat(parts)

    def _rotate(self, x: Tensor, matrix: Tensor) -> Tensor:
        grid = F.affine_grid(matrix.expand(len(x), 2, 3), list(x.shape), align_corners=False)
        rotated = F.grid_sample(x.float(), grid, align_corners=False)
        return rotated.to(x.dtype) if x.is_floating_point() else rotated.round_().clamp_(0, 255).to(x.dtype)


@frozen(kw_only=True)
class Rotated:
    """Rotated images: each experience has the whole data set, rotated by one random angle.

    Args:
        data: data set of images.
        experiences: number of angles.
        degrees: minimum and maximum angle; each experience samples one uniformly, with the seed of the run.
        first_as_is: whether the first experience is not rotated.
        visibility: information about tasks and boundaries that the learner receives.

    Source: Lopez-Paz & Ranzato 2017, section 5.1 (there 0 to 180 degrees, one uniform angle per task).
    """

    data: DataSet = option(factory=Digits)
    experiences: int = option(10, ge=1, le=100_000)
    degrees: tuple[float, float] = option((0.0, 180.0))
    first_as_is: bool = option(False)
    visibility: Visibility = option(factory=Visibility)

    def make(self, seeds: Seeds, budget: Budget) -> Stream:
        data = loaded(self.data)
        if len(data.observation_shape) != 3:
            raise Problem(
                f"data: expected images (channels, height, width), but {data.name} has inputs of shape "
                f"{data.observation_shape}"
            )
        low, high = self.degrees
        if low > high:
            raise Problem(f"degrees: expected [minimum, maximum], got {list(self.degrees)}")
        angles = [float(seeds.child(f"angle {i}").numpy().uniform(low, high)) for i in range(self.experiences)]
        if self.first_as_is:
            angles[0] = 0.0
        experiences = tuple(
            Experience(
                index=index,
                name=f"{data.name} {angle:.0f} degrees",
                train=data.train.transformed(Rotation(angle)),
                test=data.test.transformed(Rotation(angle)),
                budget=budget,
                task_id=index,
            )
            for index, angle in enumerate(angles)
        )
        return Stream(experiences, array_spec(data, [range(data.classes)] * self.experiences), self.visibility)
