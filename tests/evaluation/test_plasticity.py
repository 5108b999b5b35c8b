"""Signs of lost plasticity, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from rlcl.evaluation.plasticity import dead_units, dormancy, dormant, effective_rank, weight_magnitude

H = torch.tensor([[0.0, 1.0, 4.0, 0.0], [0.0, -1.0, 0.0, 2.0]])  # mean magnitudes 0, 1, 2, 1


def test_dormancy_is_a_units_share_of_its_layers_mean() -> None:
    assert [0.0, 1.0, 2.0, 1.0] == dormancy(H.abs().mean(0)).tolist()


def test_a_layer_that_is_never_active_is_all_dormant() -> None:
    assert [0.0, 0.0] == dormancy(torch.zeros(2)).tolist()
    assert 1.0 == dormant(torch.zeros(3, 2), 0.0)


def test_units_up_to_the_threshold_are_dormant() -> None:
    assert [0.25, 0.25, 0.75, 1.0] == [dormant(H, t) for t in (0.0, 0.5, 1.0, 2.0)]


def test_a_dead_unit_is_zero_on_every_input() -> None:
    assert 0.25 == dead_units(H)


def test_the_effective_rank_counts_equal_directions_and_less_of_unequal_ones() -> None:
    assert pytest.approx(3.0) == effective_rank(5 * torch.eye(3))
    assert pytest.approx(1.0) == effective_rank(torch.ones(4, 3))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert pytest.approx(math.exp(entropy)) == effective_rank(torch.diag(torch.tensor([3.0, 1.0])))
    assert 0.0 == effective_rank(torch.zeros(2, 2))


def test_the_weight_magnitude_is_one_mean_over_all() -> None:
    assert 2.5 == weight_magnitude([torch.tensor([[-1.0, 2.0]]), torch.tensor([3.0, -4.0])])
