"""Learner for the algorithms of Stable-Baselines3 and sb3-contrib."""

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
from rlcl.learners.initial_weights import load_initial_weights
from rlcl.learners.online_score import count_trainable
from rlcl.learners.reinforcement.training_environments import reseeded
from rlcl.learners.sb3.logged_quantities import logged_quantities
from rlcl.learners.stream_kinds import check_stream_kind
from rlcl.methods.attach import AttachedMethods, attach
from rlcl.registry import name_of
from rlcl.state import clone_state, tensor_bytes
from rlcl.types import Costs, Encoder, Event, Experience, Exportable, Graph, Method, Position, Setup

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from rlcl.learners.sb3.boundary import Sb3Boundary
    from rlcl.learners.sb3.environments import RewardCounter
    from rlcl.learners.sb3.host import Sb3Host

__all__ = ["StableBaselines3"]

# Parts of torch's messages for NaN parameters of a distribution; the second one if checks are off by torch.compile.
NOT_FINITE = ("invalid values", "probability tensor contains")
NO_EPISODE = "Unable to sample before the end of the first episode"  # message of HerReplayBuffer
FIT_OBSERVATIONS = 1000  # number of random observations on which encoders are fitted before an experience


@define(kw_only=True, eq=False)
class StableBaselines3(Exportable):
    """Algorithm of Stable-Baselines3 or sb3-contrib, run by its original code.

    ``learn`` is reproduced as a generator over ``collect_rollouts`` and ``train``, so that an experience
    ends with the weights of one uninterrupted ``learn`` call. New training environments are created and seeded
    for every experience; weights, optimizers and replay buffer are kept. It resumes at the
    boundaries of experiences (the state of environments and of a partial rollout is not saved).

    Methods access the policy (PPO, A2C), the Q-network (DQN, QRDQN) or the actor (SAC, TD3, ...).
    Methods that need minibatches, targets or the loss are not supported.

    Args:
        algorithm: a class of ``stable_baselines3`` or ``sb3_contrib`` by name.
        policy: a policy class by name: ``MlpPolicy``, ``CnnPolicy``, ``MultiInputPolicy``, ...;
            by default the class that fits the observations.
        options: keyword arguments of the algorithm, checked by name. A number written ``lin_3e-4``
            falls linearly to 0; ``action_noise: {normal: 0.1}`` or ``{ornstein_uhlenbeck: 0.1}``;
            ``activation_fn`` in ``policy_kwargs`` by the name of a ``torch.nn`` class; ``replay_buffer_class`` by
            the name of a class of Stable-Baselines3. ``HerReplayBuffer`` computes the rewards of other goals with
            the environment of the current experience.
        schedule_over: budget that the schedules of learning rate and exploration cover: that of each ``experience``, or
            of the whole ``stream``.
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
    host: Sb3Host = field(init=False, default=None)  # interface to methods and probes
    _setup: Setup = field(init=False, default=None)
    _attached: AttachedMethods = field(init=False, default=None)
    _fitting: EncoderFitting = field(init=False, default=None)
    _boundary: Sb3Boundary = field(init=False, default=None)
    _observation_space: gym.Space[Any] = field(init=False, default=None)  # of the model
    _spaces: tuple[gym.Space[Any], gym.Space[Any]] = field(init=False, default=None)  # of the environments
    _schedule: tuple[int, int] = field(init=False, default=(0, 1))  # first env step, and length in env steps
    _updates: int = field(init=False, default=0)  # optimizer steps of the primary network, which predicts
    _earned: float = field(init=False, default=0.0)  # total reward of the finished parts
    _rewards: RewardCounter | None = field(init=False, default=None)  # of the current part
    _experience_steps: int = field(init=False, default=0)  # env steps of the current or last experience

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
        from rlcl.learners.sb3.environment_requirements import check_requirements, check_spaces
        from rlcl.learners.sb3.host import host_of

        algorithm = find_algorithm(self.algorithm)
        check_stream_kind("sb3", self.needs, setup.spec.kind)
        self._setup, self._fitting = setup, EncoderFitting.of(setup)
        source = setup.stream[0].train
        assert isinstance(source, Environment)
        if setup.spec.encodable is False and not _is_identity(setup.encoder):
            raise UnsupportedError(
                f"encoder {name_of('encoder', setup.encoder)} needs observations that are arrays, and those of "
                f"environment {source.name} are not; leave the encoder out"
            )
        self._spaces = source.spaces()
        check_spaces(*self._spaces)
        env = self._environments(source)
        self._observation_space = env.observation_space
        self.model = build_model(
            algorithm, self.algorithm, self.policy, self.options, env, setup.seeds.child("sb3").integer(), setup.device
        )
        self._close_environments()  # each experience creates new ones, and prediction needs none
        load_initial_weights(setup.initial, {"policy": self.model.policy})
        self.model._update_current_progress_remaining = self._progress  # type: ignore[method-assign]
        for experience in setup.stream:
            self.steps(experience)  # raises for a budget in another unit before training
            for part in experience.parts:
                assert isinstance(part.train, Environment)
                check_requirements(self.model, part.train)
        self.host = host_of(self.model, setup.stream.visibility, lambda: self._experience_steps)
        if self.host.optimizers:
            self.host.optimizers[self.host.primary].register_step_post_hook(self._count_update)
        self._attached = attach(self.methods, self.host, setup.seeds.child("methods"))
        self._boundary = Sb3Boundary.of(self.model, self._attached, setup.boundary)

    def refuses(self, key: str, value: str) -> str | None:
        """See :class:`rlcl.types.BoundaryLearner`."""
        return self._boundary.refuses(key, value)

    def cautions(self) -> Sequence[str]:
        """See :class:`rlcl.types.Cautious`."""
        from rlcl.learners.sb3.environment_requirements import policy_bounds_warning

        warning = policy_bounds_warning(self.model, self._spaces[1])
        return () if warning is None else (f"learner {name_of('learner', self)}: {warning}",)

    @property
    def learning_starts(self) -> int:
        """See :class:`rlcl.types.Warming`; 0 for on-policy algorithms."""
        env_steps: int = getattr(self.model, "learning_starts", 0)
        return env_steps

    def _count_update(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._updates += 1

    def costs(self) -> Costs:
        """See :class:`rlcl.types.Spending`; updates without an optimizer are those that the model counts."""
        counted: int = getattr(self.model, "_n_updates", 0)
        return Costs(
            parameters=count_trainable(self.host.modules.values()),
            memory_bytes=tensor_bytes(self._attached.state_dict()),
            updates=self._updates if self.host.optimizers else counted,
            samples=self.position.step,
        )

    def earned(self) -> float:
        """See :class:`rlcl.types.Earning`."""
        return self._earned + (0.0 if self._rewards is None else self._rewards.total)

    def steps(self, experience: Experience) -> int:
        """Return the env steps of an experience's budget, rounded up to whole rollouts."""
        return sum(self._env_steps(part) for part in experience.parts)

    def closed_by(self) -> str | None:
        """See :class:`rlcl.types.Reopening`."""
        return self._attached.closed_by()

    def reopen(self, update: int) -> None:
        """See :class:`rlcl.types.Reopening`; new environments are created and seeded."""
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
        from rlcl.learners.sb3.algorithms import learn_in_rounds, set_environments, truncate_episodes
        from rlcl.learners.sb3.environments import reward_counter

        assert isinstance(part.train, Environment)
        model, position, interval = self.model, self.position, self._setup.event_interval
        truncate_episodes(model)
        observations, _ = observations_and_norm(self._setup.encoder)
        done = position.update  # above 0 in a reopened experience
        train = part.train.at(position.step)
        source = reseeded(train, self._setup.seeds, done) if done else train
        adapting = self._setup.boundary.encoder != "freeze" or not part.index if done else self._fitting.due(part)
        if adapting and not done and not _is_identity(observations):
            observations.fit(torch.from_numpy(train.random_observations(FIT_OBSERVATIONS)))
        env = self._environments(source, adapting, part.task_id)
        self._rewards = reward_counter(env)
        # Bounds may differ between tasks; Stable-Baselines3 compares them with those of the first task.
        env.observation_space = self._observation_space
        set_environments(model, env)
        model.ep_info_buffer = deque(maxlen=model._stats_window_size)
        model.ep_success_buffer = deque(maxlen=model._stats_window_size)
        started, reported = time.perf_counter(), position.step
        budget = self._env_steps(part)
        try:
            for _ in learn_in_rounds(model, budget - done):
                position.advance(model.num_timesteps - position.step)
                self._experience_steps = position.update
                finished = position.update >= budget
                event = None
                if position.step // interval != reported // interval or finished:
                    rate = (position.step - reported) / max(time.perf_counter() - started, 1e-9)
                    event = self._event(rate, part)
                    started, reported = time.perf_counter(), position.step
                if finished:
                    self._earned, self._rewards = self.earned(), None
                if finished and position.end(experience):
                    self._attached.end(experience)
                yield event
        except (ValueError, RuntimeError) as error:
            if NO_EPISODE in str(error):
                raise UnsupportedError(
                    "learner.options.learning_starts: HerReplayBuffer samples from finished episodes, and it has none "
                    f"at env step {model.num_timesteps:,}; set it to more than the steps of an episode, and "
                    "buffer_size too"
                ) from error
            if not any(text in str(error) for text in NOT_FINITE):
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
        values = dict(logged_quantities(logged))
        logged.clear()
        self.model.logger.name_to_count.clear()
        if self.model.ep_info_buffer:
            values["episode_return"] = float(np.mean([info["r"] for info in self.model.ep_info_buffer]))
            values["episode_length"] = float(np.mean([info["l"] for info in self.model.ep_info_buffer]))
        gradients = [p.grad for p in self.model.policy.parameters() if p.grad is not None]
        if gradients:  # of the last update, after clipping
            values["gradient_norm"] = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
        for key, value in values.items():
            if not math.isfinite(value) and key != "explained_variance":  # undefined if returns are constant
                raise self._diverged(key, value, part)
        values = {key: value for key, value in values.items() if math.isfinite(value)}
        values |= self._attached.quantities()
        return Event(self.position.step, {**values, "env_steps_per_second": rate})

    def _diverged(self, quantity: str, value: object, part: Experience) -> DivergenceError:
        from rlcl.learners.sb3.state import first_not_finite

        location = f"at env step {self.model.num_timesteps:,}, in experience {part.index} ({part.name})"
        invalid = first_not_finite(self.model)
        if invalid:
            return DivergenceError(
                f"the environment returned {invalid} that are not finite {location}; fix the environment"
            )
        return DivergenceError(
            f"{quantity} of learner sb3 ({self.algorithm}) is {value} {location}; lower learning_rate, or standardize "
            "the observations"
        )

    def _environments(self, source: Environment, fitting: bool = True, task_id: int | None = None) -> Any:
        from rlcl.learners.sb3.algorithms import find_algorithm
        from rlcl.learners.sb3.environment_requirements import takes_masks
        from rlcl.learners.sb3.environments import make_environments

        masked = takes_masks(find_algorithm(self.algorithm))
        return make_environments(source, self._setup.encoder, fitting, masked, task_id)

    def _env_steps(self, part: Experience) -> int:
        """Return the budget, rounded up to whole rollouts; beyond it a linear schedule would fall below 0."""
        budget = part.budget.env_steps
        if budget is None:
            raise UnsupportedError(f"budget.{part.budget.unit}: learner sb3 counts env_steps; write {{env_steps: N}}")
        # For off-policy algorithms, n_steps is the number of steps of returns.
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
        """Set the progress of schedules; replaces a method of the model, which counts from the start of the stream."""
        start, length = self._schedule
        self.model._current_progress_remaining = max(0.0, 1.0 - float(num_timesteps - start) / float(length))

    @property
    def takes_action_masks(self) -> bool:
        """See :class:`rlcl.types.Masking`."""
        from rlcl.learners.sb3.environment_requirements import takes_masks

        return takes_masks(type(self.model))

    def predict(
        self, x: Any, task_id: int | None = None, state: Any = None, action_masks: Any = None
    ) -> tuple[Any, Any]:
        """Return greedy actions and the next recurrent state.

        Args:
            x: (B, *observation) raw observations; a mapping by part for a Dict space.
            task_id: index of the task for the encoder, None if it is hidden.
            state: recurrent state after the previous step; None at the start of episodes.
            action_masks: (B, K) bool, True for allowed actions; None if all are.
        """
        return self._predict(x, task_id, state, action_masks, deterministic=True)

    @property
    def samples_actions(self) -> bool:
        """See :class:`rlcl.types.Sampling`; algorithms with action values, or a deterministic actor, do not sample."""
        policy: Any = self.model.policy
        return hasattr(policy, "get_distribution") or hasattr(getattr(policy, "actor", None), "action_log_prob")

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
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            return self._predict(x, task_id, state, action_masks, deterministic=False)

    def _predict(
        self, x: Any, task_id: int | None, state: Any, action_masks: Any, deterministic: bool
    ) -> tuple[Any, Any]:
        from rlcl.learners.sb3.zero_based_spaces import shift_start

        x = shift_start(x, self._spaces[0], -1)
        if not _is_identity(self._setup.encoder):
            x = self._setup.encoder.encode(torch.as_tensor(np.asarray(x)), task_id).numpy()
        starts = np.full(len(x), state is None) if not isinstance(x, dict) else None
        masks = {} if action_masks is None else {"action_masks": action_masks}
        with torch.no_grad():
            actions, state = self.model.predict(
                x, state=state, episode_start=starts, deterministic=deterministic, **masks
            )
        return shift_start(actions, self._spaces[1], 1), state

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        from rlcl.learners.sb3.graph import sb3_graph

        return sb3_graph(self.algorithm, self._setup.encoder, self.model.policy, self._spaces)

    def networks_in(self, state: Mapping[str, Any]) -> Mapping[str, Mapping[str, torch.Tensor]]:
        """See :class:`rlcl.types.Starting`; the policy contains all networks, including target networks."""
        return {"policy": state["model"]["parameters"]["policy"]}

    def state_dict(self) -> dict[str, Any]:
        """Return the state at a boundary between experiences.

        Raises:
            ValueError: an experience is unfinished.
        """
        from rlcl.learners.sb3.state import model_state

        if self.position.learning:
            raise ValueError("learner sb3 can be saved only at the boundaries of experiences")
        state: dict[str, Any] = clone_state(
            {
                "position": attrs.asdict(self.position),
                "model": model_state(self.model),
                "encoder": self._setup.encoder.state_dict(),
                "methods": self._attached.state_dict(),
                "updates": self._updates,
                "earned": self._earned,
            }
        )
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        from rlcl.learners.sb3.state import load_model_state

        state = clone_state(state)
        self.position = Position(**state["position"])
        load_model_state(self.model, state["model"])
        self._setup.encoder.load_state_dict(state["encoder"])
        self._attached.load_state_dict(state["methods"])
        self._updates = state["updates"]
        self._earned = state.get("earned", 0.0)  # missing in checkpoints of older versions


def _is_identity(encoder: Encoder) -> bool:
    from rlcl.encoders.identity import Identity

    return isinstance(encoder, Identity)
