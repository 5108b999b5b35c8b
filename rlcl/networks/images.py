"""Which axis of an image has its channels, where a network reads them first."""

from __future__ import annotations

from rlcl.errors import UnsupportedError

__all__ = ["check_images"]

FEW = 4  # channels of an image: brightness or colours, with or without transparency, or so many frames


def check_images(name: str, shape: tuple[int, ...]) -> None:
    """Raises UnsupportedError for inputs that are no images, or have their channels last.

    Args:
        name: of the network.
        shape: of one input.
    """
    if len(shape) != 3:
        raise UnsupportedError(
            f"network {name} needs inputs of shape (channels, height, width), got {shape}; leave out the flatten "
            "encoder, or use mlp"
        )
    if _channels_last(*shape):
        raise UnsupportedError(
            f"network {name} reads inputs of shape (channels, height, width), and {shape} look like (height, width, "
            f"channels): it would take {shape[0]} rows for channels; add the encoder channels_first, for example "
            "encoder: [{type: scale}, {type: channels_first}]"
        )


def _channels_last(first: int, middle: int, last: int) -> bool:
    """A square image with another number of channels, or one with few channels, all of it with the channels last."""
    if first == 1 or middle == last:
        return False
    return first == middle or last <= FEW < first
