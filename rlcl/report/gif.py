"""Films as one animated picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from rlcl.evaluation.filming import Film

__all__ = ["write_gif"]

LEAST_WIDTH = 360  # pixels; smaller frames are enlarged
BAR = 26  # below a frame, for the caption
HELD = 1200  # ms that an episode's last frame stays


def write_gif(path: Path, films: Sequence[Film], captions: Sequence[str], frame_ms: float) -> None:
    """Writes episodes one after the other, each frame with its episode and the return so far below.

    Args:
        path: of the file.
        films: at least one.
        captions: of each.
        frame_ms: milliseconds that a frame stays, at least 20: viewers slow faster ones down.
    """
    pictures, times = [], []
    for film, caption in zip(films, captions, strict=True):
        for frame, total in zip(film.frames, film.returns, strict=True):
            pictures.append(_captioned(Image.fromarray(frame), caption, f"return {total:,.5g}"))
            times.append(max(20, round(frame_ms)))
        times[-1] = HELD
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=times, loop=0, optimize=False)


def _captioned(picture: Image.Image, left: str, right: str) -> Image.Image:
    factor = -(-LEAST_WIDTH // picture.width)
    width, height = picture.width * factor, picture.height * factor
    page = Image.new("RGB", (width, height + BAR), "white")
    page.paste(picture.resize((width, height), Image.Resampling.NEAREST))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    draw.text((8, height + 5), left, fill="#1d1d1f", font=font)
    draw.text((width - 8, height + 5), right, fill="#1d1d1f", font=font, anchor="ra")
    return page.quantize(64, dither=Image.Dither.NONE)
