"""Interfaces (``typing.Protocol``) of continual-learning methods, and of hosts, through which they access a learner."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence, Sized
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from rlcl.types.components import TaskIds
from rlcl.types.streams import Experience

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn
    from torch.optim import Optimizer

__all__ = [
    "IMPOSSIBLE",
    "AveragingHost",
    "Batch",
    "ChoosingHost",
    "FollowedHost",
    "ForgettingMethod",
    "Host",
    "LackingHost",
    "Method",
    "MixingMethod",
    "NativeHost",
    "PenalizingMethod",
    "PredictingMethod",
    "RawHost",
    "SequenceHost",
    "WeighingHost",
]

# The logit of a class of another task. Not -inf: probability times log-probability must be 0, not NaN.
IMPOSSIBLE = -1e9


class Batch(NamedTuple):
    """A minibatch of encoded inputs, as the network receives it.

    Args:
        inputs: (B, *encoded) float32.
        targets: (B,) int64 class indices or (B, *target) float32; None without labels.
        task_ids: (B,) int64, None if they are hidden.
        weights: (B,) float32, weight of each example's loss in the mean; None if all weights are 1.
        outputs: (B, K) float32, stored earlier outputs of the network for the inputs; None if none are stored.
        distillation_weights: (B,) float32, weight of each example in the mean squared distance between current outputs
            and ``outputs``; None if all weights are 0.
        rows: (B,) int64, row indices in the training data of the current segment (native hosts only); None if examples
            come from elsewhere, for example from a memory.
    """

    inputs: Tensor
    targets: Tensor | None = None
    task_ids: Tensor | None = None
    weights: Tensor | None = None
    outputs: Tensor | None = None
    distillation_weights: Tensor | None = None
    rows: Tensor | None = None


@runtime_checkable
class Host(Protocol):
    """The interface through which methods access a learner.

    Learners of rlcl provide it, and also models of Stable-Baselines3 and strategies of Avalanche.
    """

    @property
    def name(self) -> str:
        """Name of the learner, for messages."""
        ...

    @property
    def kind(self) -> str:
        """Meaning of the outputs: ``categorical`` (logits), ``multi_categorical`` (logits of several independent
        choices, concatenated; see :class:`ChoosingHost`), ``gaussian`` (means and log standard deviations,
        concatenated), ``values``, ``reconstruction``, or ``other``.
        """
        ...

    @property
    def provides(self) -> frozenset[str]:
        """Available information, a subset of: batch, targets, loss, task_id (in training), task_id_everywhere (in
        training and at evaluation), one_task (in each experience), boundaries, native, input_shape, shares (of the
        minibatch and of a memory batch in the loss), weights (of examples), pass, transitions, log_probs (of collected
        actions), off_policy (its loss holds for transitions of any policy), critic.
        """
        ...

    @property
    def primary(self) -> str:
        """Key of the module (and optimizer) whose outputs :meth:`outputs` returns."""
        ...

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Networks by name."""
        ...

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        """Optimizers, with the same keys as ``modules``."""
        ...

    @property
    def batch(self) -> Batch | None:
        """Minibatch of the update in progress, without the examples that methods added."""
        ...

    @property
    def loss(self) -> Callable[[Batch], Tensor] | None:
        """Function that returns the learner's own mean loss over a batch."""
        ...

    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """Return differentiable outputs (B, K) for encoded inputs (B, *encoded)."""
        ...

    def sample(self, n: int | None, rng: np.random.Generator) -> Batch:
        """Sample at most ``n`` examples (None: all) of the experience that has just ended, without replacement."""
        ...


class NativeHost(Host, Protocol):
    """A learner implemented in rlcl: it provides ``native``."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one encoded input."""
        ...


class WeighingHost(Host, Protocol):
    """A host whose loss uses :attr:`Batch.weights` and :attr:`Batch.distillation_weights`: it provides ``weights``."""

    @property
    def given(self) -> Tensor:
        """(B, K) outputs for ``batch`` in the loss of the update in progress, without gradient."""
        ...

    def losses(self, batch: Batch) -> Tensor:
        """Return the loss of each example, (B,)."""
        ...


