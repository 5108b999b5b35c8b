"""A policy that remembers: in one batch as step by step, over the ends of episodes and of rollouts."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from harness import (
    cartpoles,
    differences,
    environment_stream,
    learn_all,
    learn_one,
    learning,
    pendulums,
    ppo,
    prepared,
    restore,
    snapshot,
    without_rates,
)
from probes import Forbidding, Recall
from torch import Tensor, nn

from rlcl.data.sources import Environment
from rlcl.encoders.running_norm import RunningNorm
from rlcl.errors import UnsupportedError
from rlcl.evaluation.episodes import run_episodes
from rlcl.learners.optimizers import Adam, Sgd
from rlcl.learners.reinforcement.ppo import Ppo
from rlcl.learners.reinforcement.recurrent import Recurrent, RecurrentActorCritic, RecurrentNetwork, sequences_of
from rlcl.methods.ewc import Ewc
from rlcl.methods.l2_init import L2Init
from rlcl.methods.parts.fisher import diagonal_fisher
from rlcl.networks.mlp import Linear, Mlp
from rlcl.networks.nature_cnn import NatureCnn
from rlcl.streams.stream import Stream

SMALL = Recurrent(size=5)


def remembering(width: int = 3, size: int = 4) -> RecurrentNetwork:
    torch.manual_seed(0)
    made = RecurrentNetwork(width, size, nn.Identity())
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made


def sequence(steps: int = 7, count: int = 3, width: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(steps, count, width, generator=generator), torch.rand(steps, count, generator=generator) < 0.3


def recall(budget: int = 96, num_envs: int = 4, **kwargs: Any) -> Stream:
    source = Environment(Recall, kwargs=kwargs, num_envs=num_envs, seed=3, name="recall")
    return environment_stream(source, budget=budget)


def watched(monkeypatch: pytest.MonkeyPatch, cls: type, name: str) -> list[tuple[tuple[Any, ...], Any]]:
    """What a method is called with, itself first, and what it returns, as it happens."""
    method, calls = getattr(cls, name), []

    def noting(*arguments: Any, **named: Any) -> Any:
        calls.append((arguments, method(*arguments, **named)))
        return calls[-1][1]

    monkeypatch.setattr(cls, name, noting)
    return calls


# One pass over a sequence.


def test_without_starts_it_is_torchs_own() -> None:
    made, (x, _) = remembering(), sequence()
    theirs = nn.LSTM(3, 4)
    theirs.load_state_dict({f"{key}_l0": value for key, value in made.cell.state_dict().items()})
    state = torch.randn(2, 3, 4)
    outputs, after = made.forward_sequence(x, torch.zeros(7, 3, dtype=torch.bool), state)
    expected, (shown, held) = theirs(x, (state[:1], state[1:]))
    torch.testing.assert_close(expected.flatten(0, 1), outputs)
    torch.testing.assert_close(torch.cat((shown, held)), after[-1])


def test_in_one_batch_it_is_what_it_is_step_by_step_and_begins_anew_where_an_episode_does() -> None:
    made, (x, starts) = remembering(), sequence()
    state = torch.randn(2, 3, 4)
    outputs, after = made.forward_sequence(x, starts, state)
    assert starts.any(0).all()
    for t in range(7):
        for i in range(3):
            if starts[t, i]:
                state[:, i] = 0
        found, state = made.step(x[t], state)
        torch.testing.assert_close(found, outputs[3 * t : 3 * t + 3])
        torch.testing.assert_close(state, after[t])


def test_what_begins_an_episode_is_seen_from_an_empty_memory() -> None:
    made, (x, _) = remembering(), sequence()
    torch.testing.assert_close(made(x[0]), made.step(x[0], torch.zeros(2, 3, 4))[0])


# Rollouts.


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_what_is_learned_from_is_what_was_acted_by(shared: bool, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Rollouts of 8 steps and episodes of 3: every one but the first begins in the middle of episodes.
    stream = recall(end=end)
    learner = prepared(ppo(recurrent=SMALL, shared=shared, epochs=1, batch_size=None), stream, event_interval=1)
    acted: list[np.ndarray] = []
    stepped = RecurrentActorCritic._act_step

    def noting(self: RecurrentActorCritic, x: Any, state: Tensor) -> Any:
        acted.append(stepped(self, x, state)[0])
        return stepped(self, x, state)

    monkeypatch.setattr(RecurrentActorCritic, "_act_step", noting)
    judged = watched(monkeypatch, RecurrentActorCritic, "evaluate_rollout")
    events = learn_all(learner, stream)
    assert 3 == len(judged)
    for rollout, (_, (outputs, _, _)) in enumerate(judged):
        step_by_step = np.concatenate(acted[8 * rollout : 8 * rollout + 8])[:, : outputs.shape[1]]
        np.testing.assert_allclose(step_by_step, outputs.numpy(), atol=1e-6)
    for event in events:  # the only pass: no ratio differs from 1
        assert abs(event.values["approx_kl"]) < 1e-9
        assert 0 == event.values["clip_fraction"]


def test_values_of_last_and_cut_states_go_on_in_what_is_remembered_there(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = recall(num_envs=2, end="truncated")
    learner = prepared(ppo(recurrent=SMALL), stream)
    judged = watched(monkeypatch, RecurrentActorCritic, "evaluate_rollout")
    next(learning(learner, stream))
    (((_, states, rollout), (_, values, _)),) = judged
    fresh = prepared(ppo(recurrent=SMALL), stream)
    critic = fresh.policy.critic  # before the update
    state, cuts = torch.zeros(2, 2, 5), []
    with torch.no_grad():
        for t in range(8):
            value, state = critic.step(torch.from_numpy(rollout.observations[t]), state)
            torch.testing.assert_close(values[2 * t : 2 * t + 2], value[:, 0])
            if rollout.ended[t].any():
                assert rollout.ended[t].all()
                cuts.append(critic.step(torch.tensor([[0.0, 0.0]] * 2), state)[0][:, 0])
                state = torch.zeros(2, 2, 5)
        last = critic.step(torch.from_numpy(rollout.last), state)[0][:, 0]
    assert 2 == len(cuts)
    torch.testing.assert_close(values[16:], torch.cat((last, *cuts)))
    assert (16 + 2 + 4, 2) == states.shape


def test_minibatches_are_whole_sequences() -> None:
    learner = prepared(ppo(recurrent=SMALL, batch_size=20), recall(num_envs=5))
    rows = torch.arange(40)
    columns = {"rows": rows, "starts": rows == 0, "memory": torch.arange(5.0).expand(2, 2, 5).unsqueeze(-1)}
    parts = list(learner.recurrence.sequences(columns, 20, torch.Generator().manual_seed(0)))
    assert [16, 16, 8] == [len(part["rows"]) for part in parts]  # two environments of eight steps fit in 20 rows
    assert set(range(40)) == {int(row) for part in parts for row in part["rows"]}
    for part in parts:
        environments = part["memory"][0, 0, :, 0].long()
        expected = torch.arange(8)[:, None] * 5 + environments
        assert expected.flatten().tolist() == part["rows"].tolist()
    (whole,) = learner.recurrence.sequences(columns, 40, torch.Generator())
    assert whole is columns


def test_the_gradient_is_that_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = recall(budget=32)
    settings = {"optimizer": Sgd(lr=1.0), "clip_norm": None, "epochs": 1, "batch_size": None, "entropy_weight": 0.1}
    learner = prepared(ppo(recurrent=SMALL, **settings), stream)
    before = [p.detach().clone() for p in learner.policy.parameters()]
    made = watched(monkeypatch, Ppo, "_run_epoch")
    next(learning(learner, stream))
    steps = [b - p.detach() for b, p in zip(before, learner.policy.parameters(), strict=True)]
    with torch.no_grad():
        for p, b in zip(learner.policy.parameters(), before, strict=True):
            p.copy_(b)
    (((_, columns, *_), _),) = made
    x, starts, memory = columns["observations"].view(8, 4, 2), columns["starts"].view(8, 4), columns["memory"]
    outputs, values = (
        network.forward_sequence(x, starts, its)[0]
        for network, its in zip(learner.policy.side_by_side, memory, strict=True)
    )
    log_p = outputs.log_softmax(1)
    ratio = (log_p.gather(1, columns["actions"][:, None])[:, 0] - columns["log_probs"]).exp()
    advantages = columns["advantages"]
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    entropy = -(log_p.exp() * log_p).sum(1).mean()
    loss = -(ratio * advantages).mean() + 0.5 * (values[:, 0] - columns["returns"]).square().mean() - 0.1 * entropy
    gradients = torch.autograd.grad(loss, list(learner.policy.parameters()))
    for step, gradient in zip(steps, gradients, strict=True):
        torch.testing.assert_close(gradient, step, atol=1e-6, rtol=1e-4)


# The same again.


@pytest.mark.parametrize("settings", [{}, {"shared": True, "batch_size": None}], ids=["apart", "shared"])
@pytest.mark.parametrize("env", ["cartpole", "pendulum", "masks"])
def test_stopped_after_any_update_and_resumed_it_ends_with_the_same_bits(env: str, settings: Any) -> None:
    forbidding = Environment(Forbidding, kwargs={"lenient": True}, num_envs=3, name="forbidding")
    stream = {
        "cartpole": lambda: cartpoles(48, num_envs=3, vectorization="native"),
        "pendulum": lambda: pendulums(24, num_envs=2),
        "masks": lambda: environment_stream(forbidding, budget=96),
    }[env]()

    def start(seed: int) -> Any:
        encoder = None if env == "masks" else RunningNorm()
        return prepared(ppo(recurrent=SMALL, **settings), stream, encoder=encoder, seed=seed, event_interval=8)

    through = start(0)
    states, expected = [snapshot(through)], []
    for event in learning(through, stream):
        expected.append(event)
        states.append(snapshot(through))
    assert len(states) > 3
    for place, state in enumerate(states):
        fresh = start(7)
        restore(fresh, state)
        left = learn_all(fresh, stream)
        assert without_rates([e for e in expected[place:] if e is not None]) == without_rates(left), place
        assert [] == differences(states[-1], snapshot(fresh)), place


# What it is for.


def solved(recurrent: Recurrent | None) -> float:
    stream = recall(budget=6000, num_envs=10)
    network = Mlp(hidden=(16,), activation="tanh", initialization="orthogonal")
    settings = {"n_steps": 6, "batch_size": None, "epochs": 4, "optimizer": Adam(lr=0.02), "gamma": 1.0}
    learner = prepared(ppo(recurrent=recurrent, network=network, **settings), stream)
    learn_all(learner, stream)
    return float(run_episodes(learner, stream[0].train, 20, 9, None).returns.mean())  # type: ignore[arg-type]


def test_what_was_shown_before_is_recalled_by_an_lstm_and_by_nothing_else() -> None:
    assert 1.0 == solved(Recurrent(size=8))
    assert abs(solved(None)) < 0.7  # of 20 signs it guesses as many as there are of one kind


# What does not go together is said.


def test_images_are_refused() -> None:
    class Screen(Recall):
        def __init__(self) -> None:
            super().__init__()
            self.observation_space = gym.spaces.Box(0, 255, (3, 36, 36), np.uint8)

    stream = environment_stream(Environment(Screen, name="screen"), budget=8)
    with pytest.raises(UnsupportedError, match=r"learner ppo: recurrent reads observations in one row.* frame_stack"):
        prepared(ppo(recurrent=SMALL, network=NatureCnn()), stream)


def test_methods_of_weights_and_of_outputs_serve() -> None:
    for method in (L2Init(strength=0.1), Ewc(strength=1.0)):
        learner = prepared(ppo(method, recurrent=SMALL, network=Linear()), recall())
        assert learn_all(learner, recall())


# Sequences on which methods evaluate the policy.


def test_rollouts_are_cut_into_their_latest_whole_sequences() -> None:
    observations = np.arange(5 * 2, dtype=np.float32).reshape(5, 2, 1)  # 2 t + environment
    starts = np.zeros((5, 2), bool)
    starts[3, 1] = True
    expected = [[[2, 0], [4, 0]], [[3, 0], [5, 0]], [[6, 0], [8, 0]], [[7, 1], [9, 0]]]
    np.testing.assert_array_equal(sequences_of(observations, starts, 2), expected)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("stream", [recall, lambda: pendulums(96, num_envs=4)])
def test_the_outputs_of_a_sequence_are_those_of_its_steps(stream: Any, shared: bool) -> None:
    learner = prepared(ppo(recurrent=SMALL, shared=shared, n_steps=24), stream())
    learn_one(learner, stream())
    host = learner.host
    batch = host.sample(3, np.random.default_rng(0))
    outputs = host.outputs(batch.inputs)
    assert batch.inputs.shape[:2] == (3, 16)
    assert bool(batch.inputs[..., -1].any()) == (host.kind == "multi_categorical")  # episodes of recall are short
    for sequence, found in zip(batch.inputs, outputs, strict=True):
        state, steps = torch.zeros(2, 1, SMALL.size), []
        for row in sequence:
            state = state * (1 - row[-1])
            y, state = learner.policy.actor.step(row[None, :-1], state)
            steps.append(y[:, :-1] if shared else y)
        expected = torch.cat(steps).flatten()
        if host.kind == "gaussian":
            expected = torch.cat((expected, learner.free.repeat(16)))
        else:
            assert host.choices == (len(expected) // 16,) * 16
        torch.testing.assert_close(found, expected)


def test_the_fisher_information_of_sequences_is_that_of_all_their_steps() -> None:
    learner = prepared(ppo(recurrent=SMALL, n_steps=24, network=Linear()), recall())
    learn_one(learner, recall())
    host, parameters = learner.host, dict(learner.policy.actor.named_parameters())
    x = host.sample(2, np.random.default_rng(0)).inputs
    generator = torch.Generator().manual_seed(0)
    found = diagonal_fisher(
        host.outputs, parameters, learner.policy, x, None, host.kind, "exact", generator, None, host.choices
    )
    expected = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for sequence in x:
        for logits in host.outputs(sequence[None]).view(16, -1):
            log_p = logits.log_softmax(0)
            for k in range(len(logits)):
                gradients = torch.autograd.grad(log_p[k], list(parameters.values()), retain_graph=True)
                for name, gradient in zip(parameters, gradients, strict=True):
                    expected[name] += log_p[k].detach().exp() * gradient.square() / len(x)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-7)
