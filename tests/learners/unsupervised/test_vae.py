"""The variational autoencoder and the regressor, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from harness import digit_stream, prepared

from rlcl.data import validation
from rlcl.data.readers.scikit import Diabetes
from rlcl.encoders.scale import Scale
from rlcl.encoders.standardize import Standardize
from rlcl.errors import UnsupportedError
from rlcl.learners.optimizers import Adam
from rlcl.learners.supervised.regressor import Regressor
from rlcl.learners.unsupervised.vae import Vae
from rlcl.networks.mlp import Mlp
from rlcl.networks.variational_autoencoder import check_range, gaussian_divergence, negative_log_likelihood
from rlcl.seeding import Seeds
from rlcl.streams.single import Single
from rlcl.training.trainer import Trainer
from rlcl.types import Batch, Budget


def test_the_divergence_from_the_prior_is_by_hand() -> None:
    mean, log_variance = torch.tensor([[0.0, 1.0], [0.0, 0.0]]), torch.tensor([[0.0, math.log(4.0)], [0.0, 0.0]])
    # Of N(1, 4): (4 + 1 - 1 - log 4) / 2.
    torch.testing.assert_close(gaussian_divergence(mean, log_variance), torch.tensor([(4 - math.log(4)) / 2, 0.0]))


def test_the_likelihoods_are_by_hand() -> None:
    logits, x = torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([[1.0, 0.0]])
    # p = 1/2 of a 1, p = 3/4 of a 0: log 2 + log 4.
    torch.testing.assert_close(negative_log_likelihood(logits, x, "bernoulli"), torch.tensor([math.log(8.0)]))
    mean, x = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]])
    torch.testing.assert_close(
        negative_log_likelihood(mean, x, "gaussian"), torch.tensor([2.0 + math.log(2 * math.pi)])
    )


def test_the_loss_is_the_mean_of_both() -> None:
    learner = prepared(Vae(network=Mlp(hidden=(8,)), decoder=Mlp(hidden=(8,)), code=3), digit_stream(), encoder=Scale())
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(3)
    found = learner.loss(Batch(x))
    torch.manual_seed(3)
    mean, log_variance = learner.module.encode(x).chunk(2, 1)
    code = mean + torch.randn(5, 3) * (log_variance / 2).exp()
    decoded = learner.module.decode(code)
    expected = negative_log_likelihood(decoded, x.flatten(1), "bernoulli") + gaussian_divergence(mean, log_variance)
    torch.testing.assert_close(expected.mean(), found)


def seeded_loss(learner: Vae, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The loss of three inputs, and by hand their bounds and what was decoded, with the same codes."""
    torch.manual_seed(3)
    found = learner.loss(batch)
    torch.manual_seed(3)
    decoded, mean, log_variance = learner.module(batch.inputs, torch.randn(3, 3))
    bounds = negative_log_likelihood(decoded, batch.inputs.flatten(1), "bernoulli")
    return found, bounds + gaussian_divergence(mean, log_variance), decoded


@pytest.fixture
def small() -> Any:
    return prepared(Vae(network=Mlp(hidden=(8,)), decoder=Mlp(hidden=(8,)), code=3), digit_stream())


def test_each_bound_counts_by_its_weight(small: Vae) -> None:
    found, bounds, _ = seeded_loss(small, Batch(torch.rand(3, 1, 8, 8), weights=torch.tensor([0.0, 1.0, 2.5])))
    torch.testing.assert_close(found, (bounds[1] + 2.5 * bounds[2]) / 3)


def test_what_is_decoded_in_training_is_pulled_to_what_is_stored(small: Vae) -> None:
    batch = Batch(torch.rand(3, 1, 8, 8))
    _, bounds, decoded = seeded_loss(small, batch)
    stored = decoded.detach() + torch.tensor([[7.0], [2.0], [4.0]])  # squared distances 49, 4 and 16
    found = seeded_loss(small, batch._replace(outputs=stored, distillation_weights=torch.tensor([0.0, 1.0, 2.5])))[0]
    torch.testing.assert_close(found - bounds.mean(), torch.tensor((0 * 49 + 4 + 2.5 * 16) / 3), rtol=1e-3, atol=1e-3)


def test_the_losses_of_inputs_are_the_same_twice_and_draw_from_no_global_generator(small: Vae) -> None:
    x = torch.rand(3, 1, 8, 8)
    state = torch.get_rng_state()
    first, second = small.losses(Batch(x)), small.losses(Batch(x))
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())
    torch.testing.assert_close(first, small.negative_bound(x))


def test_its_bound_improves_and_is_the_same_twice() -> None:
    stream = Single().make(Seeds(0), Budget(epochs=4))
    learner = Vae(network=Mlp(hidden=(64,)), decoder=Mlp(hidden=(64,)), code=8, optimizer=Adam())
    outcome = Trainer(learner, stream, encoder=Scale(maximum=16)).fit()
    bounds = [r.value for r in outcome.records if r.metric == "negative_bound"]
    assert bounds[-1] < 0.8 * bounds[0]
    x = stream[0].test.read()[0]  # type: ignore[union-attr]
    assert learner.negative_bound(x).tolist() == learner.negative_bound(x).tolist()


def test_a_regressor_beats_the_mean() -> None:
    stream = Single(data=Diabetes()).make(Seeds(0), Budget(epochs=60))
    learner = Regressor(network=Mlp(hidden=(32,)), optimizer=Adam(lr=1e-2))
    outcome = Trainer(learner, stream, encoder=Standardize()).fit()
    data = Diabetes().load()
    assert data.test_labels is not None
    assert data.train_labels is not None
    of_the_mean = float((data.test_labels - data.train_labels.mean()).square().mean())
    assert -outcome.metrics["squared_error.average"] < 0.8 * of_the_mean


def test_squared_error_enters_negated() -> None:
    stream = Single(data=Diabetes()).make(Seeds(0), Budget(epochs=1))
    outcome = Trainer(Regressor(optimizer=Adam()), stream, encoder=Standardize()).fit()
    last = [r.value for r in outcome.records if r.trained_on == 0]
    assert [pytest.approx(-last[0])] == outcome.R[0].tolist()


def test_a_bernoulli_likelihood_of_anything_but_0_to_1_is_refused() -> None:
    learner = prepared(Vae(), digit_stream(), encoder=Scale())
    with pytest.raises(
        UnsupportedError, match=r"bernoulli needs encoded inputs in \[0, 1\], and these lie in \[-1, 2\]"
    ):
        learner.loss(Batch(torch.tensor([[-1.0, 2.0]])))


def test_inputs_that_leave_the_range_later_are_clipped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    validation.warn_once.cache_clear()
    logits = torch.tensor([[0.3, -0.2]])
    expected = negative_log_likelihood(logits, torch.tensor([[1.0, 0.0]]), "bernoulli")
    assert torch.equal(expected, negative_log_likelihood(logits, torch.tensor([[2.0, -1.0]]), "bernoulli"))
    check_range(torch.tensor([0.0, 1.0]), "bernoulli", "learner.likelihood", first=False)
    check_range(torch.tensor([0.0, 1.5]), "gaussian", "learner.likelihood", first=True)
    assert not caplog.records
    check_range(torch.tensor([0.0, 1.5]), "bernoulli", "learner.likelihood", first=False)
    assert "some encoded inputs are no longer in [0, 1], and are clipped" in caplog.text
