"""View of a stream for the learner, without the information that is hidden from the learner."""

from __future__ import annotations

import attrs

from rlcl.streams.stream import Stream
from rlcl.types import Experience
from rlcl.types import Stream as AnyStream

__all__ = ["learner_view"]


def learner_view(stream: AnyStream) -> Stream:
    """Return the view of a stream that a learner receives.

    Test data are removed, and so are task ids and the classes of tasks if they are hidden. If boundaries are hidden,
    the stream has a single experience with the others as segments, in order, because the start of an experience
    would announce a boundary.
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
    without_test = attrs.evolve(experience, test=None)
    if task_ids:
        return without_test
    return attrs.evolve(without_test, task_id=None).with_sources(lambda source: source.without_task_ids())
