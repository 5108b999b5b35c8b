"""DQN: its targets, its exploration, and one update beside Stable-Baselines3's."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from harness import cartpoles, dqn, environment_stream, learn_all, learn_one, learning, pendulums, prepared
from probes import Forbidding
from torch import nn

from rlcl.data.sources import Environment
from rlcl.errors import UnsupportedError
from rlcl.evaluation.episodes import run_episodes
from rlcl.learners.optimizers import Adam, Sgd
from rlcl.learners.reinforcement.dqn import Exploration
from rlcl.learners.reinforcement.priorities import Prioritised
from rlcl.learners.reinforcement.transition_batch import TransitionBatch
from rlcl.networks.mlp import Linear, Mlp


def minibatch(rows: int = 8, weights: bool = False) -> TransitionBatch:
    generator = torch.Generator().manual_seed(1)
    return TransitionBatch(
        torch.randn(rows, 4, generator=generator),
        torch.randint(2, (rows,), generator=generator),
        torch.randn(rows, generator=generator),
        torch.randn(rows, 4, generator=generator),
        0.99 * (torch.rand(rows, generator=generator) < 0.7),
        torch.rand(rows, generator=generator) if weights else None,
    )


def made(**settings: Any) -> Any:
    return prepared(dqn(**settings), cartpoles(60))


def weights(learner: Any) -> list[list[nn.Parameter]]:
    """Those of the network that learns, and of its target."""
    return [list(learner.policy.parameters()), list(learner.target_networks["policy"].parameters())]


def test_exploration_falls_linearly_and_stays() -> None:
    found = Exploration(start=1.0, end=0.2, share=0.5)
    assert [1.0, 0.6, 0.2, 0.2] == pytest.approx([found(p) for p in (0.0, 0.25, 0.5, 0.9)])


def test_one_update_is_stable_baselines_own() -> None:
    from stable_baselines3 import DQN
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.type_aliases import ReplayBufferSamples

    batch = minibatch()
    theirs = DQN(
        "MlpPolicy", gym.make("CartPole-v1"), learning_rate=0.01, policy_kwargs={"net_arch": [16]}, device="cpu"
    )
    theirs.set_logger(Logger(folder=None, output_formats=[]))
    column = (batch.observations, batch.actions[:, None], batch.next_observations)
    dones = (batch.discounts == 0).float()[:, None]
    theirs.replay_buffer.sample = lambda *a, **k: ReplayBufferSamples(*column, dones, batch.rewards[:, None])  # type: ignore[union-attr]
    ours = made(clip_norm=0.5)
    theirs.max_grad_norm = 0.5
    learned = list(theirs.q_net.parameters())
    with torch.no_grad():
        for mine, its, target in zip(ours.policy.parameters(), learned, theirs.q_net_target.parameters(), strict=True):
            target.add_(0.1)  # another network than the one that learns
            mine.copy_(its)
        for mine, target in zip(weights(ours)[1], theirs.q_net_target.parameters(), strict=True):
            mine.copy_(target)
    for _ in range(3):
        theirs.train(1, len(batch.rewards))
        ours.update_on(batch)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(learned, weights(ours)[0], strict=True))


def test_a_step_of_a_linear_network_by_hand() -> None:
    learner = made(network=Linear(), optimizer=Sgd(lr=1.0), clip_norm=None, batch_size=1)
    with torch.no_grad():
        for parameter in (*weights(learner)[0], *weights(learner)[1]):
            parameter.zero_()
        weights(learner)[1][1].copy_(torch.tensor([2.0, 4.0]))  # what the target network gives everywhere
    x = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    drawn = TransitionBatch(x, torch.tensor([1]), torch.tensor([-1.8]), x, torch.tensor([0.5]), None)
    errors = learner.update_on(drawn)
    # Target -1.8 + 0.5 * 4 = 0.2, so that the error is -0.2, and the step 0.2 in bias and weight.
    assert [-0.2] == pytest.approx(errors.tolist())
    assert [0.0, 0.2] == pytest.approx(weights(learner)[0][1].tolist())
    assert [0.2, 0.0, 0.0, 0.0] == pytest.approx(weights(learner)[0][0][1].tolist())


def test_double_lets_the_network_that_learns_choose() -> None:
    learner = made(network=Linear(), optimizer=Sgd(lr=1.0), clip_norm=None, batch_size=1, double=True)
    with torch.no_grad():
        for parameter in (*weights(learner)[0], *weights(learner)[1]):
            parameter.zero_()
        weights(learner)[0][1].copy_(torch.tensor([0.5, 0.0]))
        weights(learner)[1][1].copy_(torch.tensor([2.0, 4.0]))
    x = torch.zeros(1, 4)
    drawn = TransitionBatch(x, torch.tensor([1]), torch.tensor([0.0]), x, torch.tensor([0.5]), None)
    assert [-1.0] == learner.update_on(drawn).tolist()  # 0 - (0 + 0.5 * 2)


@pytest.mark.parametrize("double", [False, True])
def test_what_is_forbidden_is_not_learned_towards(double: bool) -> None:
    learner = made(network=Linear(), optimizer=Sgd(lr=1.0), clip_norm=None, batch_size=1, double=double)
    with torch.no_grad():
        for parameter in (*weights(learner)[0], *weights(learner)[1]):
            parameter.zero_()
        weights(learner)[0][1].copy_(torch.tensor([0.0, 9.0]))
        weights(learner)[1][1].copy_(torch.tensor([2.0, 4.0]))
    x, masks = torch.zeros(1, 4), torch.tensor([[True, False]])
    drawn = TransitionBatch(x, torch.tensor([0]), torch.tensor([0.0]), x, torch.tensor([0.5]), None, masks)
    assert [-1.0] == learner.update_on(drawn).tolist()  # 0 - (0 + 0.5 * 2)


@pytest.mark.parametrize("said", ["info", "method"])
@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_what_is_forbidden_is_never_done_and_what_is_allowed_is_kept(said: str, vectorization: Any) -> None:
    source = Environment(Forbidding, kwargs={"said": said}, num_envs=2, vectorization=vectorization, name="forbidding")
    stream = environment_stream(source, budget=240)
    settings = {"capacity": 1000, "learning_starts": 60, "exploration": Exploration(share=0.5, end=0.0)}
    learner = prepared(dqn(n_step=2, **settings), stream)
    learn_all(learner, stream)  # the environment raises where it is disobeyed
    part = learner.buffer.at(np.flatnonzero(learner.buffer.valid), 0.99, 2)
    assert part.masks is not None
    going = part.discounts > 0
    forbidden = (part.next_observations[going, 0] % 3).astype(int)  # at a state it is the action of its number
    assert {2} == set(forbidden.tolist())
    assert np.array_equal(~np.eye(3, dtype=bool)[forbidden], part.masks[going])
    assert [6.0] * 4 == run_episodes(learner, source, 4, 10, None).returns.tolist()


def test_random_actions_are_uniform_over_what_is_allowed() -> None:
    learner = prepared(dqn(), environment_stream(Environment(Forbidding), budget=10))
    learner._action_masks = np.tile([True, False, True], (2000, 1))
    counts = np.bincount(learner.random_actions(2000), minlength=3)
    assert 0 == counts[1]
    assert abs(counts[0] - 1000) < 120  # five deviations


def test_importance_weights_scale_the_gradient() -> None:
    plain, weighted = made(clip_norm=None, optimizer=Sgd(lr=1.0)), made(clip_norm=None, optimizer=Sgd(lr=1.0))
    before = weights(plain)[0][-1].detach().clone()
    batch = minibatch()
    plain.update_on(batch)
    weighted.update_on(batch._replace(weights=torch.full((8,), 0.5)))
    assert torch.allclose(0.5 * (weights(plain)[0][-1] - before), weights(weighted)[0][-1] - before, atol=1e-7)


def test_rounds_of_several_updates_equal_as_many_rounds_of_one() -> None:
    together, apart = made(), made()
    batch = minibatch(24)
    together.update_on(batch)
    for part in batch.split(8):
        apart.update_on(part)
    for a, b in zip(weights(together)[0], weights(apart)[0], strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_the_target_network_moves_when_its_interval_has_passed() -> None:
    learner = made(target_interval=20, learning_starts=2, tau=0.5)
    kept = [p.clone() for p in weights(learner)[1]]
    moved = []
    for _ in learning(learner, cartpoles(60)):
        if learner.position.experience:
            break
        if any(not torch.equal(a, b) for a, b in zip(kept, weights(learner)[1], strict=True)):
            moved.append(learner.position.step)
        kept = [p.clone() for p in weights(learner)[1]]
    assert [20, 40] == moved


def test_the_first_actions_are_random_and_leave_the_weights_alone() -> None:
    learner = made(learning_starts=30, exploration=Exploration(start=0.0, end=0.0))
    before = [p.clone() for p in weights(learner)[0]]
    steps = learning(learner, cartpoles(60))
    for _ in range(15):
        next(steps)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(learner)[0], strict=True))
    assert {0, 1} == set(learner.buffer.arrays["actions"][:30].tolist())
    next(steps)
    assert not all(torch.equal(a, b) for a, b in zip(before, weights(learner)[0], strict=True))


def test_without_exploration_it_acts_greedily() -> None:
    learner = made(exploration=Exploration(start=0.0, end=0.0))
    x = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    expected = learner.outputs(torch.from_numpy(x)).argmax(1).numpy()
    assert np.array_equal(expected, learner.explore(x, 0.0))
    assert np.array_equal(expected, learner.act(x))


def test_a_dueling_network_acts_by_its_advantages() -> None:
    learner = made(dueling=True)
    x = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    assert np.array_equal(learner.outputs(torch.from_numpy(x)).argmax(1).numpy(), learner.act(x))
    assert (20, 2) == tuple(learner.outputs(torch.from_numpy(x)).shape)


def test_a_new_experience_begins_new_episodes_in_the_memory() -> None:
    learner = made(capacity=1000)
    learn_all(learner, cartpoles(60))
    buffer = learner.buffer
    part = buffer.at(np.flatnonzero(buffer.valid), 0.99)
    # A step moves the cart by its velocity times 0.02 seconds, and no episode goes on in another.
    assert np.allclose(
        part.observations[:, 0] + 0.02 * part.observations[:, 1], part.next_observations[:, 0], atol=1e-6
    )
    assert len(part.rewards) == 120


def test_recent_observations_are_of_the_experience_in_progress() -> None:
    learner = made(capacity=1000)
    learn_one(learner, cartpoles(60))
    assert len(learner.recent_observations()) == 60
    learn_one(learner, cartpoles(60))
    assert len(learner.recent_observations()) == 60


def test_priorities_follow_the_errors() -> None:
    learner = made(prioritised=Prioritised(), capacity=1000)
    learn_one(learner, cartpoles(60))
    found = learner._priorities._tree.leaves[learner.buffer.valid]
    assert len(np.unique(found)) > 10
    assert found.min() > 0


def test_actions_that_are_not_a_few_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"learner dqn needs a discrete action space .*use ppo, sac or td3$"):
        prepared(dqn(), pendulums(20))
    several = environment_stream(Environment(Forbidding, kwargs={"several": True}), budget=20)
    with pytest.raises(UnsupportedError, match=r"got MultiDiscrete.*; use ppo$"):
        prepared(dqn(), several)


def test_a_round_longer_than_the_memory_is_refused() -> None:
    with pytest.raises(
        UnsupportedError, match=r"learner\.train_every: got 101, more than the 100 rows .* learner dqn \(capacity\)"
    ):
        prepared(dqn(train_every=101, capacity=100), cartpoles(20))


def test_it_learns_to_balance_longer() -> None:
    learner = prepared(
        dqn(
            network=Mlp(hidden=(64,)),
            optimizer=Adam(lr=1e-3),
            target_interval=256,
            capacity=10_000,
            batch_size=64,
            learning_starts=300,
            train_every=32,
            gradient_steps=32,
            exploration=Exploration(share=0.5, end=0.02),
        ),
        cartpoles(4000, tasks=1),
        event_interval=1000,
    )
    events = learn_all(learner, cartpoles(4000, tasks=1))
    assert events[-1].values["episode_return"] > 1.5 * events[0].values["episode_return"]
