"""Export of a finished run as a bundle."""

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
from rlcl.deploy.exporting.fields import array_field, has_missing_values
from rlcl.deploy.exporting.graphs import WithEncoded, array_graph, check_outputs, policy_graph
from rlcl.deploy.exporting.lineage import lineage
from rlcl.deploy.exporting.onnx_export import onnx_graph
from rlcl.deploy.exporting.parity import check_imputation, check_parity, run_graph
from rlcl.deploy.exporting.policy_reference import policy_reference
from rlcl.deploy.exporting.policy_rollouts import observation_format, policy_rollouts
from rlcl.deploy.exporting.reference_rows import ReferenceRows, array_reference, with_missing_values
from rlcl.deploy.model import ENCODED, Model
from rlcl.deploy.signature import Field, Signature
from rlcl.deploy.update_part import write_part
from rlcl.deploy.updating.new_data import NewData
from rlcl.errors import BundleError, RunFolderError
from rlcl.experiment import dump
from rlcl.launch.restored_run import RestoredRun, restore_run
from rlcl.report.profile.build import make_profile
from rlcl.state import flatten
from rlcl.strict_json import json_text
from rlcl.tracking.folder import disk_errors
from rlcl.tracking.runs import StoredRun
from rlcl.training.trainer import Trainer
from rlcl.types import ArraySource, Graph, Stream

__all__ = ["BundleDescription", "ExportedBundle", "data_profile", "export", "write_bundle"]

Array = np.ndarray[Any, Any]
PROFILE_STEPS = 1000  # env steps per environment of a data profile


@frozen(eq=False)
class BundleDescription:
    """Metadata of a bundle.

    Args:
        manifest: lineage of the bundle.
        card: model card in Markdown.
        profile: data profile as plain values.
    """

    manifest: Mapping[str, Any]
    card: str
    profile: Mapping[str, Any]


@frozen(eq=False)
class ExportedBundle:
    """Exported bundle.

    Args:
        path: folder of the bundle.
        signature, manifest: contents of the files of these names.
    """

    path: Path
    signature: Signature
    manifest: Mapping[str, Any]


def export(run: StoredRun, target: Path, *, update: bool = True) -> ExportedBundle:
    """Write a run's model as a bundle.

    Args:
        run: finished run.
        target: folder of the bundle; must not exist.
        update: whether to include the update part.

    Raises:
        RunFolderError: the run is not finished.
        BundleError: the folder exists, or the outputs of the ONNX graph differ from the learner's.
        UnsupportedError: the learner, an encoder or a network cannot be exported.
    """
    if run.state != "finished":
        reason = f" ({run.fault})" if run.fault else ""
        raise RunFolderError(f"{run.path} is {run.state}{reason}; finish it with rlcl run before the export")
    if target.exists():
        raise BundleError(f"{target} exists; remove it, or choose another folder with --to")
    restored = restore_run(run)

    def describe(signature: Signature, parity: Mapping[str, Any], _: Bundle) -> BundleDescription:
        manifest, profile = lineage(run, restored, parity), data_profile(restored, restored.trainer.stream, run.seed)
        return BundleDescription(manifest, model_card(run, restored, signature, manifest, profile), profile)

    return write_bundle(restored, target, describe, update=update)


def data_profile(restored: RestoredRun, stream: Stream, seed: int) -> dict[str, Any]:
    """Compute the data profile of a stream, as ``rlcl profile`` does.

    Args:
        restored: restored run with the experiment.
        stream: the experiment's stream, or a part of it.
        seed: seed of the stream.
    """
    return make_profile(attrs.evolve(restored.experiment, seeds=(seed,)), stream, PROFILE_STEPS).facts


def write_bundle(
    restored: RestoredRun,
    target: Path,
    describe: Callable[[Signature, Mapping[str, Any], Bundle], BundleDescription],
    *,
    update: bool = True,
    added: Sequence[NewData] = (),
) -> ExportedBundle:
    """Write a learner as a bundle, to a temporary folder first, if the outputs of its ONNX graph equal the learner's.

    Args:
        restored: restored run with the trained learner.
        target: folder of the bundle; must not exist.
        describe: function that creates manifest, model card and profile from the signature, the result of the parity
            check, and the incomplete bundle, whose model can already predict.
        update: whether to include the update part.
        added: data of updates since the run, on which later candidates are judged.

    Raises:
        BundleError: the outputs of the ONNX graph differ from the learner's.
        UnsupportedError: the learner, an encoder or a network cannot be exported.
    """
    graph, fields, references = _graph_and_references(restored.trainer, added)
    reference = references[0]
    signature = _signature(graph, fields, reference, restored.trainer)
    onnx_bytes = _onnx_bytes(graph, signature, reference)
    outputs = [run_graph(onnx_bytes, rows.arrays()) for rows in references]
    parity = check_parity(graph, outputs, references)
    with disk_errors(target):
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            temporary.mkdir(parents=True)
            _write_model(temporary, restored, graph, signature, onnx_bytes)
            monitoring_arrays = _monitoring_arrays(restored.trainer, temporary, reference, outputs[0])
            (temporary / "reference.safetensors").write_bytes(save(monitoring_arrays))
            description = describe(signature, parity, Bundle(temporary))
            (temporary / "manifest.json").write_text(json_text(description.manifest, indent=2) + "\n")
            (temporary / "profile.json").write_text(json_text(description.profile, indent=1) + "\n")
            (temporary / "MODEL_CARD.md").write_text(description.card)
            if update:
                write_part(temporary / UPDATE, restored.state, added)
            seal(temporary)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return ExportedBundle(target, signature, description.manifest)


