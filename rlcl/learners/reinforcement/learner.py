"""Base class of reinforcement learners: training loop, checkpointed state."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Literal

import attrs
import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.errors import DivergenceError, UnsupportedError
from rlcl.learners.boundary import freeze_encoder, memory_refusal
from rlcl.learners.fast.numpy_forward import NumpyForward, task_forward
from rlcl.learners.initial_weights import load_initial_weights
from rlcl.learners.last_gradients import last_gradients, restore_gradients
from rlcl.learners.online_score import count_trainable
from rlcl.learners.reinforcement.algorithm import ReinforcementAlgorithm
from rlcl.learners.reinforcement.collector import Collector
from rlcl.learners.reinforcement.gradient_clipping import clip_gradients
from rlcl.learners.reinforcement.host import ReinforcementHost
from rlcl.learners.reinforcement.logged_values import LoggedValues
from rlcl.learners.reinforcement.policy_graphs import Decide, Scores, policy_graph
from rlcl.learners.reinforcement.round_transitions import RoundTransitions
from rlcl.learners.reinforcement.rounds import RoundFunction, collect_and_update
from rlcl.learners.reinforcement.training_environments import CollectorFactory, first_environment
from rlcl.learners.schedules import schedule_position
from rlcl.methods.attach import AttachedMethods, attach
from rlcl.networks.check_forward import check_forward
from rlcl.networks.task_ids import takes_task_ids
from rlcl.registry import name_of
from rlcl.state import clone_state, tensor_bytes
from rlcl.types import (
    Batch,
    Costs,
    Encoder,
    Event,
    Experience,
    Exportable,
    Graph,
    Method,
    Network,
    Position,
    Schedule,
    Setup,
)

__all__ = ["ReinforcementLearner"]


@define(kw_only=True, eq=False)
class ReinforcementLearner(ReinforcementAlgorithm, Exportable):
    """Base class of learners that collect data in environments and update networks on it.

    New training environments are created and seeded for every experience. Weights, optimizers and
    replay buffers are kept. The state can be saved after every update; it includes the state of the
    environments if they support saving (see :mod:`rlcl.data.environments.state`).

    A subclass must implement the abstract members of
    :class:`~rlcl.learners.reinforcement.algorithm.ReinforcementAlgorithm`. A learner that overrides ``graph`` can be
    exported. Off-policy learners derive from
    :class:`~rlcl.learners.reinforcement.off_policy.OffPolicyLearner`, which provides the replay buffer. Batched seeds
    (:mod:`rlcl.learners.fast`) support the learners that are listed there; other learners run one seed after another.

    Args:
        gamma: discount factor.
        clip_norm: maximum norm of each optimizer's gradient, with the gradients of methods; null for no clipping.
        methods: continual-learning methods; they run in the order of their phases.
        schedule: learning-rate schedule, which multiplies the learning rate by a factor that depends on the used
            fraction of the budget and is updated in each round; constant by default.
        schedule_over: budget that schedules cover: that of each ``experience``, or of the whole ``stream``.
    """

    gamma: float = option(0.99, ge=0, le=1)
    clip_norm: float | None = option(None, gt=0)
    methods: tuple[Method, ...] = option((), converter=tuple)
    schedule: Schedule | None = option(None)
    schedule_over: Literal["experience", "stream"] = option("experience")

    position: Position = field(init=False, factory=Position)
    task_id: int | None = field(init=False, default=None)  # of the observations that it acts on; None if hidden
    batch: Batch | None = field(init=False, default=None)
    round: RoundTransitions = field(init=False, factory=RoundTransitions)
    rng: np.random.Generator = field(init=False, default=None)
    collector: Collector | None = field(init=False, default=None)
    logged: LoggedValues = field(init=False, factory=LoggedValues)
    advance: RoundFunction = field(init=False, default=collect_and_update)
    host: ReinforcementHost = field(init=False, default=None)  # interface to methods and probes
    _setup: Setup = field(init=False, default=None)
    _attached: AttachedMethods = field(init=False, default=None)
    _collector_factory: CollectorFactory = field(init=False, default=None)
    _initial_exploration: list[tuple[Tensor, Optimizer, Tensor]] = field(init=False, factory=list)
    _earned: float = field(init=False, default=0.0)  # total reward of the finished parts
    _updates_done: int = field(init=False, default=0)  # of the primary module

    needs = frozenset({"environment"})

    # Training loop; see rlcl.types.Learner.

    @property
    def name(self) -> str:
        return name_of("learner", self)

    @property
    def measures(self) -> tuple[str, ...]:
        return ("return",)

    @property
    def resumable_within(self) -> bool:
        return True

    @property
    def encoder(self) -> Encoder:
        return self._setup.encoder

    @property
    def tasks(self) -> int:
        """Number of tasks whose ids are visible in training and at evaluation; 0 if they are hidden."""
        stream = self._setup.stream
        ids = [part.task_id for experience in stream for part in experience.parts if part.task_id is not None]
        return max(ids) + 1 if ids and stream.visibility.at_evaluation else 0

    def build_network(self, network: Network, shape: tuple[int, ...], outputs: int) -> nn.Module:
        """Build a module and check its forward pass; a network with heads has one per visible task.

        Args:
            network: network architecture.
            shape: shape of one input.
            outputs: number of outputs (of each head).
        """
        tasks = self.tasks
        module = network.build(shape, outputs, max(tasks, 1))
        if not tasks and takes_task_ids(module):
            raise UnsupportedError(
                f"network {name_of('network', network)} selects a head by the task id, which this stream hides or does "
                "not have; set stream.visibility.task_ids: visible, or use another network"
            )
        return check_forward(module, network, shape, outputs, heads=tasks > 0)

    def acting_forward(self, module: nn.Module) -> NumpyForward:
        """Return the function from observations (N, *encoded) of the current task to the outputs (N, K) of a module."""
        return task_forward(module, lambda: self.task_id)

    def policy_graph(self, network: nn.Module, decide: Decide, scores: Scores | None = None) -> Graph:
        """Return the graph of a policy; see :func:`rlcl.learners.reinforcement.policy_graphs.policy_graph`.

        Raises:
            UnsupportedError: the actions depend on the task id, which bundles of policies do not receive.
        """
        if takes_task_ids(network) or self._attached.predicting:
            raise UnsupportedError(
                "its actions depend on the task id, but bundles of policies receive observations only"
            )
        return policy_graph(self.encoder, network, decide, scores)

    def task_ids_of(self, rows: int) -> Tensor | None:
        """Return the ids (rows,) int64 of the current task, on the device; None if it is hidden."""
        return None if self.task_id is None else torch.full((rows,), self.task_id, device=self._setup.device)

    def prepare(self, setup: Setup) -> None:
        source, observations, actions = first_environment(setup, self.name)
        self._setup = setup = freeze_encoder(setup, self.methods)
        self.rng = setup.seeds.child("actions").numpy()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setup.seeds.child("weights").integer())
            self.build(setup.encoder.shape(observations.shape), actions, source.num_envs)
        if setup.initial is not None:
            load_initial_weights(setup.initial, self.modules)
            self.after_initial_weights()
        for experience in setup.stream:
            self.steps(experience)  # raises for a budget in another unit before training
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])
        self._collector_factory = CollectorFactory(setup, self.takes_action_masks)
        self.host = ReinforcementHost(self, setup)
        self._attached = attach(self.methods, self.host, setup.seeds.child("methods"))
        for optimizer in self.optimizers.values():
            clip_gradients(optimizer, self.clip_norm)
        self.optimizers[self.host.primary].register_step_post_hook(self._count_update)
        self._initial_exploration = [(p, o, p.detach().clone()) for p, o in self.exploration_parameters]
        self.ready()

    def _count_update(self, *_: Any) -> None:
        self._updates_done += 1

    def costs(self) -> Costs:
        """See :class:`rlcl.types.Spending`."""
        return Costs(
            parameters=count_trainable(self.modules.values()),
            memory_bytes=tensor_bytes(self._attached.state_dict()) + self.memory_bytes,
            updates=self._updates_done,
            samples=self.position.step,
        )

    def earned(self) -> float:
        """See :class:`rlcl.types.Earning`."""
        return self._earned + (0.0 if self.collector is None else self.collector.earned)

    def refuses(self, key: str, value: str) -> str | None:
        """See :class:`rlcl.types.BoundaryLearner`."""
        if key == "critic":
            return self.critic_refusal
        if key == "buffer":
            return None if self.memory_bytes else "it has no replay buffer"
        if value in ("uniform", "best_return") and not self.chooses_first_actions:
            return "it learns from actions of its current policy only"
        if (key, value) == ("exploration", "reset") and not self._initial_exploration:
            return "it has no learned exploration parameters; schedules run over each experience by schedule_over"
        if key != "memory" or (self.memory_bytes and not self._attached.remembering):
            return None
        return memory_refusal(self._attached)

    def _cross_boundary(self, experience: Experience) -> None:
        """Apply the boundary policy before an experience starts, except for the encoder."""
        policy = self._setup.boundary
        self.start_exploration(policy.exploration, self._setup.stream[experience.index - 1])
        if policy.optimizer == "reset":
            for optimizer in self.all_optimizers:
                optimizer.state.clear()
        if policy.memory == "reset":
            self._attached.forget()
        if "reset" in (policy.memory, policy.buffer):
            self.forget_memory()
        if policy.exploration == "reset":
            for parameter, optimizer, initial in self._initial_exploration:
                parameter.data.copy_(initial)
                optimizer.state.pop(parameter, None)
        if policy.critic == "reset":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self._setup.seeds.child("critic").child(str(experience.index)).integer())
                self.reset_critic()

    def closed_by(self) -> str | None:
        """See :class:`rlcl.types.Reopening`."""
        return self._attached.closed_by()

    def reopen(self, update: int) -> None:
        """See :class:`rlcl.types.Reopening`; new environments are created and seeded."""
        self.position.reopen(update)

    def steps(self, experience: Experience) -> int:
        """Return the env steps of an experience's budget, rounded up to whole rounds."""
        return sum(map(self._env_steps, experience.parts))

    def _env_steps(self, part: Experience) -> int:
        budget = part.budget.env_steps
        if budget is None:
            raise UnsupportedError(
                f"budget.{part.budget.unit}: learner {self.name} counts env_steps; write {{env_steps: N}}"
            )
        return math.ceil(budget / self.steps_per_round) * self.steps_per_round

    def learn(self, experience: Experience) -> Iterator[Event | None]:
        if self.position.begin(experience):
            if experience.index:
                self._cross_boundary(experience)
            self._attached.begin(experience, self.planned_updates(experience))
        for part in experience.parts[self.position.segment :]:
            yield from self._learn_part(experience, part)

    def _learn_part(self, experience: Experience, part: Experience) -> Iterator[Event | None]:
        position, interval = self.position, self._setup.event_interval
        self.task_id = part.task_id
        collector = self.collector = self._collector_factory.collector(part, position.update, position.step)
        scope = self._setup.stream if self.schedule_over == "stream" else [experience]
        budget, (before, planned) = self._env_steps(part), schedule_position(scope, part, self._env_steps)
        started, reported = time.perf_counter(), position.step
        try:
            while True:
                done = before + position.update
                self._set_learning_rate(done // self.steps_per_round, planned // self.steps_per_round)
                yield from self.advance(self, collector, done / planned)
                position.advance(self.steps_per_round)
                finished, event = position.update >= budget, None
                if position.step // interval != reported // interval or finished:
                    rate = (position.step - reported) / max(time.perf_counter() - started, 1e-9)
                    event = self._event(collector, rate, part)
                    started, reported = time.perf_counter(), position.step
                if finished:
                    self._end_part(experience)
                yield event
                if finished:
                    return
        finally:
            collector.close()

    def _end_part(self, experience: Experience) -> None:
        """End a part before the event of its last update is yielded, so that a checkpoint there contains both."""
        assert self.collector is not None
        self._earned += self.collector.earned
        self.collector = None
        if self.position.end(experience):
            self._attached.end(experience)

    def _set_learning_rate(self, done: int, planned: int) -> None:
        """Set the learning rate of the next round: number ``done`` of ``planned`` rounds, counted from 0."""
        if self.schedule is None:
            return
        factor = self.schedule(done, planned)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    def log(self, **values: Tensor | float) -> None:
        """Log numbers or scalar tensors without gradient; the next event reports their means."""
        self.logged.add(**values)

    def _event(self, collector: Collector, rate: float, part: Experience) -> Event:
        values = self.logged.means()
        lr = next(iter(self.optimizers.values())).param_groups[0]["lr"]
        values |= {**collector.values(), "lr": float(lr)}
        collector.check()
        for key, value in values.items():
            if not math.isfinite(value) and key != "explained_variance":  # undefined if returns are constant
                raise DivergenceError(
                    f"{key} of learner {self.name} is {value} at env step {self.position.step:,}, in experience "
                    f"{part.index} ({part.name}); lower the learning rate, or add the encoder running_norm"
                )
        values = {key: value for key, value in values.items() if math.isfinite(value)}
        values |= self._attached.quantities()
        return Event(self.position.step, {**values, "env_steps_per_second": rate})

    def predict(
        self, x: Any, task_id: int | None = None, state: Any = None, action_masks: Any = None
    ) -> tuple[Any, Any]:
        """Return greedy actions and the next recurrent state.

        Args:
            x: (B, *observation) raw observations.
            task_id: index of the task, None if it is hidden.
            state: recurrent state after the previous step; None at the start of episodes.
            action_masks: (B, K) bool, True for allowed actions; None if all are.
        """
        return self._predict(x, task_id, state, action_masks, None)

    def sample_actions(
        self,
        x: Any,
        task_id: int | None = None,
        state: Any = None,
        action_masks: Any = None,
        *,
        rng: np.random.Generator,
    ) -> tuple[Any, Any]:
        """Sample actions of the policy; see :class:`rlcl.types.Sampling`."""
        return self._predict(x, task_id, state, action_masks, rng)

    def _predict(
        self, x: Any, task_id: int | None, state: Any, masks: Any, rng: np.random.Generator | None
    ) -> tuple[Any, Any]:
        training_task, self.task_id = self.task_id, task_id
        try:
            encoded = self._setup.encoder.encode(torch.as_tensor(np.asarray(x)), task_id).numpy()
            with ExitStack() as stack:
                for method in self._attached.predicting:
                    stack.enter_context(method.predicting(task_id))
                return self.act_on(encoded, masks, state, rng)
        finally:
            self.task_id = training_task

    # Saved state.

    def networks_in(self, state: Mapping[str, Any]) -> Mapping[str, Mapping[str, Tensor]]:
        """See :class:`rlcl.types.Starting`."""
        weights: Mapping[str, Mapping[str, Tensor]] = state["modules"]
        return weights

    def state_dict(self) -> dict[str, Any]:
        collector = None
        if self.position.learning:
            # After loading, before environments are created, the loaded collector state is returned.
            collector = self._collector_factory.restored if self.collector is None else self.collector.state_dict()
        state: dict[str, Any] = clone_state(
            {
                "position": attrs.asdict(self.position),
                "modules": {name: dict(module.state_dict()) for name, module in self.modules.items()},
                "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
                "gradients": last_gradients(self.modules[self.host.primary]),
                "encoder": self._setup.encoder.state_dict(),
                "methods": self._attached.state_dict(),
                "rng": self.rng.bit_generator.state,
                "updates": self._updates_done,
                "earned": self._earned,
                "collector": collector,
                "logged": self.logged.state_dict(),
                "learner": self.learner_state(),
            }
        )
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        state = clone_state(state)
        self.position = Position(**state["position"])
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        if "gradients" in state:  # missing in checkpoints of older versions
            restore_gradients(self.modules[self.host.primary], state["gradients"])
        self._setup.encoder.load_state_dict(state["encoder"])
        self._attached.load_state_dict(state["methods"])
        self.rng.bit_generator.state = state["rng"]
        self._updates_done = state["updates"]
        self._earned = state.get("earned", 0.0)  # missing in checkpoints of older versions
        self._collector_factory.restored = state["collector"]
        self.logged.load_state_dict(state["logged"])
        self.load_learner_state(state["learner"])
