"""Arrays as PNG files and animated GIFs, by Pillow."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

__all__ = ["Picture", "animated", "drawn", "image_shape", "pixels", "sprite", "tiled"]

Array = np.ndarray[Any, Any]

GAP = 2  # pixels between tiles
TILE = 48  # pixels at least of a tile's shorter side, where it is enlarged
MARGIN = 6  # pixels around names
LETTERS = 16  # pixels that names are high, for pages of tiles are shown smaller
FILM_WIDTH = 240  # pixels at most
FILM_COLORS = 64
FRAME_MILLISECONDS = 50
TIGHTER = 0.65  # than on paper
LARGEST = 12.0  # inches of a figure


@frozen(eq=False)
class Picture:
    """A file that a browser shows.

    Args:
        content: its bytes.
        suffix: ``png`` or ``gif``.
        height, width: in pixels.
    """

    content: bytes
    suffix: str
    height: int
    width: int


def image_shape(*shapes: tuple[int, ...]) -> tuple[int, int, int] | None:
    """The first of some shapes of one input that is an image's, as (channels, height, width); None without one."""
    for shape in shapes:
        whole = (1, *shape) if len(shape) == 2 else shape
        if len(whole) == 3 and whole[0] in (1, 3) and min(whole[1:]) >= 3:
            return whole
    return None


def pixels(x: Tensor, shape: tuple[int, int, int], low: float, high: float) -> Array:
    """(N, height, width, 3) uint8 of images.

    Args:
        x: (N, features), of any dtype.
        shape: (channels, height, width) of each.
        low, high: what black and white stand for; what lies beyond is cut off.
    """
    values = (x.reshape(-1, *shape).double().cpu().numpy() - low) / ((high - low) or 1.0)
    grey = np.rint(np.nan_to_num(values).clip(0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return grey if shape[0] == 3 else np.repeat(grey, 3, axis=3)


def tiled(rows: Sequence[tuple[str, Array]]) -> Picture:
    """Rows of images, each with its name at the left.

    Args:
        rows: name and images (N, height, width, 3) uint8 of each row; small ones are enlarged.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(LETTERS)
    height, width = rows[0][1].shape[1:3]
    factor = max(1, math.ceil(TILE / min(height, width)))
    height, width = height * factor, width * factor
    left = max(math.ceil(font.getlength(name)) for name, _ in rows) + (2 * MARGIN if rows[0][0] else 0)
    columns = max(len(images) for _, images in rows)
    page = Image.new("RGB", (left + columns * (width + GAP), len(rows) * (height + GAP)), (255, 255, 255))
    draw = ImageDraw.Draw(page)
    for r, (name, images) in enumerate(rows):
        top = r * (height + GAP)
        draw.text((MARGIN, top + height // 2), name, fill=(0, 0, 0), font=font, anchor="lm")
        for c, image in enumerate(images):
            tile = Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
            page.paste(tile, (left + c * (width + GAP), top))
    return _png(page)


def sprite(images: Array, side: int) -> Picture:
    """Images (N, height, width, 3) uint8 as the tiles of a square, in rows, each made ``side`` pixels high and wide."""
    from PIL import Image

    across = math.ceil(math.sqrt(len(images)))
    page = Image.new("RGB", (across * side, across * side), (255, 255, 255))
    for i, image in enumerate(images):
        tile = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
        page.paste(tile, (i % across * side, i // across * side))
    return _png(page)


def animated(frames: Sequence[Array], captions: Sequence[str]) -> Picture:
    """A GIF of frames (height, width, 3) uint8, each with its caption in the upper left; large ones are shrunk."""
    from PIL import Image, ImageDraw

    height, width = frames[0].shape[:2]
    factor = min(1.0, FILM_WIDTH / width)
    size = (round(width * factor), round(height * factor))
    images = []
    for frame, caption in zip(frames, captions, strict=True):
        image = Image.fromarray(frame).resize(size, Image.Resampling.BOX)
        place, white = (MARGIN, MARGIN // 2), (255, 255, 255)
        ImageDraw.Draw(image).text(place, caption, fill=(0, 0, 0), stroke_width=1, stroke_fill=white)
        images.append(image.quantize(FILM_COLORS))
    buffer = io.BytesIO()
    images[0].save(
        buffer, format="GIF", save_all=True, append_images=images[1:], duration=FRAME_MILLISECONDS, loop=0, disposal=1
    )
    return Picture(buffer.getvalue(), "gif", size[1], size[0])


def drawn(figure: Figure) -> Picture:
    """A figure of matplotlib as a PNG, tight, for TensorBoard shows it small."""
    from PIL import Image

    width, height = figure.get_size_inches()
    factor = min(TIGHTER, LARGEST / width, LARGEST / height)
    figure.set_size_inches(width * factor, height * factor)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    columns, rows = Image.open(buffer).size
    return Picture(buffer.getvalue(), "png", rows, columns)


def _png(image: Image.Image) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return Picture(buffer.getvalue(), "png", image.height, image.width)
