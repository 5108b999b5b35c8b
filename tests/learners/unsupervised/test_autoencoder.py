"""The autoencoder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from attrs import frozen
from harness import FewDigits, autoencoder, digit_stream, learn_all, prepared

from rlcl.data.sources import Data
from rlcl.encoders.scale import Scale
from rlcl.errors import UnsupportedError
from rlcl.evaluation.measures import LINEAR_PROBE, measure_all
from rlcl.evaluation.plan import Plan
from rlcl.networks.multihead import Multihead
from rlcl.seeding import Seeds
from rlcl.streams.single import Single
from rlcl.types import Batch, Budget, DataSet


@frozen
class Unlabelled(DataSet):
    """The few digits without their labels."""

    def load(self) -> Data:
        data = FewDigits().load()
        return Data(data.train_inputs, None, data.test_inputs, None, "digits")


def images() -> torch.Tensor:
    return torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def learner() -> Any:
    return prepared(autoencoder(), digit_stream(), encoder=Scale(maximum=2.0))


def test_its_loss_is_the_mean_squared_error_over_inputs_and_features() -> None:
    x = images()
    used = learner()
    expected = (used.module(x) - x.flatten(1)).square().sum() / (5 * 64)
    torch.testing.assert_close(used.loss(Batch(x)), expected)


def test_its_error_by_input_averages_to_its_loss() -> None:
    x = images()
    used = learner()
    errors = used.reconstruction_error(x)
    assert (5,) == tuple(errors.shape)
    torch.testing.assert_close(errors.mean(), used.loss(Batch(x / 2)).detach())


def test_it_predicts_flat_reconstructions_in_the_encoders_scale() -> None:
    x = images()
    used = learner()
    reconstructions, state = used.predict(x)
    torch.testing.assert_close(reconstructions, used.module(x / 2).detach())
    assert (5, 64) == tuple(reconstructions.shape)
    assert state is None


def test_codes_are_what_is_decoded() -> None:
    x = images()
    used = learner()
    codes = used.represent(x)
    assert (5, 4) == tuple(codes.shape)
    torch.testing.assert_close(used.module.decode(codes).detach(), used.predict(x)[0])


def test_learning_lowers_its_error_on_inputs_it_has_not_seen() -> None:
    stream = digit_stream(1, budget=Budget(epochs=10))
    used = prepared(autoencoder(), stream, encoder=Scale(maximum=16.0))
    x, _ = stream[0].test.read()  # type: ignore[union-attr]
    before = float(used.reconstruction_error(x).mean())
    learn_all(used, stream)
    assert float(used.reconstruction_error(x).mean()) < 0.5 * before


def test_it_learns_without_labels_what_it_learns_with_them() -> None:
    budget = Budget(epochs=2)
    with_labels = Single(data=FewDigits()).make(Seeds(0), budget)
    without = Single(data=Unlabelled()).make(Seeds(0), budget)
    errors = []
    for stream in (with_labels, without):
        used = prepared(autoencoder(), stream, encoder=Scale(maximum=16.0))
        learn_all(used, stream)
        errors.append(used.reconstruction_error(images()))
    assert torch.equal(errors[0], errors[1])


def test_a_linear_probe_needs_labels() -> None:
    assert ("reconstruction_error", "linear_probe") == learner().measures
    without = prepared(autoencoder(), Single(data=Unlabelled()).make(Seeds(0), Budget(epochs=1)))
    assert ("reconstruction_error",) == without.measures


def test_a_linear_probe_of_one_class_is_reported() -> None:
    stream = digit_stream(4)  # one class in each experience
    used = prepared(autoencoder(), stream, encoder=Scale(maximum=16.0))
    learn_all(used, stream[:1])
    with pytest.warns(UserWarning, match="linear_probe of .* is not defined: its training examples have one class"):
        values = measure_all({"linear_probe": LINEAR_PROBE}, used, stream[0], None, Plan())
    assert values == {"linear_probe": None}


@pytest.mark.parametrize("part", ["network", "decoder"])
def test_a_network_of_heads_is_refused(part: str) -> None:
    with pytest.raises(UnsupportedError, match="multihead selects a head by the task id"):
        prepared(autoencoder(**{part: Multihead()}), digit_stream(2, task_ids=True))
