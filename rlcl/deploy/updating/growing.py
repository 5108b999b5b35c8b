"""The bundle's stream, with what was learned since export, and what is to be learned now."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from safetensors.torch import load_file, save_file

from rlcl.data.sources import arrays
from rlcl.deploy.updating.incoming import Incoming, Taught
from rlcl.errors import BundleError
from rlcl.experiment import Experiment
from rlcl.formats import parsed
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream, split_off
from rlcl.types import Experience

__all__ = ["ADDED", "added_to", "grown_stream", "save_added"]

ADDED = "added"  # the folder within a bundle's update part


def save_added(part: Path, added: Sequence[Incoming]) -> None:
    """Keeps the held-out rows of what updates have learned, so that the next one is judged on them as well.

    What was learned from is not kept: of it there is what the methods remember, its classes and its range.

    Args:
        part: the update part of a bundle.
        added: in the order they were learned.
    """
    folder = part / ADDED
    for number, incoming in enumerate(added):
        folder.mkdir(exist_ok=True)
        tensors = {name: tensor for name, tensor in zip("xy", incoming.test, strict=True) if tensor is not None}
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / f"{number:04d}.safetensors")
        about = {
            "name": incoming.name,
            "classes": list(incoming.classes),
            "log": incoming.log,
            "last": incoming.last,
            "taught": _noted(incoming.taught),
        }
        (folder / f"{number:04d}.json").write_text(json.dumps(about) + "\n")


def added_to(part: Path) -> list[Incoming]:
    """What :func:`save_added` kept; the held-out rows stand for those that were learned.

    Raises:
        BundleError: it cannot be read.
    """
    found = []
    for file in sorted((part / ADDED).glob("*.json")):
        try:
            about, tensors = parsed(file.read_text()), load_file(file.with_suffix(".safetensors"))
            rows = (tensors["x"], tensors.get("y"))
            incoming = Incoming(
                name=str(about["name"]),
                train=rows,
                test=rows,
                classes=tuple(map(str, about["classes"])),
                last=int(about["last"]),
                log=str(about.get("log", "")),  # a bundle of an earlier version names neither, and its rows stand in
                former=_taught(about["taught"]) if "taught" in about else Taught.of(*rows),
            )
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError) as error:
            raise BundleError(f"{file} cannot be read: {error}; restore the bundle") from error
        found.append(incoming)
    return found


def _noted(taught: Taught) -> dict[str, object]:
    """As plain data; JSON has no infinity."""
    low, high = ([v if math.isfinite(v) else None for v in ends] for ends in (taught.low, taught.high))
    return {"classes": list(taught.classes), "low": low, "high": high}


def _taught(about: Mapping[str, Any]) -> Taught:
    def ends(key: str, absent: float) -> tuple[float, ...]:
        found = about[key] if isinstance(about[key], list) else [about[key]]  # an earlier version had one of all
        return tuple(absent if value is None else float(value) for value in found)

    return Taught(classes=tuple(map(int, about["classes"])), low=ends("low", math.inf), high=ends("high", -math.inf))


def grown_stream(stream: Stream, added: Sequence[Incoming], experiment: Experiment, seed: int) -> Stream:
    """A stream with one more experience for each of ``added``, whose boundaries are announced.

    Args:
        stream: of the run.
        added: the last one is what is to be learned now, and holds out validation data as the run does.
        experiment: the budget of its learning, and how much is held out.
        seed: of the run.
    """
    columns, trained = list(stream.evaluated), list(stream.experiences)
    for incoming in added:
        train, test = (arrays(x, y) for x, y in (incoming.train, incoming.test))
        place = len(columns)
        column = Experience(place, incoming.name, train, test, experiment.budget, task_id=place)
        columns.append(column)
        learned = attrs.evolve(column, index=len(trained))
        trained.append(_with_validation(learned, incoming, experiment.validation, Seeds(seed).child("stream")))
    spec = stream.spec
    if added and added[-1].classes:
        spec = attrs.evolve(
            spec,
            classes=len(added[-1].classes),
            class_names=added[-1].classes,
            task_classes=(*spec.task_classes, *(i.taught.classes for i in added)) if spec.task_classes else (),
        )
    announced = attrs.evolve(stream.visibility, boundaries="announced")
    return Stream(tuple(trained), spec, announced, tuple(columns) if columns != trained else ())


def _with_validation(experience: Experience, incoming: Incoming, fraction: float, seeds: Seeds) -> Experience:
    """With a share of its rows held out, as the run's own experiences have; it is for learning, and never judged on."""
    if fraction and incoming.former is not None:
        return attrs.evolve(experience, validation=experience.train)  # nothing is learned from it any more
    return split_off(experience, fraction, seeds) if fraction else experience