@runtime_checkable
class RawHost(Protocol):
    """A host that can return raw inputs and encode them."""

    def raw(self, batch: Batch) -> Tensor:
        """Return the raw inputs (B, *observation) of the batch's ``rows``, in the source's dtype, on the device."""
        ...

    def encoded(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        """Encode raw inputs (B, *observation) to (B, *encoded) with the current fit of the encoder.

        Args:
            x: (B, *observation).
            task_id: see :meth:`rlcl.types.Encoder.encode`.
        """
        ...


@runtime_checkable
class AveragingHost(Protocol):
    """A host that may predict with an average of its weights."""

    @property
    def ema(self) -> float | None:
        """Decay of the exponential moving average, None if the host predicts with the weights themselves."""
        ...


@runtime_checkable
class FollowedHost(Protocol):
    """A host whose primary module has copies that follow it, such as a target network."""

    @property
    def followers(self) -> Sequence[nn.Module]:
        """The copies of the primary module; optimizers do not update them."""
        ...


@runtime_checkable
class ChoosingHost(Protocol):
    """A host whose outputs may be the logits of several independent choices."""

    @property
    def choices(self) -> Sequence[int]:
        """Number of logits of each choice, in order; empty unless the kind is ``multi_categorical``."""
        ...


@runtime_checkable
class SequenceHost(Protocol):
    """A host whose outputs may depend on a sequence of observations, as those of a recurrent policy do."""

    @property
    def sequence_length(self) -> int | None:
        """Number L of observations in one input (L, W) of ``sample`` and ``outputs``; None for single observations.

        The last column of an input is 1 if its row is the first observation of an episode, else 0. The outputs of an
        input are those of its L steps, concatenated by component: L choices, or L means and then L log standard
        deviations. ``batch`` contains single observations in order of time.
        """
        ...


@runtime_checkable
class LackingHost(Protocol):
    """A host that never provides certain capabilities, whatever the stream. It reports the reason for each."""

    @property
    def lacking(self) -> Mapping[str, str]:
        """Reason and remedy for each capability that :attr:`Host.provides` never contains."""
        ...


class Method(Protocol):
    """A continual-learning method, which attaches hooks to the optimizers of a learner.

    A method is an attrs class whose init fields are its settings. A class that derives from it need not define
    :attr:`kinds`, :attr:`shares`, :attr:`memory`, :attr:`stores_at_end`, :attr:`freezes_encoder`, :attr:`reopens`,
    :meth:`refuses` and :meth:`quantities`. Other optional member functions are declared in separate interfaces:
    ``extra`` in :class:`MixingMethod`, ``penalty`` in :class:`PenalizingMethod`, ``predicting`` in
    :class:`PredictingMethod` and ``forget`` in :class:`ForgettingMethod`.
    """

    @property
    @abstractmethod
    def requires(self) -> frozenset[str]:
        """Information that the host must provide; see :attr:`Host.provides`."""
        ...

    @property
    @abstractmethod
    def phase(self) -> str:
        """Phase in which its hooks run, one of (in this order) record, mix, add, project, clip, edit, restore."""
        ...

    @property
    @abstractmethod
    def null(self) -> Mapping[str, Any] | None:
        """Settings with which the method has no effect (bit-identical results); None if there are no such settings."""
        ...

    @property
    def kinds(self) -> frozenset[str] | None:
        """Supported kinds of outputs, see :attr:`Host.kind`; None if all kinds are supported."""
        return None

    @property
    def shares(self) -> tuple[float, float] | None:
        """Weights of the mean losses of the minibatch and the memory examples; None for one mean over all examples."""
        return None

    @property
    def memory(self) -> Any:
        """Memory of examples, None if it has none."""
        return None

    @property
    def stores_at_end(self) -> bool:
        """Whether its memory receives examples only at the end of an experience, for use in later ones."""
        return False

    @property
    def freezes_encoder(self) -> bool:
        """Whether a fitted encoder must not change after the first experience, because weights do not follow it."""
        return False

    @property
    def reopens(self) -> bool:
        """Whether an experience can be continued after :meth:`end`, because ``end`` does not change the method."""
        return False

    def refuses(self, host: Host) -> str | None:
        """Return the reason why it does not support a host that fulfils ``requires``, with the remedy, or None."""
        return None

    def quantities(self) -> Mapping[str, float]:
        """Return the quantities that the method logs in each event of the learner, by name.

        The learner logs them as ``<method>/<quantity>``, for example ``ewc/penalty``. The call must not change the
        state of the method. The default is ``memory_examples``, the number of examples in :attr:`memory`, or nothing
        without a memory.
        """
        return {"memory_examples": len(self.memory)} if isinstance(self.memory, Sized) else {}

    @abstractmethod
    def attach(self, host: Host, rng: np.random.Generator) -> None:
        """Attach the method to a host. Called once.

        Args:
            host: the learner.
            rng: the method's source of randomness.
        """
        ...

    @abstractmethod
    def begin(self, experience: Experience, updates: int | None) -> None:
        """Start an experience.

        Args:
            experience: the experience that starts.
            updates: number of updates that the experience will take, None if it is not known.
        """
        ...

    @abstractmethod
    def end(self, experience: Experience) -> None:
        """Finish an experience, after its last update."""
        ...

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the state of the method."""
        ...

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned."""
        ...


@runtime_checkable
class MixingMethod(Protocol):
    """A method that adds examples from its memory to the minibatch, in one pass (native hosts)."""

    @property
    def shares(self) -> tuple[float, float] | None:
        """See :attr:`Method.shares`."""
        ...

    @property
    def reopens(self) -> bool:
        """See :attr:`Method.reopens`."""
        ...

    def extra(self, batch: Batch) -> Batch | None:
        """Return the examples to add to a minibatch, or None."""
        ...


@runtime_checkable
class PenalizingMethod(Protocol):
    """A method that computes a penalty from the inputs and outputs of the forward pass of the loss.

    It is used only by hosts that provide ``pass``.
    """

    def penalty(self, x: Tensor, outputs: Tensor) -> Tensor | None:
        """Return the penalty to add to the loss of an update, a scalar, or None.

        Args:
            x: (B, *encoded) the inputs of the network, augmented, without the examples that methods added.
            outputs: (B, K) its outputs for ``x``, differentiable.
        """
        ...


@runtime_checkable
class PredictingMethod(Protocol):
    """A method that changes the network during prediction (masks, heads)."""

    def predicting(self, task_id: int | None) -> AbstractContextManager[None]:
        """Return a context in which the network predicts for a task; the task index is None if it is hidden."""
        ...


@runtime_checkable
class ForgettingMethod(Protocol):
    """A method whose memory of examples can be emptied."""

    def forget(self) -> None:
        """Remove all examples from the memory."""
        ...
