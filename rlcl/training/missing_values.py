"""Check that an encoder leaves no missing values, which learners do not support."""

from __future__ import annotations

from rlcl.errors import UnsupportedError
from rlcl.learners.minibatches import fitting_rows
from rlcl.state import clone_state
from rlcl.types import Encoder, Stream

__all__ = ["check_missing_values"]


def check_missing_values(stream: Stream, encoder: Encoder) -> None:
    """Check that the encoder leaves no NaN in the rows of a stream that have missing values.

    The check does nothing if ``stream.spec.missing`` is false. The state of the encoder does not change.

    Args:
        stream: the stream.
        encoder: encoder in its state before any training.

    Raises:
        UnsupportedError: an encoded row contains NaN.
    """
    if not stream.spec.missing:
        return
    state = clone_state(encoder.state_dict())
    encoder.fit(fitting_rows(stream[0].arrays))
    try:
        for experience in (*stream, *stream.evaluated):
            for split, source in experience.splits:
                assert source.kind == "arrays"
                x = source.read()[0]
                rows = x.isnan().flatten(1).any(1)
                if bool(rows.any()) and bool(encoder.encode(x[rows], experience.task_id or 0).isnan().any()):
                    raise UnsupportedError(
                        f"encoder: the {split} set of {experience.name} has missing values, and the encoder does not "
                        "replace them; add impute to its list"
                    )
    finally:
        encoder.load_state_dict(state)
