"""Avalanche's strategies under rlcl: the weights of a plain script, the accuracy of their own evaluation."""

from __future__ import annotations

import copy
import threading
import warnings
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from attrs import field, frozen
from harness import differences, digit_stream, learn_all, learn_one, learning, prepared, weights
from torch import Tensor, nn

from rlcl.config import build, component
from rlcl.data.avalanche_import import import_avalanche, suppressed_deprecations
from rlcl.encoders.compose import Compose
from rlcl.encoders.flatten import Flatten
from rlcl.encoders.scale import Scale
from rlcl.errors import CheckpointError, DivergenceError, Problem, UnseenTaskError, UnsupportedError
from rlcl.learners.avalanche.learner import Avalanche, _line_of
from rlcl.learners.avalanche.strategy import find_strategy
from rlcl.learners.optimizers import Adam, Sgd
from rlcl.learners.supervised.classifier import Classifier
from rlcl.methods.ewc import Ewc
from rlcl.networks.avalanche import AvalancheNetwork
from rlcl.networks.mlp import Mlp
from rlcl.networks.multihead import Multihead
from rlcl.seeding import Seeds, seed_globals
from rlcl.streams.joint import Joint
from rlcl.streams.stream import Stream
from rlcl.streams.visibility import learner_view
from rlcl.training.trainer import Trainer
from rlcl.types import Budget, Visibility

HEADS = AvalancheNetwork(model="MTSimpleMLP", options={"hidden_size": 8})
GROWING = AvalancheNetwork(model="IncrementalClassifier")
PACKNET = AvalancheNetwork(model="PackNetModel", options={"wrappee": {"type": "SimpleMLP", "hidden_size": 8}})
ICARL = {
    "feature_extractor": {"type": "MLP", "hidden_size": [64, 8]},
    "classifier": {"type": "Linear", "in_features": 8, "out_features": 4},
    "memory_size": 8,
    "buffer_transform": None,
    "fixed_memory": True,
}


def encoder() -> Compose:
    return Compose(encoders=(Scale(), Flatten()))


def learner(strategy: str, network: Any = None, **settings: Any) -> Avalanche:
    settings = {"optimizer": Adam(lr=0.01), "batch_size": 8, **settings}
    return Avalanche(strategy=strategy, network=network or Mlp(hidden=(16,)), **settings)


def ready(strategy: str, network: Any = None, stream: Stream | None = None, **settings: Any) -> Any:
    return prepared(learner(strategy, network, **settings), stream or digit_stream(), encoder=encoder())


def arrays(stream: Stream, half: str) -> list[tuple[Tensor, Tensor]]:
    found = []
    for experience in stream:
        x, y = getattr(experience, half).read()
        encode = encoder()
        encode.fit(x)
        found.append((encode.encode(x), y))
    return found


# The same weights as a plain script.


@frozen
class Plain:
    """A script that knows Avalanche alone, with the seeds that the learner uses."""

    strategy: str
    options: dict[str, Any] = field(factory=dict)
    network: Any = field(factory=lambda: Mlp(hidden=(16,)))
    task_ids: bool = False

    def benchmark(self, stream: Stream) -> Any:
        labels = list(range(len(stream))) if self.task_ids else [0] * len(stream)
        train, test = arrays(stream, "train"), arrays(stream, "test")
        return import_avalanche().benchmarks.tensors_benchmark(train, test, task_labels=labels)

    def trained(self, stream: Stream) -> Any:
        seeds = Seeds(0).child("learner")
        with suppressed_deprecations():
            torch.manual_seed(seeds.child("weights").integer())
            model = self.network.build((64,), 4, 1)
            strategy = find_strategy(self.strategy)(
                model=model,
                optimizer=Adam(lr=0.01).build(list(model.parameters())),
                criterion=nn.CrossEntropyLoss(),
                train_mb_size=8,
                train_epochs=2,
                eval_mb_size=8,
                evaluator=measuring(),
                **self.options,
            )
            benchmark = self.benchmark(stream)
            whole = self.strategy == "JointTraining"
            for index, experience in enumerate([benchmark.train_stream] if whole else benchmark.train_stream):
                seed_globals(seeds.child(f"experience {index}"))
                strategy.train(experience)
        return strategy


