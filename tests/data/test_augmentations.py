"""Augmentations: seeded, harmless to their input, and what they say."""

from __future__ import annotations

import pytest
import torch

from rlcl.data.augmentations import Crop, Erase, Flip, Noise
from rlcl.registry import entries, find


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 6) -> torch.Tensor:
    return torch.rand((count, 2, 5, 7), generator=generator(9))


every = pytest.mark.parametrize("name", sorted(entries("augmentation")))


@every
def test_the_same_generator_gives_the_same_images(name: str) -> None:
    augmentation = find("augmentation", name)()
    assert torch.equal(augmentation(images(), generator(3)), augmentation(images(), generator(3)))
    assert not torch.equal(augmentation(images(64), generator(3)), augmentation(images(64), generator(4)))


@every
def test_shape_and_input_stay_as_they_were(name: str) -> None:
    x = images()
    augmented = find("augmentation", name)()(x, generator())
    assert x.shape == augmented.shape
    assert torch.equal(images(), x)


@every
def test_the_global_generator_is_left_alone(name: str) -> None:
    before = torch.get_rng_state()
    find("augmentation", name)()(images(), generator())
    assert torch.equal(before, torch.get_rng_state())


def test_a_crop_is_one_of_the_shifts() -> None:
    x = images(20)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    shifts = [padded[:, :, r : r + 5, c : c + 7] for r in range(3) for c in range(3)]
    found = Crop(padding=1)(x, generator())
    places = [[torch.equal(found[i], shift[i]) for shift in shifts].index(True) for i in range(20)]
    assert len(set(places)) > 4


def test_flips_are_all_or_none_at_the_ends() -> None:
    x = images()
    assert torch.equal(x.flip(3), Flip(probability=1.0)(x, generator()))
    assert torch.equal(x, Flip(probability=0.0)(x, generator()))


def test_noise_has_its_deviation() -> None:
    added = Noise(deviation=0.3)(torch.zeros(100, 100), generator())
    assert float(added.std()) == pytest.approx(0.3, rel=0.02)


def test_erasing_zeroes_its_share_and_leaves_the_rest() -> None:
    x = torch.ones(100, 100)
    erased = Erase(probability=0.25)(x, generator())
    assert {0.0, 1.0} == set(erased.unique().tolist())
    assert float(erased.mean()) == pytest.approx(0.75, abs=0.02)
