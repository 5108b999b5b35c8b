"""Checks of a stream against what a learner supports: its kind, and its task ids."""

from __future__ import annotations

from collections.abc import Collection

from rlcl.errors import UnsupportedError
from rlcl.registry import name_of
from rlcl.types import Network, Stream

__all__ = ["check_stream_kind", "check_task_ids"]

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


def check_task_ids(stream: Stream, network: Network) -> None:
    """Check that a stream tells the task of every example, for a network with one head per task.

    Args:
        stream: stream of arrays.
        network: the network, for the message.

    Raises:
        UnsupportedError: task ids are hidden, or the stream has none, as a drifting stream.
    """
    subject = f"network {name_of('network', network)} selects a head by the task id, but this stream"
    if not (stream.visibility.in_training and stream.visibility.at_evaluation):
        raise UnsupportedError(
            f"{subject} hides task ids; set stream.visibility.task_ids: visible, or use another network"
        )
    parts = [part for experience in stream for part in experience.parts]
    if any(part.task_id is None and part.arrays.task_ids is None for part in parts):
        raise UnsupportedError(f"{subject} has no task ids; use another network")
