"""Representations as the files that TensorBoard's projector reads."""

from __future__ import annotations

from pathlib import Path

from rlcl.tracking.folder import write_atomically
from rlcl.tracking.tensorboard.exhibits import Embedding
from rlcl.tracking.tensorboard.pictures import sprite

__all__ = ["write_embedding"]

SIDE = 32  # pixels of an image in the projector


def write_embedding(folder: Path, name: str, step: int, embedding: Embedding) -> None:
    """Adds one moment's representation to the projector.

    Args:
        folder: the run's, which TensorBoard reads.
        name: of the moment.
        step: of the moment; its number in the files' names.
        embedding: what is shown.
    """
    files = folder / "projector"
    files.mkdir(exist_ok=True)
    rows = ("\t".join(f"{value:.5g}" for value in row) for row in embedding.vectors.tolist())
    write_atomically(files / f"{step:012d} {_plain(name)}.tsv", "".join(f"{row}\n" for row in rows))
    labels = zip(embedding.labels, embedding.experiences, strict=True)
    table = "".join(f"{_plain(label)}\t{_plain(experience)}\n" for label, experience in labels)
    write_atomically(files / "metadata.tsv", f"label\texperience\n{table}")
    if embedding.images is not None:
        (files / "sprite.png").write_bytes(sprite(embedding.images, SIDE).content)
    write_atomically(folder / "projector_config.pbtxt", _config(files))


def _config(files: Path) -> str:
    """Of all moments that there are files of."""
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    config = ProjectorConfig()
    for path in sorted(files.glob("0*.tsv")):
        shown = config.embeddings.add(tensor_name=path.stem.partition(" ")[2])
        shown.tensor_path = f"{files.name}/{path.name}"
        shown.metadata_path = f"{files.name}/metadata.tsv"
        if (files / "sprite.png").exists():
            shown.sprite.image_path = f"{files.name}/sprite.png"
            shown.sprite.single_image_dim.extend([SIDE, SIDE])
    return str(text_format.MessageToString(config))


def _plain(text: str) -> str:
    """A text that is one cell of a table and part of a file's name."""
    return "".join(" " if letter in "\t\r\n/" else letter for letter in text)
