"""Inference graph of a learner, and the protocol of learners that can be exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

from attrs import field, frozen

from rlcl.errors import Problem, UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Exportable", "Graph", "GraphKind"]

GraphKind = Literal["classifier", "regressor", "autoencoder", "policy"]
OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "classifier": ("class", "probabilities"),
    "regressor": ("value",),
    "autoencoder": ("reconstruction", "error", "code"),
    "policy": ("action",),
}


@frozen(kw_only=True, eq=False)
class Graph:
    """Inference graph of a learner: one torch module that computes its predictions.

    The arguments of the module are, in this order:

    - raw inputs (B, *observation) as the source yields them; one array per part if an observation has several parts
    - task ids (B,) int64, if ``tasks`` is not 0
    - states (B, N), if the policy is recurrent

    The module returns a tuple: the outputs of its kind, then the next states.

    - ``classifier``: class (B,) int64, probabilities (B, classes)
    - ``regressor``: value (B, K)
    - ``autoencoder``: reconstruction (B, F), error (B,), code (B, N); all refer to encoded inputs
    - ``policy``: action (B, *action), in the form that the environment takes

    Args:
        kind: type of the outputs.
        module: in evaluation mode; its parameters and buffers are the weights of the bundle.
        tasks: number of task ids that it distinguishes, 0 if it takes none.
        state: size of each state of a recurrent policy, by name; states are 0 at the start of an episode.
        encoded: function of the same arrays that returns the encoded inputs (B, ...), which monitoring observes; None
            if encoding is not a separate step.
        scores: function of the same arrays that returns the scores (B, ..., K) that decide a class or a discrete
            action, so that ties can be distinguished from errors. None for numeric outputs, and if the scores are not
            available. A classifier may leave it None: its probabilities are used.
    """

    kind: GraphKind = field()
    module: nn.Module
    tasks: int = 0
    state: Mapping[str, int] = field(factory=dict)
    encoded: Callable[..., Tensor] | None = None
    scores: Callable[..., Tensor | None] | None = None

    @kind.validator
    def _check_kind(self, _: Any, kind: str) -> None:
        if kind not in OUTPUTS:
            raise Problem(f"kind of a graph: expected one of {', '.join(get_args(GraphKind))}, got {kind!r}")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, the decisive one first."""
        return OUTPUTS[self.kind]

    def __call__(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs and the next states with torch."""
        outputs: tuple[Tensor, ...] = self.module(*arrays)
        return outputs


@runtime_checkable
class Exportable(Protocol):
    """A learner that deployment can export.

    A class that derives from :class:`Learner` inherits the defaults and overrides those that differ.
    """

    __slots__ = ()

    def graph(self, tasks: int) -> Graph:
        """Return the inference graph with the current weights; its outputs equal those of :meth:`Predictor.predict`.

        Args:
            tasks: number of task ids that ``predict`` distinguishes; 0 if they are hidden.

        Raises:
            UnsupportedError: the learner has no inference graph. The message is the reason; it is shown after
                ``cannot be exported:``.
        """
        raise UnsupportedError("it has no inference graph; write its method graph (docs/how-to/add-a-learner.md)")

    @property
    def grows(self) -> bool:
        """Whether it can take more classes than it started with; see :meth:`grown`."""
        return False

    def grown(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return a state adapted to this learner, whose stream may have more classes or tasks than the state's.

        Args:
            state: state dict of a learner with the same settings.

        Raises:
            UnsupportedError: the state cannot be adapted.
        """
        return dict(state)
