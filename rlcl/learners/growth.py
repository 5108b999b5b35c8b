"""Growth of a gradient learner's state to more classes or heads, after its stream has grown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from rlcl.errors import UnsupportedError

__all__ = ["classes_of", "grow_state"]


def grow_state(
    state: Mapping[str, Any], fresh: Mapping[str, Any], parameters: Sequence[str], old: int, new: int
) -> dict[str, Any]:
    """Return the state of a learner, resized for a learner with more outputs.

    Existing weights keep their values; new weights get the values of a fresh learner. Tensors that belong to a weight
    by its name (anchors, importances, a teacher's weights) or by its index in the optimizer (moments) are 0 for new
    weights. Outputs that a memory has stored are extended to new classes by the minimum output of each example, because
    the example belongs to none of them. New classes belong to no existing head.

    Args:
        state: state of the learner; see :meth:`rlcl.learners.gradient.GradientLearner.state_dict`.
        fresh: state of an untrained learner of the grown stream.
        parameters: names of the fresh learner's trainable weights, in the order of its optimizer.
        old: number of classes before the growth.
        new: number of classes after the growth.

    Raises:
        UnsupportedError: a weight is missing in the fresh learner, or smaller than before.
    """
    before, after = state["module"], fresh["module"]
    for name, tensor in before.items():
        if name not in after or not _fits(tensor.shape, after[name].shape):
            new_shape = tuple(after[name].shape) if name in after else "none"
            raise UnsupportedError(
                f"the network can only grow by its outputs, but {name} has shape {tuple(tensor.shape)} before and "
                f"{new_shape} after; train on all classes from scratch"
            )
    resizer = _StateResizer(before, after, tuple(parameters), old, new)
    grown: dict[str, Any] = {key: resizer.resized(value, key) for key, value in state.items()}
    grown["module"] = _widened(before, after)
    update, average = state["update"], state["update"]["average"]
    grown["update"] = {
        **update,
        "optimizer": resizer.resized_optimizer(update["optimizer"]),
        "average": None if average is None else _widened(average, fresh["update"]["average"]),
    }
    return grown


def classes_of(state: Mapping[str, Any], fresh: Mapping[str, Any], new: int) -> int:
    """Return the number of classes of a state's network: the former size of the first weight that grows to ``new``.

    Args:
        state, fresh: as for :func:`grow_state`.
        new: number of classes of the fresh network.
    """
    for name, tensor in fresh["module"].items():
        before = state["module"].get(name)
        if before is not None and before.shape != tensor.shape and tensor.shape[0] == new:
            return int(before.shape[0])
    return new


def _widened(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with the shapes of a fresh network; entries without a former value get the fresh value."""
    return {n: _padded(before[n], like) if n in before else like.clone() for n, like in after.items()}


@frozen
class _StateResizer:
    """Resizes tensors that belong to a weight, by its name or its index in an optimizer, to the weight's new shape."""

    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]
    parameters: tuple[str, ...]
    old: int
    new: int

    def resized(self, node: Any, key: Any) -> Any:
        """Return a subtree of the state, found under a key, with resized tensors."""
        if isinstance(node, Tensor):
            return self._tensor(node, key)
        if isinstance(node, Mapping):
            if set(node) == {"state", "param_groups"}:
                return dict(node)  # the optimizer of a method, for a separate network
            of_weight = key in self.before  # everything below the name of a weight belongs to that weight
            return {name: self.resized(value, key if of_weight else name) for name, value in node.items()}
        if isinstance(node, list | tuple):
            return type(node)(self.resized(value, key) for value in node)
        return node

    def _tensor(self, tensor: Tensor, key: Any) -> Tensor:
        if key == "outputs" and tensor.ndim == 2 and tensor.shape[1] == self.old:
            minimum = tensor.min(1, keepdim=True).values
            return torch.cat([tensor, minimum.expand(-1, self.new - self.old)], 1)
        name = key.removeprefix("module.") if isinstance(key, str) else key  # the prefix of a wrapper module
        if name in self.before and len(tensor.shape) == len(self.before[name].shape):
            sizes = list(zip(tensor.shape, self.before[name].shape, self.after[name].shape, strict=True))
            if all(size in (small, 1) for size, small, _ in sizes):  # size 1 is broadcast over that dimension
                shape = [large if size == small else size for size, small, large in sizes]
                return _padded(tensor, torch.zeros(shape, dtype=tensor.dtype))
        if tensor.dtype == torch.bool and tensor.shape == (self.old,):  # mask of the classes of a head
            return _padded(tensor, torch.zeros(self.new, dtype=torch.bool))
        return tensor

    def resized_optimizer(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the state dict of the optimizer for the new parameters.

        Raises:
            UnsupportedError: the optimizer has several parameter groups.
        """
        existing = [name for name in self.parameters if name in self.before]
        groups = state["param_groups"]
        if len(groups) != 1 or groups[0]["params"] != list(range(len(existing))):
            if {n: t.shape for n, t in self.before.items()} == {n: t.shape for n, t in self.after.items()}:
                return dict(state)
            raise UnsupportedError(
                "the optimizer has several parameter groups, so its state cannot grow; use an optimizer with one "
                "group, or train on all classes from scratch"
            )
        new_index = {index: self.parameters.index(name) for index, name in enumerate(existing)}
        parameter_states = {
            new_index[index]: {
                key: self._tensor(v, existing[index]) if isinstance(v, Tensor) else v for key, v in entries.items()
            }
            for index, entries in state["state"].items()
        }
        return {"state": parameter_states, "param_groups": [{**groups[0], "params": list(range(len(self.parameters)))}]}


def _fits(small: torch.Size, large: torch.Size) -> bool:
    return len(small) == len(large) and all(a <= b for a, b in zip(small, large, strict=True))


def _padded(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a copy of ``like`` whose leading entries in every dimension are those of ``tensor``."""
    padded = like.clone()
    padded[tuple(slice(0, n) for n in tensor.shape)] = tensor
    return padded
