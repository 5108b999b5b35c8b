"""State trees: nested dicts, lists and tuples of tensors and plain values.

``state_dict`` of a learner, method or encoder returns such a tree. It is stored as one JSON
structure and a set of named tensors, so that loading it executes no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["clone_state", "flatten", "tensor_bytes", "unflatten"]


def clone_state(tree: Any) -> Any:
    """Return a deep copy whose tensors share no memory with the original.

    ``optimizer.load_state_dict`` and ``module.state_dict`` do not copy tensors.
    """
    if isinstance(tree, Tensor):
        return tree.detach().clone()
    if isinstance(tree, np.ndarray):
        return tree.copy()
    if isinstance(tree, Mapping):
        return {key: clone_state(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(clone_state(value) for value in tree)
    return tree


def tensor_bytes(tree: Any) -> int:
    """Return the size of all tensors and arrays of a tree, in bytes."""
    if isinstance(tree, Tensor | np.ndarray):
        return tree.nbytes
    if isinstance(tree, Mapping):
        return sum(map(tensor_bytes, tree.values()))
    return sum(map(tensor_bytes, tree)) if isinstance(tree, list | tuple) else 0


def flatten(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """Split a tree into a JSON structure and the tensors that it refers to by name.

    JSON converts integer keys to strings and tuples to lists, so every container is tagged with its type.

    Raises:
        TypeError: a leaf is neither a tensor, an array nor a plain value.
    """
    tensors: dict[str, Tensor] = {}

    def walk(node: Any, path: str) -> Any:
        if isinstance(node, Tensor | np.ndarray):
            tensor = node.detach() if isinstance(node, Tensor) else torch.from_numpy(np.array(node, order="C"))
            name = path
            while name in tensors:  # the leaves of {"a/b": x, "a": {"b": y}} and of {1: x, "1": y} have equal paths
                name += "'"
            tensors[name] = tensor.cpu().contiguous().clone()  # safetensors rejects shared memory
            return {"tensor" if isinstance(node, Tensor) else "array": name}
        if isinstance(node, Mapping):
            return {"dict": [[_key(key, path), walk(value, f"{path}/{key}")] for key, value in node.items()]}
        if isinstance(node, list | tuple):
            tag = "list" if isinstance(node, list) else "tuple"
            return {tag: [walk(value, f"{path}/{index}") for index, value in enumerate(node)]}
        if isinstance(node, np.generic):
            return node.item()
        if node is None or isinstance(node, bool | int | float | str):
            return node
        raise TypeError(f"state {path}: expected a tensor, array or plain value, got {type(node).__name__}")

    return walk(tree, ""), tensors


def unflatten(structure: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the tree that :func:`flatten` has split."""
    if not isinstance(structure, dict):
        return structure
    ((tag, content),) = structure.items()
    if tag == "tensor":
        return tensors[content].clone()
    if tag == "array":
        return tensors[content].numpy().copy()
    if tag == "float":  # NaN or infinite
        return float(content)
    if tag == "dict":
        return {key: unflatten(value, tensors) for key, value in content}
    values = [unflatten(value, tensors) for value in content]
    return values if tag == "list" else tuple(values)


def _key(key: Any, path: str) -> str | int:
    if isinstance(key, str | int):
        return key
    raise TypeError(f"state {path}: expected keys that are text or integers, got {key!r}")
