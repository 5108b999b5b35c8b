"""A finished run as a bundle."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from attrs import frozen
from safetensors.numpy import save

from rlcl.deploy.bundle import UPDATE, Bundle, seal
from rlcl.deploy.exporting.card import model_card
from rlcl.deploy.exporting.fields import array_field, incomplete
from rlcl.deploy.exporting.graphs import WithEncoded, array_graph, check_outputs, policy_graph
from rlcl.deploy.exporting.held_out import Reference, array_reference, with_holes
from rlcl.deploy.exporting.lineage import lineage
from rlcl.deploy.exporting.met import met
from rlcl.deploy.exporting.parity import answers, check_filled, check_parity
from rlcl.deploy.exporting.played import observed, played
from rlcl.deploy.exporting.traced import onnx_graph
from rlcl.deploy.model import ENCODED, Model
from rlcl.deploy.signature import Field, Signature
from rlcl.deploy.update_part import write_part
from rlcl.deploy.updating.incoming import Incoming
from rlcl.errors import BundleError, RunFolderError
from rlcl.experiment import dump
from rlcl.launch.restored import Restored, restore
from rlcl.report.profile.build import make_profile
from rlcl.state import flatten
from rlcl.strict_json import json_text
from rlcl.tracking.folder import disk_errors
from rlcl.tracking.runs import Run
from rlcl.training.trainer import Trainer
from rlcl.types import ArraySource, Graph, Stream

__all__ = ["Description", "Exported", "export", "profiled", "write_bundle"]

Array = np.ndarray[Any, Any]
STEPS = 1000  # env steps of a profile


@frozen(eq=False)
class Description:
    """What a bundle says of itself.

    Args:
        manifest: where it comes from.
        card: for people.
        profile: of the data, plain values.
    """

    manifest: Mapping[str, Any]
    card: str
    profile: Mapping[str, Any]


@frozen(eq=False)
class Exported:
    """What was written.

    Args:
        path: the bundle.
        signature, manifest: of it.
    """

    path: Path
    signature: Signature
    manifest: Mapping[str, Any]


def export(run: Run, target: Path, *, update: bool = True) -> Exported:
    """Writes a run's model as a bundle; a folder that is there is left alone.

    Args:
        run: finished.
        target: the bundle's folder, which must not be there.
        update: whether what updating alone needs is part of it.

    Raises:
        RunFolderError: the run is not finished.
        BundleError: the folder is there, or the ONNX graph does not answer as the learner does.
        UnsupportedError: the learner, an encoder or a network cannot be exported.
    """
    if run.state != "finished":
        reason = f" ({run.fault})" if run.fault else ""
        raise RunFolderError(f"{run.path} is {run.state}{reason}; finish it with rlcl run before it is exported")
    if target.exists():
        raise BundleError(f"{target} is there; remove it, or choose another folder with --to")
    restored = restore(run)

    def described(signature: Signature, parity: Mapping[str, Any], _: Bundle) -> Description:
        manifest, facts = lineage(run, restored, parity), profiled(restored, restored.trainer.stream, run.seed)
        return Description(manifest, model_card(run, restored, signature, manifest, facts), facts)

    return write_bundle(restored, target, described, update=update)


def profiled(restored: Restored, stream: Stream, seed: int) -> dict[str, Any]:
    """The profile of a stream, as ``rlcl profile`` has it.

    Args:
        restored: whose experiment it is.
        stream: what is to be looked at of it.
        seed: that it was made under.
    """
    return make_profile(attrs.evolve(restored.experiment, seeds=(seed,)), stream, STEPS).facts


def write_bundle(
    restored: Restored,
    target: Path,
    described: Callable[[Signature, Mapping[str, Any], Bundle], Description],
    *,
    update: bool = True,
    added: Sequence[Incoming] = (),
) -> Exported:
    """Writes a learner as a bundle: under another name first, and only if its graph answers as it does.

    Args:
        restored: the learner, and what it learned.
        target: the bundle's folder, which must not be there.
        described: makes manifest, model card and profile of the signature, what the check of parity found, and the
            bundle as far as it is written, whose model answers already.
        update: whether what updating alone needs is part of it.
        added: what updates have learned since the run, which the next one is judged on.

    Raises:
        BundleError: the ONNX graph does not answer as the learner does.
        UnsupportedError: the learner, an encoder or a network cannot be exported.
    """
    graph, fields, references = _prepared(restored.trainer, added)
    reference = references[0]
    signature = _signature(graph, fields, reference, restored.trainer)
    written = _written(graph, signature, reference)
    every = [answers(written, each.arrays()) for each in references]
    parity = check_parity(graph, every, references)
    with disk_errors(target):
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            temporary.mkdir(parents=True)
            _write(temporary, restored, graph, signature, written)
            kept = _watched(restored.trainer, temporary, reference, every[0])
            (temporary / "reference.safetensors").write_bytes(save(kept))
            description = described(signature, parity, Bundle(temporary))
            (temporary / "manifest.json").write_text(json_text(description.manifest, indent=2) + "\n")
            (temporary / "profile.json").write_text(json_text(description.profile, indent=1) + "\n")
            (temporary / "MODEL_CARD.md").write_text(description.card)
            if update:
                write_part(temporary / UPDATE, restored.state, added)
            seal(temporary)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Exported(target, signature, description.manifest)


def _prepared(trainer: Trainer, added: Sequence[Incoming]) -> tuple[Graph, tuple[Field, ...], list[Reference]]:
    """The graph, its inputs, and what it is checked on: first what is kept for monitoring."""
    stream = trainer.stream
    if stream.spec.kind != "environment":
        graph = array_graph(trainer.learner, stream)
        ranges = [(each.taught.low, each.taught.high) for each in added]
        columns, reading = stream.spec.columns, stream.spec.reading
        field = array_field(_seen(stream, len(added)), ranges, incomplete(stream), columns, reading)
        reference = array_reference(trainer, graph.tasks, field.dtype)
        if not field.missing:
            return graph, (field,), [reference]
        holes = with_holes(reference, trainer)
        check_filled(graph, holes, [column.name for column in field.columns])
        return graph, (field,), [reference, holes]
    how = observed(trainer)
    graph = policy_graph(trainer.learner, how.space if how.flat else None)
    return graph, how.fields, [played(trainer, graph, how, at_random=chance) for chance in (False, True)]


def _seen(stream: Stream, added: int) -> Iterator[ArraySource]:
    """What the inputs' bounds are of; of a table what is held out as well, for a column's range is soon left."""
    if stream.spec.columns:
        sources = [source for e in (*stream, *stream.evaluated) for _, source in e.splits]
        yield from (source for source in sources if source.kind == "arrays")
        return
    # Of what was added there is what was noted when it was learned.
    yield from (experience.arrays for experience in list(stream)[: len(stream) - added])


def _signature(graph: Graph, fields: tuple[Field, ...], reference: Reference, trainer: Trainer) -> Signature:
    made = check_outputs(trainer.learner, graph, _tensors(reference, slice(0, 2)))
    spec = trainer.stream.spec
    names = spec.class_names[: spec.classes] or tuple(map(str, range(spec.classes)))
    return Signature(
        kind=graph.kind,
        inputs=fields,
        outputs=tuple(_field(name, part) for name, part in zip(graph.outputs, made, strict=False)),
        classes=names if graph.kind == "classifier" else (),
        tasks=graph.tasks,
        state=tuple(Field(name=name, shape=(size,), dtype="float32") for name, size in graph.state.items()),
    )


def _field(name: str, made: torch.Tensor) -> Field:
    return Field(name=name, shape=tuple(made.shape[1:]), dtype=str(made.dtype).removeprefix("torch."))


def _tensors(reference: Reference, rows: slice) -> list[torch.Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(array[rows])) for array in reference.arrays().values()]


def _written(graph: Graph, signature: Signature, reference: Reference) -> bytes:
    outputs = [*graph.outputs, *(f"{field.name}.next" for field in signature.state)]
    example = _tensors(reference, slice(0, 3))
    outputs += [] if graph.encoded is None else [ENCODED]
    return onnx_graph(WithEncoded(graph), example, list(reference.arrays()), outputs)


def _write(folder: Path, restored: Restored, graph: Graph, signature: Signature, written: bytes) -> None:
    weights = {"network": dict(graph.module.state_dict()), "encoder": restored.trainer.encoder.state_dict()}
    tensors = {name.lstrip("/"): t.numpy() for name, t in flatten(weights)[1].items()}
    (folder / "weights.safetensors").write_bytes(save(tensors))
    (folder / "model.onnx").write_bytes(written)
    (folder / "signature.json").write_text(json_text(signature.to_json()) + "\n")
    (folder / "experiment.yaml").write_text(dump(restored.experiment))


def _watched(trainer: Trainer, folder: Path, reference: Reference, found: Mapping[str, Array]) -> dict[str, Array]:
    """What requests are compared with: the held-out sample, or what a policy meets."""
    if trainer.stream.spec.kind == "environment":
        arrays = met(trainer, Model(Bundle(folder)), observed(trainer))
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    labels = {} if reference.labels is None else {"labels": reference.labels}
    own = {f"output.{name}": array for name, array in found.items() if name != ENCODED}
    arrays = {**reference.arrays(), **labels, "experience": reference.experiences, **own}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}
