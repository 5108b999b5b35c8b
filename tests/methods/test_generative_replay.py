"""Deep generative replay: what is generated, how it is labelled, and what the generator learns from."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attrs import frozen
from harness import (
    autoencoder,
    classifier,
    differences,
    digit_stream,
    learn_all,
    learn_one,
    learning,
    prepared,
    restore,
    snapshot,
)

from rlcl.data.augmentations import Noise
from rlcl.data.readers.scikit import Diabetes
from rlcl.encoders.identity import Identity
from rlcl.encoders.scale import Scale
from rlcl.encoders.standardize import Standardize
from rlcl.errors import UnsupportedError
from rlcl.learners.optimizers import Adam
from rlcl.learners.supervised.regressor import Regressor
from rlcl.learners.unsupervised.barlow_twins import BarlowTwins
from rlcl.learners.unsupervised.vae import Vae
from rlcl.methods.generative_replay import GenerativeReplay
from rlcl.networks.mlp import Linear, Mlp
from rlcl.networks.variational_autoencoder import gaussian_divergence, negative_log_likelihood
from rlcl.seeding import Seeds
from rlcl.streams.data_incremental import DataIncremental
from rlcl.streams.stream import Stream
from rlcl.types import Batch, Budget, Encoder

SMALL = Mlp(hidden=(16,))


def small(**settings: Any) -> GenerativeReplay:
    return GenerativeReplay(**{"batch_size": 5, "network": SMALL, "decoder": SMALL, "code": 3, **settings})


def vae(*methods: GenerativeReplay) -> Vae:
    return Vae(network=SMALL, decoder=SMALL, code=3, batch_size=8, optimizer=Adam(lr=0.01), methods=methods)


def barlow_twins(*methods: GenerativeReplay) -> BarlowTwins:
    return BarlowTwins(
        network=SMALL,
        projector=SMALL,
        features=8,
        projection=8,
        batch_size=8,
        augment=(Noise(),),
        optimizer=Adam(),
        methods=methods,
    )


def regressor(*methods: GenerativeReplay) -> Regressor:
    return Regressor(network=SMALL, batch_size=8, optimizer=Adam(lr=0.01), methods=methods)


def digits() -> Stream:
    return digit_stream(2, budget=Budget(updates=4))


def digits_with_ids() -> Stream:
    return digit_stream(2, budget=Budget(updates=4), task_ids=True)


def diabetes() -> Stream:
    return DataIncremental(data=Diabetes(), experiences=12).make(Seeds(0), Budget(updates=4))[:2]


@frozen
class Case:
    """A learner that generated inputs serve, with what it needs."""

    make: Callable[..., Any]
    stream: Callable[[], Stream] = digits
    encoder: Callable[[], Encoder] = lambda: Scale(maximum=16.0)
    settings: tuple[tuple[str, Any], ...] = ()

    def new(self, seed: int = 0, **settings: Any) -> Any:
        method = small(**{**dict(self.settings), **settings})
        return prepared(self.make(method), self.stream(), encoder=self.encoder(), seed=seed)


CASES = {
    "classifier": Case(classifier),
    "classifier soft": Case(classifier, settings=(("labels", "soft"),)),
    "classifier concat": Case(classifier, settings=(("mixing", "concat"),)),
    "classifier linear generator": Case(classifier, settings=(("network", Linear()), ("decoder", Linear()))),
    "classifier task ids": Case(classifier, digits_with_ids),
    "classifier task ids soft": Case(classifier, digits_with_ids, settings=(("labels", "soft"),)),
    "regressor": Case(regressor, diabetes, Standardize, (("likelihood", "gaussian"),)),
    "autoencoder": Case(autoencoder),
    "autoencoder soft": Case(autoencoder, settings=(("labels", "soft"),)),
    "vae": Case(vae),
    "vae of its own": Case(vae, settings=(("generator", "learner"),)),
    "barlow twins": Case(barlow_twins, settings=(("mixing", "concat"),)),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def after(learner: Any, stream: Stream, updates: int) -> Any:
    """The learner after that many updates, and the one method that it has."""
    for _ in zip(range(updates), learning(learner, stream), strict=False):
        pass
    return learner.methods[0]


def test_generated_inputs_join_from_the_second_experience_on(case: Case) -> None:
    learner, counts = case.new(), []
    for _ in learning(learner, case.stream()):
        counts.append(len(learner._attached.extra(learner.batch).inputs) - len(learner.batch.inputs))
    assert [0, 0, 0, 5, 5, 5, 5, 5] == counts  # after the fourth update the boundary has passed


def test_they_are_the_means_of_the_copied_decoder_of_codes_of_the_prior() -> None:
    learner = CASES["classifier"].new()
    method = after(learner, digits(), 6)
    own = torch.Generator()
    own.set_state(method.state_dict()["draws"])
    codes = torch.randn(5, 3, generator=own)
    replay = method.extra(learner.batch)
    decode = copy.deepcopy(method._vae.decode)
    decode.load_state_dict(
        {n.removeprefix("decode."): t for n, t in method._copied_vae.state_dict().items() if "decode" in n}
    )
    torch.testing.assert_close(torch.sigmoid(decode(codes)).view(5, 1, 8, 8), replay.inputs)


def network_of(method: GenerativeReplay, learner: Any) -> Any:
    """The learner's network as the method keeps it."""
    network = copy.deepcopy(learner.module).eval()
    network.load_state_dict({n.removeprefix("module."): t for n, t in method.state_dict()["copied_network"].items()})
    return network


