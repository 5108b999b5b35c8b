"""The bundle's stream, with what was learned since export, and what is to be learned now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from safetensors.torch import load_file, save_file

from rlcl.data.sources import arrays
from rlcl.deploy.updating.incoming import Incoming
from rlcl.errors import BundleError
from rlcl.streams.stream import Stream
from rlcl.types import Budget, Experience

__all__ = ["ADDED", "added_to", "grown_stream", "save_added"]

ADDED = "added"  # the folder within a bundle's update part


def save_added(part: Path, added: Sequence[Incoming]) -> None:
    """Keeps the held-out rows of what updates have learned, so that the next one is judged on them as well.

    What was learned from is not kept: of it there is what the methods remember.

    Args:
        part: the update part of a bundle.
        added: in the order they were learned.
    """
    folder = part / ADDED
    for number, incoming in enumerate(added):
        folder.mkdir(exist_ok=True)
        tensors = {name: tensor for name, tensor in zip("xy", incoming.test, strict=True) if tensor is not None}
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / f"{number:04d}.safetensors")
        about = {"name": incoming.name, "classes": list(incoming.classes), "last": incoming.last}
        (folder / f"{number:04d}.json").write_text(json.dumps(about) + "\n")


def added_to(part: Path) -> list[Incoming]:
    """What :func:`save_added` kept; the held-out rows stand for those that were learned.

    Raises:
        BundleError: it cannot be read.
    """
    found = []
    for file in sorted((part / ADDED).glob("*.json")):
        try:
            about, tensors = json.loads(file.read_text()), load_file(file.with_suffix(".safetensors"))
            rows, names = (tensors["x"], tensors.get("y")), tuple(map(str, about["classes"]))
            found.append(
                Incoming(name=str(about["name"]), train=rows, test=rows, classes=names, last=int(about["last"]))
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{file} cannot be read: {error}; restore the bundle") from error
    return found


def grown_stream(stream: Stream, added: Sequence[Incoming], budget: Budget) -> Stream:
    """A stream with one more experience for each of ``added``, whose boundaries are announced.

    Args:
        stream: of the run.
        added: the last one is what is to be learned now.
        budget: of its learning.
    """
    columns = list(stream.evaluated)
    for incoming in added:
        columns.append(_experience(len(columns), incoming, budget))
    new = columns[len(stream.evaluated) :]
    trained = list(stream.experiences) + [
        attrs.evolve(e, index=len(stream.experiences) + place) for place, e in enumerate(new)
    ]
    spec = stream.spec
    if added and added[-1].classes:
        tasks = tuple(tuple(sorted(_classes(incoming))) for incoming in added)
        spec = attrs.evolve(
            spec,
            classes=len(added[-1].classes),
            class_names=added[-1].classes,
            task_classes=(*spec.task_classes, *tasks) if spec.task_classes else (),
        )
    announced = attrs.evolve(stream.visibility, boundaries="announced")
    return Stream(tuple(trained), spec, announced, tuple(columns) if columns != trained else ())


def _experience(index: int, incoming: Incoming, budget: Budget) -> Experience:
    train, test = (arrays(x, y) for x, y in (incoming.train, incoming.test))
    source: Any = train
    return Experience(index=index, name=incoming.name, train=source, test=test, budget=budget, task_id=index)


def _classes(incoming: Incoming) -> set[int]:
    labels = incoming.train[1]
    return set() if labels is None else set(labels.tolist())
