"""Inference with the model of a bundle by ONNX Runtime and NumPy, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import define, field

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.signature import Signature
from rlcl.errors import BundleError, UnsupportedError

__all__ = ["ENCODED", "Model", "PolicyModel"]

Array = np.ndarray[Any, Any]
ENCODED = "encoded"  # output of the ONNX graph that is not in the signature


@define(eq=False)
class Model:
    """Model of a bundle, loaded for inference.

    Args:
        bundle: open bundle.
        threads: number of threads of ONNX Runtime; one is fastest for small models.

    Raises:
        BundleError: the ONNX graph does not load.
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
                f"prediction needs {error.name}; install it with pip install 'rlcl[deploy]'"
            ) from error

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = self.threads
        options.log_severity_level = 3
        graph = str(self.bundle.path / "model.onnx")
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise BundleError(
                f"{graph} cannot be loaded: {str(error).splitlines()[0]}; export the run again"
            ) from error
        graph_outputs = {output.name for output in self._session.get_outputs()}
        names = [f.name for f in self.signature.outputs] + [f"{f.name}.next" for f in self.signature.state]
        if missing := [name for name in names if name not in graph_outputs]:
            raise BundleError(f"{graph} lacks the output {missing[0]} of signature.json; export the run again")
        self._names = names

    @property
    def signature(self) -> Signature:
        return self.bundle.signature

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph without checking its inputs.

        Args:
            arrays: inputs by name, as :meth:`Signature.arrays` returns them, with the arrays of the state if the model
                is recurrent.

        Returns:
            All outputs by name.
        """
        return dict(zip(self._names, self._session.run(self._names, dict(arrays)), strict=True))

    def outputs(self, x: Any, task_id: int | None = None) -> dict[str, Array]:
        """Check inputs and compute all outputs by name, see :attr:`Signature.outputs`.

        Args:
            x: (B, *shape) raw inputs in the form of the training data.
            task_id: task id of the batch, if the model takes one.

        Raises:
            Problem: an input violates the signature; the error names its index.
        """
        return self.run(self.signature.arrays(x, task_id))

    def encoded(self, inputs: Mapping[str, Array]) -> Array | None:
        """Compute the encoder's output, (B, F) float32.

        Args:
            inputs: (B, *shape) by the names of the signature; the encoder takes neither task ids nor states.

        Returns:
            The output ``encoded`` of the graph; None if the graph has no such output.
        """
        if ENCODED not in [output.name for output in self._session.get_outputs()]:
            return None
        arrays, rows = dict(inputs), len(next(iter(inputs.values())))
        if self.signature.tasks:
            arrays["task_id"] = np.zeros(rows, np.int64)
        arrays |= {f.name: np.zeros((rows, *f.shape), f.dtype) for f in self.signature.state}
        (encoded,) = self._session.run([ENCODED], arrays)
        return np.asarray(encoded, np.float32).reshape(rows, -1)

    def predict(self, x: Any, task_id: int | None = None) -> Array:
        """Return the first output: classes (B,) int64, values (B, K) or reconstructions; see :meth:`outputs`."""
        return self.outputs(x, task_id)[self.signature.outputs[0].name]


@define(eq=False)
class PolicyModel(Model):
    """Model of a policy, with the ``predict`` interface of Stable-Baselines3."""

    def predict(  # type: ignore[override]
        self,
        observation: Any,
        state: tuple[Array, ...] | None = None,
        episode_start: Array | None = None,
        deterministic: bool = True,
        task_id: int | None = None,
    ) -> tuple[Array, tuple[Array, ...] | None]:
        """Return greedy actions.

        Args:
            observation: (*shape), or a batch (B, *shape).
            state: state returned by the previous call of a recurrent policy; None at the start.
            episode_start: (B,) bool, True for observations that start an episode; their states are reset to zero.
            deterministic: must be True, because a bundle contains greedy actions only.
            task_id: task id of the batch, if the policy takes one.

        Returns:
            Actions (*action) or (B, *action), and the next state; None if the policy is not recurrent.

        Raises:
            Problem: an observation violates the signature; the error names its index.
            BundleError: ``deterministic=False``.
        """
        if not deterministic:
            raise BundleError(
                "deterministic=False is not supported: a bundle returns greedy actions; pass deterministic=True"
            )
        batch, single = self._batched(observation)
        arrays = self.signature.arrays(batch, task_id)
        rows = len(next(iter(arrays.values())))
        for index, part in enumerate(self.signature.state):
            previous = np.zeros((rows, *part.shape), part.dtype) if state is None else np.array(state[index])
            if episode_start is not None:
                previous[np.asarray(episode_start, bool)] = 0
            arrays[part.name] = previous
        outputs = self.run(arrays)
        actions = outputs[self.signature.outputs[0].name]
        next_state = tuple(outputs[f"{part.name}.next"] for part in self.signature.state) or None
        return (actions[0] if single else actions), next_state

    def _batched(self, observation: Any) -> tuple[Any, bool]:
        """Return the observation as a batch, and whether it was a single observation."""
        first = self.signature.inputs[0]
        value = observation[first.name] if isinstance(observation, Mapping) else observation
        if np.ndim(value) != len(first.shape):
            return observation, False
        if isinstance(observation, Mapping):
            return {name: np.asarray(part)[None] for name, part in observation.items()}, True
        return np.asarray(observation)[None], True
