"""Conversion of arrays to PNG images and animated GIFs, by Pillow."""

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

__all__ = ["Picture", "animated_gif", "figure_picture", "image_shape", "sprite", "tile_rows", "to_pixels"]

Array = np.ndarray[Any, Any]

GAP = 2  # pixels between tiles
MIN_TILE = 48  # pixels of the shorter side of an enlarged tile
MARGIN = 6  # pixels around names
FONT_SIZE = 16  # pixels; TensorBoard shrinks pages of tiles
MAX_VIDEO_WIDTH = 240  # pixels
VIDEO_COLORS = 64
FRAME_MILLISECONDS = 50
FIGURE_SCALE = 0.65  # relative to the size on paper
MAX_FIGURE_SIDE = 12.0  # inches


@frozen(eq=False)
class Picture:
    """An encoded image for a browser.

    Args:
        content: bytes of the file.
        suffix: ``png`` or ``gif``.
        height, width: size in pixels.
    """

    content: bytes
    suffix: str
    height: int
    width: int


def image_shape(*shapes: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Return the first shape that is an image's, as (channels, height, width), or None if there is none.

    Args:
        shapes: alternative shapes of one input.
    """
    for shape in shapes:
        full_shape = (1, *shape) if len(shape) == 2 else shape
        if len(full_shape) == 3 and full_shape[0] in (1, 3) and min(full_shape[1:]) >= 3:
            return full_shape
    return None


def to_pixels(x: Tensor, shape: tuple[int, int, int], low: float, high: float) -> Array:
    """Convert images to (N, height, width, 3) uint8.

    Args:
        x: (N, features), of any dtype.
        shape: (channels, height, width) of each image.
        low, high: values of black and white; values outside are clipped.
    """
    values = (x.reshape(-1, *shape).double().cpu().numpy() - low) / ((high - low) or 1.0)
    gray = np.rint(np.nan_to_num(values).clip(0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return gray if shape[0] == 3 else np.repeat(gray, 3, axis=3)


def tile_rows(rows: Sequence[tuple[str, Array]]) -> Picture:
    """Return rows of images, with the name of each row at its left.

    Args:
        rows: name and images (N, height, width, 3) uint8 of each row; small images are enlarged.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(FONT_SIZE)
    height, width = rows[0][1].shape[1:3]
    factor = max(1, math.ceil(MIN_TILE / min(height, width)))
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
    """Return images as the tiles of a square, row by row.

    Args:
        images: (N, height, width, 3) uint8.
        side: height and width of each tile in pixels.
    """
    from PIL import Image

    columns = math.ceil(math.sqrt(len(images)))
    page = Image.new("RGB", (columns * side, columns * side), (255, 255, 255))
    for i, image in enumerate(images):
        tile = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
        page.paste(tile, (i % columns * side, i // columns * side))
    return _png(page)


def animated_gif(frames: Sequence[Array], captions: Sequence[str]) -> Picture:
    """Return an animated GIF with captions in the upper left corner.

    Args:
        frames: (height, width, 3) uint8 each; large ones are shrunk.
        captions: one for each frame.
    """
    from PIL import Image, ImageDraw

    height, width = frames[0].shape[:2]
    factor = min(1.0, MAX_VIDEO_WIDTH / width)
    size = (round(width * factor), round(height * factor))
    images = []
    for frame, caption in zip(frames, captions, strict=True):
        image = Image.fromarray(frame).resize(size, Image.Resampling.BOX)
        corner, white = (MARGIN, MARGIN // 2), (255, 255, 255)
        ImageDraw.Draw(image).text(corner, caption, fill=(0, 0, 0), stroke_width=1, stroke_fill=white)
        images.append(image.quantize(VIDEO_COLORS))
    buffer = io.BytesIO()
    images[0].save(
        buffer, format="GIF", save_all=True, append_images=images[1:], duration=FRAME_MILLISECONDS, loop=0, disposal=1
    )
    return Picture(buffer.getvalue(), "gif", size[1], size[0])


def figure_picture(figure: Figure) -> Picture:
    """Return a figure of matplotlib as a PNG, scaled down because TensorBoard shows images small."""
    from PIL import Image

    width, height = figure.get_size_inches()
    factor = min(FIGURE_SCALE, MAX_FIGURE_SIDE / width, MAX_FIGURE_SIDE / height)
    figure.set_size_inches(width * factor, height * factor)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    columns, rows = Image.open(buffer).size
    return Picture(buffer.getvalue(), "png", rows, columns)


def _png(image: Image.Image) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return Picture(buffer.getvalue(), "png", image.height, image.width)
