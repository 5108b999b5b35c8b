"""Experiences that updates add to a bundle's stream."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from safetensors.torch import load_file, save_file

from rlcl.data.sources import array_source
from rlcl.deploy.updating.new_data import NewData, TrainingSummary
from rlcl.errors import BundleError
from rlcl.experiment import Experiment
from rlcl.formats import parse_json
from rlcl.seeding import Seeds
from rlcl.streams.stream import Stream, hold_out_validation
from rlcl.types import Experience

__all__ = ["ADDED", "extended_stream", "load_added", "save_added"]

ADDED = "added"  # folder in the update part of a bundle


def save_added(part: Path, added: Sequence[NewData]) -> None:
    """Write the held-out rows of updates, on which later candidates are judged.

    Training rows are not written, only a summary of them. The methods may store some of them in their memories.

    Args:
        part: folder of a bundle's update part.
        added: data of the updates, in chronological order.
    """
    folder = part / ADDED
    for number, new_data in enumerate(added):
        folder.mkdir(exist_ok=True)
        tensors = {name: tensor for name, tensor in zip("xy", new_data.test, strict=True) if tensor is not None}
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / f"{number:04d}.safetensors")
        properties = {
            "name": new_data.name,
            "classes": list(new_data.classes),
            "log": new_data.log_id,
            "last": new_data.last_number,
            "taught": _summary_to_json(new_data.summary),
        }
        (folder / f"{number:04d}.json").write_text(json.dumps(properties) + "\n")


def load_added(part: Path) -> list[NewData]:
    """Read the data written by :func:`save_added`; the held-out rows substitute for the training rows.

    Raises:
        BundleError: a file cannot be read.
    """
    added = []
    for file in sorted((part / ADDED).glob("*.json")):
        try:
            properties, tensors = parse_json(file.read_text()), load_file(file.with_suffix(".safetensors"))
            rows = (tensors["x"], tensors.get("y"))
            # Bundles of earlier versions have neither the key log nor the key taught.
            summary = _summary_from_json(properties["taught"]) if "taught" in properties else TrainingSummary.of(*rows)
            new_data = NewData(
                name=str(properties["name"]),
                train=rows,
                test=rows,
                classes=tuple(map(str, properties["classes"])),
                last_number=int(properties["last"]),
                log_id=str(properties.get("log", "")),
                stored_summary=summary,
            )
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError) as error:
            raise BundleError(f"{file} cannot be read: {error}; restore the bundle") from error
        added.append(new_data)
    return added


def _summary_to_json(summary: TrainingSummary) -> dict[str, object]:
    """Return a summary as plain data, with None for infinity, which JSON lacks."""
    low, high = ([v if math.isfinite(v) else None for v in bounds] for bounds in (summary.low, summary.high))
    return {"classes": list(summary.classes), "low": low, "high": high}


def _summary_from_json(data: Mapping[str, Any]) -> TrainingSummary:
    def bounds(key: str, missing: float) -> tuple[float, ...]:
        values = data[key] if isinstance(data[key], list) else [data[key]]  # one number in an earlier version
        return tuple(missing if value is None else float(value) for value in values)

    low, high = bounds("low", math.inf), bounds("high", -math.inf)
    return TrainingSummary(classes=tuple(map(int, data["classes"])), low=low, high=high)


def extended_stream(stream: Stream, added: Sequence[NewData], experiment: Experiment, seed: int) -> Stream:
    """Return a stream with one more experience for each element of ``added`` and announced boundaries.

    Args:
        stream: stream of the run.
        added: data of the updates; the last element is the new data, and validation data are split off as in the run.
        experiment: experiment with the budget and the validation fraction.
        seed: seed of the run.
    """
    evaluated, trained = list(stream.evaluated), list(stream.experiences)
    for new_data in added:
        train, test = (array_source(x, y) for x, y in (new_data.train, new_data.test))
        index = len(evaluated)
        experience = Experience(index, new_data.name, train, test, experiment.budget, task_id=index)
        evaluated.append(experience)
        training_experience = attrs.evolve(experience, index=len(trained))
        seeds = Seeds(seed).child("stream")
        trained.append(_with_validation(training_experience, new_data, experiment.validation, seeds))
    spec = stream.spec
    if added and added[-1].classes:
        spec = attrs.evolve(
            spec,
            classes=len(added[-1].classes),
            class_names=added[-1].classes,
            task_classes=(*spec.task_classes, *(data.summary.classes for data in added)) if spec.task_classes else (),
        )
    announced = attrs.evolve(stream.visibility, boundaries="announced")
    return Stream(tuple(trained), spec, announced, tuple(evaluated) if evaluated != trained else ())


def _with_validation(experience: Experience, new_data: NewData, fraction: float, seeds: Seeds) -> Experience:
    """Split off validation data, as in the run; learners use them in training, and the gate never does."""
    if fraction and new_data.stored_summary is not None:
        return attrs.evolve(experience, validation=experience.train)  # this experience is not trained on again
    return hold_out_validation(experience, fraction, seeds) if fraction else experience
