"""Tasks of the rows of an experience."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rlcl.types import Experience

__all__ = ["has_single_tasks", "tasks_of"]


def tasks_of(experience: Experience) -> set[int | None]:
    """Return the visible task ids of an experience; None for rows whose task id is hidden."""
    tasks: set[int | None] = set()
    for part in experience.parts:
        ids = None if part.train.kind == "environment" else part.train.task_ids
        tasks |= {part.task_id} if ids is None else {*np.unique(ids).tolist()}
    return tasks


def has_single_tasks(experiences: Iterable[Experience]) -> bool:
    """Return whether all rows of each experience belong to one task, as far as task ids are visible."""
    return all(len(tasks_of(experience)) == 1 for experience in experiences)
