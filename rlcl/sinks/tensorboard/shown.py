"""The pictures and tables of a run, kept as files: what the learner showed cannot be made again later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from rlcl.sinks.tensorboard.pictures import Picture

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["Shown"]


class Shown:
    """Writes pictures and Markdown both to files and to TensorBoard.

    A file is ``<folder>/<tag>/<step>.<suffix>``. Those of earlier sessions are shown again.

    Args:
        folder: of the files.
        writer: of TensorBoard.
    """

    def __init__(self, folder: Path, writer: SummaryWriter) -> None:
        self._folder, self._writer = folder, writer
        self._there: set[Path] = set()
        for path in sorted(folder.glob("*/*"), key=lambda path: (int(path.stem), path)):
            self._there.add(path)
            tag, step = unquote(path.parent.name), int(path.stem)
            if path.suffix == ".md":
                writer.add_text(tag, path.read_text(), step)
            else:
                self._picture(tag, _read(path), step)

    def picture(self, tag: str, picture: Picture, step: int) -> None:
        for path in self._new(tag, step, picture.suffix):
            path.write_bytes(picture.content)
            self._picture(tag, picture, step)

    def table(self, tag: str, markdown: str, step: int) -> None:
        for path in self._new(tag, step, "md"):
            path.write_text(markdown)
            self._writer.add_text(tag, markdown, step)

    def _new(self, tag: str, step: int, suffix: str) -> Iterator[Path]:
        """The path, unless it is there already: what a resumed run repeats is equal to it."""
        path = self._folder / quote(tag, safe=" ") / f"{step:012d}.{suffix}"
        if path not in self._there:
            self._there.add(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            yield path

    def _picture(self, tag: str, picture: Picture, step: int) -> None:
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
