"""Steps per second, and where the time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import attrs
import numpy as np

from rlcl.data.environments.environment import Environment
from rlcl.doctor.findings import Finding
from rlcl.doctor.recording import Recording

__all__ = ["check_speed"]

CHECK = "speed"
SLOW = 2000.0  # env steps per second, below which the environment dominates the time of most learners
SLOW_RESET = 1e-3  # seconds
RENDERS = 5


def check_speed(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Measure steps, resets and rendering."""
    stepping, resetting = sum(recording.step_seconds), sum(recording.reset_seconds)
    rate = recording.steps / max(stepping + resetting, 1e-9)
    share = resetting / max(stepping + resetting, 1e-9)
    median, slowest = np.median(recording.step_seconds), max(recording.step_seconds)
    shown = (
        f"{rate:,.0f} env steps per second; step {median * 1e6:,.0f} us (slowest {slowest * 1e3:,.1f} ms), reset "
        f"{np.median(recording.reset_seconds) * 1e6:,.0f} us, {share:.0%} of the time in resets"
    )
    if share > 0.5 and np.median(recording.reset_seconds) > SLOW_RESET:
        yield Finding(CHECK, "warning", shown, "make reset cheaper: keep what does not change from __init__")
    elif rate < SLOW:
        yield Finding(
            CHECK,
            "note",
            shown,
            "set stream.vectorization: async with stream.num_envs, if the machine has several cores",
        )
    else:
        yield Finding(CHECK, "ok", shown)
    yield from _rendering(source, seed)


def _rendering(source: Environment, seed: int) -> Iterator[Finding]:
    try:
        rendering = attrs.evolve(source, kwargs={**source.kwargs, "render_mode": "rgb_array"})
        with closing(rendering.unguarded(checker=False)) as env:
            env.reset(seed=seed)
            began = time.perf_counter()
            frames = [env.render() for _ in range(RENDERS)]
            seconds = (time.perf_counter() - began) / RENDERS
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield Finding("rendering", "note", f"no frames with render_mode: rgb_array ({reason})", "rlcl watch needs it")
        return
    frame = frames[-1]
    if not isinstance(frame, np.ndarray) or frame.ndim != 3:
        yield Finding("rendering", "note", "render returns no image", "return (height, width, 3) uint8 for rgb_array")
        return
    yield Finding("rendering", "ok", f"frames of {frame.shape[1]} x {frame.shape[0]} pixels in {seconds * 1e3:,.1f} ms")