def test_their_labels_are_the_most_probable_classes_of_the_copied_network() -> None:
    learner = CASES["classifier"].new(batch_size=50)
    method = after(learner, digits(), 6)
    replay = method.extra(learner.batch)
    with torch.no_grad():
        assert torch.equal(network_of(method, learner)(replay.inputs).argmax(1), replay.targets)
    assert replay.outputs is None


def test_the_copies_are_of_the_boundary_and_stay_while_the_learner_goes_on() -> None:
    learner = CASES["classifier"].new()
    method = after(learner, digits(), 4)
    at_boundary = {n: p.detach().clone() for n, p in learner.module.named_parameters()}
    generator = {n: p.detach().clone() for n, p in method._vae.named_parameters()}
    learn_one(learner, digits())
    # The second boundary has passed: what was copied there is the present.
    assert [] == differences(
        dict(learner.module.named_parameters()), dict(network_of(method, learner).named_parameters())
    )
    learner = CASES["classifier"].new()
    method = after(learner, digits(), 7)
    assert [] == differences(at_boundary, {n: p.detach() for n, p in network_of(method, learner).named_parameters()})
    assert [] == differences(generator, {n: p.detach() for n, p in method._copied_vae.named_parameters()})
    assert [] != differences(generator, {n: p.detach() for n, p in method._vae.named_parameters()})


@pytest.mark.parametrize(
    ("mixing", "own", "old"), [("weighted", 1 / 2, 1 / 2), ("sum", 1, 1), ("concat", 8 / 13, 5 / 13)]
)
@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_losses_mix_as_they_are_told(mixing: str, own: float, old: float, labels: str) -> None:
    learner = CASES["classifier"].new(mixing=mixing, labels=labels)
    method = after(learner, digits(), 6)
    joined = learner._attached.extra(learner.batch)
    with torch.no_grad():
        found, logits = learner.loss(joined), learner.module(joined.inputs)
        losses = F.cross_entropy(logits, joined.targets, reduction="none")
        if labels == "soft":  # the mean squared distance of the logits instead
            losses[8:] = (logits[8:] - network_of(method, learner)(joined.inputs[8:])).square().mean(1)
    torch.testing.assert_close(found, own * losses[:8].mean() + old * losses[8:].mean())


def test_weighted_weighs_two_thirds_in_the_third_experience() -> None:
    method = small()
    stream = digit_stream(4, budget=Budget(updates=2))
    learner = prepared(classifier(method), stream, encoder=Scale(maximum=16.0))
    shares = [method.shares for _ in learning(learner, stream)]
    assert [pytest.approx((1 / t, 1 - 1 / t)) for t in (1, 1, 2, 2, 3, 3, 4, 4)] == shares


@pytest.mark.parametrize(
    ("mixing", "own", "old"), [("weighted", 1 / 3, 2 / 3), ("sum", 1, 1), ("concat", 8 / 13, 5 / 13)]
)
def test_the_generator_descends_its_bounds_mixed_in_the_same_way(mixing: str, own: float, old: float) -> None:
    stream = digit_stream(4, budget=Budget(updates=2))
    learner = prepared(classifier(small(mixing=mixing)), stream, encoder=Scale(maximum=16.0))
    method = after(learner, stream, 4)  # the next update is the first of the third experience
    generator, draws = copy.deepcopy(method._vae), torch.Generator()
    draws.set_state(method.state_dict()["draws"])
    next(learning(learner, stream))
    # In the order in which the update draws: codes of five generated inputs, then those of all thirteen.
    replayed = method._copied_vae.decode_mean(torch.randn(5, 3, generator=draws)).view(5, 1, 8, 8)
    x = torch.cat((learner.batch.inputs, replayed))
    mean, log_variance = generator.encode(x).chunk(2, 1)
    decoded = generator.decode(mean + torch.randn(13, 3, generator=draws) * (log_variance / 2).exp())
    bounds = negative_log_likelihood(decoded, x.flatten(1), "bernoulli") + gaussian_divergence(mean, log_variance)
    (own * bounds[:8].mean() + old * bounds[8:].mean()).backward()
    for expected, actual in zip(generator.parameters(), method._vae.parameters(), strict=True):
        torch.testing.assert_close(expected.grad, actual.grad)


def test_the_generator_learns_at_its_own_rate() -> None:
    moved = []
    for lr in (1e-3, 1e-2):
        learner = CASES["classifier"].new(lr=lr)
        before = copy.deepcopy(learner.methods[0]._vae)
        method = after(learner, digits(), 1)
        moved.append((next(method._vae.parameters()) - next(before.parameters())).abs().max().item())
    assert [pytest.approx(1e-3, rel=0.01), pytest.approx(1e-2, rel=0.01)] == moved  # Adam's first step


