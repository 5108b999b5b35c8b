"""Signs of lost plasticity, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from rlcl.evaluation.plasticity import (
    dead_units,
    dormancy,
    dormant_units,
    effective_rank,
    gradient_norm,
    stable_rank,
    weight_magnitude,
)

MAGNITUDES = torch.tensor([0.0, 1.0, 2.0, 1.0])
OTHER = torch.tensor([10.0, 30.0])  # scores 0.5 and 1.5


def test_dormancy_is_a_units_share_of_its_layers_mean() -> None:
    assert [0.0, 1.0, 2.0, 1.0] == dormancy(MAGNITUDES).tolist()


def test_a_layer_that_is_never_active_is_all_dormant() -> None:
    assert [0.0, 0.0] == dormancy(torch.zeros(2)).tolist()
    assert 1.0 == dormant_units([torch.zeros(2)], 0.0)


def test_units_up_to_the_threshold_are_dormant() -> None:
    assert [0.25, 0.25, 0.75, 1.0] == [dormant_units([MAGNITUDES], t) for t in (0.0, 0.5, 1.0, 2.0)]


def test_a_score_is_of_its_own_layer_and_a_share_is_of_all_units() -> None:
    assert pytest.approx([1 / 6, 2 / 6, 4 / 6]) == [dormant_units([MAGNITUDES, OTHER], t) for t in (0.0, 0.5, 1.0)]


def test_a_dead_unit_is_zero_on_every_input() -> None:
    assert 0.25 == dead_units([MAGNITUDES])
    assert pytest.approx(1 / 6) == dead_units([MAGNITUDES, OTHER])


def test_the_effective_rank_counts_equal_directions_and_less_of_unequal_ones() -> None:
    assert pytest.approx(3.0) == effective_rank(5 * torch.eye(3))
    assert pytest.approx(1.0) == effective_rank(torch.ones(4, 3))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert pytest.approx(math.exp(entropy)) == effective_rank(torch.diag(torch.tensor([3.0, 1.0])))
    assert 0.0 == effective_rank(torch.zeros(2, 2))


def test_the_stable_rank_counts_singular_values_up_to_a_share_of_their_sum() -> None:
    h = torch.diag(torch.tensor([1.0, 98.0, 0.5, 1.5]))  # of a sum of 101: 98, 1.5, 1 and 0.5
    assert [1.0, 2.0, 3.0, 4.0] == [stable_rank(h, share) for share in (0.97, 0.98, 0.99, 1.0)]
    assert 3.0 == stable_rank(h)
    assert 1.0 == stable_rank(torch.ones(4, 3))
    assert 0.0 == stable_rank(torch.zeros(2, 2))


@pytest.mark.parametrize("seed", range(20))
def test_the_stable_rank_of_all_is_at_most_the_number_of_units(seed: int) -> None:
    h = torch.randn(200, 30, generator=torch.Generator().manual_seed(seed))
    assert 30.0 == stable_rank(h, 1.0)
    assert 30.0 >= stable_rank(h, 1 - 1e-15)


def test_the_stable_rank_is_not_that_of_rudelson_and_vershynin() -> None:
    # Theirs is (9 + 1) / 9 = 1.11; of the sum of 4 the first value is 0.75.
    assert 2.0 == stable_rank(torch.diag(torch.tensor([3.0, 1.0])))


def test_the_weight_magnitude_is_one_mean_over_all() -> None:
    assert 2.5 == weight_magnitude([torch.tensor([[-1.0, 2.0]]), torch.tensor([3.0, -4.0])])


def test_the_gradient_norm_is_of_all_gradients_together() -> None:
    assert pytest.approx(13.0) == gradient_norm([torch.tensor([[3.0, 4.0]]), torch.tensor([-12.0])])
