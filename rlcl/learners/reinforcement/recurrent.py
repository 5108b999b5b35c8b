"""Recurrent actor-critic: an LSTM over observations, followed by a feedforward network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from attrs import define, field, frozen
from torch import Tensor, nn

from rlcl.config import option
from rlcl.learners.fast.backprop import set_gradient
from rlcl.learners.reinforcement.actor_critic import ActorCritic
from rlcl.learners.reinforcement.collector import Collector
from rlcl.learners.reinforcement.rollout import Rollout
from rlcl.methods.parts.evaluation_mode import evaluation_mode

__all__ = ["SEQUENCE_LENGTH", "Recurrent", "RecurrentActorCritic", "RecurrentNetwork", "sequences_of"]

Array = np.ndarray[Any, Any]

SEQUENCE_LENGTH = 16  # steps of the sequences on which methods evaluate a recurrent policy


@frozen(kw_only=True)
class Recurrent:
    """Recurrent memory of the current episode.

    Args:
        type: ``lstm``, a long short-term memory of one layer.
        size: hidden units.

    Source: Hochreiter & Schmidhuber 1997, Long short-term memory; with forget gates, Gers et al. 2000.
    """

    type: Literal["lstm"] = option("lstm")
    size: int = option(64, ge=1)


class RecurrentNetwork(nn.Module):
    """An LSTM followed by a network; the recurrent state (2, B, size) is the hidden state and the cell state.

    Args:
        width: size of a flattened observation.
        size: hidden units of the LSTM.
        network: maps (B, size) to (B, K).
    """

    def __init__(self, width: int, size: int, network: nn.Module) -> None:
        super().__init__()
        self.cell, self.network, self.size = nn.LSTMCell(width, size), network, size
        for name, parameter in self.cell.named_parameters():  # as CleanRL's ppo_atari_lstm
            nn.init.orthogonal_(parameter) if "weight" in name else nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (B, K) for the first observations (B, ...) of episodes."""
        outputs: Tensor = self.network(self.cell(x.flatten(1))[0])
        return outputs

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (B, K) and the next state for observations (B, ...) and a state (2, B, size)."""
        hidden, cell = self.cell(x.flatten(1), (state[0], state[1]))
        return self.network(hidden), torch.stack((hidden, cell))

    def forward_sequence(self, x: Tensor, starts: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Process T steps of B environments; only the recurrence itself is computed step by step.

        Args:
            x: (T, B, ...) observations.
            starts: (T, B) bool, whether an observation is the first one of an episode; the state is 0 before it.
            state: (2, B, size) before the first step.

        Returns:
            Outputs (T * B, K), and the states (T, 2, B, size) after each step.
        """
        lstm = self.cell
        inputs = nn.functional.linear(x.flatten(2), lstm.weight_ih, lstm.bias_ih + lstm.bias_hh)
        continues = (~starts)[..., None].to(inputs.dtype)
        hidden, cell = state
        states = []
        for t in range(len(inputs)):
            gates = torch.addmm(inputs[t], hidden * continues[t], lstm.weight_hh.T)
            input_gate, forget_gate, candidate, output_gate = gates.chunk(4, 1)
            cell = forget_gate.sigmoid() * (cell * continues[t]) + input_gate.sigmoid() * candidate.tanh()
            hidden = output_gate.sigmoid() * cell.tanh()
            states.append(torch.stack((hidden, cell)))
        after = torch.stack(states)
        return self.network(after[:, 0].flatten(0, 1)), after