def test_it_draws_from_no_global_generator() -> None:
    plain = prepared(classifier(), digits(), encoder=Scale(maximum=16.0))
    learn_all(plain, digits())
    expected = torch.get_rng_state()
    learner = CASES["classifier"].new()
    learn_all(learner, digits())
    assert torch.equal(expected, torch.get_rng_state())


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_with_task_ids_each_is_of_a_past_task_and_labelled_within_it(labels: str) -> None:
    stream = digit_stream(4, budget=Budget(updates=3), task_ids=True)
    learner = prepared(classifier(small(batch_size=60, labels=labels)), stream, encoder=Scale(maximum=16.0))
    method = after(learner, stream, 10)  # in the fourth; a class each
    replay = method.extra(learner.batch)
    assert [0, 1, 2] == replay.task_ids.unique().tolist()
    assert torch.equal(replay.task_ids, replay.targets)
    assert bool(torch.isfinite(learner.loss(learner._attached.extra(learner.batch))))


def test_a_regressor_learns_what_the_copied_network_predicts() -> None:
    learner = CASES["regressor"].new()
    method = after(learner, diabetes(), 6)
    replay = method.extra(learner.batch)
    with torch.no_grad():
        torch.testing.assert_close(network_of(method, learner)(replay.inputs), replay.targets)
    assert (5, 1) == replay.targets.shape


@pytest.mark.parametrize("name", ["autoencoder", "vae", "barlow twins"])
def test_a_learner_without_labels_is_given_none(name: str) -> None:
    learner = CASES[name].new()
    method = after(learner, digits(), 6)
    assert method.extra(learner.batch).targets is None
    assert learner.batch.targets is not None  # of these digits, for its probe


def test_a_vae_may_be_its_own_generator() -> None:
    learner = CASES["vae of its own"].new()
    method = after(learner, digits(), 4)
    at_boundary = {n: p.detach().clone() for n, p in learner.module.named_parameters()}
    after(learner, digits(), 2)
    assert [] == differences(at_boundary, {n: p.detach() for n, p in method._copied_vae.named_parameters()})
    assert method.state_dict()["vae"] is None
    assert method._vae is learner.module


@pytest.mark.parametrize("updates", [3, 4, 6])
def test_interrupted_it_ends_the_same(case: Case, updates: int) -> None:
    through = case.new()
    learn_all(through, case.stream())
    expected = snapshot(through)
    stopped = case.new()  # which seeds the global generators anew
    after(stopped, case.stream(), updates)
    state = snapshot(stopped)
    fresh = case.new(seed=7)
    restore(fresh, state)
    learn_all(fresh, case.stream())
    assert [] == differences(expected, snapshot(fresh))


def test_it_keeps_an_old_task_that_plain_training_forgets() -> None:
    stream = digit_stream(2, budget=Budget(updates=300))
    x, y = stream[0].test.read()  # type: ignore[union-attr]

    def kept(*methods: GenerativeReplay) -> float:
        learner = prepared(classifier(*methods), stream, encoder=Scale(maximum=16.0))
        learn_all(learner, stream)
        return float((learner.predict(x)[0] == y).float().mean())

    assert 0.0 == kept()
    assert kept(small(batch_size=16, network=Mlp(hidden=(64,)), decoder=Mlp(hidden=(64,)), lr=3e-3)) >= 0.7


@pytest.mark.parametrize(
    ("learner", "settings", "expected"),
    [
        (
            barlow_twins,
            {},
            "mixing: weighted needs a loss that can be weighted, and this one cannot; set mixing: concat",
        ),
        (barlow_twins, {"mixing": "concat", "labels": "soft"}, "labels: soft needs example .*; set labels: hard"),
        (classifier, {"generator": "learner"}, "generator: learner needs the learner vae; set generator: own"),
    ],
)
def test_what_a_learner_cannot_do_is_refused(learner: Any, settings: dict[str, Any], expected: str) -> None:
    message = rf"methods\[0\]: generative_replay does not support learner .*: {expected}"
    with pytest.raises(UnsupportedError, match=message):
        prepared(learner(small(**settings)), digits())


def test_inputs_that_no_bernoulli_gives_are_refused() -> None:
    learner = prepared(classifier(small()), digits(), encoder=Identity())
    with pytest.raises(UnsupportedError, match=r"method generative_replay: likelihood: bernoulli needs .* \[0, 16\]"):
        learn_all(learner, digits())


def test_a_generator_that_does_not_go_with_the_inputs_is_refused_before_training() -> None:
    from rlcl.networks.cnn import Cnn

    method = small(likelihood="gaussian", network=Cnn(channels=(4,), hidden=(8,)))
    with pytest.raises(UnsupportedError, match=r"network cnn"):
        prepared(regressor(method), diabetes(), encoder=Standardize())


def test_the_batch_that_methods_see_is_without_the_generated() -> None:
    learner = CASES["classifier"].new()
    after(learner, digits(), 6)
    assert isinstance(learner.batch, Batch)
    assert 8 == len(learner.batch.inputs)
