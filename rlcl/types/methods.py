"""Continual-learning methods, and what they may see of a learner."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from rlcl.types.streams import Experience

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn
    from torch.optim import Optimizer

__all__ = [
    "IMPOSSIBLE",
    "AveragingHost",
    "Batch",
    "ForgettingMethod",
    "Host",
    "LackingHost",
    "Method",
    "MixingMethod",
    "NativeHost",
    "PenalizingMethod",
    "PredictingMethod",
    "RawHost",
    "WeighingHost",
]

# The logit of a class of another task. Not -inf: probability times log-probability must be 0, not NaN.
IMPOSSIBLE = -1e9


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


@runtime_checkable
class AveragingHost(Protocol):
    """A host that may predict with an average of its weights."""

    @property
    def ema(self) -> float | None:
        """The decay of the average, None where it predicts with the weights themselves."""
        ...


@runtime_checkable
class LackingHost(Protocol):
    """A host that lacks something whatever the stream shows, and says why."""

    @property
    def lacking(self) -> Mapping[str, str]:
        """By what a method needs, see :attr:`Host.provides`: the reason, with the remedy."""
        ...


class Method(Protocol):
    """A continual-learning method: attaches to optimizers, not to a learner.

    Written as an attrs class whose init fields are its settings. A class that derives from it need not define
    :attr:`kinds`, :attr:`shares`, :attr:`memory`, :attr:`reopens` and :meth:`refuses`. ``extra``, ``penalty``,
    ``predicting`` and ``forget`` are of those methods alone that mix, penalize, predict or forget.
    """

    @property
    @abstractmethod
    def requires(self) -> frozenset[str]:
        """What it needs of its host; see :attr:`Host.provides`."""
        ...

    @property
    @abstractmethod
    def phase(self) -> str:
        """When its hooks run: record < mix < add < project < clip < edit < restore."""
        ...

    @property
    @abstractmethod
    def null(self) -> Mapping[str, Any] | None:
        """The settings that equal no method, bit for bit; None where there are none."""
        ...

    @property
    def kinds(self) -> frozenset[str] | None:
        """The kinds of host that it works on, see :attr:`Host.kind`; None for all."""
        return None

    @property
    def shares(self) -> tuple[float, float] | None:
        """Factors of the minibatch's own mean loss and of the memory's; None for one mean over both."""
        return None

    @property
    def memory(self) -> Any:
        """Its memory of examples, None where it has none."""
        return None

    @property
    def reopens(self) -> bool:
        """Whether more can be learned of an experience after :meth:`end`, which leaves the method as it was."""
        return False

    def refuses(self, host: Host) -> str | None:
        """Why it cannot serve a host that provides what it requires, with the remedy; None where it can."""
        return None

    @abstractmethod
    def attach(self, host: Host, rng: np.random.Generator) -> None: ...

    @abstractmethod
    def begin(self, experience: Experience, updates: int | None) -> None: ...

    @abstractmethod
    def end(self, experience: Experience) -> None: ...

    @abstractmethod
    def state_dict(self) -> dict[str, Any]: ...

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class MixingMethod(Protocol):
    """A method whose memory joins the batch in one pass (native hosts)."""

    @property
    def shares(self) -> tuple[float, float] | None:
        """See :attr:`Method.shares`."""
        ...

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
    """A method with a memory of examples that can be emptied."""

    def forget(self) -> None: ...