def measuring() -> Any:
    """Avalanche's evaluator, measuring accuracy and printing nothing."""
    avalanche = import_avalanche()
    accuracy = avalanche.evaluation.metrics.accuracy_metrics(experience=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No loggers specified")
        return avalanche.training.plugins.EvaluationPlugin(accuracy, loggers=[])


def own_accuracies(strategy: Any, benchmark: Any) -> list[float]:
    found = []
    for experience in benchmark.test_stream:
        with suppressed_deprecations():
            (value,) = [v for k, v in strategy.eval(experience).items() if k.endswith(f"Exp{len(found):03}")]
        found.append(value)
    return found


CASES = {
    "Naive": Plain("Naive"),
    "Replay": Plain("Replay", {"mem_size": 10}),
    "EWC": Plain("EWC", {"ewc_lambda": 10.0}),
    "SynapticIntelligence": Plain("SynapticIntelligence", {"si_lambda": 1.0}),
    "LwF": Plain("LwF", {"alpha": 1.0, "temperature": 2.0}),
    "heads by task": Plain("Naive", network=HEADS, task_ids=True),
    "a head that grows": Plain("EWC", {"ewc_lambda": 10.0}, network=GROWING),
}


@pytest.mark.parametrize("name", CASES)
def test_it_ends_with_the_weights_of_a_plain_script(name: str) -> None:
    case = CASES[name]
    stream = digit_stream(task_ids=case.task_ids)
    ours = ready(case.strategy, case.network, stream, options=case.options)
    learn_all(ours, stream)
    strategy = case.trained(stream)
    assert [] == differences(dict(strategy.model.state_dict()), dict(ours.module.state_dict()))


def test_joint_training_on_a_joint_stream_is_avalanches_on_the_whole_stream() -> None:
    apart = digit_stream()

    @frozen
    class Of:
        def make(self, seeds: Seeds, budget: Budget) -> Stream:
            return apart

    stream = Joint(of=Of()).make(Seeds(0), Budget(epochs=2))
    ours = ready("JointTraining", stream=stream)
    learn_all(ours, stream)
    strategy = Plain("JointTraining").trained(apart)
    assert [] == differences(dict(strategy.model.state_dict()), dict(ours.module.state_dict()))


def test_a_plugin_of_a_naive_strategy_is_the_strategy_of_its_name() -> None:
    stream = digit_stream()
    by_plugin = ready("Naive", plugins=({"type": "EWCPlugin", "ewc_lambda": 10.0},))
    by_name = ready("EWC", options={"ewc_lambda": 10.0})
    plain = ready("Naive")
    for each in (by_plugin, by_name, plain):
        learn_all(each, stream)
    assert [] == differences(weights(by_name), weights(by_plugin))
    assert [] != differences(weights(plain), weights(by_plugin))


# The same accuracy as its own evaluation.


@pytest.mark.parametrize("name", ["Naive", "a head that grows", "heads by task"])
def test_R_holds_the_accuracies_of_avalanches_own_evaluation(name: str) -> None:
    case = CASES[name]
    stream = digit_stream(task_ids=case.task_ids)
    outcome = Trainer(
        learner(case.strategy, case.network, options=case.options), stream, encoder=encoder(), seed=0
    ).fit()
    own = ready(case.strategy, case.network, stream, options=case.options)
    rows, measured = [], case.benchmark(stream)
    for experience in learner_view(stream):
        list(own.learn(experience))
        rows.append(evaluated(own, measured))
    seen = ~np.isnan(outcome.R)
    assert (2, 2) == outcome.R.shape
    assert (
        [[True, False], [True, True]] if name == "heads by task" else np.ones((2, 2), bool).tolist()
    ) == seen.tolist()
    np.testing.assert_allclose(np.array(rows)[seen], outcome.R[seen], atol=1e-6)


def evaluated(ours: Any, benchmark: Any) -> list[float]:
    """By its own evaluation, of a copy, for it adds heads."""
    strategy = copy.copy(ours._strategy)
    strategy.model = copy.deepcopy(strategy.model)
    strategy.evaluator = measuring()
    strategy.plugins = [p for p in strategy.plugins if p is not ours._strategy.evaluator]
    strategy.plugins.append(strategy.evaluator)
    strategy.eval_mb_size = 8
    return own_accuracies(strategy, benchmark)


@pytest.mark.parametrize(
    ("strategy", "options"),
    [("ICaRL", ICARL), ("StreamingLDA", {"input_size": 16}), ("CoPE", {"p_size": 4, "mem_size": 10})],
)
def test_strategies_that_predict_in_their_own_way_do(strategy: str, options: dict[str, Any]) -> None:
    stream = digit_stream()
    ours = ready(strategy, options=options)
    learn_all(ours, stream)
    expected = evaluated(ours, Plain("Naive").benchmark(stream))
    actual = [float((ours.predict(e.test.read()[0])[0] == e.test.targets).float().mean()) for e in stream]  # type: ignore[union-attr]
    np.testing.assert_allclose(expected, actual, atol=1e-6)


def test_a_task_without_a_head_is_absent_and_metrics_say_what_they_do_with_it() -> None:
    stream = digit_stream(task_ids=True)
    outcome = Trainer(learner("Naive", HEADS), stream, encoder=encoder()).fit()
    assert [[False, True], [False, False]] == np.isnan(outcome.R).tolist()
    assert "forward_transfer.gem" not in outcome.metrics
    assert outcome.metrics["accuracy.average"] == pytest.approx(outcome.R[1].mean())


def test_a_prediction_for_an_unseen_task_says_so() -> None:
    stream = digit_stream(task_ids=True)
    ours = ready("Naive", HEADS, stream)
    learn_one(ours, stream)
    with pytest.raises(UnseenTaskError, match="no head for task 1 yet"):
        ours.predict(stream[1].test.read()[0], 1)  # type: ignore[union-attr]


# Its life.


def test_updates_between_which_it_is_evaluated_are_all_its_own() -> None:
    stream = digit_stream()
    ours = ready("Replay", options={"mem_size": 10})
    places = [ours.position.step for _ in learning(ours, stream)]
    assert list(range(1, 17)) == places


def test_a_strategy_that_joins_old_data_takes_more_updates_than_planned() -> None:
    stream = digit_stream()
    ours = ready("Cumulative")
    learn_all(ours, stream)
    # 26 images in batches of 8, twice; then 26 of each, in batches of 8 from both experiences together.
    assert (16, 8 + 14) == (sum(map(ours.steps, stream)), ours.position.step)


def test_resumed_it_repeats_what_was_before_and_ends_the_same() -> None:
    stream = digit_stream()
    through = ready("Replay", options={"mem_size": 10})
    learn_one(through, stream)
    state = through.state_dict()
    learn_all(through, stream)
    resumed = ready("Replay", options={"mem_size": 10})
    resumed.load_state_dict(state)
    learn_all(resumed, stream)
    assert [] == differences(through.state_dict(), resumed.state_dict())


@pytest.mark.parametrize(("strategy", "options", "lived"), [("Naive", {}, 0), ("ICaRL", ICARL, 1)])
def test_loaded_it_predicts_and_repeats_only_where_weights_are_not_all(
    strategy: str, options: dict[str, Any], lived: int
) -> None:
    stream = digit_stream()
    x = stream[0].test.read()[0]  # type: ignore[union-attr]
    ours = ready(strategy, options=options)
    learn_one(ours, stream)
    loaded = ready(strategy, options=options)
    loaded.load_state_dict(ours.state_dict())
    assert torch.equal(ours.predict(x)[0], loaded.predict(x)[0])
    assert lived == loaded._learned_experiences


@pytest.mark.parametrize(
    ("strategy", "network", "options"),
    [("Naive", HEADS, {}), ("PackNet", PACKNET, {"post_prune_epochs": 1, "prune_proportion": 0.5})],
)
def test_loaded_it_has_the_heads_and_masks_that_it_had(strategy: str, network: Any, options: dict[str, Any]) -> None:
    stream = digit_stream(task_ids=True)
    ours = ready(strategy, network, stream, options=options)
    learn_all(ours, stream)
    loaded = ready(strategy, network, stream, options=options)
    loaded.load_state_dict(ours.state_dict())
    for task, experience in enumerate(stream):
        x = experience.test.read()[0]  # type: ignore[union-attr]
        assert torch.equal(ours.predict(x, task)[0], loaded.predict(x, task)[0])


def test_other_weights_than_the_checkpoints_are_told() -> None:
    stream = digit_stream()
    ours = ready("Naive")
    learn_one(ours, stream)
    state = ours.state_dict()
    name = next(iter(state["module"]))
    state["module"][name][0] += 1
    resumed = ready("Naive")
    resumed.load_state_dict(state)
    with pytest.raises(CheckpointError, match="repeating 1 experiences, and its weights differ"):
        learn_one(resumed, stream)


def test_an_abandoned_experience_leaves_no_thread() -> None:
    before = threading.active_count()
    steps = ready("Naive").learn(digit_stream()[0])
    next(steps)
    steps.close()
    assert before == threading.active_count()


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    stream = digit_stream()
    with pytest.raises(DivergenceError, match=r"avalanche \(Naive\) is (nan|inf).*experience 0"):
        learn_all(ready("Naive", optimizer=Sgd(lr=1e30)), stream)


def test_avalanches_draws_are_seeded_by_the_run_alone() -> None:
    stream = digit_stream()
    first, second = ready("Replay", options={"mem_size": 10}), ready("Replay", options={"mem_size": 10})
    learn_all(first, stream)
    torch.manual_seed(99)
    learn_all(second, stream)
    assert [] == differences(weights(first), weights(second))


def test_a_method_of_rlcl_protects_a_strategy_of_avalanche() -> None:
    stream = digit_stream()
    plain, null, strong = (ready("Naive", methods=m) for m in ((), (Ewc(strength=0.0),), (Ewc(strength=1e4),)))
    for each in (plain, null, strong):
        learn_one(each, stream)
    first = weights(plain)
    for each in (plain, null, strong):
        learn_one(each, stream)
    assert [] == differences(weights(plain), weights(null))

    def moved(learner: Any) -> float:
        return sum(float((p - first[name]).abs().sum()) for name, p in weights(learner).items())

    assert moved(strong) < 0.7 * moved(plain)


# What does not go together is told.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "Naiv"}, "learner.strategy: unknown strategy 'Naiv'; did you mean Naive"),
        ({"options": {"mem_sise": 3}, "strategy": "Replay"}, "no option 'mem_sise'; did you mean mem_size"),
        ({"options": {"train_mb_size": 3}}, "learner.options.train_mb_size: rlcl sets it; set learner.batch_size"),
        ({"strategy": "EWC"}, "learner.options.ewc_lambda: missing; EWC requires it"),
        ({"plugins": ({"type": "EWCPlugi"},)}, r"learner.plugins\[0\].type: unknown plugin 'EWCPlugi'; did you mean"),
        ({"plugins": ({"ewc_lambda": 1.0},)}, r"learner.plugins\[0\]: expected a mapping with a type"),
        ({"plugins": ({"type": "EWCPlugin", "lamda": 1},)}, r"learner.plugins\[0\].lamda: EWCPlugin has no option"),
        ({"network": AvalancheNetwork(model="SimplMLP")}, "learner.network.model: unknown model 'SimplMLP'; did you"),
        (
            {"network": AvalancheNetwork(model="SimpleMLP", options={"hidden": 3})},
            "learner.network.options.hidden: SimpleMLP has no option 'hidden'",
        ),
    ],
)
def test_a_name_that_does_not_exist_is_a_problem(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(Problem, match=message):
        prepared(Avalanche(**{"strategy": "Naive", **settings}), digit_stream(), encoder=encoder())


def unsupported(
    message: str, strategy: str, network: Any = None, stream: Stream | None = None, **settings: Any
) -> None:
    with pytest.raises(UnsupportedError, match=message):
        ready(strategy, network, stream, **settings)


def test_what_does_not_go_together_is_refused() -> None:
    hidden = digit_stream(boundaries="hidden")
    half = attrs.evolve(digit_stream(task_ids=True), visibility=Visibility(task_ids="training"))
    unsupported("JointTraining trains once, on all data; use stream: {type: joint", "JointTraining")
    unsupported("set stream.visibility.boundaries: announced", "Naive", stream=hidden)
    unsupported("network multihead selects a head by task ids of rlcl", "Naive", Multihead())
    unsupported(
        "must be visible in training and at evaluation; set stream.visibility.task_ids: visible", "Naive", HEADS, half
    )
    unsupported("budget.updates: .*write {epochs: N}", "Naive", stream=digit_stream(budget=Budget(updates=3)))
    unsupported(
        "avalanche's PackNet rejected its options", "PackNet", options={"post_prune_epochs": 1, "prune_proportion": 0.5}
    )


def test_a_batch_smaller_than_the_tasks_that_it_is_divided_among_is_refused() -> None:
    apart = digit_stream(task_ids=True)

    class Of:
        def make(self, seeds: Seeds, budget: Budget) -> Stream:
            return apart

    both = Joint(of=Of()).make(Seeds(0), Budget(epochs=1))
    unsupported(
        r"learner.batch_size: got 1, .*up to 2 in this stream; set it to 2 or more", "Naive", stream=both, batch_size=1
    )
    learn_all(ready("Naive", stream=both, batch_size=2), both)
    ready("Naive", stream=apart, batch_size=1)


def test_an_assertion_of_avalanche_without_a_text_is_told_by_its_line() -> None:
    def asserting() -> None:
        assert len("ab") == 3

    with pytest.raises(AssertionError) as caught:
        asserting()
    caught.value.args = ()
    assert 'assert len("ab") == 3' == _line_of(caught.value)


def test_heads_by_avalanches_task_labels_serve_no_other_learner() -> None:
    with pytest.raises(UnsupportedError, match=r"does not support inputs of shape \(64,\): .*task_labels"):
        prepared(Classifier(network=HEADS), digit_stream(task_ids=True), encoder=encoder())


def test_what_a_strategy_raises_while_it_trains_is_told() -> None:
    ours = ready("LFL", options={"lambda_e": 1.0})
    with pytest.raises(
        UnsupportedError, match=r"learner avalanche \(LFL\) failed in experience 0: NotImplementedError"
    ):
        learn_one(ours, digit_stream())


def test_a_config_describes_it() -> None:
    described = {
        "type": "avalanche",
        "strategy": "Replay",
        "options": {"mem_size": 10},
        "plugins": [{"type": "EWCPlugin", "ewc_lambda": 1}],
        "network": {"type": "avalanche", "model": "SimpleMLP", "options": {"hidden_size": 8}},
    }
    made = build(component("learner", described))
    assert ("Replay", {"mem_size": 10}) == (made.strategy, made.options)
    ours = prepared(made, digit_stream(), encoder=encoder())
    assert [8, 4] == [m.out_features for m in ours.module.modules() if isinstance(m, nn.Linear)]
