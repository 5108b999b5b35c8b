"""Writer of representations for TensorBoard's projector."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from rlcl.sinks.tensorboard.learner_images import Embedding
from rlcl.sinks.tensorboard.pictures import sprite
from rlcl.tracking.folder import write_atomically

__all__ = ["write_embedding"]

SIDE = 32  # pixels of an image in the projector


def write_embedding(folder: Path, name: str, step: int, embedding: Embedding) -> None:
    """Add the representation at one boundary to the projector.

    Args:
        folder: folder in the run folder that TensorBoard reads.
        name: name of the boundary.
        step: step of the boundary, also in the name of the file.
        embedding: the representation.
    """
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import EmbeddingInfo, ProjectorConfig

    files = folder / "projector"
    files.mkdir(exist_ok=True)
    info = EmbeddingInfo(tensor_name=name, tensor_path=f"{files.name}/{step:012d}.tsv")
    numbers = ((f"{value:.5g}" for value in row) for row in embedding.vectors.tolist())
    write_atomically(folder / info.tensor_path, _rows(numbers))
    labels = zip(embedding.labels, embedding.experiences, strict=True)
    info.metadata_path = _write_by_hash(folder, _rows([("label", "experience"), *labels]).encode(), "tsv")
    if embedding.images is not None:
        info.sprite.image_path = _write_by_hash(folder, sprite(embedding.images, SIDE).content, "png")
        info.sprite.single_image_dim.extend([SIDE, SIDE])
    path = folder / "projector_config.pbtxt"
    previous = text_format.Parse(path.read_text(), ProjectorConfig()).embeddings if path.exists() else ()
    others = [other for other in previous if other.tensor_path != info.tensor_path]
    write_atomically(path, str(text_format.MessageToString(ProjectorConfig(embeddings=[*others, info]))))


def _write_by_hash(folder: Path, content: bytes, suffix: str) -> str:
    """Write a file whose name is a hash of its content, and return its path within the folder.

    Boundaries with the same inputs share one file.
    """
    path = folder / "projector" / f"{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"
    path.write_bytes(content)
    return f"{path.parent.name}/{path.name}"


def _rows(rows: Iterable[Iterable[str]]) -> str:
    """Return rows as tab-separated lines."""
    to_spaces = str.maketrans("\t\r\n", "   ")
    return "".join("\t".join(cell.translate(to_spaces) for cell in row) + "\n" for row in rows)
