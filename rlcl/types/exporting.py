"""What is exported of a learner, as it says it itself."""

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
    """What a learner predicts with, as one torch module.

    The module takes raw inputs (B, *observation) as the source yields them, one array for each part of an observation
    of several; then, where ``tasks`` is not 0, task ids (B,) int64; then the states (B, N). It gives a tuple: the
    outputs of its kind, then the next states.

    - ``classifier``: class (B,) int64, probabilities (B, classes)
    - ``regressor``: value (B, K)
    - ``autoencoder``: reconstruction (B, F), error (B,), code (B, N), in the encoder's scale
    - ``policy``: action (B, *action), as the environment takes it

    Args:
        kind: what the outputs mean.
        module: in evaluation mode; its parameters and buffers are the bundle's weights.
        tasks: how many task ids it tells apart, 0 where it takes none.
        state: of a recurrent policy, how many numbers it hands on from step to step, by name; 0 as an episode begins.
        encoded: of the same arrays what the encoder makes of the inputs (B, ...), which monitoring watches; None
            where encoding is no step of its own.
        scores: of the same arrays what a class or a discrete action is decided by (B, ..., K), so that ties are told
            from faults; None of numbers, and where it is not known. A classifier's probabilities need not be given.
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
            raise Problem(f"kind of a graph: expected {', '.join(get_args(GraphKind))}, got {kind!r}")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, the decisive one first."""
        return OUTPUTS[self.kind]

    def __call__(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """The outputs and the next states, by torch."""
        found: tuple[Tensor, ...] = self.module(*arrays)
        return found


@runtime_checkable
class Exportable(Protocol):
    """What deployment asks of a learner; one that derives from :class:`Learner` says what differs from the defaults."""

    __slots__ = ()

    def graph(self, tasks: int) -> Graph:
        """What it predicts with, by its present weights; the same answers as those of :meth:`Predictor.predict`.

        Args:
            tasks: how many task ids ``predict`` is told apart by; 0 where the protocol hides them.

        Raises:
            UnsupportedError: no graph holds it, with the reason, which follows ``cannot be exported:``.
        """
        raise UnsupportedError(
            "it does not say what graph it predicts with; write its method graph (docs/how-to/add-a-learner.md)"
        )

    @property
    def grows(self) -> bool:
        """Whether it can take more classes than it began with, see :meth:`grown`."""
        return False

    def grown(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """A state made to fit this learner, whose stream may have more classes or tasks than the state's had.

        Args:
            state: of a learner with the same settings.

        Raises:
            UnsupportedError: it cannot be.
        """
        return dict(state)
