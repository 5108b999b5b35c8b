"""The check of a stream's kind against the kinds that a learner learns from."""

from __future__ import annotations

from collections.abc import Collection

from rlcl.errors import UnsupportedError

__all__ = ["check_kind"]

REMEDIES = {
    ("labelled", "regression"): "set regression: true of the data set if its target is a number to predict",
    ("regression", "labelled"): "use a learner of numbers, such as regressor",
    ("environment", "labelled"): "use a learner that acts, such as ppo",
    ("environment", "regression"): "use a learner that acts, such as ppo",
    ("environment", "unlabelled"): "use a learner that acts, such as ppo",
}


def check_kind(learner: str, needs: Collection[str], kind: str) -> None:
    """Refuse a stream of a kind that a learner does not learn from.

    Args:
        learner: its name.
        needs: the kinds of stream that it learns from.
        kind: of the stream; see :class:`rlcl.types.StreamSpec`.

    Raises:
        UnsupportedError: ``kind`` is not among ``needs``.
    """
    if kind in needs:
        return
    if set(needs) == {"environment"}:
        raise UnsupportedError(
            f"learner {learner} learns from environments, and this stream is {kind}; use a learner of data, such as "
            "classifier, or the stream environments"
        )
    remedies = [REMEDIES[kind, need] for need in sorted(needs) if (kind, need) in REMEDIES]
    remedy = f"; {remedies[0]}" if remedies else ""
    raise UnsupportedError(
        f"learner {learner} learns from {' or '.join(sorted(needs))} streams, and this one is {kind}{remedy}"
    )
