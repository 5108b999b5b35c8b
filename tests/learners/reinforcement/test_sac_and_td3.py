"""SAC and TD3: targets computed by hand, updates equal to those of Stable-Baselines3, exploration, replay buffer."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from harness import cartpoles, learn_one, learning, pendulums, prepared, sac, td3
from torch import Tensor, nn

from rlcl.errors import UnsupportedError
from rlcl.learners.optimizers import Sgd
from rlcl.learners.reinforcement.bounded_actions import squashed_gaussian
from rlcl.learners.reinforcement.transition_batch import TransitionBatch
from rlcl.networks.mlp import Linear


def minibatch(rows: int = 8) -> TransitionBatch:
    generator = torch.Generator().manual_seed(1)
    return TransitionBatch(
        torch.randn(rows, 3, generator=generator),
        2 * torch.rand(rows, 1, generator=generator) - 1,
        torch.randn(rows, generator=generator),
        torch.randn(rows, 3, generator=generator),
        0.99 * (torch.rand(rows, generator=generator) < 0.7),
        None,
    )


def stable_baselines(algorithm: str, batch: TransitionBatch, **options: Any) -> Any:
    import stable_baselines3
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.type_aliases import ReplayBufferSamples

    model = getattr(stable_baselines3, algorithm)(
        "MlpPolicy",
        gym.make("Pendulum-v1"),
        learning_rate=0.01,
        policy_kwargs={"net_arch": [16]},
        device="cpu",
        **options,
    )
    model.set_logger(Logger(folder=None, output_formats=[]))
    dones = (batch.discounts == 0).float()[:, None]
    columns = (batch.observations, batch.actions, batch.next_observations, dones, batch.rewards[:, None])
    model.replay_buffer.sample = lambda *a, **k: ReplayBufferSamples(*columns)
    return model


def critic_weights(critic: Any) -> list[Tensor]:
    """Of both critics of Stable-Baselines3, layer by layer, as ours stack them: all weights, then all biases."""
    layers = [[layer for layer in network if isinstance(layer, nn.Linear)] for network in critic.q_networks]
    pairs = list(zip(*layers, strict=True))
    weights = [torch.stack([a.weight.detach().T, b.weight.detach().T]) for a, b in pairs]
    return weights + [torch.stack([a.bias.detach()[None], b.bias.detach()[None]]) for a, b in pairs]


def weights_of(learner: Any, name: str) -> list[nn.Parameter]:
    return list(learner._networks[name].parameters())


def copy_weights(ours: list[nn.Parameter], theirs: list[Tensor]) -> None:
    with torch.no_grad():
        for mine, its in zip(ours, theirs, strict=True):
            mine.copy_(its)


def near(ours: list[nn.Parameter], theirs: list[Tensor], tolerance: float) -> bool:
    return all(torch.allclose(a, b, atol=tolerance) for a, b in zip(ours, theirs, strict=True))


def sac_actor(actor: Any) -> list[Tensor]:
    hidden = actor.latent_pi[0]
    weight = torch.cat([actor.mu.weight.detach(), actor.log_std.weight.detach()])
    bias = torch.cat([actor.mu.bias.detach(), actor.log_std.bias.detach()])
    return [hidden.weight.detach(), hidden.bias.detach(), weight, bias]


def test_updates_of_sac_are_stable_baselines_own() -> None:
    batch = minibatch()
    theirs, ours = stable_baselines("SAC", batch), prepared(sac(), pendulums(20))
    for target in theirs.critic_target.parameters():
        target.data.add_(0.1)
    copy_weights(weights_of(ours, "actor"), sac_actor(theirs.actor))
    copy_weights(weights_of(ours, "critic"), critic_weights(theirs.critic))
    copy_weights(weights_of(ours, "target"), critic_weights(theirs.critic_target))
    torch.manual_seed(3)
    ours._noise.manual_seed(3)
    for _ in range(3):
        theirs.train(1, len(batch.rewards))
        ours.update_on(batch)
    # Theirs adds 1e-6 within the logarithm of 1 - a^2.
    assert near(weights_of(ours, "critic"), critic_weights(theirs.critic), 1e-4)
    assert near(weights_of(ours, "target"), critic_weights(theirs.critic_target), 1e-4)
    assert near(weights_of(ours, "actor"), sac_actor(theirs.actor), 1e-4)
    assert ours._log_temperature.item() == pytest.approx(theirs.log_ent_coef.item(), abs=1e-5)
    assert ours._log_temperature.item() != 0


def test_updates_of_td3_are_stable_baselines_own() -> None:
    batch = minibatch()
    theirs, ours = stable_baselines("TD3", batch), prepared(td3(), pendulums(20))
    for target in (*theirs.critic_target.parameters(), *theirs.actor_target.parameters()):
        target.data.add_(0.1)
    pairs = {"critic": (theirs.critic, theirs.critic_target), "actor": (theirs.actor, theirs.actor_target)}

    def weights(name: str, module: Any) -> list[Tensor]:
        return critic_weights(module) if name == "critic" else [p.detach() for p in module.parameters()]

    for name, (online, target) in pairs.items():
        copy_weights(weights_of(ours, name), weights(name, online))
        copy_weights(weights_of(ours, f"target {name}"), weights(name, target))
    torch.manual_seed(3)
    ours._noise.manual_seed(3)
    for _ in range(4):
        theirs.train(1, len(batch.rewards))
        ours.update_on(batch)
    for name, (online, target) in pairs.items():
        assert near(weights_of(ours, name), weights(name, online), 1e-5)
        assert near(weights_of(ours, f"target {name}"), weights(name, target), 1e-5)


def constant(module: Any, *values: float) -> None:
    """Makes a linear module give these values whatever it reads."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        list(module.parameters())[-1].copy_(torch.tensor(values).reshape(list(module.parameters())[-1].shape))


