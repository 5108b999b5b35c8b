"""The base of reinforcement learners: what each of them says, and the life cycle that they share."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs
import gymnasium as gym
import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.errors import DivergenceError, UnsupportedError
from rlcl.learners.boundary import memory_refusal
from rlcl.learners.initial import begin_with
from rlcl.learners.ledger import trainable
from rlcl.learners.reinforcement.advancing import Advance, by_itself
from rlcl.learners.reinforcement.clipping import clip_gradients
from rlcl.learners.reinforcement.collecting import Collector
from rlcl.learners.reinforcement.host import ReinforcementHost
from rlcl.learners.reinforcement.notes import Notes
from rlcl.learners.reinforcement.opening import Opening, first_environment
from rlcl.learners.schedules import place_in
from rlcl.methods.attach import Attached, attach
from rlcl.registry import name_of
from rlcl.state import cloned, tensor_bytes
from rlcl.types import Batch, Costs, Encoder, Event, Experience, Exportable, Method, Position, Schedule, Setup

__all__ = ["ReinforcementLearner"]


@define(kw_only=True, eq=False)
class ReinforcementLearner(Exportable, ABC):
    """Acts in environments and learns from what comes of it; a concrete learner says how.

    Training environments are made and seeded anew for every experience; weights, optimizers and
    memories are kept. The state can be saved after every update, with that of the environments
    where they allow it (see :mod:`rlcl.data.environments.state`).

    A concrete learner overrides what is abstract; what it may override has a default that does nothing. It is exported
    if it also overrides ``graph``, and an off-policy one derives from
    :class:`~rlcl.learners.reinforcement.off_policy.OffPolicyLearner`, which keeps the memory. Several seeds at once
    (:mod:`rlcl.learners.fast`) are for the learners that are listed there; any other runs seed after seed.

    Args:
        gamma: discount.
        clip_norm: the greatest norm of each optimizer's gradient, with what methods add to it; null for any.
        methods: continual-learning methods; they run in the order of their phases.
        schedule: factor of the learning rate over the budget, from round to round; constant by default.
        schedule_over: what schedules run over: each ``experience``, or the ``stream``.
    """

    gamma: float = option(0.99, ge=0, le=1)
    clip_norm: float | None = option(None, gt=0)
    methods: tuple[Method, ...] = option((), converter=tuple)
    schedule: Schedule | None = option(None)
    schedule_over: Literal["experience", "stream"] = option("experience")

    position: Position = field(init=False, factory=Position)
    batch: Batch | None = field(init=False, default=None)
    rng: np.random.Generator = field(init=False, default=None)
    collector: Collector | None = field(init=False, default=None)
    notes: Notes = field(init=False, factory=Notes)
    advance: Advance = field(init=False, default=by_itself)
    host: ReinforcementHost = field(init=False, default=None)  # what methods and probes see
    _setup: Setup = field(init=False, default=None)
    _attached: Attached = field(init=False, default=None)
    _opening: Opening = field(init=False, default=None)
    _explored: list[tuple[Tensor, Optimizer, Tensor]] = field(init=False, factory=list)
    _updates_done: int = field(init=False, default=0)  # of the primary module

    needs = frozenset({"environment"})

    # What a concrete learner says.

    @property
    @abstractmethod
    def kind(self) -> str:
        """See :class:`rlcl.types.Host`."""

    @property
    @abstractmethod
    def modules(self) -> Mapping[str, nn.Module]:
        """See :class:`rlcl.types.Host`; the primary one first."""

    @property
    @abstractmethod
    def optimizers(self) -> Mapping[str, Optimizer]:
        """By the same names as ``modules``."""

    @abstractmethod
    def build(self, shape: tuple[int, ...], actions: gym.Space[Any], num_envs: int) -> None:
        """Makes modules and optimizers; torch's global generator is seeded.

        Args:
            shape: of one encoded observation.
            actions: the space of one environment's actions.
            num_envs: that run in parallel.
        """

    @property
    @abstractmethod
    def steps_per_round(self) -> int:
        """Env steps, over all environments, between two yields: a round of acting and of learning."""

    @abstractmethod
    def collect(self, collector: Collector, progress: float) -> Any:
        """Acts for ``steps_per_round`` env steps; what :meth:`lessons` is told of it.

        Args:
            collector: the environments at work.
            progress: share of what schedules run over that is behind, in [0, 1).
        """

    @abstractmethod
    def lessons(self, collected: Any, collector: Collector, progress: float) -> Iterator[Any]:
        """What is to be learned from, each after the one before; arguments as those of :meth:`collect`."""

    @abstractmethod
    def improve(self, lesson: Any) -> Tensor | None:
        """Learns from one lesson: one step of each optimizer.

        It sets :attr:`batch` to what the loss sees (of encoded observations) before the step, for methods read it
        while they add to the gradient.

        Returns:
            What :meth:`learned` is told: errors (B,) of the lesson's transitions where they are prioritised, or None.
        """

    @abstractmethod
    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """See :class:`rlcl.types.Host`."""

    @abstractmethod
    def act(
        self, observations: np.ndarray[Any, Any], masks: np.ndarray[Any, Any] | None = None
    ) -> np.ndarray[Any, Any]:
        """(B, *action) greedy actions, as the environment takes them.

        Args:
            observations: (B, *encoded).
            masks: (B, K) bool, which are allowed; None for all, and where ``takes_action_masks`` is False.
        """

    @property
    def takes_action_masks(self) -> bool:
        """Whether it keeps to the actions that environments allow; see :mod:`rlcl.data.environments.action_masks`."""
        return False

    @abstractmethod
    def recent(self) -> np.ndarray[Any, Any]:
        """(M, *encoded) observations of the experience in progress."""

    @abstractmethod
    def learner_state(self) -> dict[str, Any]:
        """What the concrete learner has beside modules and optimizers."""

    @abstractmethod
    def load_learner_state(self, state: Mapping[str, Any]) -> None: ...

    # What it may say.

    @property
    def explored(self) -> Sequence[tuple[nn.Parameter, Optimizer]]:
        """Learned parameters of how much it explores, each with its optimizer."""
        return ()

    @property
    def all_optimizers(self) -> Sequence[Optimizer]:
        """Those of :attr:`optimizers`, and what else has moments."""
        return tuple(self.optimizers.values())

    def act_on(
        self, observations: np.ndarray[Any, Any], masks: np.ndarray[Any, Any] | None, state: Any
    ) -> tuple[np.ndarray[Any, Any], Any]:
        """As :meth:`act`, and the next state of one that remembers; ``state`` is None as episodes begin."""
        return self.act(observations, masks), None

    def begun(self) -> None:
        """Called when the weights of another run have been copied into the modules."""

    def ready(self) -> None:
        """Called once, when methods have hung on modules and optimizers what they hang there."""

    def learned(self, errors: Tensor | None) -> None:
        """Called after a lesson, with what :meth:`improve` gave."""

    @property
    def memory_bytes(self) -> int:
        """What a memory of its own holds, beside those of methods."""
        return 0

    def forget_memory(self) -> None:
        """Empties a memory of its own."""

    # Its life (rlcl.types.Learner).

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

    def prepare(self, setup: Setup) -> None:
        source, observations, actions = first_environment(setup, self.name)
        self._setup = setup
        self.rng = setup.seeds.child("actions").numpy()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setup.seeds.child("weights").integer())
            self.build(setup.encoder.shape(observations.shape), actions, source.num_envs)
        if setup.initial is not None:
            begin_with(setup.initial, self.modules)
            self.begun()
        for experience in setup.stream:
            self.steps(experience)  # a budget in another unit is refused before training
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])
        self._opening = Opening(setup, self.takes_action_masks)
        self.host = ReinforcementHost(self, setup)
        self._attached = attach(self.methods, self.host, setup.seeds.child("methods"))
        for optimizer in self.optimizers.values():
            clip_gradients(optimizer, self.clip_norm)
        self.optimizers[self.host.primary].register_step_post_hook(self._count)
        self._explored = [(p, o, p.detach().clone()) for p, o in self.explored]
        self.ready()

    def _count(self, *_: Any) -> None:
        self._updates_done += 1

    def costs(self) -> Costs:
        """See :class:`rlcl.types.Spending`."""
        return Costs(
            parameters=trainable(self.modules.values()),
            memory_bytes=tensor_bytes(self._attached.state_dict()) + self.memory_bytes,
            updates=self._updates_done,
            samples=self.position.step,
        )

    def refuses(self, key: str) -> str | None:
        """See :class:`rlcl.types.BoundaryLearner`."""
        if key == "exploration" and not self._explored:
            return "it learns nothing of how much it explores; schedules run over each experience by schedule_over"
        return memory_refusal(self._attached) if key == "memory" and not self.memory_bytes else None

    def _cross_boundary(self) -> None:
        """What the policy resets between two experiences, but for the encoder."""
        policy = self._setup.boundary
        if policy.optimizer == "reset":
            for optimizer in self.all_optimizers:
                optimizer.state.clear()
        if policy.memory == "reset":
            self._attached.forget()
            self.forget_memory()
        if policy.exploration == "reset":
            for parameter, optimizer, first in self._explored:
                parameter.data.copy_(first)
                optimizer.state.pop(parameter, None)

    def closed_by(self) -> str | None:
        """See :class:`rlcl.types.Reopening`."""
        return self._attached.closed_by()

    def reopen(self, update: int) -> None:
        """See :class:`rlcl.types.Reopening`; environments are made and seeded anew."""
        self.position.reopen(update)

    def steps(self, experience: Experience) -> int:
        """How many env steps an experience's budget comes to, rounded up to what is made at once."""
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
                self._cross_boundary()
            self._attached.begin(experience, None)
        for part in experience.parts[self.position.segment :]:
            yield from self._learn_part(experience, part)

    def _learn_part(self, experience: Experience, part: Experience) -> Iterator[Event | None]:
        position, interval = self.position, self._setup.event_interval
        collector = self.collector = self._opening.collector(part, position.update)
        scope = self._setup.stream if self.schedule_over == "stream" else [experience]
        budget, (before, planned) = self._env_steps(part), place_in(scope, part, self._env_steps)
        started, reported = time.perf_counter(), position.step
        try:
            while True:
                progress = (before + position.update) / planned
                self._scheduled((before + position.update) // self.steps_per_round, planned // self.steps_per_round)
                yield from self.advance(self, collector, progress)
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
        """Ends a part before its last update is told, so that the two are one moment."""
        self.collector = None
        if self.position.end(experience):
            self._attached.end(experience)

    def _scheduled(self, done: int, planned: int) -> None:
        """Sets the learning rate of the round that begins, of ``planned`` rounds with ``done`` behind it."""
        if self.schedule is None:
            return
        factor = self.schedule(done, planned)
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    def log(self, **values: Tensor | float) -> None:
        """Note numbers, or scalars without gradient, whose mean the next event reports."""
        self.notes.add(**values)

    def _event(self, collector: Collector, rate: float, part: Experience) -> Event:
        values = self.notes.means()
        lr = next(iter(self.optimizers.values())).param_groups[0]["lr"]
        values |= {**collector.values(), "lr": float(lr)}
        collector.check()
        for key, value in values.items():
            if not math.isfinite(value) and key != "explained_variance":  # undefined where returns do not vary
                raise DivergenceError(
                    f"{key} of learner {self.name} is {value} at env step {self.position.step:,}, in experience "
                    f"{part.index} ({part.name}); lower the learning rate, or add the encoder running_norm"
                )
        values = {key: value for key, value in values.items() if math.isfinite(value)}
        return Event(self.position.step, {**values, "env_steps_per_second": rate})

    def predict(
        self, x: Any, task_id: int | None = None, state: Any = None, action_masks: Any = None
    ) -> tuple[Any, Any]:
        """Greedy actions (B, *action) for raw observations (B, *observation), of those allowed (B, K)."""
        encoded = self._setup.encoder.encode(torch.as_tensor(np.asarray(x))).numpy()
        return self.act_on(encoded, action_masks, state)

    # State.

    def networks_in(self, state: Mapping[str, Any]) -> Mapping[str, Mapping[str, Tensor]]:
        """See :class:`rlcl.types.Starting`."""
        found: Mapping[str, Mapping[str, Tensor]] = state["modules"]
        return found

    def state_dict(self) -> dict[str, Any]:
        collector = None
        if self.position.learning:
            # A state that was loaded, and whose environments are not made yet, is handed on.
            collector = self._opening.restored if self.collector is None else self.collector.state_dict()
        state: dict[str, Any] = cloned(
            {
                "position": attrs.asdict(self.position),
                "modules": {name: dict(module.state_dict()) for name, module in self.modules.items()},
                "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
                "encoder": self._setup.encoder.state_dict(),
                "methods": self._attached.state_dict(),
                "rng": self.rng.bit_generator.state,
                "updates": self._updates_done,
                "collector": collector,
                "logged": self.notes.state_dict(),
                "learner": self.learner_state(),
            }
        )
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        state = cloned(state)
        self.position = Position(**state["position"])
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self._setup.encoder.load_state_dict(state["encoder"])
        self._attached.load_state_dict(state["methods"])
        self.rng.bit_generator.state = state["rng"]
        self._updates_done = state["updates"]
        self._opening.restored = state["collector"]
        self.notes.load_state_dict(state["logged"])
        self.load_learner_state(state["learner"])
