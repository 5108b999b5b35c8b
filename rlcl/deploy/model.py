"""A bundle's model at work: ONNX Runtime and NumPy alone, nothing of what trained it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define, field

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.signature import Signature
from rlcl.errors import BundleError, UnsupportedError

__all__ = ["ENCODED", "Model", "Policy"]

Array = np.ndarray[Any, Any]
ENCODED = "encoded"  # an output that is no part of the signature


@define(eq=False)
class Model:
    """What a bundle holds, ready to predict.

    Args:
        bundle: an open bundle.
        threads: of ONNX Runtime; one is fastest for small models.

    Raises:
        BundleError: its graph does not load.
    """

    bundle: Bundle
    threads: int = 1
    _session: Any = field(init=False)
    _names: list[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UnsupportedError(
                f"answering needs {error.name}; install it with pip install 'rlcl[deploy]'"
            ) from error

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = self.threads
        options.log_severity_level = 3
        graph = str(self.bundle.path / "model.onnx")
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no common class of its errors
            raise BundleError(f"{graph} does not load: {str(error).splitlines()[0]}; export the run again") from error
        given = {output.name for output in self._session.get_outputs()}
        wanted = [f.name for f in self.signature.outputs] + [f"{f.name}.next" for f in self.signature.state]
        if missing := [name for name in wanted if name not in given]:
            raise BundleError(f"{graph} lacks the output {missing[0]} of its signature; export the run again")
        self._names = wanted

    @property
    def signature(self) -> Signature:
        return self.bundle.signature

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name for the arrays of :meth:`Signature.arrays` (and the state's); checks nothing."""
        return dict(zip(self._names, self._session.run(self._names, dict(arrays)), strict=True))

    def outputs(self, x: Any, task_id: int | None = None) -> dict[str, Array]:
        """All outputs by name, see :attr:`Signature.outputs`.

        Args:
            x: (B, *shape) raw inputs, as the training data had them.
            task_id: of the batch, where the model tells tasks apart.

        Raises:
            Problem: inputs that the signature refuses, with the place.
        """
        return self.run(self.signature.arrays(x, task_id))

    def encoded(self, inputs: Mapping[str, Array]) -> Array | None:
        """What the encoder makes of inputs, (B, F) float32; None where the graph does not give it (as ``encoded``).

        Args:
            inputs: (B, *shape) by name, as the signature has them; an encoder knows neither tasks nor state.
        """
        if ENCODED not in [output.name for output in self._session.get_outputs()]:
            return None
        arrays, rows = dict(inputs), len(next(iter(inputs.values())))
        if self.signature.tasks:
            arrays["task_id"] = np.zeros(rows, np.int64)
        arrays |= {f.name: np.zeros((rows, *f.shape), f.dtype) for f in self.signature.state}
        (found,) = self._session.run([ENCODED], arrays)
        return np.asarray(found, np.float32).reshape(rows, -1)

    def predict(self, x: Any, task_id: int | None = None) -> Array:
        """The decisive output: classes (B,) int64, values (B, K), or reconstructions; see :meth:`outputs`."""
        return self.outputs(x, task_id)[self.signature.outputs[0].name]


@define(eq=False)
class Policy(Model):
    """A model that acts; its ``predict`` is that of Stable-Baselines3's policies."""

    def predict(  # type: ignore[override]
        self,
        observation: Any,
        state: tuple[Array, ...] | None = None,
        episode_start: Array | None = None,
        deterministic: bool = True,
        task_id: int | None = None,
    ) -> tuple[Array, tuple[Array, ...] | None]:
        """Greedy actions.

        Args:
            observation: (*shape), or a batch (B, *shape).
            state: what the call before returned, None at first; for recurrent policies.
            episode_start: (B,) bool, which of the batch begin an episode, whose state is forgotten.
            deterministic: bundles hold no other way to act; False is refused.
            task_id: of the batch, where the policy tells tasks apart.

        Returns:
            Actions (*action) or (B, *action), and the next state, None where there is none.

        Raises:
            Problem: observations that the signature refuses, with the place.
            BundleError: ``deterministic=False``.
        """
        if not deterministic:
            raise BundleError("a bundle acts greedily; call predict with deterministic=True")
        batch, single = self._batched(observation)
        arrays = self.signature.arrays(batch, task_id)
        rows = len(next(iter(arrays.values())))
        for index, part in enumerate(self.signature.state):
            carried = np.zeros((rows, *part.shape), part.dtype) if state is None else np.array(state[index])
            if episode_start is not None:
                carried[np.asarray(episode_start, bool)] = 0
            arrays[part.name] = carried
        found = self.run(arrays)
        actions = found[self.signature.outputs[0].name]
        following = tuple(found[f"{part.name}.next"] for part in self.signature.state) or None
        return (actions[0] if single else actions), following

    def _batched(self, observation: Any) -> tuple[Any, bool]:
        """The observation as a batch, and whether it was one alone."""
        first = self.signature.inputs[0]
        value = observation[first.name] if isinstance(observation, Mapping) else observation
        if np.ndim(value) != len(first.shape):
            return observation, False
        if isinstance(observation, Mapping):
            return {name: np.asarray(part)[None] for name, part in observation.items()}, True
        return np.asarray(observation)[None], True