def one(discount: float = 0.5) -> TransitionBatch:
    x = torch.zeros(1, 3)
    return TransitionBatch(x, torch.zeros(1, 1), torch.tensor([1.0]), x, torch.tensor([discount]), None)


@pytest.mark.parametrize(("discount", "target"), [(0.5, 2.5), (0.0, 1.0)])
def test_the_lesser_target_critic_and_smoothing_without_noise_make_the_target_of_td3(
    discount: float, target: float
) -> None:
    learner = prepared(td3(network=Linear(), optimizer=Sgd(lr=1.0), batch_size=1, smoothing=0.0), pendulums(20))
    constant(learner.critic, 0.0, 0.0)
    constant(learner._target_networks["critic"], 3.0, 7.0)
    errors = learner.update_on(one(discount))
    # 1 + 0.5 * 3: both critics were 0, and a step of twice the error takes them to twice the target.
    assert [target] == errors.tolist()
    assert [2 * target] * 2 == learner.critic(torch.zeros(1, 4)).flatten().tolist()


def test_the_target_of_sac_has_the_entropy() -> None:
    learner = prepared(sac(network=Linear(), optimizer=Sgd(lr=1.0), batch_size=1, entropy=0.5), pendulums(20))
    constant(learner.critic, 0.0, 0.0)
    constant(learner._target, 3.0, 7.0)
    constant(learner.actor, 0.0, math.log(0.5))
    learner._noise.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(1, 1, generator=generator) for _ in range(2)][1]
    log_prob = float(squashed_gaussian(torch.zeros(1, 1), torch.full((1, 1), math.log(0.5)), noise)[1])
    assert learner.update_on(one()).tolist() == pytest.approx([1 + 0.5 * (3 - 0.5 * log_prob)])


def test_the_temperature_falls_while_the_entropy_exceeds_its_target() -> None:
    for target_entropy, sign in ((-50.0, -1), (50.0, 1)):
        learner = prepared(sac(target_entropy=target_entropy, optimizer=Sgd(lr=0.01)), pendulums(20))
        learner.update_on(minibatch())
        assert learner._log_temperature.item() * sign > 0


def test_a_fixed_temperature_stays() -> None:
    learner = prepared(sac(entropy=0.25), pendulums(20))
    learner.update_on(minibatch())
    assert math.log(0.25) == pytest.approx(learner._log_temperature.item())


