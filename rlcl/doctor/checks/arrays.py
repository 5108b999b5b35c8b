"""Arrays that an environment writes into, or shares with its caller."""

from __future__ import annotations

from collections.abc import Iterator

from rlcl.data.environments.environment import Environment
from rlcl.data.environments.seed_check import same
from rlcl.doctor.findings import Finding
from rlcl.doctor.recording import Recording
from rlcl.doctor.rollouts import replay

__all__ = ["check_arrays"]

CHECK = "arrays"
STEPS = 60


def check_arrays(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Find observations that change later, or whose change by the caller changes the environment."""
    found = False
    if recording.overwritten_action is not None:
        found = True
        yield Finding(
            CHECK,
            "warning",
            f"env step {recording.overwritten_action:,} changed the action array that it received",
            "work on a copy: the changed action would be stored as the one that was taken",
        )
    if recording.overwritten is not None:
        found = True
        yield Finding(
            CHECK,
            "warning",
            f"env step {recording.overwritten:,} wrote into the observation that was returned before",
            "rlcl copies observations, other libraries do not; return a new array in each step",
        )
    actions = recording.actions[:STEPS]
    expected, found_later = (replay(source, actions, seed, careless) for careless in (False, True))
    if not all(same(a, b) for a, b in zip(expected, found_later, strict=False)):
        found = True
        yield Finding(
            CHECK,
            "warning",
            "writing into a returned observation changes the environment: the observation is a part of its state",
            "rlcl copies observations, other libraries and in-place preprocessing do not; return a copy of the state",
        )
    if not found:
        yield Finding(CHECK, "ok", "observations and actions are not shared with the environment")
