"""The options that all gradient learners share, each against plain torch or numbers computed by hand."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from harness import autoencoder, classifier, differences, digit_stream, learn_all, learning, prepared, weights
from torch import Tensor, nn

from rlcl.data.augmentations import Noise
from rlcl.data.readers.scikit import Digits
from rlcl.encoders.scale import Scale
from rlcl.errors import UnsupportedError
from rlcl.learners import gradient
from rlcl.learners.early_stopping import EarlyStopping
from rlcl.learners.optimizers import Adam, Sgd
from rlcl.learners.schedules import Constant, Cosine, Exponential, Linear, Steps
from rlcl.learners.supervised.classifier import balanced_weights
from rlcl.learners.supervised.semi_supervised import hide_labels, pseudo_label_loss
from rlcl.learners.update import split_batch
from rlcl.learners.validation import validation_loss
from rlcl.methods.ewc import Ewc
from rlcl.methods.l2_init import L2Init
from rlcl.methods.rehearsal import Rehearsal
from rlcl.methods.si import Si
from rlcl.networks.cnn import Cnn
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream
from rlcl.types import Batch, Budget

WHOLE_BATCH = 1000
SGD = Sgd(lr=0.1)


def fitted(stream: Stream, *methods: Any, seed: int = 0, **settings: Any) -> Any:
    learner = prepared(classifier(*methods, **settings), stream, encoder=Scale(maximum=16.0), seed=seed)
    learn_all(learner, stream)
    return learner


def one(updates: int = 4) -> Stream:
    return digit_stream(1, budget=Budget(updates=updates))


def validated(experiences: int = 1, budget: Budget = Budget(epochs=3)) -> Stream:  # noqa: B008
    return digit_stream(experiences, budget=budget).with_validation(0.25, Seeds(0))


# Schedules.


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(), [1, 1, 1, 1]),
        (Constant(warmup=0.5), [0.5, 1, 1, 1]),
        (Linear(), [1, 0.75, 0.5, 0.25]),
        (Linear(to=0.5), [1, 0.875, 0.75, 0.625]),
        (Linear(warmup=0.5), [0.5, 1, 1, 0.5]),
        (Cosine(), [1, 0.5 + 0.5 * 2**-0.5, 0.5, 0.5 - 0.5 * 2**-0.5]),
        (Cosine(to=1.0), [1, 1, 1, 1]),
        (Exponential(to=1 / 16), [1, 0.5, 0.25, 0.125]),
        (Steps(at=(0.25, 0.75), factor=0.5), [1, 0.5, 0.5, 0.25]),
    ],
    ids=str,
)
def test_a_schedule_is_the_factor_computed_by_hand(
    schedule: Callable[[int, int], float], expected: list[float]
) -> None:
    assert pytest.approx(expected) == [schedule(update, 4) for update in range(4)]


def test_steps_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at: expected increasing numbers, got 0\.5, 0\.5"):
        Steps(at=(0.5, 0.5))


def rates(stream: Stream, **settings: Any) -> list[float]:
    learner = prepared(classifier(optimizer=SGD, **settings), stream, event_interval=1)
    return [event.values["lr"] for event in learn_all(learner, stream)]


def test_the_learning_rate_falls_anew_in_each_experience() -> None:
    stream = digit_stream(2, budget=Budget(updates=2))
    assert pytest.approx([0.1, 0.05, 0.1, 0.05]) == rates(stream, schedule=Linear())


def test_the_learning_rate_falls_over_the_stream() -> None:
    stream = digit_stream(2, budget=Budget(updates=2))
    expected = [0.1, 0.075, 0.05, 0.025]
    assert pytest.approx(expected) == rates(stream, schedule=Linear(), schedule_over="stream")


def test_the_learning_rate_falls_over_hidden_boundaries() -> None:
    stream = digit_stream(2, budget=Budget(updates=2), boundaries="hidden")
    assert pytest.approx([0.1, 0.075, 0.05, 0.025]) == rates(stream, schedule=Linear())


def test_the_weights_are_those_of_torch_with_the_same_rates() -> None:
    stream = one()
    start = prepared(classifier(optimizer=SGD, batch_size=WHOLE_BATCH), stream, encoder=Scale(maximum=16.0))
    module = copy.deepcopy(start.module)
    learner = fitted(stream, optimizer=SGD, batch_size=WHOLE_BATCH, schedule=Cosine())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
    x, y = stream[0].train.read()  # type: ignore[union-attr]
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(module(x / 16), y).backward()  # type: ignore[arg-type]
        optimizer.step()
        scheduler.step()
    for expected, actual in zip(module.parameters(), learner.module.parameters(), strict=True):
        torch.testing.assert_close(actual, expected)


# Accumulation, clipping, precision.


def test_a_batch_is_split_as_equally_as_can_be() -> None:
    batch = Batch(torch.arange(5.0), torch.arange(5))
    assert [[0, 1, 2], [3, 4]] == [part.targets.tolist() for part in split_batch(batch, 2)]  # type: ignore[union-attr]
    assert 5 == len(list(split_batch(batch, 9)))


@pytest.mark.parametrize("methods", [(), (Rehearsal(capacity=9, batch_size=5),), (Ewc(),)], ids=str)
def test_accumulated_gradients_are_those_of_the_whole_minibatch(methods: tuple[Any, ...]) -> None:
    stream = digit_stream(2, budget=Budget(updates=3))
    whole = fitted(stream, *copy.deepcopy(methods), optimizer=SGD)
    parts = fitted(stream, *copy.deepcopy(methods), optimizer=SGD, accumulate=3)
    for (name, expected), actual in zip(weights(whole).items(), weights(parts).values(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6, msg=name)


def step_length(**settings: Any) -> float:
    stream = one(1)
    learner = prepared(classifier(optimizer=Sgd(lr=1.0), **settings), stream)
    before = [p.detach().clone() for p in learner.module.parameters()]
    learn_all(learner, stream)
    moved = [(p.detach() - b).square().sum() for p, b in zip(learner.module.parameters(), before, strict=True)]
    return float(torch.stack(moved).sum().sqrt())


def test_the_gradient_is_clipped_to_its_norm() -> None:
    assert 1 < step_length()
    assert pytest.approx(0.5, rel=1e-4) == step_length(clip_norm=0.5)


def test_a_short_gradient_is_left_as_it_is() -> None:
    assert pytest.approx(step_length(), rel=1e-6) == step_length(clip_norm=1e6)


def test_what_a_method_adds_is_clipped_with_it() -> None:
    stream = digit_stream(1, budget=Budget(updates=2))
    learner = prepared(classifier(L2Init(strength=1e6), optimizer=Sgd(lr=1.0), clip_norm=0.5), stream)
    moved = []
    before = [p.detach().clone() for p in learner.module.parameters()]
    for _ in learner.learn(stream[0]):
        now = [p.detach().clone() for p in learner.module.parameters()]
        moved.append(
            float(torch.stack([(a - b).square().sum() for a, b in zip(now, before, strict=True)]).sum().sqrt())
        )
        before = now
    assert pytest.approx([0.5, 0.5], rel=1e-3) == moved


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_nearly_the_same_in_float32_weights(precision: str) -> None:
    stream = one(8)
    exact, mixed = fitted(stream, optimizer=SGD), fitted(stream, optimizer=SGD, precision=precision)
    assert {torch.float32} == {p.dtype for p in mixed.module.parameters()}
    assert differences(weights(exact), weights(mixed))
    for (name, expected), actual in zip(weights(exact).items(), weights(mixed).values(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0.05, atol=0.02, msg=name)


def test_float16_shows_methods_gradients_without_the_loss_scale() -> None:
    stream = one(1)
    seen: list[float] = []

    def norms(precision: str) -> float:
        learner = prepared(classifier(optimizer=SGD, precision=precision), stream, encoder=Scale(maximum=16.0))
        hook = learner.optimizers["network"].register_step_pre_hook(
            lambda o, a, k: seen.append(float(o.param_groups[0]["params"][0].grad.norm()))
        )
        learn_all(learner, stream)
        hook.remove()
        return seen[-1]

    assert pytest.approx(norms("float32"), rel=0.02) == norms("float16")


def test_float16_masks_the_classes_of_other_tasks() -> None:
    stream = digit_stream(2, budget=Budget(updates=2), task_ids=True)
    learner = prepared(classifier(precision="float16"), stream, event_interval=1)
    assert all(event.values["loss"] < 100 for event in learn_all(learner, stream))


# Averaged weights.


def test_the_average_of_the_weights_predicts() -> None:
    stream = one(3)
    learner = prepared(classifier(optimizer=SGD, ema=0.75), stream, encoder=Scale(maximum=16.0))
    history: list[Tensor] = []
    for _ in learner.learn(stream[0]):
        history.append(learner.module[-1].weight.detach().clone())
    average = history[0]  # torch starts the average with the first weights that it is shown
    for after in history[1:]:
        average = 0.75 * average + 0.25 * after
    with learner.predicting(None):
        torch.testing.assert_close(learner.module[-1].weight.detach(), average)
    torch.testing.assert_close(learner.module[-1].weight.detach(), history[-1])


def test_training_goes_on_from_the_weights_themselves() -> None:
    stream = digit_stream(2, budget=Budget(updates=3))
    assert not differences(weights(fitted(stream)), weights(fitted(stream, ema=0.9)))


# Early stopping.


class Falling:
    """Validation losses that are given, one a check."""

    def __init__(self, *losses: float) -> None:
        self.losses = iter(losses)

    def __call__(self, *_: Any) -> float:
        return next(self.losses)


def stopped(monkeypatch: pytest.MonkeyPatch, *losses: float, **options: Any) -> tuple[int, int, Any]:
    """Updates made, the check whose weights were kept, and the learner."""
    stream = validated(budget=Budget(updates=6))
    learner = prepared(classifier(early_stopping=EarlyStopping(every=1, **options)), stream)
    monkeypatch.setattr(gradient, "validation_loss", Falling(*losses))
    seen, state = [], {}
    observe = learner._early_stopping_monitor.observe

    def look(loss: float, modules: Mapping[str, nn.Module]) -> bool:
        seen.append(copy.deepcopy(dict(modules["module"].state_dict())))
        return bool(observe(loss, modules))

    monitor = type(learner._early_stopping_monitor)
    monkeypatch.setattr(monitor, "observe", lambda self, loss, modules: look(loss, modules))
    learn_all(learner, stream)
    state = learner.module.state_dict()
    (kept,) = [i for i, s in enumerate(seen) if not differences(s, dict(state))]
    return learner.position.step, kept, learner


def test_it_stops_after_patience_checks_without_a_lower_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (4, 1) == stopped(monkeypatch, 3, 1, 2, 1, 0, 0, patience=2)[:2]


def test_a_loss_that_is_hardly_lower_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (3, 0) == stopped(monkeypatch, 3, 2.9, 2.8, 0, 0, 0, patience=2, min_delta=0.5)[:2]


def test_without_patience_the_best_of_the_budget_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (6, 2) == stopped(monkeypatch, 3, 2, 0, 4, 5, 6, patience=None)[:2]


def test_the_last_weights_are_kept_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (3, 2) == stopped(monkeypatch, 1, 2, 3, patience=2, restore_best=False)[:2]


def test_the_next_experience_is_learned_after_an_early_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = validated(2, Budget(updates=4))
    learner = prepared(classifier(early_stopping=EarlyStopping(every=1, patience=1)), stream)
    monkeypatch.setattr(gradient, "validation_loss", Falling(1, 2, 9, 8, 7, 6))
    learn_all(learner, stream)
    assert (2, 2 + 4) == (learner.position.experience, learner.position.step)


def test_it_looks_at_the_validation_data_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = validated(budget=Budget(epochs=3))
    losses = Falling(3, 2, 1)
    learner = prepared(classifier(early_stopping=EarlyStopping()), stream)
    monkeypatch.setattr(gradient, "validation_loss", losses)
    learn_all(learner, stream)
    assert [] == list(losses.losses)


@pytest.mark.parametrize("make", [classifier, autoencoder])
def test_the_validation_loss_is_the_learners_own_on_held_out_data(make: Callable[..., Any]) -> None:
    stream = validated()
    learner = prepared(make(early_stopping=EarlyStopping()), stream, encoder=Scale(maximum=16.0))
    learn_all(learner, stream)
    x, y = stream[0].validation.read()  # type: ignore[union-attr]
    with torch.no_grad():
        expected = learner.loss(Batch(x / 16, y))
    assert pytest.approx(float(expected), rel=1e-5) == validation_loss(learner, learner._validation_loader, stream[0])


def test_looking_at_the_validation_data_changes_no_training() -> None:
    stream = validated(2)
    options = EarlyStopping(patience=None, restore_best=False)
    expected = weights(fitted(stream, network=Mlp(hidden=(16,), dropout=0.5)))
    assert not differences(
        expected, weights(fitted(stream, network=Mlp(hidden=(16,), dropout=0.5), early_stopping=options))
    )


def test_the_average_that_predicts_is_restored_with_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = validated(budget=Budget(updates=4))
    learner = prepared(classifier(ema=0.5, early_stopping=EarlyStopping(every=1, patience=None)), stream)
    losses: list[float] = []

    def look(*told: Any) -> float:
        losses.append(validation_loss(*told))
        return -1.0 if len(losses) == 2 else losses[-1]

    monkeypatch.setattr(gradient, "validation_loss", look)
    learn_all(learner, stream)
    assert pytest.approx(losses[1]) == validation_loss(learner, learner._validation_loader, stream[0])
    assert losses[1] != losses[3]
    assert learner._early_stopping_monitor.best is None  # nothing of it is left in later checkpoints


def test_early_stopping_without_boundaries_is_refused() -> None:
    stream = digit_stream(2, boundaries="hidden").with_validation(0.25, Seeds(0))
    with pytest.raises(
        UnsupportedError, match=r"early_stopping: it stops an experience early, but this stream hides where"
    ):
        prepared(classifier(early_stopping=EarlyStopping()), stream)


def test_labels_of_a_share_do_not_go_with_accumulation() -> None:
    with pytest.raises(UnsupportedError, match=r"learner.accumulate: .*; set accumulate: 1, or labelled: 1"):
        prepared(classifier(accumulate=2, labelled=0.5), one())


def test_balanced_weights_look_at_shown_labels_alone() -> None:
    stream = one(1)
    learner = prepared(classifier(labelled=0.2, class_weights="balanced"), stream)
    assert [3, 3, 3, 3] == torch.bincount(learner._labels_until(stream[0])).tolist()  # 0.2 of 13


@pytest.mark.parametrize("optimizer", [Adam(lr=0.01), SGD])
@pytest.mark.parametrize(
    "method", [Si(strength=10.0), Rehearsal(capacity=9, batch_size=4), L2Init(strength=0.1)], ids=str
)
def test_hooks_of_methods_see_no_update_that_float16_leaves_out(method: Any, optimizer: Any) -> None:
    stream = digit_stream(2, budget=Budget(updates=20))
    learner = fitted(stream, copy.deepcopy(method), optimizer=optimizer, precision="float16")
    assert all(bool(torch.isfinite(p).all()) for p in learner.module.parameters())


@pytest.mark.parametrize("fisher", ["exact", "empirical", "weighted", "batch"])
def test_ewc_leaves_hidden_labels_out(fisher: Any) -> None:
    stream = digit_stream(2, budget=Budget(updates=4))
    learner = fitted(stream, Ewc(strength=1.0, fisher=fisher), labelled=0.2, optimizer=SGD)
    assert all(bool(torch.isfinite(p).all()) for p in learner.module.parameters())


def test_early_stopping_without_validation_data_is_refused() -> None:
    message = r"learner.early_stopping: experience 0 \(digits 0-3\) has no validation data; set validation"
    with pytest.raises(UnsupportedError, match=message):
        prepared(classifier(early_stopping=EarlyStopping()), one())


# Class weights and labels.


def test_balanced_weights_are_those_computed_by_hand() -> None:
    y = torch.tensor([0, 0, 0, 2])
    assert pytest.approx([4 / (2 * 3), 1.0, 4 / (2 * 1)]) == balanced_weights(y, 3).tolist()


def test_class_weights_multiply_the_losses() -> None:
    stream = one(1)
    learner = prepared(classifier(class_weights=(1.0, 2.0, 0.0, 4.0)), stream)
    learn_all(learner, stream)
    x, y = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 3])
    losses = F.cross_entropy(learner.module(x), y, reduction="none")
    expected = (losses[0] + 2 * losses[1] + 4 * losses[3]) / 4
    torch.testing.assert_close(learner.loss(Batch(x, y)), expected)


def test_balanced_weights_follow_what_has_been_seen() -> None:
    stream = digit_stream(2)
    learner = prepared(classifier(class_weights="balanced"), stream)
    seen = []
    for experience in stream:
        for _ in learner.learn(experience):
            pass
        seen.append(learner._weights.tolist())
    assert [[1.0] * 4] * 2 == seen  # as many of each class
    uneven = torch.tensor([0] * 9 + [1] * 3)
    assert pytest.approx([12 / 18, 2.0]) == balanced_weights(uneven, 2).tolist()


def test_as_many_class_weights_as_classes_are_wanted() -> None:
    with pytest.raises(UnsupportedError, match=r"learner.class_weights: expected 4 numbers, one per class, got 2"):
        prepared(classifier(class_weights=(1.0, 2.0)), one())


def test_a_share_of_each_class_keeps_its_label() -> None:
    y = torch.tensor([0] * 20 + [1] * 10 + [2] * 3)
    shown = hide_labels(y, 0.2, np.random.default_rng(0))
    assert [4, 2, 1] == [int((shown == k).sum()) for k in range(3)]
    assert bool((shown[shown >= 0] == y[shown >= 0]).all())


def test_confident_guesses_alone_count() -> None:
    guesses = torch.tensor([[10.0, 0.0], [0.1, 0.0]])
    logits = torch.tensor([[0.0, 0.0], [5.0, 0.0]])
    expected = torch.log(torch.tensor(2.0)) / 2  # the first alone: -log(1/2), over two inputs
    torch.testing.assert_close(pseudo_label_loss(logits, guesses, 0.95), expected)
    assert 0 == float(pseudo_label_loss(logits[:0], guesses[:0], 0.95))


def test_methods_never_see_a_hidden_label() -> None:
    stream = digit_stream(2, budget=Budget(epochs=1))
    memory = Rehearsal(capacity=100, batch_size=4)
    learner = prepared(classifier(memory, labelled=0.25), stream)
    learn_all(learner, stream)
    targets = memory.memory.sample(100)["targets"]
    assert 4 * 13 == len(targets)
    assert [4 * 10, 3, 3, 3, 3] == torch.bincount(targets + 1).tolist()  # 3 of 13 in each class


def test_few_labels_and_many_inputs_beat_few_labels_alone() -> None:
    accuracies = {}
    for weight in (0.0, 1.0):
        stream = digit_stream(1, budget=Budget(epochs=80), data=Digits())
        learner = classifier(
            labelled=0.03,
            unlabelled_weight=weight,
            confidence=0.9,
            batch_size=64,
            network=Mlp(hidden=(64,)),
            augment=(Noise(deviation=0.2),),
            optimizer=Adam(lr=0.003),
        )
        prepared(learner, stream, encoder=Scale(maximum=16.0))
        learn_all(learner, stream)
        x, y = stream[0].test.read()  # type: ignore[union-attr]
        accuracies[weight] = float((learner.predict(x)[0] == y).float().mean())
    assert accuracies[0.0] + 0.02 < accuracies[1.0], accuracies


# Compiling.


@pytest.mark.filterwarnings("ignore:`torch.jit")  # torch's own, of its compiler
def test_a_compiled_learner_learns_the_same() -> None:
    stream = digit_stream(2, budget=Budget(updates=3))
    eager, compiled = fitted(stream, Ewc(), optimizer=SGD), fitted(stream, Ewc(), optimizer=SGD, compile=True)
    for (name, expected), actual in zip(weights(eager).items(), weights(compiled).values(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("network", [Mlp(hidden=(8,)), Cnn(channels=(2,), hidden=(4,))])
def test_torchs_own_modules_are_really_compiled(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []
    compile_ = torch.compile

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function: compile_(function, backend=backend))
    fitted(one(1), network=network, compile=True)
    assert graphs


# What a component of one's own may get wrong.


class Wrong:
    """Builds what a test gives it."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.build = make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: "adam", r"build must return a torch optimizer, got str"),
        (torch.optim.LBFGS, r"its step needs a closure that evaluates the loss again"),
    ],
)
def test_an_optimizer_that_cannot_be_stepped_is_refused(make: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        prepared(classifier(optimizer=Wrong(make)), one())


def test_parameters_that_an_optimizer_leaves_out_are_told(caplog: pytest.LogCaptureFixture) -> None:
    prepared(classifier(optimizer=Wrong(lambda p: torch.optim.SGD(p[:1], lr=0.1))), one())
    assert "has 1 of 4 parameters" in caplog.text


def test_an_augmentation_that_changes_the_shape_is_refused() -> None:
    with pytest.raises(
        UnsupportedError, match=r"learner.augment\[0\]: .* must keep the shape \(B, 1, 8, 8\), but returned"
    ):
        prepared(classifier(augment=(lambda x, generator: x[:, :, 1:],)), one())


def test_a_loss_that_is_no_single_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = prepared(classifier(), one())
    monkeypatch.setattr(learner.objective, "loss", lambda batch: learner.outputs(batch.inputs))
    with pytest.raises(UnsupportedError, match=r"the loss must be a scalar, the mean over the batch; got shape"):
        learn_all(learner, one())


# All of them at once, saved and loaded.

EVERYTHING: Mapping[str, Any] = {
    "schedule": Cosine(warmup=0.3),
    "clip_norm": 1.0,
    "precision": "float16",
    "ema": 0.9,
    "early_stopping": EarlyStopping(every=2, patience=2),
    "class_weights": "balanced",
    "labelled": 0.5,
    "optimizer": Adam(lr=0.01),
}


def test_a_learner_with_every_option_goes_on_where_it_stopped() -> None:
    stream = validated(2, Budget(updates=6))

    def fresh() -> Any:
        learner = classifier(Rehearsal(capacity=9, batch_size=4), **EVERYTHING)
        return prepared(learner, stream, encoder=Scale(maximum=16.0))

    whole = fresh()
    learn_all(whole, stream)
    for stop in range(1, whole.position.step):
        first, second = fresh(), fresh()
        for _ in itertools.islice(learning(first, stream), stop):
            pass
        second.load_state_dict(first.state_dict())
        learn_all(second, stream)
        assert not differences(whole.state_dict(), second.state_dict()), stop