@define(eq=False)
class RecurrentActorCritic:
    """Recurrent states of actor and critic in N environments, and their forward and backward passes.

    Backpropagation through time is truncated at the start of a rollout.

    Args:
        policy: an actor-critic whose networks are :class:`RecurrentNetwork`.
        num_envs: number N of environments.
        steps: number T of steps of a rollout.
        device: a torch device.
    """

    policy: ActorCritic
    num_envs: int
    steps: int
    device: str
    starts: Array = field(init=False)  # (T, N) bool, whether steps of the last rollout are the first of their episode
    states: Tensor = field(init=False)  # (networks, 2, N, size) before the first step of the rollout
    _current_state: Tensor = field(init=False)  # (2, N, size) of the actor, during a rollout
    _starts: list[Array] = field(init=False, factory=list)  # (N,) bool of each step of the rollout in progress
    _last_outputs: tuple[Tensor, Tensor] | None = field(init=False, default=None)  # of the last forward(), with graph

    def __attrs_post_init__(self) -> None:
        networks = self.policy.side_by_side
        self.starts = np.zeros((self.steps, self.num_envs), bool)
        self.states = torch.zeros(len(networks), 2, self.num_envs, self._actor.size, device=self.device)
        self._current_state = self.states[0]

    @property
    def _actor(self) -> RecurrentNetwork:
        assert isinstance(self.policy.actor, RecurrentNetwork)
        return self.policy.actor

    # Acting, without gradient.

    def actor_forward(self, collector: Collector) -> Callable[[Array], Array]:
        """Return the function from observations (N, *encoded) to the actor's outputs (N, K) during one rollout."""
        self._starts, self._current_state = [], self.states[0]

        def act(x: Array) -> Array:
            starts = collector.starts
            self._starts.append(starts)
            mask = torch.from_numpy(starts).to(self.device)[None, :, None]
            outputs, self._current_state = self._act_step(x, self._current_state.masked_fill(mask, 0.0))
            return outputs

        return act

    def act(self, x: Array, state: Array | None) -> tuple[Array, Array]:
        """Return the actor's outputs (B, K) and the next state (2, B, size).

        Args:
            x: (B, *encoded) observations.
            state: (2, B, size) after the previous step; None at the start of episodes.
        """
        before = torch.zeros(2, len(x), self._actor.size) if state is None else torch.from_numpy(state)
        outputs, after = self._act_step(x, before.to(self.device))
        return outputs, after.cpu().numpy()

    def _act_step(self, x: Array, state: Tensor) -> tuple[Array, Tensor]:
        with evaluation_mode(self.policy):
            outputs, after = self._actor.step(torch.from_numpy(x).to(self.device), state)
        return outputs.cpu().numpy(), after

    # Learning.

    def evaluate_rollout(self, states: Tensor, rollout: Rollout) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Evaluate the networks on a rollout, and advance the recurrent states to its end.

        Args:
            states: (S, *encoded); see :attr:`rlcl.learners.reinforcement.rollout.Rollout.states`.
            rollout: the rollout that has just been collected.

        Returns:
            The actor's outputs (T * N, K), values (S,) of all states, and columns: ``starts`` (T * N,) and ``memory``
            (networks, 2, N, size), the initial states of :meth:`forward`.
        """
        steps, count = rollout.rewards.shape
        shape = states.shape[1:]
        observations, last, cut = torch.split(states, [steps * count, count, len(rollout.cut)])
        self.starts = np.stack(self._starts)
        starts = torch.from_numpy(self.starts).to(self.device)
        cut_steps, cut_environments = (torch.from_numpy(indices).to(self.device) for indices in rollout.indices)
        ended = torch.from_numpy(rollout.ended[-1]).to(self.device)
        results, after = [], []
        for network, memory in zip(self.policy.side_by_side, self.states, strict=True):
            outputs, memories = network.forward_sequence(observations.view(steps, count, *shape), starts, memory)  # type: ignore[operator]
            next_outputs, _ = network.step(last, memories[-1].masked_fill(ended[None, :, None], 0.0))  # type: ignore[operator]
            # The last state of a truncated episode is evaluated with the recurrent state before it.
            cut_outputs, _ = network.step(cut, memories[cut_steps, :, cut_environments].movedim(1, 0))  # type: ignore[operator]
            results.append(torch.cat((outputs, next_outputs, cut_outputs)))
            after.append(memories[-1])
        columns = {"starts": starts.view(-1), "memory": self.states}
        self.states = torch.stack(after)
        return self._split_values(results)[0][: steps * count], self._split_values(results)[1], columns

    def forward(self, minibatch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the actor's outputs (R, K) and values (R,) of whole sequences.

        Args:
            minibatch: columns (R, ...) of whole sequences, in order of time; see :meth:`sequences`.
        """
        memory, x = minibatch["memory"], minibatch["observations"]
        count = memory.shape[2]
        x, starts = x.view(-1, count, *x.shape[1:]), minibatch["starts"].view(-1, count)
        with torch.enable_grad():
            networks = zip(self.policy.side_by_side, memory, strict=True)
            self._last_outputs = self._split_values(
                [network.forward_sequence(x, starts, state)[0] for network, state in networks]  # type: ignore[operator]
            )
        return self._last_outputs[0].detach(), self._last_outputs[1].detach()

    def outputs(self, x: Tensor) -> Tensor:
        """Return the actor's outputs (B, L, K) for sequences, differentiable; the state is 0 before each sequence.

        Args:
            x: (B, L, W + 1) sequences as :func:`sequences_of` returns them.
        """
        steps = x.transpose(0, 1)
        state = x.new_zeros(2, len(x), self._actor.size)
        outputs, _ = self._actor.forward_sequence(steps[..., :-1], steps[..., -1] > 0, state)
        by_step = outputs.view(steps.shape[0], len(x), -1)
        return (by_step[..., :-1] if self.policy.critic is None else by_step).transpose(0, 1)

    def state_dict(self) -> dict[str, Any]:
        """Return the recurrent states, and the starts of episodes in the last rollout."""
        return {"remembered": self.states, "starts": self.starts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned."""
        self.states = state["remembered"].to(self.device)
        self.starts = state.get("starts", self.starts)  # missing in checkpoints of older versions

    def backward(self, by_outputs: Tensor, by_values: Tensor) -> None:
        """Backpropagate derivatives of a loss by the outputs and values of the last :meth:`forward` to the weights."""
        assert self._last_outputs is not None
        parameters = [p for network in self.policy.side_by_side for p in network.parameters()]
        gradients = torch.autograd.grad(self._last_outputs, parameters, (by_outputs, by_values), allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            set_gradient(parameter, gradient)
        self._last_outputs = None

    def _split_values(self, results: list[Tensor]) -> tuple[Tensor, Tensor]:
        *outputs, last = results
        return (outputs[0] if outputs else last[:, :-1]), last[:, -1]

    def sequences(
        self, columns: Mapping[str, Tensor], rows: int, generator: torch.Generator
    ) -> list[Mapping[str, Tensor]]:
        """Split a rollout into minibatches of whole sequences, by environments in random order.

        Args:
            columns: of the rollout, as :meth:`evaluate_rollout` extends them.
            rows: maximum rows of a minibatch, which contains the sequence of at least one environment.
            generator: source of randomness of the order.
        """
        memory = columns["memory"]
        count = memory.shape[2]
        length = len(columns["starts"]) // count
        if length * count <= rows:
            return [columns]
        groups = torch.split(torch.randperm(count, generator=generator).to(memory.device), max(rows // length, 1))
        return [
            {
                key: column[:, :, group]
                if key == "memory"
                else column.view(length, count, *column.shape[1:])[:, group].flatten(0, 1)
                for key, column in columns.items()
            }
            for group in groups
        ]


def sequences_of(observations: Array, starts: Array, length: int) -> Array:
    """Cut rollouts into sequences of consecutive steps.

    Args:
        observations: (T, N, ...) of N environments.
        starts: (T, N) bool, whether an observation is the first one of an episode.
        length: steps L of a sequence; the first T mod L steps of a rollout are left out.

    Returns:
        (M, L, W + 1) float32: flattened observations, and a column that is 1 for the first observation of an episode.
    """
    count = len(observations) // length
    flat = observations.reshape(*observations.shape[:2], -1)
    rows = np.concatenate([flat, starts[..., None].astype(flat.dtype)], 2)[len(observations) - count * length :]
    by_sequence: Array = rows.reshape(count, length, *rows.shape[1:]).swapaxes(1, 2)
    return by_sequence.reshape(-1, length, rows.shape[2])
