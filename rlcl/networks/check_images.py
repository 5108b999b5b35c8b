"""Check of the channel axis of images, for networks that expect channels first."""

from __future__ import annotations

from rlcl.errors import UnsupportedError

__all__ = ["check_images"]

MAX_CHANNELS = 4  # of a typical image: grey, RGB, either with transparency, or four stacked frames


def check_images(name: str, shape: tuple[int, ...]) -> None:
    """Check that inputs are images with channels first.

    Args:
        name: of the network.
        shape: of one input.

    Raises:
        UnsupportedError: the inputs are not images, or their channels are last.
    """
    if len(shape) != 3:
        raise UnsupportedError(
            f"network {name} needs inputs of shape (channels, height, width), got {shape}; leave out the flatten "
            "encoder, or use mlp"
        )
    if _channels_last(*shape):
        raise UnsupportedError(
            f"network {name} needs inputs of shape (channels, height, width), and {shape} looks like (height, width, "
            f"channels): the network would use {shape[0]} rows as channels; add the encoder channels_first, for "
            "example encoder: [{type: scale}, {type: channels_first}]"
        )


def _channels_last(first: int, middle: int, last: int) -> bool:
    """Return whether a shape is a square image, or an image with few channels, whose channels are last."""
    if first == 1 or middle == last:
        return False
    return first == middle or last <= MAX_CHANNELS < first
