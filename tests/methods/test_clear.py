"""CLEAR: what is stored, and the gradient of its loss written out once more."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness import HOSTS, cartpoles, choosing, environment_stream, learn_all, learn_one, pendulums, ppo, prepared
from probes import Forbidding
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from rlcl.data.sources import Environment
from rlcl.errors import Problem
from rlcl.methods.clear import Clear
from rlcl.types import Transitions

GAMMA, COSTS = 0.9, {"policy_cloning": 0.3, "value_cloning": 0.2, "value_weight": 0.7, "entropy_weight": 0.1}


def gradients(learner: Any) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in learner.policy.parameters()]


def added(learner: Any, stream: Any, method: Clear, update: int) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The gradient that the method added in one update, and its memory at that time."""
    seen: list[Any] = []
    optimizer, count = learner.torch_optimizer, [0]

    def before(*_: Any) -> None:
        count[0] += 1
        if count[0] == update:
            seen.append(gradients(learner))

    def after(*_: Any) -> None:
        if count[0] == update:
            difference = [b - a for a, b in zip(seen[0], gradients(learner), strict=True)]
            memory = {name: column.clone() for name, column in method.memory.contents().items()}
            weights = {name: value.clone() for name, value in learner.policy.state_dict().items()}
            seen.append((difference, memory, weights))

    hooks = optimizer._optimizer_step_pre_hooks
    attached = dict(hooks)
    hooks.clear()
    optimizer.register_step_pre_hook(before)
    for hook in attached.values():
        optimizer.register_step_pre_hook(hook)
    optimizer.register_step_pre_hook(after)
    learn_one(learner, stream)
    difference, memory, weights = seen[1]
    learner.policy.load_state_dict(weights)
    return difference, memory


def policy(outputs: Tensor, masks: Tensor | None, continuous: bool) -> Any:
    if continuous:
        mean, log_std = outputs.chunk(2, -1)
        return Independent(Normal(mean, log_std.exp()), 1)
    return Categorical(logits=outputs if masks is None else outputs.masked_fill(~masks, -1e9))


def written_out(learner: Any, memory: dict[str, Tensor], continuous: bool) -> Tensor:
    """The loss, sequence by sequence and step by step."""
    losses = []
    for row in range(len(memory["rewards"])):
        x, after = memory["observations"][row], memory["next_observations"][row]
        outputs, values = learner.policy.outputs_and_values(x, None)
        if continuous:
            outputs = torch.cat((outputs, learner.policy.free.expand_as(outputs)), 1)
        masks = None if "masks" not in memory else memory["masks"][row]
        current, stored = policy(outputs, masks, continuous), policy(memory["outputs"][row], masks, continuous)
        log_probs = current.log_prob(memory["actions"][row])
        v, following = values.detach(), learner.policy.outputs_and_values(after, None)[1].detach()
        rho = (log_probs.detach() - memory["log_probs"][row]).exp().clamp(max=1)
        target, targets, advantages = torch.tensor(0.0), [], []
        for t in reversed(range(len(v))):
            ended, terminated = bool(memory["ended"][row, t]), bool(memory["terminated"][row, t])
            bootstrap = 0.0 if terminated else following[t]
            last = t == len(v) - 1
            delta = rho[t] * (memory["rewards"][row, t] + GAMMA * bootstrap - v[t])
            ahead = bootstrap if ended or last else target
            trace = 0.0 if ended or last else GAMMA * rho[t] * (target - v[t + 1])
            advantages.append(rho[t] * (memory["rewards"][row, t] + GAMMA * ahead - v[t]))
            target = v[t] + delta + trace
            targets.append(target)
        losses.append(
            -torch.stack(advantages[::-1]) * log_probs
            + 0.7 * (values - torch.stack(targets[::-1])).square()
            - 0.1 * current.entropy()
            + 0.3 * kl_divergence(stored, current)
            + 0.2 * (values - memory["values"][row]).square()
        )
    return torch.cat(losses).mean()


