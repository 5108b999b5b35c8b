"""Any algorithm of stable-baselines3 and sb3-contrib, under the same trainer, methods and records."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs
import gymnasium as gym
import numpy as np
import torch
from attrs import define, field

from rlcl.config import option
from rlcl.data.sources import Environment
from rlcl.encoders.compose import observations_and_norm
from rlcl.errors import DivergenceError, UnsupportedError
from rlcl.learners.boundary import EncoderFitting
from rlcl.learners.initial import begin_with
from rlcl.learners.ledger import trainable
from rlcl.learners.needs import check_kind
from rlcl.learners.reinforcement.opening import reseeded
from rlcl.methods.attach import Attached, attach
from rlcl.registry import name_of
from rlcl.state import cloned, tensor_bytes
from rlcl.types import Costs, Encoder, Event, Experience, Exportable, Graph, Method, Position, Setup

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from rlcl.learners.sb3.boundary import Sb3Boundary
    from rlcl.learners.sb3.host import Sb3Host

__all__ = ["StableBaselines3"]

# Torch's words for NaN parameters of a distribution; the second where torch.compile has switched off its checks.
NOT_FINITE = ("invalid values", "probability tensor contains")
NO_EPISODE = "Unable to sample before the end of the first episode"  # of HerReplayBuffer
FIT_OBSERVATIONS = 1000  # random observations that an encoder is fitted on before an experience


@define(kw_only=True, eq=False)
class StableBaselines3(Exportable):
    """Runs an algorithm of Stable-Baselines3 without touching it.

    Its ``learn`` is mirrored as a generator over ``collect_rollouts`` and ``train``, so an experience
    ends with the weights of one uninterrupted ``learn`` call. Every experience gets new training
    environments, seeded anew; weights, optimizers and replay buffer are kept. It resumes at the
    boundaries of experiences (the state of environments and of a rollout in flight is not saved).

    Methods see the policy (PPO, A2C), the Q-network (DQN, QRDQN) or the actor (SAC, TD3, ...):
    those that need minibatches, targets or the loss are refused.

    Args:
        algorithm: a class of ``stable_baselines3`` or ``sb3_contrib`` by name.
        policy: a policy class by name: ``MlpPolicy``, ``CnnPolicy``, ``MultiInputPolicy``, ...;
            what fits the observations by default.
        options: the algorithm's own keyword arguments, checked by name. A number written ``lin_3e-4``
            falls linearly to 0; ``action_noise: {normal: 0.1}`` or ``{ornstein_uhlenbeck: 0.1}``;
            ``activation_fn`` in ``policy_kwargs`` by the name of a ``torch.nn`` class; ``replay_buffer_class`` by
            the name of a class of Stable-Baselines3, of which ``HerReplayBuffer`` asks the environment of the
            experience in progress for the rewards of other goals.
        schedule_over: what learning rates and exploration fall over: each ``experience``, or the ``stream``.
        methods: continual-learning methods; they run in the order of their phases.

    Source: Raffin et al. 2021, Stable-Baselines3.
    """

    algorithm: str = option()
    policy: str | None = option(None)
    options: Mapping[str, Any] = option(factory=dict)
    schedule_over: Literal["experience", "stream"] = option("experience")
    methods: tuple[Method, ...] = option((), converter=tuple)

    needs = frozenset({"environment"})

    position: Position = field(init=False, factory=Position)
    model: BaseAlgorithm = field(init=False, default=None)
    host: Sb3Host = field(init=False, default=None)  # what methods and probes see
    _setup: Setup = field(init=False, default=None)
    _attached: Attached = field(init=False, default=None)
    _fitting: EncoderFitting = field(init=False, default=None)
    _boundary: Sb3Boundary = field(init=False, default=None)
    _observation_space: gym.Space[Any] = field(init=False, default=None)  # as the model sees it
    _spaces: tuple[gym.Space[Any], gym.Space[Any]] = field(init=False, default=None)  # as environments have them
    _schedule: tuple[int, int] = field(init=False, default=(0, 1))  # env steps at its start, and that it lasts
    _updates: int = field(init=False, default=0)  # of the network that predicts
    _lived: int = field(init=False, default=0)  # env steps of the part in progress, or just ended

    @property
    def measures(self) -> tuple[str, ...]:
        return ("return",)

    @property
    def resumable_within(self) -> bool:
        return False

    @property
    def encoder(self) -> Encoder:
        return self._setup.encoder

    def prepare(self, setup: Setup) -> None:
        from rlcl.learners.sb3.algorithms import build_model, find_algorithm
        from rlcl.learners.sb3.boundary import Sb3Boundary
        from rlcl.learners.sb3.demands import check_demands, check_spaces
        from rlcl.learners.sb3.host import host_of

        algorithm = find_algorithm(self.algorithm)
        check_kind("sb3", self.needs, setup.spec.kind)
        self._setup, self._fitting = setup, EncoderFitting.of(setup)
        source = setup.stream[0].train
        assert isinstance(source, Environment)
        if setup.spec.encodable is False and not _is_identity(setup.encoder):
            raise UnsupportedError(
                f"encoder {name_of('encoder', setup.encoder)} encodes arrays, and these observations are none; leave "
                "it out"
            )
        self._spaces = source.spaces()
        check_spaces(*self._spaces)
        env = self._environments(source)
        self._observation_space = env.observation_space
        self.model = build_model(
            algorithm, self.algorithm, self.policy, self.options, env, setup.seeds.child("sb3").integer(), setup.device
        )
        self._close_environments()  # each experience has its own, and what only predicts needs none
        begin_with(setup.initial, {"policy": self.model.policy})
        self.model._update_current_progress_remaining = self._progress  # type: ignore[method-assign]
        for experience in setup.stream:
            self.steps(experience)  # a budget in another unit is refused before training
            for part in experience.parts:
                assert isinstance(part.train, Environment)
                check_demands(self.model, part.train)
        self.host = host_of(self.model, setup.stream.visibility, lambda: self._lived)
        if self.host.optimizers:
            self.host.optimizers[self.host.primary].register_step_post_hook(self._count)
        self._attached = attach(self.methods, self.host, setup.seeds.child("methods"))
        self._boundary = Sb3Boundary.of(self.model, self._attached, setup.boundary)

    def refuses(self, key: str) -> str | None:
        """See :class:`rlcl.types.BoundaryLearner`."""
        return self._boundary.refuses(key)

    def cautions(self) -> Sequence[str]:
        """See :class:`rlcl.types.Cautious`."""
        from rlcl.learners.sb3.demands import out_of_policys_reach

        said = out_of_policys_reach(self.model, self._spaces[1])
        return () if said is None else (f"learner {name_of('learner', self)}: {said}",)

    @property
    def learning_starts(self) -> int:
        """See :class:`rlcl.types.Warming`; on-policy algorithms have none."""
        found: int = getattr(self.model, "learning_starts", 0)
        return found

    def _count(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._updates += 1

    def costs(self) -> Costs:
        """See :class:`rlcl.types.Spending`; where an algorithm steps past its optimizer, updates as it counts them."""
        own: int = getattr(self.model, "_n_updates", 0)
        return Costs(
            parameters=trainable(self.host.modules.values()),
            memory_bytes=tensor_bytes(self._attached.state_dict()),
            updates=self._updates if self.host.optimizers else own,
            samples=self.position.step,
        )

    def steps(self, experience: Experience) -> int:
        """How many env steps an experience's budget comes to."""
        return sum(self._env_steps(part) for part in experience.parts)

    def closed_by(self) -> str | None:
        """See :class:`rlcl.types.Reopening`."""
        return self._attached.closed_by()

    def reopen(self, update: int) -> None:
        """See :class:`rlcl.types.Reopening`; environments are made and seeded anew."""
        self.position.reopen(update)

    def learn(self, experience: Experience) -> Iterator[Event | None]:
        if self.position.learning:
            raise ValueError(f"experience {self.position.experience} is unfinished; it is resumed at its start")
        if self.position.begin(experience):
            if experience.index:
                self._boundary.cross()
            self._attached.begin(experience, None)
        self._start_schedule(self.position.update, self.steps(experience))
        for part in experience.parts:
            yield from self._learn_part(experience, part)

    def _learn_part(self, experience: Experience, part: Experience) -> Iterator[Event | None]:
        from rlcl.learners.sb3.algorithms import cut_episodes, give_environments, training

        assert isinstance(part.train, Environment)
        model, position, interval = self.model, self.position, self._setup.event_interval
        cut_episodes(model)
        observations, _ = observations_and_norm(self._setup.encoder)
        done = position.update  # more than 0 in an experience that is taken up again
        source = reseeded(part.train, self._setup.seeds, done) if done else part.train
        adapting = self._setup.boundary.encoder != "freeze" or not part.index if done else self._fitting.due(part)
        if adapting and not done and not _is_identity(observations):
            observations.fit(torch.from_numpy(part.train.random_observations(FIT_OBSERVATIONS)))
        env = self._environments(source, adapting)
        # Bounds may differ from task to task; Stable-Baselines3 compares them with the first task's.
        env.observation_space = self._observation_space
        give_environments(model, env)
        model.ep_info_buffer = deque(maxlen=model._stats_window_size)
        model.ep_success_buffer = deque(maxlen=model._stats_window_size)
        started, reported = time.perf_counter(), position.step
        budget = self._env_steps(part)
        try:
            for _ in training(model, budget - done):
                position.advance(model.num_timesteps - position.step)
                self._lived = position.update
                finished = position.update >= budget
                event = None
                if position.step // interval != reported // interval or finished:
                    rate = (position.step - reported) / max(time.perf_counter() - started, 1e-9)
                    event = self._event(rate, part)
                    started, reported = time.perf_counter(), position.step
                if finished and position.end(experience):
                    self._attached.end(experience)
                yield event
        except (ValueError, RuntimeError) as error:
            if NO_EPISODE in str(error):
                raise UnsupportedError(
                    "learner.options.learning_starts: HerReplayBuffer learns from whole episodes, and at env step "
                    f"{model.num_timesteps:,} it holds none; set it to more than the steps of an episode, and "
                    "buffer_size too"
                ) from error
            if not any(words in str(error) for words in NOT_FINITE):
                raise
            raise self._diverged("policy", "NaN", part) from error
        finally:
            self._close_environments()

    def _close_environments(self) -> None:
        if self.model.env is not None:
            self.model.env.close()
        self.model.env = None

    def _event(self, rate: float, part: Experience) -> Event:
        logged = self.model.logger.name_to_value
        values = {
            key.removeprefix("train/"): float(value)
            for key, value in logged.items()
            if key.startswith("train/") and isinstance(value, int | float | np.number)
        }
        logged.clear()
        self.model.logger.name_to_count.clear()
        if self.model.ep_info_buffer:
            values["episode_return"] = float(np.mean([info["r"] for info in self.model.ep_info_buffer]))
            values["episode_length"] = float(np.mean([info["l"] for info in self.model.ep_info_buffer]))
        gradients = [p.grad for p in self.model.policy.parameters() if p.grad is not None]
        if gradients:  # as the last update left them, after clipping
            values["gradient_norm"] = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
        for key, value in values.items():
            if not math.isfinite(value) and key != "explained_variance":  # undefined where returns do not vary
                raise self._diverged(key, value, part)
        values = {key: value for key, value in values.items() if math.isfinite(value)}
        if "learning_rate" in values:
            values["lr"] = values.pop("learning_rate")
        return Event(self.position.step, {**values, "env_steps_per_second": rate})

    def _diverged(self, what: str, value: object, part: Experience) -> DivergenceError:
        from rlcl.learners.sb3.state import first_not_finite

        where = f"at env step {self.model.num_timesteps:,}, in experience {part.index} ({part.name})"
        culprit = first_not_finite(self.model)
        if culprit:
            return DivergenceError(f"the environment gave {culprit} that are not finite {where}; mend the environment")
        return DivergenceError(
            f"{what} of learner sb3 ({self.algorithm}) is {value} {where}; lower learning_rate, or standardize the "
            "observations"
        )

    def _environments(self, source: Environment, fitting: bool = True) -> Any:
        from rlcl.learners.sb3.algorithms import find_algorithm
        from rlcl.learners.sb3.demands import takes_masks
        from rlcl.learners.sb3.environments import make_environments

        return make_environments(source, self._setup.encoder, fitting, takes_masks(find_algorithm(self.algorithm)))

    def _env_steps(self, part: Experience) -> int:
        """The budget, rounded up to whole rollouts: past it a linear schedule would go below 0."""
        budget = part.budget.env_steps
        if budget is None:
            raise UnsupportedError(f"budget.{part.budget.unit}: learner sb3 counts env_steps; write {{env_steps: N}}")
        # Off policy, n_steps means the steps of a return.
        n_steps = getattr(self.model, "n_steps", None) if hasattr(self.model, "rollout_buffer") else None
        rollout = n_steps * self.model.n_envs if isinstance(n_steps, int) else 1
        return math.ceil(budget / rollout) * rollout

    def _start_schedule(self, done: int, steps: int) -> None:
        if self.schedule_over == "stream":
            self._schedule = (0, sum(map(self.steps, self._setup.stream)))
        else:
            self._schedule = (self.model.num_timesteps - done, steps)
        self._progress(self.model.num_timesteps, 0)
        model: Any = self.model
        if hasattr(model, "exploration_schedule"):
            model.exploration_rate = model.exploration_schedule(model._current_progress_remaining)

    def _progress(self, num_timesteps: int, total_timesteps: int) -> None:
        """In place of the model's own, whose schedules end with the stream counted so far."""
        start, length = self._schedule
        self.model._current_progress_remaining = max(0.0, 1.0 - float(num_timesteps - start) / float(length))

    @property
    def takes_action_masks(self) -> bool:
        """See :class:`rlcl.types.Masking`."""
        from rlcl.learners.sb3.demands import takes_masks

        return takes_masks(type(self.model))

    def predict(
        self, x: Any, task_id: int | None = None, state: Any = None, action_masks: Any = None
    ) -> tuple[Any, Any]:
        """Greedy actions (B, *action) for raw observations (B, *observation), of those allowed (B, K)."""
        from rlcl.learners.sb3.starts import shifted

        x = shifted(x, self._spaces[0], -1)
        if not _is_identity(self._setup.encoder):
            x = self._setup.encoder.encode(torch.as_tensor(np.asarray(x))).numpy()
        starts = np.full(len(x), state is None) if not isinstance(x, dict) else None
        allowed = {} if action_masks is None else {"action_masks": action_masks}
        with torch.no_grad():
            found, state = self.model.predict(x, state=state, episode_start=starts, deterministic=True, **allowed)
        return shifted(found, self._spaces[1], 1), state

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        from rlcl.learners.sb3.graph import sb3_graph

        return sb3_graph(self.algorithm, self._setup.encoder, self.model.policy, self._spaces)

    def networks_in(self, state: Mapping[str, Any]) -> Mapping[str, Mapping[str, torch.Tensor]]:
        """See :class:`rlcl.types.Starting`: the policy holds all networks, targets among them."""
        return {"policy": state["model"]["parameters"]["policy"]}

    def state_dict(self) -> dict[str, Any]:
        """The state at a boundary.

        Raises:
            ValueError: an experience is unfinished.
        """
        from rlcl.learners.sb3.state import model_state

        if self.position.learning:
            raise ValueError("learner sb3 can be saved at the boundaries of experiences alone")
        state: dict[str, Any] = cloned(
            {
                "position": attrs.asdict(self.position),
                "model": model_state(self.model),
                "encoder": self._setup.encoder.state_dict(),
                "methods": self._attached.state_dict(),
                "updates": self._updates,
            }
        )
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        from rlcl.learners.sb3.state import load_model_state

        state = cloned(state)
        self.position = Position(**state["position"])
        load_model_state(self.model, state["model"])
        self._setup.encoder.load_state_dict(state["encoder"])
        self._attached.load_state_dict(state["methods"])
        self._updates = state["updates"]


def _is_identity(encoder: Encoder) -> bool:
    from rlcl.encoders.identity import Identity

    return isinstance(encoder, Identity)
