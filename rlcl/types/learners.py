"""The ``Learner`` interface that the trainer and the evaluation require, and the data classes in its signatures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import attrs
from attrs import define, frozen

from rlcl.types.components import Encoder
from rlcl.types.export import Exportable
from rlcl.types.records import Event
from rlcl.types.streams import Experience, Stream, StreamSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from rlcl.seeding import Seeds

__all__ = [
    "BoundaryLearner",
    "BoundaryPolicy",
    "Costs",
    "Earning",
    "Generating",
    "InitialWeights",
    "Learner",
    "OnlineTesting",
    "Position",
    "Predictor",
    "Setup",
    "Spending",
]


@frozen(kw_only=True)
class BoundaryPolicy:
    """Treatment of a learner's state at the start of each experience after the first; its weights are always kept.

    Args:
        optimizer: whether to ``keep`` or ``reset`` the moments and step counts of the optimizers.
        memory: whether to ``keep`` or ``reset`` the examples in memories of methods and in the replay buffer.
        buffer: whether to ``keep`` or ``reset`` the transitions in the replay buffer alone.
        encoder: ``keep``: continue fitting from the current state. ``refit``: fit again from scratch. ``freeze``: do
            not change the fit of the first experience.
        exploration: ``keep``: continue. ``reset``: reset the learned parameters that control exploration (standard
            deviation of the actions, temperature). ``uniform``: take uniformly random actions for the first env steps,
            as at the start of the stream. ``best_return``: let the policy of an earlier experience act for the first
            env steps, the one with the best return.
        critic: whether to ``keep`` or ``reset`` the critics: their weights, their targets and their optimizer.
    """

    optimizer: Literal["keep", "reset"] = "keep"
    memory: Literal["keep", "reset"] = "keep"
    buffer: Literal["keep", "reset"] = "keep"
    encoder: Literal["keep", "refit", "freeze"] = "keep"
    exploration: Literal["keep", "reset", "uniform", "best_return"] = "keep"
    critic: Literal["keep", "reset"] = "keep"

    @property
    def changes(self) -> Mapping[str, str]:
        """The settings that are not ``keep``, by name."""
        return {key: value for key, value in attrs.asdict(self).items() if value != "keep"}


@frozen(kw_only=True)
class Costs:
    """Costs of learning whose values are the same in two runs of the same experiment, which excludes times.

    Args:
        parameters: number of trainable parameters of all networks.
        memory_bytes: size of the tensors and arrays in the states of the methods and of the learner's memories:
            examples, anchors, teachers. The internal state of other libraries is not counted (replay buffer of
            Stable-Baselines3, memories of Avalanche's strategies).
        updates: optimizer steps of the primary network, which computes the predictions.
        samples: number of training inputs used, excluding those from memories; for environments, env steps.
    """

    parameters: int
    memory_bytes: int
    updates: int
    samples: int


@define
class Position:
    """Position of a learner in the stream: the update that comes next.

    ``learn`` calls :meth:`begin` at its start, :meth:`advance` after each update, and :meth:`end` before it yields the
    last update. If boundaries are hidden, an experience has several segments (the items of
    ``experience.parts``), and :meth:`end` is called for each segment.

    Args:
        experience: index of the experience in progress, or of the next one.
        segment: index of the segment in that experience, 0 if boundaries are announced.
        update: number of updates (for environments: env steps) done in the segment.
        step: number of updates (for environments: env steps) done over the whole stream.
        learning: whether ``experience`` is in progress; false after :meth:`reopen` until :meth:`begin`.
    """

    experience: int = 0
    segment: int = 0
    update: int = 0
    step: int = 0
    learning: bool = False

    def begin(self, experience: Experience) -> bool:
        """Start an experience, or resume the unfinished one of a loaded state or of :meth:`reopen`.

        Returns:
            True if the experience starts; False if it is resumed, after ``update`` updates of the segment ``segment``.

        Raises:
            ValueError: another experience is unfinished.
        """
        starts = not self.learning and not self.update
        if not starts and self.experience != experience.index:
            raise ValueError(f"experience {self.experience} is unfinished; finish it before {experience.index}")
        if starts:
            self.experience, self.segment = experience.index, 0
        self.learning = True
        return starts

    def advance(self, steps: int = 1) -> None:
        """Count one update, or several env steps."""
        self.update += steps
        self.step += steps

    def end(self, experience: Experience) -> bool:
        """Finish the segment in progress; after the last segment, finish the experience.

        Call it before the last update is yielded, so that no state can be saved between the two.

        Returns:
            Whether the experience is finished.

        Raises:
            ValueError: the experience has not been started.
        """
        if not self.learning:
            raise ValueError(f"experience {experience.index} has not been started; call position.begin(experience)")
        self.segment, self.update = self.segment + 1, 0
        if self.segment < len(experience.parts):
            return False
        self.experience, self.segment, self.learning = self.experience + 1, 0, False
        return True

    def reopen(self, update: int) -> None:
        """Move back into the experience that has just finished; :meth:`begin` then resumes it.

        Args:
            update: number of updates (for environments: env steps) done in that experience, at least 1.
        """
        self.experience, self.segment, self.update = self.experience - 1, 0, update


@frozen(kw_only=True, eq=False)
class InitialWeights:
    """Weights with which networks are initialized instead of random weights.

    Args:
        networks: tensors by network, then by name, as in the state dicts of the networks.
        complete: whether ``networks`` contains all tensors of each network; if not, the other tensors keep their random
            values.
        origin: source of the weights, for messages.
    """

    networks: Mapping[str, Mapping[str, Tensor]]
    complete: bool = True
    origin: str = "the other run"


@frozen(kw_only=True)
class Setup:
    """Information that a learner receives once, before the first experience.

    Args:
        spec: shapes and classes of the stream.
        stream: view of the stream without the information that is hidden from the learner. It provides what must be
            known in advance (budgets, environments).
        encoder: feature encoder, not fitted; it becomes part of the learner's state.
        seeds: source of randomness of the run; children are spawned by name.
        device: torch device, for example ``"cpu"``.
        event_interval: number of updates (for environments: env steps) between two events.
        boundary: treatment of the learner's state between experiences, implemented by learners with the interface
            :class:`BoundaryLearner`.
        online: whether to measure how well each minibatch is predicted before its update; see
            :class:`OnlineTesting`.
        initial: initial weights of the networks, only for learners with the interface :class:`Starting`; None for
            random weights.
    """

    spec: StreamSpec
    stream: Stream
    encoder: Encoder
    seeds: Seeds
    device: str = "cpu"
    event_interval: int = 100
    boundary: BoundaryPolicy = BoundaryPolicy()
    online: bool = False
    initial: InitialWeights | None = None


@runtime_checkable
class Predictor(Protocol):
    """The interface through which evaluation and serving use a learner. Predictions are greedy and deterministic."""

    @property
    @abstractmethod
    def measures(self) -> Sequence[str]:
        """Names of the measures that evaluate it, the decisive one first; see ``rlcl.evaluation``."""

    @abstractmethod
    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
        """Predict for raw inputs.

        If the attribute ``takes_action_masks`` exists and is true, the keyword argument ``action_masks`` is passed
        too: (B, K) bool, the actions that the environments allow, or None if all are allowed.

        Args:
            x: (B, *observation), as the source yields them.
            task_id: index of the task, None if it is hidden.
            state: state that the previous call returned, None at first; for recurrent learners.

        Returns:
            Predictions (B, ...) (class indices, reconstructions, actions), and the next state.
        """


class Learner(Predictor, Exportable, Protocol):
    """A learner that trains on experiences one after the other.

    A class that derives from it need not define the members that have a default.
    """

    position: Position

    @property
    def needs(self) -> frozenset[str]:
        """The kinds of stream that it learns from; by default all that :meth:`prepare` does not reject."""
        return frozenset({"labelled", "regression", "unlabelled", "environment"})

    @property
    def resumable_within(self) -> bool:
        """Whether its state can be saved within an experience; by default only at a boundary."""
        return False

    @abstractmethod
    def prepare(self, setup: Setup) -> None:
        """Build everything that depends on the stream. Called once.

        Raises:
            UnsupportedError: the learner does not support the stream, the encoder or a method.
        """

    @abstractmethod
    def learn(self, experience: Experience) -> Iterator[Event | None]:
        """Learn from an experience; resume it if a loaded state is within it.

        Yields:
            After every update or rollout: an event, or None between two events.

        Raises:
            ValueError: another experience is unfinished.
            DivergenceError: the loss is not finite.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return weights and the state of optimizers, methods, memories, generators, encoder and position."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned."""


@runtime_checkable
class BoundaryLearner(Protocol):
    """A learner that applies :attr:`Setup.boundary` at the start of an experience. Other learners keep all state."""

    def refuses(self, key: str, value: str) -> str | None:
        """Return the reason why a setting of the boundary policy is not supported, or None if it is.

        Called after :meth:`Learner.prepare`.

        Args:
            key: a setting of :class:`BoundaryPolicy`.
            value: its value, which is not ``keep``.
        """
        ...


@runtime_checkable
class OnlineTesting(Protocol):
    """A learner that is tested on each minibatch before it trains on it."""

    def online(self) -> float | None:
        """Return the mean of the first measure over the examples of the experience in progress or just finished."""
        ...


@runtime_checkable
class Spending(Protocol):
    """A learner that reports the cost of its learning."""

    def costs(self) -> Costs:
        """Return the total cost so far."""
        ...


@runtime_checkable
class Earning(Protocol):
    """A learner that earns rewards during training."""

    def earned(self) -> float:
        """Return the total reward of all env steps so far, before normalization."""
        ...


@runtime_checkable
class Generating(Protocol):
    """A learner or method that generates inputs."""

    def generated(self, count: int, noise: torch.Generator) -> Tensor | None:
        """Return generated encoded inputs (count, features), flattened; None if another component generates them.

        Args:
            count: number of inputs.
            noise: the only source of randomness, on the CPU.
        """
        ...
