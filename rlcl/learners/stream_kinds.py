"""Check of a stream's kind against the kinds that a learner supports."""

from __future__ import annotations

from collections.abc import Collection

from rlcl.errors import UnsupportedError

__all__ = ["check_stream_kind"]

REMEDIES = {
    ("labelled", "regression"): "set regression: true of the data set if its target is numeric",
    ("regression", "labelled"): "use a regression learner, such as regressor",
    ("environment", "labelled"): "use a reinforcement learner, such as ppo",
    ("environment", "regression"): "use a reinforcement learner, such as ppo",
    ("environment", "unlabelled"): "use a reinforcement learner, such as ppo",
}


def check_stream_kind(learner: str, needs: Collection[str], kind: str) -> None:
    """Check that a learner supports the kind of a stream.

    Args:
        learner: name of the learner.
        needs: supported kinds of stream.
        kind: kind of the stream; see :class:`rlcl.types.StreamSpec`.

    Raises:
        UnsupportedError: ``kind`` is not among ``needs``.
    """
    if kind in needs:
        return
    if set(needs) == {"environment"}:
        raise UnsupportedError(
            f"learner {learner} learns from environments, and this stream is {kind}; use a learner for data, such as "
            "classifier, or the stream environments"
        )
    remedies = [REMEDIES[kind, need] for need in sorted(needs) if (kind, need) in REMEDIES]
    remedy = f"; {remedies[0]}" if remedies else ""
    raise UnsupportedError(
        f"learner {learner} learns from {' or '.join(sorted(needs))} streams, and this one is {kind}{remedy}"
    )
