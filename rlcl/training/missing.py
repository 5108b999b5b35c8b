"""Whether an encoder leaves values missing, which no learner takes."""

from __future__ import annotations

from rlcl.errors import UnsupportedError
from rlcl.learners.minibatches import fitted_on
from rlcl.state import cloned
from rlcl.types import Encoder, Stream

__all__ = ["check_missing"]


def check_missing(stream: Stream, encoder: Encoder) -> None:
    """Encodes the rows of a stream in which values are missing, and leaves the encoder as it was.

    Args:
        stream: whose data say that values may be missing.
        encoder: as it is before any training.

    Raises:
        UnsupportedError: what it makes of them still holds NaN.
    """
    if not stream.spec.missing:
        return
    state = cloned(encoder.state_dict())
    encoder.fit(fitted_on(stream[0].arrays))
    try:
        for experience in (*stream, *stream.evaluated):
            for split, source in experience.splits:
                assert source.kind == "arrays"
                x = source.read()[0]
                rows = x.isnan().flatten(1).any(1)
                if bool(rows.any()) and bool(encoder.encode(x[rows]).isnan().any()):
                    raise UnsupportedError(
                        f"encoder: values are missing in the {split} set of {experience.name}, it leaves them so, and "
                        "no learner takes them; put impute into its list"
                    )
    finally:
        encoder.load_state_dict(state)
