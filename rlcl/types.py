"""The records and protocols that the whole project speaks in.

A **stream** of **experiences** flows through a **learner**, whose learning yields **events**.
Evaluation writes **records**. Every number that is reported is a pure function of the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import attrs
from attrs import define, frozen

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from rlcl.data.sources import Data, Environment, LabelledArrays, UnlabelledArrays
    from rlcl.seeding import Seeds
    from rlcl.streams.stream import Stream

__all__ = [
    "IMPOSSIBLE",
    "AdaptingEncoder",
    "Augmentation",
    "Batch",
    "Boundary",
    "BoundaryLearner",
    "BoundaryPolicy",
    "Budget",
    "Costs",
    "DataSet",
    "Encoder",
    "Event",
    "Experience",
    "ForgettingMethod",
    "Generating",
    "Host",
    "Learner",
    "Method",
    "Metric",
    "MixingMethod",
    "NativeHost",
    "Network",
    "Online",
    "OptimizerFactory",
    "PenalizingMethod",
    "Position",
    "PredictingMethod",
    "Predictor",
    "Probe",
    "RawHost",
    "Record",
    "Scenario",
    "Schedule",
    "Setup",
    "Sink",
    "Spending",
    "StreamSpec",
    "Visibility",
    "WeighingHost",
]

UNITS = ("epochs", "updates", "samples", "env_steps", "episodes")

# The logit of a class of another task. Not -inf: probability times log-probability must be 0, not NaN.
IMPOSSIBLE = -1e9


@frozen(kw_only=True)
class Budget:
    """How much training one experience gets, in exactly one unit.

    Args:
        epochs: passes over the training data, at least 1.
        updates: optimizer updates, at least 1.
        samples: training samples drawn, at least 1; rounded up to whole minibatches.
        env_steps: environment steps over all parallel environments, at least 1.
        episodes: episodes finished over all parallel environments, at least 1.
    """

    epochs: int | None = None
    updates: int | None = None
    samples: int | None = None
    env_steps: int | None = None
    episodes: int | None = None

    def __attrs_post_init__(self) -> None:
        given = {k: v for k, v in attrs.asdict(self).items() if v is not None}
        if len(given) != 1:
            found = f"got {', '.join(given)}" if given else "got none"
            raise ValueError(f"expected exactly one of {', '.join(UNITS)}; {found}")
        ((unit, amount),) = given.items()
        if not isinstance(amount, int) or isinstance(amount, bool) or amount < 1:
            raise ValueError(f"{unit}: expected a whole number of at least 1, got {amount!r}")

    @property
    def unit(self) -> str:
        """The unit that was given, for example ``"epochs"``."""
        return next(u for u in UNITS if getattr(self, u) is not None)

    @property
    def amount(self) -> int:
        """How many of that unit."""
        amount: int = getattr(self, self.unit)
        return amount

    def __str__(self) -> str:
        unit = self.unit.replace("_", " ")
        return f"{self.amount:,} {unit.removesuffix('s') if self.amount == 1 else unit}"


@frozen(kw_only=True)
class Visibility:
    """What the protocol shows of the stream; the trainer hides the rest.

    Args:
        task_ids: where the task's number is shown: nowhere (``hidden``), while training
            (``training``), at evaluation (``evaluation``), or in both (``visible``).
        boundaries: whether the start of a new experience is ``announced`` or ``hidden``.
    """

    task_ids: Literal["hidden", "training", "evaluation", "visible"] = "hidden"
    boundaries: Literal["announced", "hidden"] = "announced"

    @property
    def in_training(self) -> bool:
        return self.task_ids in ("training", "visible")

    @property
    def at_evaluation(self) -> bool:
        return self.task_ids in ("evaluation", "visible")


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


@frozen
class Experience:
    """One stretch of a stream, with what it is trained and evaluated on.

    Args:
        index: place in the stream, from 0.
        name: for people, for example ``"digits 2-3"``.
        train: what is learned from.
        test: what evaluation alone sees; None in a learner's hands.
        budget: how much training it gets.
        task_id: the task's number, None where the protocol hides it.
        validation: held out of the training data, None without a split.
        segments: where boundaries are hidden, the experiences it is made of, drawn in order.
    """

    index: int
    name: str
    train: LabelledArrays | UnlabelledArrays | Environment
    test: LabelledArrays | UnlabelledArrays | Environment | None
    budget: Budget
    task_id: int | None = None
    validation: LabelledArrays | UnlabelledArrays | Environment | None = None
    segments: tuple[Experience, ...] = ()

    @property
    def parts(self) -> tuple[Experience, ...]:
        """The segments in the order they are drawn; itself where boundaries are announced."""
        return self.segments or (self,)


@frozen
class StreamSpec:
    """What a learner may know of a stream before it starts.

    Args:
        kind: ``labelled``, ``regression``, ``unlabelled`` or ``environment``.
        observation_shape: shape of one raw input, without the batch.
        classes: number of classes over the whole stream, 0 without classes.
        task_classes: the classes of each task, in the order of the stream.
        class_names: for people.
        targets: numbers to predict for each input, in regression.
        encodable: whether observations are arrays (boxes), which an encoder takes.
    """

    kind: Literal["labelled", "regression", "unlabelled", "environment"]
    observation_shape: tuple[int, ...]
    classes: int = 0
    task_classes: tuple[tuple[int, ...], ...] = ()
    class_names: tuple[str, ...] = ()
    targets: int = 0
    encodable: bool = True


@frozen
class Event:
    """What a learner says while it learns.

    Args:
        step: updates (env steps for reinforcement learning), counted over the whole stream.
        values: names to numbers, for example ``{"loss": 0.3}``.
    """

    step: int
    values: Mapping[str, float]


@frozen
class Record:
    """One row of the long table that every reported number is computed from.

    Args:
        run: hash of the config that decides the records.
        seed: the run's seed.
        step: see :class:`Event`.
        trained_on: index of the experience trained on last (or being trained on); -1 before any.
        evaluated_on: index of the experience evaluated.
        metric: what was measured, for example ``accuracy``.
        value: the measurement.
    """

    run: str
    seed: int
    step: int
    trained_on: int
    evaluated_on: int
    metric: str
    value: float


@frozen
class Boundary:
    """Said by the trainer when nothing is in flight: before the first experience and after each.

    Args:
        step: see :class:`Event`.
        trained_on: index of the experience that ended, -1 before the first.
    """

    step: int
    trained_on: int


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
    """Where in the stream a learner stands: the next update is this one. Changes as it learns.

    Args:
        experience: index of the experience in progress, or of the next.
        segment: index of the segment within it, 0 where boundaries are announced.
        update: updates (env steps) done within the segment.
        step: updates (env steps) done over the whole stream.
        learning: whether ``experience`` has begun and is unfinished.
    """

    experience: int = 0
    segment: int = 0
    update: int = 0
    step: int = 0
    learning: bool = False


class Batch(NamedTuple):
    """A minibatch as the network sees it.

    Args:
        inputs: (B, *encoded) float32.
        targets: (B,) int64 class indices or (B, *target) float32; None without labels.
        task_ids: (B,) int64, or None where hidden.
        weights: (B,) float32, factor of each example's loss in the mean; None for 1.
        outputs: (B, K) float32, what the network once gave for each input; None where that is not kept.
        pulls: (B,) float32, factor in the mean of each example's squared distance to ``outputs``; None for 0.
        rows: (B,) int64, places in the source of the part in progress, of native hosts; None of what is not of it.
    """

    inputs: Tensor
    targets: Tensor | None = None
    task_ids: Tensor | None = None
    weights: Tensor | None = None
    outputs: Tensor | None = None
    pulls: Tensor | None = None
    rows: Tensor | None = None


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
    """

    spec: StreamSpec
    stream: Stream
    encoder: Encoder
    seeds: Seeds
    device: str = "cpu"
    event_interval: int = 100
    boundary: BoundaryPolicy = BoundaryPolicy()
    online: bool = False


