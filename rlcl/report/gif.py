"""Animated GIF of episodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from rlcl.evaluation.episode_video import EpisodeVideo

__all__ = ["write_gif"]

MIN_WIDTH = 360  # pixels; smaller frames are enlarged
CAPTION_HEIGHT = 26  # pixels below a frame
LAST_FRAME_MS = 1200  # duration of the last frame of an episode


def write_gif(path: Path, videos: Sequence[EpisodeVideo], captions: Sequence[str], frame_ms: float) -> None:
    """Write episodes one after the other, with a caption and the return so far below each frame.

    Args:
        path: the file.
        videos: at least one episode.
        captions: caption of each episode.
        frame_ms: duration of a frame in milliseconds, at least 20 because viewers slow down faster videos.
    """
    images, durations = [], []
    for video, caption in zip(videos, captions, strict=True):
        for frame, total in zip(video.frames, video.returns, strict=True):
            images.append(_captioned(Image.fromarray(frame), caption, f"return {total:,.5g}"))
            durations.append(max(20, round(frame_ms)))
        durations[-1] = LAST_FRAME_MS
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False)


def _captioned(image: Image.Image, left: str, right: str) -> Image.Image:
    factor = -(-MIN_WIDTH // image.width)
    width, height = image.width * factor, image.height * factor
    canvas = Image.new("RGB", (width, height + CAPTION_HEIGHT), "white")
    canvas.paste(image.resize((width, height), Image.Resampling.NEAREST))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    draw.text((8, height + 5), left, fill="#1d1d1f", font=font)
    draw.text((width - 8, height + 5), right, fill="#1d1d1f", font=font, anchor="ra")
    return canvas.quantize(64, dither=Image.Dither.NONE)