def test_the_actor_of_td3_and_all_targets_move_every_second_update() -> None:
    learner = prepared(td3(), pendulums(20))
    watched = {
        "actor": weights_of(learner, "actor"),
        "critic": weights_of(learner, "critic"),
        "target": weights_of(learner, "target critic"),
    }
    moved = []
    for _ in range(4):
        before = {name: [p.detach().clone() for p in ps] for name, ps in watched.items()}
        learner.update_on(minibatch())
        moved.append(
            {n for n, ps in watched.items() if any(not torch.equal(a, b) for a, b in zip(before[n], ps, strict=True))}
        )
    assert [{"critic"}, {"actor", "critic", "target"}] * 2 == moved


def test_noise_of_td3_is_cut_to_the_range() -> None:
    learner = prepared(td3(noise=3.0), pendulums(20))
    actions = learner.explore(np.zeros((500, 3), np.float32), 0.0)
    assert actions.dtype == np.float32
    assert (actions.min(), actions.max()) == (-1, 1)
    assert 0.2 < np.mean(np.abs(actions) < 1) < 0.35  # |N(0, 3)| below 1


def test_sac_explores_as_its_outputs_say() -> None:
    learner = prepared(sac(network=Linear()), pendulums(20))
    constant(learner.actor, 0.5, math.log(0.1))
    drawn = np.arctanh(learner.explore(np.zeros((4000, 3), np.float32), 0.0))
    assert (0.5, 0.1) == pytest.approx((float(drawn.mean()), float(drawn.std())), abs=0.01)
    assert learner.act(np.zeros((1, 3), np.float32)).item() == pytest.approx(2 * math.tanh(0.5))
    assert learner.outputs(torch.zeros(1, 3)).tolist()[0] == pytest.approx([0.5, math.log(0.1)])


@pytest.mark.parametrize("make", [sac, td3])
def test_the_loss_of_the_actor_leaves_the_gradient_of_the_critic(make: Any) -> None:
    learner = prepared(make(policy_delay=1) if make is td3 else make(), pendulums(20))
    seen: list[Tensor] = []
    learner.optimizers["critic"].register_step_pre_hook(
        lambda *_: seen.extend(p.grad.clone() for p in weights_of(learner, "critic"))
    )
    learner.update_on(minibatch())
    assert all(torch.equal(a, p.grad) for a, p in zip(seen, weights_of(learner, "critic"), strict=True))


@pytest.mark.parametrize("make", [sac, td3])
def test_the_memory_keeps_actions_in_the_unit_range_and_the_environment_gets_its_own(make: Any) -> None:
    learner = prepared(make(capacity=1000), pendulums(40))
    learn_one(learner, pendulums(40))
    kept = learner.buffer.arrays["actions"][learner.buffer.valid]
    assert -1 <= kept.min() < 0 < kept.max() <= 1
    part = learner.buffer.at(np.flatnonzero(learner.buffer.valid), 0.99)
    # Pendulum: speed' = speed + (15 sin + 3 torque) 0.05, with a torque of twice what is kept.
    speed = part.observations[:, 2] + (15 * part.observations[:, 1] + 3 * 2 * part.actions[:, 0]) * 0.05
    assert np.allclose(np.clip(speed, -8, 8), part.next_observations[:, 2], atol=1e-4)


@pytest.mark.parametrize("make", [sac, td3])
def test_truncated_episodes_go_on_in_value(make: Any) -> None:
    learner = prepared(make(capacity=1000, learning_starts=1000), pendulums(210))
    for _ in learning(learner, pendulums(210, tasks=1)):
        pass
    assert np.count_nonzero(learner.buffer.arrays["ended"]) == 1
    assert learner.buffer.at(np.flatnonzero(learner.buffer.valid), 0.99).discounts.min() == np.float32(0.99)


@pytest.mark.parametrize("make", [sac, td3])
def test_a_few_actions_are_refused(make: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"learner (sac|td3) needs a continuous action space .*use dqn or ppo"):
        prepared(make(), cartpoles(20))