@runtime_checkable
class Predictor(Protocol):
    """All that evaluation and serving see of a learner; greedy and deterministic."""

    @property
    def measures(self) -> Sequence[str]:
        """Names of what it is measured by, the decisive one first; see ``rlcl.evaluation``."""
        ...

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
        ...


class Learner(Predictor, Protocol):
    """Learns from experiences, one after the other."""

    @property
    def position(self) -> Position: ...

    @property
    def resumable_within(self) -> bool:
        """Whether its state can be saved within an experience, or only at a boundary."""
        ...

    def prepare(self, setup: Setup) -> None:
        """Builds what depends on the stream. Called once.

        Raises:
            UnsupportedError: the stream, the encoder or a method does not go with this learner.
        """
        ...

    def learn(self, experience: Experience) -> Iterator[Event | None]:
        """Learns from an experience, continuing where a loaded state stands within it.

        Yields:
            After every update or rollout: an event, or None between reports.

        Raises:
            ValueError: another experience is unfinished.
            DivergenceError: the loss is no longer finite.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizers, methods, memories, generators, encoder and position."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


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


@runtime_checkable
class Host(Protocol):
    """What a method may see of a learner, native or Stable-Baselines3's."""

    @property
    def name(self) -> str:
        """The learner's name, for messages."""
        ...

    @property
    def kind(self) -> str:
        """What outputs mean: ``categorical`` (logits), ``gaussian`` (means and log standard
        deviations, concatenated), ``values``, ``reconstruction``, or ``other``.
        """
        ...

    @property
    def provides(self) -> frozenset[str]:
        """What it can show of: batch, targets, loss, task_id (in training), task_id_everywhere (and at
        evaluation), boundaries, native, weights, pass.
        """
        ...

    @property
    def primary(self) -> str:
        """The key of the module (and optimizer) whose outputs :meth:`outputs` gives."""
        ...

    @property
    def modules(self) -> Mapping[str, nn.Module]: ...

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        """By the same names as ``modules``."""
        ...

    @property
    def batch(self) -> Batch | None:
        """The minibatch of the update in progress, without what methods joined to it."""
        ...

    @property
    def loss(self) -> Callable[[Batch], Tensor] | None:
        """The learner's own mean loss over a batch."""
        ...

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """Differentiable outputs (B, K) for encoded inputs (B, *encoded)."""
        ...

    def sample(self, n: int | None, rng: np.random.Generator) -> Batch:
        """At most ``n`` items of the experience just learned, without replacement; all for None."""
        ...


