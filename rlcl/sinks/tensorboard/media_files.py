"""Images and tables of a run for TensorBoard, kept as files, since they cannot be computed again later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from rlcl.sinks.tensorboard.pictures import Picture

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["MediaFiles"]


class MediaFiles:
    """A writer of images and Markdown tables, both to files and to TensorBoard.

    The path of a file is ``<folder>/<tag>/<step>.<suffix>``. Files of earlier sessions are written to TensorBoard
    again.

    Args:
        folder: folder for the files.
        writer: TensorBoard's writer.
    """

    def __init__(self, folder: Path, writer: SummaryWriter) -> None:
        self._folder, self._writer = folder, writer
        self._paths: set[Path] = set()
        for path in sorted(folder.glob("*/*"), key=lambda path: (int(path.stem), path)):
            self._paths.add(path)
            tag, step = unquote(path.parent.name), int(path.stem)
            if path.suffix == ".md":
                writer.add_text(tag, path.read_text(), step)
            else:
                self._add_image(tag, _read(path), step)

    def picture(self, tag: str, picture: Picture, step: int) -> None:
        """Write an image."""
        for path in self._new_path(tag, step, picture.suffix):
            path.write_bytes(picture.content)
            self._add_image(tag, picture, step)

    def table(self, tag: str, markdown: str, step: int) -> None:
        """Write a Markdown table."""
        for path in self._new_path(tag, step, "md"):
            path.write_text(markdown)
            self._writer.add_text(tag, markdown, step)

    def _new_path(self, tag: str, step: int, suffix: str) -> Iterator[Path]:
        """Yield the path of a file, unless it exists: a resumed run writes equal content."""
        path = self._folder / quote(tag, safe=" ") / f"{step:012d}.{suffix}"
        if path not in self._paths:
            self._paths.add(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            yield path

    def _add_image(self, tag: str, picture: Picture, step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        image = Summary.Image(
            height=picture.height, width=picture.width, colorspace=3, encoded_image_string=picture.content
        )
        self._writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)  # type: ignore[no-untyped-call]


def _read(path: Path) -> Picture:
    from PIL import Image

    with Image.open(path) as image:
        width, height = image.size
    return Picture(path.read_bytes(), path.suffix.removeprefix("."), height, width)
