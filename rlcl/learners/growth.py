"""A gradient learner's state after its stream has grown: more classes, or more heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from rlcl.errors import UnsupportedError

__all__ = ["classes_of", "grown"]


def grown(
    state: Mapping[str, Any], fresh: Mapping[str, Any], parameters: Sequence[str], old: int, new: int
) -> dict[str, Any]:
    """The state of a learner, made to fit one of more outputs.

    Weights that there were keep their values, and new ones begin as a fresh learner's. What goes with a weight by its
    name (anchors, importances, a teacher's weights) or by its place in the optimizer (moments) is 0 for new ones. Of
    the outputs that a memory has stored, those of new classes are the least of each example's: it was none of them. New
    classes belong to no head that there was.

    Args:
        state: of the learner so far; see :meth:`rlcl.learners.gradient.GradientLearner.state_dict`.
        fresh: of a learner of the grown stream, which has learned nothing.
        parameters: names of the fresh learner's trainable weights, in the order of its optimizer.
        old: classes before the growth.
        new: classes after it.

    Raises:
        UnsupportedError: a weight is gone, or narrower than it was.
    """
    before, after = state["module"], fresh["module"]
    for name, tensor in before.items():
        if name not in after or not _fits(tensor.shape, after[name].shape):
            found = tuple(after[name].shape) if name in after else "nothing"
            raise UnsupportedError(
                f"the network does not grow by its outputs alone: {name} of {tuple(tensor.shape)} becomes {found}; "
                "train on all classes anew"
            )
    growth = _Growth(before, after, tuple(parameters), old, new)
    made: dict[str, Any] = {key: growth.fitted(value, key) for key, value in state.items()}
    made["module"] = _widened(before, after)
    update, average = state["update"], state["update"]["average"]
    made["update"] = {
        **update,
        "optimizer": growth.optimizer(update["optimizer"]),
        "average": None if average is None else _widened(average, fresh["update"]["average"]),
    }
    return made


def classes_of(state: Mapping[str, Any], fresh: Mapping[str, Any], now: int) -> int:
    """How many classes a state's network tells apart: what the fresh network's last widened weight had.

    Args:
        state, fresh: as for :func:`grown`.
        now: classes that the fresh network tells apart.
    """
    for name, tensor in fresh["module"].items():
        before = state["module"].get(name)
        if before is not None and before.shape != tensor.shape and tensor.shape[0] == now:
            return int(before.shape[0])
    return now


def _widened(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as they were, new ones as in a fresh network."""
    return {n: _padded(before[n], like) if n in before else like.clone() for n, like in after.items()}


@frozen
class _Growth:
    """Fits what stands under a weight's name, or its number in an optimizer, to the weight's new shape."""

    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]
    parameters: tuple[str, ...]
    old: int
    new: int

    def fitted(self, node: Any, key: Any) -> Any:
        if isinstance(node, Tensor):
            return self._tensor(node, key)
        if isinstance(node, Mapping):
            if set(node) == {"state", "param_groups"}:
                return dict(node)  # a method's own optimizer, of a network of its own
            own = key in self.before  # what a weight's name leads to is of the weight, whatever its parts are called
            return {name: self.fitted(value, key if own else name) for name, value in node.items()}
        if isinstance(node, list | tuple):
            return type(node)(self.fitted(value, key) for value in node)
        return node

    def _tensor(self, tensor: Tensor, key: Any) -> Tensor:
        if key == "outputs" and tensor.ndim == 2 and tensor.shape[1] == self.old:
            least = tensor.min(1, keepdim=True).values
            return torch.cat([tensor, least.expand(-1, self.new - self.old)], 1)
        name = key.removeprefix("module.") if isinstance(key, str) else key  # of a module around the network
        if name in self.before and len(tensor.shape) == len(self.before[name].shape):
            sizes = list(zip(tensor.shape, self.before[name].shape, self.after[name].shape, strict=True))
            if all(size in (small, 1) for size, small, _ in sizes):  # 1: of all units of that dimension at once
                shape = [large if size == small else size for size, small, large in sizes]
                return _padded(tensor, torch.zeros(shape, dtype=tensor.dtype))
        if tensor.dtype == torch.bool and tensor.shape == (self.old,):  # which classes are of a head
            return _padded(tensor, torch.zeros(self.new, dtype=torch.bool))
        return tensor

    def optimizer(self, state: Mapping[str, Any]) -> dict[str, Any]:
        known = [name for name in self.parameters if name in self.before]
        groups = state["param_groups"]
        if len(groups) != 1 or groups[0]["params"] != list(range(len(known))):
            if {n: t.shape for n, t in self.before.items()} == {n: t.shape for n, t in self.after.items()}:
                return dict(state)
            raise UnsupportedError(
                "the optimizer keeps the weights in groups, and what it holds of them cannot grow; use an optimizer of "
                "one group, or train on all classes anew"
            )
        place = {index: self.parameters.index(name) for index, name in enumerate(known)}
        its = {
            place[index]: {
                key: self._tensor(v, known[index]) if isinstance(v, Tensor) else v for key, v in part.items()
            }
            for index, part in state["state"].items()
        }
        return {"state": its, "param_groups": [{**groups[0], "params": list(range(len(self.parameters)))}]}


def _fits(small: torch.Size, large: torch.Size) -> bool:
    return len(small) == len(large) and all(a <= b for a, b in zip(small, large, strict=True))


def _padded(tensor: Tensor, like: Tensor) -> Tensor:
    """A copy of ``like`` with a tensor in its corner."""
    made = like.clone()
    made[tuple(slice(0, n) for n in tensor.shape)] = tensor
    return made