class NativeHost(Host, Protocol):
    """A learner of rlcl's own: it provides ``native``."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one encoded input."""
        ...


class WeighingHost(Host, Protocol):
    """A host whose loss honours :attr:`Batch.weights` and :attr:`Batch.pulls`: it provides ``weights``."""

    @property
    def given(self) -> Tensor:
        """(B, K) outputs for ``batch`` as the loss of the update in progress saw them, without gradient."""
        ...

    def losses(self, batch: Batch) -> Tensor:
        """(B,) loss of each example alone."""
        ...


@runtime_checkable
class RawHost(Protocol):
    """A host that gives inputs as the source does, and encodes them."""

    def raw(self, batch: Batch) -> Tensor:
        """(B, *observation) inputs of a batch, by its ``rows``, of the source's own dtype and on the host's device."""
        ...

    def encoded(self, x: Tensor) -> Tensor:
        """(B, *encoded) of raw inputs (B, *observation), by the encoder's present fit."""
        ...


class Method(Protocol):
    """A continual-learning method: attaches to optimizers, not to a learner.

    Written as an attrs class whose init fields are its settings. ``extra``, ``penalty`` and ``predicting`` are
    optional, as is ``refuses(host)``, which gives a reason why it cannot serve a host, or None.
    """

    @property
    def requires(self) -> frozenset[str]:
        """What it needs of its host; see :attr:`Host.provides`."""
        ...

    @property
    def phase(self) -> str:
        """When its hooks run: record < mix < add < project < clip < edit < restore."""
        ...

    @property
    def null(self) -> Mapping[str, Any] | None:
        """The settings that equal no method, bit for bit; None where there are none."""
        ...

    def attach(self, host: Host, rng: np.random.Generator) -> None: ...

    def begin(self, experience: Experience, updates: int | None) -> None: ...

    def end(self, experience: Experience) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class MixingMethod(Protocol):
    """A method whose memory joins the batch in one pass (native hosts).

    Its attribute ``shares``, where it has one, holds the factors of the minibatch's own mean loss and of the
    memory's; without it, or where it is None, the loss is one mean over both.
    """

    def extra(self, batch: Batch) -> Batch | None: ...


