"""Probes on every host: what they see, by hand; that they change nothing; and that a resumed run tells the same."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import torch
from harness import (
    HOSTS,
    FewDigits,
    autoencoder,
    cartpoles,
    classifier,
    differences,
    digit_stream,
    heads_by_task,
    learn_all,
    learner_host,
    ppo,
    prepared,
)
from torch import Tensor, nn

from rlcl.encoders.scale import Scale
from rlcl.errors import ConfigError, UnsupportedError
from rlcl.evaluation.network_activity import NetworkActivity
from rlcl.evaluation.plan import EvaluationInterval, Plan
from rlcl.evaluation.probes import DeadUnits, DormantRedo, EffectiveRank, GradientNorm, StableRank, WeightMagnitude
from rlcl.evaluation.results import Results, metrics
from rlcl.experiment import experiment_from
from rlcl.learners.reinforcement.recurrent import Recurrent
from rlcl.learners.supervised.classifier import Classifier
from rlcl.learners.supervised.nearest_mean import NearestMean
from rlcl.networks.cnn import Cnn
from rlcl.networks.mlp import Linear, Mlp
from rlcl.networks.multihead import Multihead
from rlcl.networks.progressive import Progressive
from rlcl.registry import entries, find
from rlcl.seeding import Seeds
from rlcl.streams.joint import Joint
from rlcl.streams.task_incremental import TaskIncremental
from rlcl.training.trainer import Trainer
from rlcl.types import Batch, Boundary, Budget, Record

PROBES = tuple(find("probe", name)() for name in entries("probe"))
NAMES = tuple(entries("probe"))
PLAN = Plan(probes=PROBES, probe_samples=20, episodes=1, episode_steps=5)
ACTIVITY = ("dormant.redo", "dead_units", "effective_rank", "stable_rank")


@pytest.fixture(autouse=True)
def _episodes_may_be_cut() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*were truncated.*")
        yield


def host(network: Any, **settings: Any) -> Any:
    """A classifier of 8 x 8 images in 4 classes."""
    return prepared(classifier(network=network, **settings), digit_stream(), encoder=Scale(maximum=16))


def inside(learner: Any, inputs: Tensor, task_ids: Tensor | None = None) -> NetworkActivity:
    return NetworkActivity(learner_host(learner), Batch(inputs, None, task_ids))


def pixels(*values: float) -> Tensor:
    """Images that are 0 but for the first pixels, one value each; (2, 1, 8, 8), the second image all 0."""
    x = torch.zeros(2, 1, 8, 8)
    x[0, 0, 0, : len(values)] = torch.tensor(values)
    return x


@torch.no_grad()
def reads_pixels(layer: nn.Linear) -> None:
    """Unit k becomes pixel k."""
    layer.weight.zero_()
    layer.bias.zero_()
    layer.weight[range(len(layer.weight)), range(len(layer.weight))] = 1.0


# What they see.


def test_a_hidden_layer_is_seen_after_its_activation() -> None:
    learner = host(Mlp(hidden=(4, 2)))
    first, second = learner.module[1], learner.module[3]
    reads_pixels(first)
    reads_pixels(second)
    network = inside(learner, pixels(2.0, -6.0, 4.0, 0.0))
    # Of two inputs: relu(2, -6, 4, 0) and zeros; the second layer reads the first two units.
    assert [[1.0, 0.0, 2.0, 0.0], [1.0, 0.0]] == [m.tolist() for m in network.magnitudes]
    assert [[2.0, 0.0], [0.0, 0.0]] == network.features.tolist()
    assert pytest.approx(3 / 6) == DeadUnits()(network)
    # Scores 4/3, 0, 8/3, 0 and 2, 0.
    assert pytest.approx([3 / 6, 4 / 6]) == [DormantRedo(threshold=t)(network) for t in (0.1, 1.5)]
    assert pytest.approx(1.0) == EffectiveRank()(network)
    assert 1.0 == StableRank()(network)


def test_the_units_of_a_convolution_are_its_channels_flattened_or_not() -> None:
    learner = host(Cnn(channels=(2, 3), hidden=(5,)))
    with torch.no_grad():
        for layer in learner.module:
            if isinstance(layer, nn.Conv2d):
                layer.weight.zero_()
                layer.bias.zero_()
        learner.module[0].bias[1] = 4.0  # its second channel is 4 in every place
        learner.module[3].bias[2] = 7.0
    seen = inside(learner, torch.rand(6, 1, 8, 8)).magnitudes
    assert [[0.0, 4.0], [0.0, 0.0, 7.0]] == [m.tolist() for m in seen[:2]]
    assert [2, 3, 5] == [len(m) for m in seen]


def test_the_halves_of_a_crelu_are_two_units() -> None:
    learner = host(Mlp(hidden=(2,), activation="crelu"))
    reads_pixels(learner.module[1])
    assert [[1.5, 0.0, 0.0, 2.5]] == [m.tolist() for m in inside(learner, pixels(3.0, -5.0)).magnitudes]


def test_what_two_layers_read_is_one_hidden_layer() -> None:
    """The actor of SAC has one layer for means and one for standard deviations."""
    learner = HOSTS["sb3_sac"].prepared()
    seen = NetworkActivity(learner_host(learner), Batch(torch.rand(5, 3))).magnitudes
    assert [16] == [len(m) for m in seen]


def test_heads_are_asked_task_by_task() -> None:
    network = Multihead(body=Mlp(hidden=(6,)), features=3)
    stream = digit_stream(task_ids=True)
    learner = prepared(classifier(network=network), stream, encoder=Scale(maximum=16))
    x, ids = torch.rand(9, 1, 8, 8), torch.tensor([0, 1, 1, 0, 1, 0, 0, 0, 1])
    together = inside(learner, x, ids)
    assert [6, 3] == [len(m) for m in together.magnitudes]
    first, second = (inside(learner, x[ids == i], ids[ids == i]) for i in range(2))
    for whole, a, b in zip(together.magnitudes, first.magnitudes, second.magnitudes, strict=True):
        torch.testing.assert_close(whole, (5 * a + 4 * b) / 9)
    torch.testing.assert_close(together.features, torch.cat((first.features, second.features)))


def test_more_inputs_than_one_pass_takes_are_one_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, x = host(Mlp(hidden=(7,))), torch.rand(10, 1, 8, 8)
    whole = inside(learner, x)
    expected = whole.magnitudes[0], whole.features
    monkeypatch.setattr("rlcl.evaluation.network_activity.ROWS_AT_ONCE", 3)
    parts = inside(learner, x)
    torch.testing.assert_close(expected[0], parts.magnitudes[0])
    torch.testing.assert_close(expected[1], parts.features)


def test_weights_and_gradients_are_the_primary_modules_own() -> None:
    learner = host(Mlp(hidden=(2,)))
    for p in learner.module.parameters():
        p.data.fill_(-0.5)
    learner.module[1].weight.requires_grad_(False).fill_(100.0)
    network = inside(learner, pixels(1.0))
    assert 0.5 == WeightMagnitude()(network)
    assert GradientNorm()(network) is None
    learner.module[3].bias.grad = torch.tensor([3.0, 0.0, -4.0, 0.0])
    assert pytest.approx(5.0) == GradientNorm()(network)


def test_the_network_is_left_as_it_was() -> None:
    learner = host(Mlp(hidden=(8,), dropout=0.5))
    learner.module[0].eval()
    modes = [m.training for m in learner.module.modules()]
    network = inside(learner, torch.rand(6, 1, 8, 8))
    before = torch.get_rng_state()
    first, second = network.features, inside(learner, network.batch.inputs).features
    assert torch.equal(first, second), "with dropout they would differ"
    assert torch.equal(before, torch.get_rng_state())
    assert modes == [m.training for m in learner.module.modules()]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in learner.module.modules())


@pytest.mark.filterwarnings("ignore:`torch.jit")  # torch's own, of its compiler
def test_a_compiled_network_is_seen_too() -> None:
    plain = host(Mlp(hidden=(3,)))
    compiled = host(Mlp(hidden=(3,)), compile=True)
    x = torch.rand(4, 1, 8, 8)
    compiled.outputs(x)  # so that what torch has compiled is there to be passed over
    torch.testing.assert_close(inside(plain, x).magnitudes, inside(compiled, x).magnitudes)


# As records.


def fitted(case: Any, plan: Plan, **settings: Any) -> tuple[Trainer, tuple[Record, ...]]:
    trainer = Trainer(case.make(), case.stream(), plan, encoder=case.encoder(), **settings)
    return trainer, trainer.fit().records


def told(records: Any) -> list[tuple[int, int, int, str, float]]:
    return [(r.step, r.trained_on, r.evaluated_on, r.metric, r.value) for r in records if r.metric in NAMES]


RECURRENT = [name for name in HOSTS if "recurrent" in name]


@pytest.mark.parametrize("name", RECURRENT)
def test_policies_that_need_several_observations_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedError, match="depend on more than one observation"):
        fitted(HOSTS[name], PLAN)


@pytest.mark.parametrize("name", [name for name in HOSTS if name not in RECURRENT])
def test_every_probe_tells_of_every_host_and_changes_nothing(name: str) -> None:
    plain, without = fitted(HOSTS[name], attrs.evolve(PLAN, probes=()))
    probed, records = fitted(HOSTS[name], PLAN)
    assert [r for r in records if r.metric not in NAMES] == list(without)
    # Before any training there is no gradient, and an environment has shown nothing.
    acting = HOSTS[name].stream().spec.kind == "environment"
    early = () if acting else tuple(n for n in NAMES if n != "gradient_norm")
    wanted = [(-1, 0, n) for n in early] + [(t, t, n) for t in range(2) for n in NAMES]
    assert wanted == [(t, j, n) for _, t, j, n, _ in told(records)]
    assert all(0 <= value < 1e6 for *_, value in told(records))
    assert [] == differences(plain.state_dict()["learner"], probed.state_dict()["learner"])
    assert [] == differences(plain.state_dict()["globals"], probed.state_dict()["globals"])


def test_they_are_taken_at_the_evaluations_of_the_plan_on_fixed_inputs() -> None:
    case = HOSTS["classifier"]
    plan = attrs.evolve(PLAN, every=EvaluationInterval(updates=3), before=False, probes=(DeadUnits(),))
    _, records = fitted(case, plan)
    assert [(3, 0), (6, 0), (8, 0), (9, 1), (12, 1), (15, 1), (16, 1)] == [(s, t) for s, t, *_ in told(records)]
    _, at_the_end = fitted(case, attrs.evolve(plan, every="end"))
    assert told(records)[-1:] == told(at_the_end)


def test_the_seed_chooses_the_inputs_and_an_experience_keeps_its_own() -> None:
    trainers = [Trainer(classifier(), digit_stream(), PLAN, encoder=Scale(), seed=s) for s in (0, 0, 1)]

    def inputs(trainer: Trainer, experience: int) -> Tensor:
        return trainer._probe_runner.batch(trainer.learner.host, trainer._experiences[experience]).inputs  # type: ignore[arg-type]

    first, again, other = (inputs(trainer, 0) for trainer in trainers)
    assert (20, 1, 8, 8) == tuple(first.shape)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, inputs(trainers[0], 1))


@pytest.mark.parametrize("boundaries", ["announced", "hidden"])
def test_hidden_boundaries_change_nothing_of_when_they_are_taken(boundaries: str) -> None:
    trainer = Trainer(classifier(), digit_stream(boundaries=boundaries), PLAN, encoder=Scale())
    found = told(trainer.fit().records)
    assert [(0, -1), (8, 0), (16, 1)] == list(dict.fromkeys((s, t) for s, t, *_ in found))


def test_the_rows_of_a_joint_stream_bring_their_task_ids() -> None:
    inner = TaskIncremental(data=FewDigits(), experiences=2)
    stream = Joint(of=inner).make(Seeds(0), Budget(epochs=1))
    learner = classifier(network=Multihead(body=Mlp(hidden=(6,)), features=3))
    found = told(Trainer(learner, stream, PLAN, encoder=Scale()).fit().records)
    assert set(NAMES) == {name for _, t, _, name, _ in found if t == 0}


def test_a_model_without_a_head_yet_tells_nothing() -> None:
    from harness import avalanche

    stream = digit_stream(task_ids=True)
    found = told(Trainer(avalanche(network=heads_by_task()), stream, PLAN, encoder=Scale()).fit().records)
    assert {0, 1} <= {t for _, t, *_ in found}


@pytest.mark.parametrize("name", ["classifier", "ppo", "dqn", "avalanche"])
def test_a_run_that_stops_before_an_evaluation_tells_the_same_when_resumed(name: str) -> None:
    case = HOSTS[name]

    def fresh() -> Trainer:
        return Trainer(case.make(), case.stream(), PLAN, encoder=case.encoder())

    expected = told(fresh().fit().records)
    trainer, state, before = fresh(), None, []
    for item in trainer.events():
        if isinstance(item, Record):
            before.append(item)
        elif trainer.learner.position.experience == 1 and not trainer.learner.position.learning:
            state = trainer.state_dict()  # after the first experience's last update, before its evaluation
            break
    assert state is not None
    assert not isinstance(item, Boundary)
    resumed = fresh()
    resumed.load_state_dict(state)
    assert expected == told([*before, *resumed.fit().records])


def test_a_probe_is_no_measure() -> None:
    _, with_probes = fitted(HOSTS["classifier"], PLAN)
    _, without = fitted(HOSTS["classifier"], attrs.evolve(PLAN, probes=()))
    assert metrics(without, ["accuracy"]) == metrics(with_probes, ["accuracy"])
    assert Results(without, "accuracy").R.tolist() == Results(with_probes, "accuracy").R.tolist()


# Settings and refusals.


def experiment(probes: Any, **learner: Any) -> Any:
    return experiment_from(
        {
            "name": "probes",
            "stream": {"type": "class_incremental", "experiences": 2},
            "learner": {"type": "classifier", **learner},
            "budget": {"updates": 1},
            "evaluation": {"probes": probes},
        }
    )


def test_a_config_names_them_with_or_without_settings() -> None:
    from rlcl.launch.build import make_trainer

    found = experiment(["dead_units", {"type": "dormant.redo", "threshold": 0.5}])
    assert (DeadUnits(), DormantRedo(threshold=0.5)) == make_trainer(found, 0).evaluation.probes
    assert experiment(["dead_units"]).hash != experiment([]).hash


def test_an_unknown_probe_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"evaluation.probes\[0\]: .*'dead_unit'; did you mean dead_units"):
        experiment(["dead_unit"])


def test_a_probe_of_ones_own_is_told_by_its_own_name(tmp_path: Any) -> None:
    from rlcl.launch.build import make_trainer

    code = "class Layers:\n    def __call__(self, network):\n        return len(network.magnitudes)\n"
    (tmp_path / "own.py").write_text(code)
    trainer = make_trainer(experiment([f"{tmp_path / 'own.py'}:Layers"]), 0)
    assert [2.0] == [r.value for r in trainer.fit().records if r.metric == "Layers" and r.trained_on == 1]


def test_a_learner_without_a_network_is_refused() -> None:
    with pytest.raises(
        UnsupportedError, match=r"evaluation.probes need access to a network, but this learner provides none"
    ):
        Trainer(NearestMean(), digit_stream(budget=Budget(epochs=1)), PLAN)


def test_a_policy_that_remembers_is_refused_before_training() -> None:
    with pytest.raises(UnsupportedError, match="the outputs of learner ppo depend on more than one observation"):
        Trainer(ppo(recurrent=Recurrent()), cartpoles(32), PLAN)


def test_a_network_without_hidden_units_is_refused() -> None:
    late = attrs.evolve(PLAN, before=False)  # nothing is looked at before training
    for plan in (PLAN, late):
        with pytest.raises(
            UnsupportedError, match="the network of learner classifier has no hidden units; remove the probes"
        ):
            Trainer(classifier(network=Linear()), digit_stream(), plan)
    weights_alone = Plan(probes=(WeightMagnitude(), GradientNorm()))
    assert Trainer(classifier(network=Linear()), digit_stream(), weights_alone).fit()


def test_a_probe_that_stands_there_twice_is_refused() -> None:
    plan = Plan(probes=(DormantRedo(), DormantRedo(threshold=0.5)))
    with pytest.raises(UnsupportedError, match=r"evaluation.probes\[1\]: dormant.redo is listed twice"):
        Trainer(classifier(), digit_stream(), plan)


def test_an_autoencoders_code_is_a_hidden_layer() -> None:
    learner = prepared(autoencoder(), digit_stream(), encoder=Scale())
    assert [16, 4, 16] == [len(m) for m in inside(learner, torch.rand(3, 1, 8, 8)).magnitudes]


def test_a_later_task_may_go_through_further_layers() -> None:
    """The columns of a progressive network: the second task goes through both."""
    stream = TaskIncremental(experiences=2).make(Seeds(0), Budget(updates=1))
    learner = prepared(Classifier(network=Progressive(hidden=(6,))), stream)
    learn_all(learner, stream)
    x = torch.rand(4, *stream.spec.observation_shape)
    both = inside(learner, x, torch.tensor([0, 1, 0, 1]))
    first, second = inside(learner, x[::2], torch.tensor([0, 0])), inside(learner, x[1::2], torch.tensor([1, 1]))
    assert len(first.magnitudes) < len(second.magnitudes) == len(both.magnitudes)
    torch.testing.assert_close(both.magnitudes[0], (first.magnitudes[0] + second.magnitudes[0]) / 2)
    torch.testing.assert_close(both.magnitudes[-1], second.magnitudes[-1] / 2)
    assert (4, 6) == tuple(both.features.shape)