def _graph_and_references(
    trainer: Trainer, added: Sequence[NewData]
) -> tuple[Graph, tuple[Field, ...], list[ReferenceRows]]:
    """Return the graph, its inputs, and the rows of the parity check; the first ones are stored for monitoring."""
    stream = trainer.stream
    if stream.spec.kind != "environment":
        graph = array_graph(trainer.learner, stream)
        ranges = [(data.summary.low, data.summary.high) for data in added]
        columns, reading = stream.spec.columns, stream.spec.reading
        field = array_field(_bounding_sources(stream, len(added)), ranges, has_missing_values(stream), columns, reading)
        reference = array_reference(trainer, graph.tasks, field.dtype)
        if not field.missing:
            return graph, (field,), [reference]
        incomplete = with_missing_values(reference, trainer)
        check_imputation(graph, incomplete, [column.name for column in field.columns])
        return graph, (field,), [reference, incomplete]
    observations = observation_format(trainer)
    graph = policy_graph(trainer.learner, observations.space if observations.flat else None)
    rollouts = [policy_rollouts(trainer, graph, observations, random=random) for random in (False, True)]
    return graph, observations.fields, rollouts


def _bounding_sources(stream: Stream, added: int) -> Iterator[ArraySource]:
    """Yield the data that determine the inputs' bounds.

    For tables they include held-out data, because values often exceed the range of a single column slightly.
    """
    if stream.spec.columns:
        sources = [source for e in (*stream, *stream.evaluated) for _, source in e.splits]
        yield from (source for source in sources if source.kind == "arrays")
        return
    # The training rows of updates are not stored; their ranges are.
    yield from (experience.arrays for experience in list(stream)[: len(stream) - added])


def _signature(graph: Graph, fields: tuple[Field, ...], reference: ReferenceRows, trainer: Trainer) -> Signature:
    tensors = check_outputs(trainer.learner, graph, _tensors(reference, slice(0, 2)))
    spec = trainer.stream.spec
    names = spec.class_names[: spec.classes] or tuple(map(str, range(spec.classes)))
    return Signature(
        kind=graph.kind,
        inputs=fields,
        outputs=tuple(_field(name, tensor) for name, tensor in zip(graph.outputs, tensors, strict=False)),
        classes=names if graph.kind == "classifier" else (),
        tasks=graph.tasks,
        state=tuple(Field(name=name, shape=(size,), dtype="float32") for name, size in graph.state.items()),
    )


def _field(name: str, output: torch.Tensor) -> Field:
    return Field(name=name, shape=tuple(output.shape[1:]), dtype=str(output.dtype).removeprefix("torch."))


def _tensors(reference: ReferenceRows, rows: slice) -> list[torch.Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(array[rows])) for array in reference.arrays().values()]


def _onnx_bytes(graph: Graph, signature: Signature, reference: ReferenceRows) -> bytes:
    outputs = [*graph.outputs, *(f"{field.name}.next" for field in signature.state)]
    example = _tensors(reference, slice(0, 3))
    outputs += [] if graph.encoded is None else [ENCODED]
    return onnx_graph(WithEncoded(graph), example, list(reference.arrays()), outputs)


def _write_model(folder: Path, restored: RestoredRun, graph: Graph, signature: Signature, onnx_bytes: bytes) -> None:
    weights = {"network": dict(graph.module.state_dict()), "encoder": restored.trainer.encoder.state_dict()}
    tensors = {name.lstrip("/"): t.numpy() for name, t in flatten(weights)[1].items()}
    (folder / "weights.safetensors").write_bytes(save(tensors))
    (folder / "model.onnx").write_bytes(onnx_bytes)
    (folder / "signature.json").write_text(json_text(signature.to_json()) + "\n")
    (folder / "experiment.yaml").write_text(dump(restored.experiment))


def _monitoring_arrays(
    trainer: Trainer, folder: Path, reference: ReferenceRows, outputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the arrays that monitoring compares requests with: held-out rows, or rollouts of a policy."""
    if trainer.stream.spec.kind == "environment":
        arrays = policy_reference(trainer, Model(Bundle(folder)), observation_format(trainer))
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    labels = {} if reference.labels is None else {"labels": reference.labels}
    named_outputs = {f"output.{name}": array for name, array in outputs.items() if name != ENCODED}
    arrays = {**reference.arrays(), **labels, "experience": reference.experiences, **named_outputs}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}
