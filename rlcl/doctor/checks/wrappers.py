"""The wrappers of an environment and their order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from rlcl.data.environments.environment import Environment
from rlcl.doctor.findings import Finding
from rlcl.doctor.recording import Recording
from rlcl.doctor.rollouts import wrappers_of

__all__ = ["check_wrappers"]

CHECK = "wrappers"
RUNNING = ("NormalizeObservation", "NormalizeReward")
CHANGING_REWARDS = ("ClipReward", "TransformReward", "NormalizeReward")
STACKING = ("FrameStackObservation", "FrameStack")
RESIZING = ("ResizeObservation", "GrayscaleObservation", "AtariPreprocessing")


def check_wrappers(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """List the wrappers, and find orders and kinds that change what is measured."""
    with closing(source.unguarded(checker=False)) as env:
        outer_first = [type(layer).__name__ for layer in wrappers_of(env)]
        inner = type(env.unwrapped).__name__
    names = outer_first[::-1]  # in the order in which they were put around it
    findings = list(_about(names))
    yield from findings
    if not findings:
        yield Finding(CHECK, "ok", " < ".join([inner, *names]))


def _about(names: list[str]) -> Iterator[Finding]:
    for name in (name for name in names if name in RUNNING):
        yield Finding(
            CHECK,
            "warning",
            f"{name} keeps running statistics that evaluation environments and saved models do not share",
            "remove it, and use the encoder running_norm",
        )
    changed = [name for name in names if name in CHANGING_REWARDS]
    if changed:
        yield Finding(
            CHECK,
            "warning",
            f"{', '.join(changed)} changes rewards, so that the returns of evaluation are not those of the environment",
            "use the encoder running_norm with rewards: true, which normalizes rewards in training only",
        )
    statistics = [index for index, name in enumerate(names) if name == "RecordEpisodeStatistics"]
    if statistics and changed and max(statistics) > names.index(changed[0]):
        yield Finding(
            CHECK,
            "warning",
            f"RecordEpisodeStatistics is outside of {changed[0]}: it records changed rewards",
            "put RecordEpisodeStatistics next to the environment",
        )
    if names.count("TimeLimit") > 1:
        yield Finding(
            CHECK,
            "warning",
            "TimeLimit is around it twice; the shorter limit ends episodes",
            "remove one, or set one limit",
        )
    stacks = [index for index, name in enumerate(names) if name in STACKING]
    late = [name for name in names[min(stacks, default=len(names)) + 1 :] if name in RESIZING]
    if late:
        yield Finding(
            CHECK,
            "warning",
            f"{late[0]} is outside of {names[min(stacks)]}: it processes a stack, each frame several times",
            f"put {late[0]} inside of {names[min(stacks)]}",
        )
