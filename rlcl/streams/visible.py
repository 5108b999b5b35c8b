"""What a protocol shows of a stream."""

from __future__ import annotations

import attrs

from rlcl.streams.stream import Stream
from rlcl.types import Experience
from rlcl.types import Stream as AnyStream

__all__ = ["visible"]


def visible(stream: AnyStream) -> Stream:
    """The stream as the protocol shows it to a learner.

    Test data are taken away, and task ids and the classes of tasks where they are hidden. Where
    boundaries are hidden there is one experience, drawn in the stream's order, for a new one would
    be an announcement.
    """
    visibility = stream.visibility
    shown = tuple(_for_learning(e, visibility.in_training) for e in stream)
    spec = stream.spec
    if visibility.task_ids == "hidden":
        spec = attrs.evolve(spec, task_classes=())
    if visibility.boundaries == "hidden" and len(shown) > 1:
        shown = (attrs.evolve(shown[0], index=0, name="stream", task_id=None, segments=shown),)
    return Stream(shown, spec, visibility)


def _for_learning(experience: Experience, task_ids: bool) -> Experience:
    learned = attrs.evolve(experience, test=None)
    if task_ids:
        return learned
    return attrs.evolve(learned, task_id=None).with_sources(lambda source: source.without_task_ids())
