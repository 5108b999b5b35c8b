"""Representations as the files that TensorBoard's projector reads."""

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
    """Adds one moment's representation to the projector.

    Args:
        folder: the run's, which TensorBoard reads.
        name: of the moment.
        step: of the moment; its number in the file's name.
        embedding: what is shown.
    """
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import EmbeddingInfo, ProjectorConfig

    files = folder / "projector"
    files.mkdir(exist_ok=True)
    shown = EmbeddingInfo(tensor_name=name, tensor_path=f"{files.name}/{step:012d}.tsv")
    numbers = ((f"{value:.5g}" for value in row) for row in embedding.vectors.tolist())
    write_atomically(folder / shown.tensor_path, _rows(numbers))
    labels = zip(embedding.labels, embedding.experiences, strict=True)
    shown.metadata_path = _kept(folder, _rows([("label", "experience"), *labels]).encode(), "tsv")
    if embedding.images is not None:
        shown.sprite.image_path = _kept(folder, sprite(embedding.images, SIDE).content, "png")
        shown.sprite.single_image_dim.extend([SIDE, SIDE])
    place = folder / "projector_config.pbtxt"
    known = text_format.Parse(place.read_text(), ProjectorConfig()).embeddings if place.exists() else ()
    others = [other for other in known if other.tensor_path != shown.tensor_path]
    write_atomically(place, str(text_format.MessageToString(ProjectorConfig(embeddings=[*others, shown]))))


def _kept(folder: Path, content: bytes, suffix: str) -> str:
    """The path of a file with this content, within the folder: moments that show the same inputs share it."""
    path = folder / "projector" / f"{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"
    path.write_bytes(content)
    return f"{path.parent.name}/{path.name}"


def _rows(rows: Iterable[Iterable[str]]) -> str:
    """Tab-separated lines."""
    plain = str.maketrans("\t\r\n", "   ")
    return "".join("\t".join(cell.translate(plain) for cell in row) + "\n" for row in rows)
