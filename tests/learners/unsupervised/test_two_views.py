"""Barlow Twins and SimSiam, by hand and on digits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness import digit_stream, prepared

from rlcl.data.augmentations import Crop, Erase, Noise
from rlcl.encoders.flatten import Flatten
from rlcl.encoders.scale import Scale
from rlcl.errors import UnsupportedError
from rlcl.learners.optimizers import Adam
from rlcl.learners.unsupervised.barlow_twins import BarlowTwins, barlow_twins_loss
from rlcl.learners.unsupervised.simsiam import SimSiam, simsiam_loss
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds
from rlcl.streams.single import Single
from rlcl.training.trainer import Trainer
from rlcl.types import Budget


def test_the_barlow_twins_loss_is_by_hand() -> None:
    z = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    torch.testing.assert_close(barlow_twins_loss(z, z, 0.5), torch.tensor(0.0), rtol=0, atol=1e-4)
    # The second view swaps the features: C = [[0, 1], [1, 0]].
    torch.testing.assert_close(barlow_twins_loss(z, z.flip(1), 0.5), torch.tensor(2 + 0.5 * 2), rtol=0, atol=1e-4)


def test_the_simsiam_loss_is_by_hand_and_holds_the_projection_fixed() -> None:
    p = torch.tensor([[3.0, 4.0], [1.0, 0.0]], requires_grad=True)
    z = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    loss = simsiam_loss(p, z)
    torch.testing.assert_close(loss, torch.tensor(-(0.6 + 0.0) / 2))
    loss.backward()  # type: ignore[no-untyped-call]
    assert z.grad is None
    assert p.grad is not None


@pytest.mark.parametrize("cls", [BarlowTwins, SimSiam])
def test_it_refuses_to_see_one_view_only(cls: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"learner.augment: .* needs at least one augmentation"):
        prepared(cls(), digit_stream())


def test_an_augmentation_of_images_refuses_vectors() -> None:
    with pytest.raises(
        UnsupportedError, match=r"learner.augment\[0\]: crop cannot be applied to inputs of shape \(64,\)"
    ):
        prepared(BarlowTwins(augment=(Crop(),)), digit_stream(), encoder=Flatten())


@pytest.mark.parametrize(("cls", "at_least"), [(BarlowTwins, 0.9), (SimSiam, 0.85)])
def test_digits_can_be_told_apart_by_what_it_learns(cls: Any, at_least: float) -> None:
    stream = Single().make(Seeds(0), Budget(epochs=8))
    learner = cls(
        network=Mlp(hidden=(128,)),
        features=64,
        projection=64,
        batch_size=128,
        optimizer=Adam(lr=2e-3),
        augment=(Crop(padding=1), Noise(deviation=0.1), Erase(probability=0.1)),
    )
    metrics = Trainer(learner, stream, encoder=Scale(maximum=16)).fit().metrics
    assert at_least < metrics["linear_probe.average"]
    assert at_least < metrics["nearest_neighbours.average"]