@runtime_checkable
class PenalizingMethod(Protocol):
    """A method whose penalty is computed from the very pass of the loss (hosts that provide ``pass``)."""

    def penalty(self, x: Tensor, outputs: Tensor) -> Tensor | None:
        """What is added to the loss of an update, a scalar; None for nothing.

        Args:
            x: (B, *encoded) the minibatch as the network saw it, augmented, without what methods joined to it.
            outputs: (B, K) what it made of them, differentiable.
        """
        ...


@runtime_checkable
class PredictingMethod(Protocol):
    """A method that changes the network while predicting (masks, heads)."""

    def predicting(self, task_id: int | None) -> AbstractContextManager[None]: ...


@runtime_checkable
class ForgettingMethod(Protocol):
    """A method with a memory of examples that can be emptied; the memory itself is its attribute ``memory``."""

    def forget(self) -> None: ...


class Encoder(Protocol):
    """Feature encoding; its fitted state travels with the model."""

    def shape(self, observation_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one encoded input.

        Raises:
            UnsupportedError: inputs of that shape cannot be encoded.
        """
        ...

    def fit(self, x: Tensor) -> None:
        """Sees training inputs (B, *observation): an experience's arrays, or a rollout."""
        ...

    def encode(self, x: Tensor) -> Tensor:
        """(B, *observation) of any dtype to (B, *encoded) float32, without changing its input."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class AdaptingEncoder(Protocol):
    """An encoder that asks something of the stream, for example several frames in each observation."""

    def adapt(self, stream: Stream) -> Stream:
        """The stream that gives what :meth:`Encoder.encode` takes; the trainer calls it once.

        Raises:
            UnsupportedError: the stream cannot.
        """
        ...


class Sink(Protocol):
    """Takes what a run says."""

    def write(self, item: Event | Record | Boundary) -> None: ...

    def close(self) -> None: ...


class DataSet(Protocol):
    """A data set by name, loaded when it is needed."""

    def load(self) -> Data: ...


class Scenario(Protocol):
    """Makes a stream out of sources."""

    def make(self, seeds: Seeds, budget: Budget) -> Stream: ...


class Network(Protocol):
    """Builds a torch module."""

    def build(self, shape: tuple[int, ...], outputs: int, tasks: int) -> nn.Module:
        """
        Args:
            shape: of one encoded input.
            outputs: number of outputs (of each head).
            tasks: number of tasks in the stream, at least 1.

        Returns:
            A module from (B, *shape) float32 to (B, outputs); it is called with ``task_ids``
            (B,) as a second argument where it has the attribute ``takes_task_ids``.
        """
        ...


class Augmentation(Protocol):
    """Changes training inputs at random."""

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """
        Args:
            x: (B, *encoded) float32; left as it is.
            generator: on the CPU, the only source of randomness.

        Returns:
            (B, *encoded) float32.
        """
        ...


class OptimizerFactory(Protocol):
    """Builds a torch optimizer."""

    def build(self, parameters: Sequence[torch.nn.Parameter]) -> Optimizer: ...


class Schedule(Protocol):
    """How the learning rate changes over a budget."""

    def __call__(self, update: int, updates: int) -> float:
        """
        Args:
            update: the one about to be made, from 0.
            updates: how many there are in all, at least 1.

        Returns:
            The factor of the optimizer's own rate, at least 0.
        """
        ...


class Metric(Protocol):
    """A function from :class:`rlcl.evaluation.results.Results` to a number; None where the run does not define it."""

    def __call__(self, results: Any) -> float | None: ...


class Probe(Protocol):
    """A number of a network's inside, :class:`rlcl.evaluation.inside.Inside`; None where there is none yet."""

    def __call__(self, network: Any) -> float | None: ...