@pytest.mark.parametrize("case", ["discrete", "continuous", "masked"])
def test_its_gradient_is_that_of_the_loss_written_out(case: str) -> None:
    # As many sequences as there are are replayed, so that no draw decides.
    method = Clear(ratio=100.0, length=6, capacity=10_000, **COSTS)
    streams = {
        "discrete": lambda: cartpoles(120),
        "continuous": lambda: pendulums(120),
        "masked": lambda: environment_stream(Environment(Forbidding, num_envs=1, seed=3, name="f"), budget=120),
    }
    learner = prepared(ppo(method, n_steps=24, gamma=GAMMA, clip_norm=None), streams[case]())
    # 6 updates a rollout: the weights have moved since the rollouts were inserted.
    found, memory = added(learner, streams[case](), method, 15)
    assert len(memory["rewards"]) == 3 * 4
    assert bool(memory["ended"].any()) or case == "continuous"
    loss = 100.0 * written_out(learner, memory, case == "continuous")
    expected = torch.autograd.grad(loss, list(learner.policy.parameters()))
    for ours, theirs in zip(found, expected, strict=True):
        assert bool(theirs.any())
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_stored_outputs_are_those_of_the_policy_that_acted() -> None:
    method = Clear(length=4, capacity=400)
    learner = prepared(ppo(method, n_steps=24), cartpoles(120))
    learn_one(learner, cartpoles(120))
    stored = method.memory.contents()
    chosen = Categorical(logits=stored["outputs"]).log_prob(stored["actions"])
    torch.testing.assert_close(chosen, stored["log_probs"], rtol=1e-5, atol=1e-5)


def test_sequences_are_consecutive_and_the_rest_of_a_rollout_is_left_out() -> None:
    method = Clear(length=5, capacity=400)
    stream = cartpoles(96, num_envs=2, tasks=1)
    learner = prepared(ppo(method, n_steps=24), stream)
    learn_all(learner, stream)
    stored = method.memory.contents()
    assert stored["rewards"].shape == (2 * 2 * 4, 5)
    within = ~stored["ended"][:, :-1]
    torch.testing.assert_close(stored["observations"][:, 1:][within], stored["next_observations"][:, :-1][within])
    assert float(stored["observations"][:, 1:][~within].abs().max()) <= 0.05  # where CartPole starts


def test_the_memory_is_a_sample_of_both_experiences_whose_boundary_is_hidden() -> None:
    method = Clear(length=4, capacity=200)
    stream = cartpoles(480, boundaries="hidden")
    learn_all(prepared(ppo(method, n_steps=24), stream), stream)
    assert len(method.memory) == 50
    assert method.memory.seen == 2 * 480 // 4


def test_a_short_rollout_is_one_sequence() -> None:
    method = Clear(length=20, capacity=100)
    stream = cartpoles(64, tasks=1)
    learn_all(prepared(ppo(method, n_steps=8), stream), stream)
    assert method.memory.contents()["rewards"].shape == (8, 8)


def test_several_choices_are_replayed_with_their_masks() -> None:
    method = Clear(length=4, capacity=400)
    learner = prepared(ppo(method, n_steps=24), choosing(120))
    learn_all(learner, choosing(120))
    assert method.memory.contents()["masks"].shape[2] == 4


@pytest.mark.parametrize("host", ["dqn", "sac", "ppo_recurrent"])
def test_the_reason_for_a_refusal_is_named(host: str) -> None:
    reason = "recurrent: null" if host == "ppo_recurrent" else "the probabilities of its collected actions"
    with pytest.raises(Exception, match=f"clear does not support learner .*{reason}"):
        HOSTS[host].prepared(Clear())


def test_transitions_are_stored_by_their_field_names() -> None:
    method = Clear(length=4, capacity=400)
    learner = prepared(ppo(method, n_steps=24), cartpoles(120))
    learn_one(learner, cartpoles(120))
    assert set(method.memory.contents()) - {"outputs", "values"} <= set(Transitions._fields)


def test_only_one_size_is_given() -> None:
    with pytest.raises(Problem, match="exactly one of capacity, capacity_bytes"):
        Clear(capacity=10, capacity_bytes=1000)
