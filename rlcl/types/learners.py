"""Learners, and what evaluation and the trainer ask of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import attrs
from attrs import define, frozen

from rlcl.types.exporting import Exportable
from rlcl.types.parts import Encoder
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
    "Generating",
    "InitialWeights",
    "Learner",
    "Online",
    "Position",
    "Predictor",
    "Setup",
    "Spending",
]


@frozen(kw_only=True)
class BoundaryPolicy:
    """What a learner takes along into each experience from the second on, beside its weights.

    Args:
        optimizer: whether optimizers ``keep`` their moments and counts of steps, or ``reset`` them.
        memory: whether examples in methods' memories and in a replay buffer are kept, or all dropped.
        encoder: goes on from what it was fitted on so far, is fitted from scratch (``refit``), or stays as the
            first experience left it (``freeze``).
        exploration: whether a learned amount of exploration is kept, or as it was at the start.
    """

    optimizer: Literal["keep", "reset"] = "keep"
    memory: Literal["keep", "reset"] = "keep"
    encoder: Literal["keep", "refit", "freeze"] = "keep"
    exploration: Literal["keep", "reset"] = "keep"

    @property
    def changes(self) -> Mapping[str, str]:
        """What is not kept, with what becomes of it."""
        return {key: value for key, value in attrs.asdict(self).items() if value != "keep"}


@frozen(kw_only=True)
class Costs:
    """What learning has cost, in units that two equal runs agree on.

    Args:
        parameters: trainable numbers of all networks.
        memory_bytes: tensors and arrays in the states of the methods and of the learner's own memories: examples,
            anchors, teachers. Not what a library keeps for itself (replay buffers, Avalanche's plugins).
        updates: steps of the optimizer of the network that predicts.
        samples: training inputs drawn, those of memories not counted; env steps for environments.
    """

    parameters: int
    memory_bytes: int
    updates: int
    samples: int


@define
class Position:
    """Where in the stream a learner stands: the next update is this one.

    ``learn`` calls :meth:`begin` at its start, :meth:`advance` after each update, and :meth:`end` before it yields the
    last one. Where boundaries are hidden an experience has several segments, its ``parts``, and each of them ends.

    Args:
        experience: index of the experience in progress, or of the next.
        segment: index of the segment within it, 0 where boundaries are announced.
        update: updates (env steps) done within the segment.
        step: updates (env steps) done over the whole stream.
        learning: whether ``experience`` has begun and is unfinished; not yet after :meth:`reopen`.
    """

    experience: int = 0
    segment: int = 0
    update: int = 0
    step: int = 0
    learning: bool = False

    def begin(self, experience: Experience) -> bool:
        """Begin an experience, or resume the one that a loaded state stands in, or that was reopened.

        Returns:
            Whether it begins; False where it is resumed, after ``update`` updates of the part ``segment``.

        Raises:
            ValueError: another experience is unfinished.
        """
        begins = not self.learning and not self.update
        if not begins and self.experience != experience.index:
            raise ValueError(f"experience {self.experience} is unfinished; finish it before {experience.index}")
        if begins:
            self.experience, self.segment = experience.index, 0
        self.learning = True
        return begins

    def advance(self, steps: int = 1) -> None:
        """Count an update, or so many env steps."""
        self.update += steps
        self.step += steps

    def end(self, experience: Experience) -> bool:
        """End the segment in progress, and with the last segment the experience.

        Call it before the last update is yielded, so that the two are one moment.

        Returns:
            Whether the experience has ended.

        Raises:
            ValueError: it has not begun.
        """
        if not self.learning:
            raise ValueError(f"experience {experience.index} has not begun; call position.begin(experience) first")
        self.segment, self.update = self.segment + 1, 0
        if self.segment < len(experience.parts):
            return False
        self.experience, self.segment, self.learning = self.experience + 1, 0, False
        return True

    def reopen(self, update: int) -> None:
        """Go back into the experience that has just ended, which :meth:`begin` then resumes.

        Args:
            update: updates (env steps) done in it, at least 1.
        """
        self.experience, self.segment, self.update = self.experience - 1, 0, update


@frozen(kw_only=True, eq=False)
class InitialWeights:
    """What networks begin with in place of weights drawn at random.

    Args:
        networks: tensors by network and by name within it, as their state dicts hold them.
        complete: whether they are all that there are of each network; else the others are drawn.
        origin: where they come from, for messages.
    """

    networks: Mapping[str, Mapping[str, Tensor]]
    complete: bool = True
    origin: str = "the other run"


@frozen(kw_only=True)
class Setup:
    """What a learner is told once, before the first experience.

    Args:
        spec: the stream's shapes and classes.
        stream: the stream as the protocol shows it, for what must be known in advance (budgets, environments).
        encoder: feature encoding, unfitted; it becomes part of the learner's state.
        seeds: the run's source of randomness; children are spawned by name.
        device: a torch device, for example ``"cpu"``.
        event_interval: updates (env steps) between two events.
        boundary: what it keeps from one experience to the next; a :class:`BoundaryLearner` carries it out.
        online: whether to tell how well each minibatch was predicted before its update; see :class:`Online`.
        initial: what the networks of a :class:`Starting` learner begin with; None for fresh weights.
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
    """All that evaluation and serving see of a learner; greedy and deterministic."""

    @property
    @abstractmethod
    def measures(self) -> Sequence[str]:
        """Names of what it is measured by, the decisive one first; see ``rlcl.evaluation``."""

    @abstractmethod
    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
        """Predicts for raw inputs.

        Args:
            x: (B, *observation), as the source yields them.
            task_id: the task's number, None where the protocol hides it.
            state: what the call before returned, None at first; for recurrent learners.

        One that has the attribute ``takes_action_masks``, and where it is true, is also given ``action_masks``:
        (B, K) bool, the actions that the environments allow, or None for all.

        Returns:
            Predictions (B, ...) (class indices, reconstructions, actions), and the next state.
        """


class Learner(Predictor, Exportable, Protocol):
    """Learns from experiences, one after the other. A class that derives from it need not say what has a default."""

    position: Position

    @property
    def needs(self) -> frozenset[str]:
        """The kinds of stream that it learns from; by default any that :meth:`prepare` does not refuse."""
        return frozenset({"labelled", "regression", "unlabelled", "environment"})

    @property
    def resumable_within(self) -> bool:
        """Whether its state can be saved within an experience; by default at a boundary alone."""
        return False

    @abstractmethod
    def prepare(self, setup: Setup) -> None:
        """Build what depends on the stream. Called once.

        Raises:
            UnsupportedError: the stream, the encoder or a method does not go with this learner.
        """

    @abstractmethod
    def learn(self, experience: Experience) -> Iterator[Event | None]:
        """Learn from an experience, continuing where a loaded state stands within it.

        Yields:
            After every update or rollout: an event, or None between reports.

        Raises:
            ValueError: another experience is unfinished.
            DivergenceError: the loss is no longer finite.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizers, methods, memories, generators, encoder and position."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""


@runtime_checkable
class BoundaryLearner(Protocol):
    """A learner that carries out :attr:`Setup.boundary` as an experience begins; any other keeps everything."""

    def refuses(self, key: str) -> str | None:
        """Why it can only keep what a key of the policy names, None where it can do otherwise; asked when prepared."""
        ...


@runtime_checkable
class Online(Protocol):
    """A learner that is tested on each minibatch before it trains on it."""

    def online(self) -> float | None:
        """Mean of the first measure over the examples of the experience in progress, or just ended."""
        ...


@runtime_checkable
class Spending(Protocol):
    """A learner that tells what its learning costs."""

    def costs(self) -> Costs:
        """All of it up to now."""
        ...


@runtime_checkable
class Generating(Protocol):
    """A learner or method that makes inputs up."""

    def generated(self, count: int, noise: torch.Generator) -> Tensor | None:
        """(count, features) made-up inputs, flat and in the encoder's scale; None where another makes them.

        Args:
            count: how many.
            noise: the only source of randomness, on the CPU.
        """
        ...
