"""Whether a seed determines what an environment does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from itertools import zip_longest
from typing import Any

import numpy as np

from rlcl.data.environments.environment import Environment
from rlcl.data.environments.seed_check import copied, same
from rlcl.doctor.findings import Finding
from rlcl.doctor.recording import Recording
from rlcl.doctor.rollouts import replay

__all__ = ["check_global_randomness", "check_seed"]

CHECK = "seed"
FROM_NP_RANDOM = "draw random numbers from self.np_random only, and call super().reset(seed=seed) first in reset"


def check_seed(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Compare two new environments with the same seed and the same actions, and with another seed."""
    steps = min(recording.steps, 300)
    one, other = (list(replay(source, recording.actions[:steps], seed)) for _ in range(2))
    for step, (a, b) in enumerate(zip_longest(one, other)):
        if a is None or b is None or not same(a, b):
            where = "the first observation" if step == 0 else f"result {step:,} (steps and resets are counted)"
            text = f"two environments with the same seed and the same actions differ in {where}"
            yield Finding(CHECK, "error", text, FROM_NP_RANDOM)
            return
    with closing(source.unguarded(checker=False)) as env:
        first, again = (copied(env.reset(seed=seed)[0]) for _ in range(2))
        if not same(first, again):
            yield Finding(
                CHECK,
                "error",
                "two resets of one environment with the same seed differ: it keeps state from the time before",
                "set all state in reset; " + FROM_NP_RANDOM,
            )
            return
        starts = [copied(env.reset(seed=seed + 1 + i)[0]) for i in range(3)]
    if steps and all(same(first, start) for start in starts) and _is_deterministic(source, recording, seed, steps):
        yield Finding(
            CHECK,
            "note",
            "the seed changes nothing: starts and transitions are deterministic",
            "with a deterministic policy, all episodes of an evaluation are the same; a few are enough",
        )
        return
    yield Finding(CHECK, "ok", f"the seed determines {steps:,} env steps")


def _is_deterministic(source: Environment, recording: Recording, seed: int, steps: int) -> bool:
    try:
        runs = [list(replay(source, recording.actions[:steps], seed + i)) for i in range(2)]
    except Exception:  # the actions may not be allowed after another start
        return False
    return all(a is not None and b is not None and same(a, b) for a, b in zip_longest(*runs))


def check_global_randomness(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Find draws from the global generators of NumPy and of Python."""
    before = _global_states()
    for _ in replay(source, recording.actions[:50], seed):
        pass
    changed = [name for name, state in _global_states().items() if not same(copied(state), copied(before[name]))]
    if changed:
        yield Finding(
            "global randomness",
            "warning",
            f"it draws from the global generator of {' and '.join(changed)}: other code that uses it changes the "
            "environment, and parallel environments repeat each other",
            FROM_NP_RANDOM,
        )
    else:
        yield Finding("global randomness", "ok", "no draws from global generators")


def _global_states() -> dict[str, Any]:
    legacy = np.random.get_state()  # noqa: NPY002
    return {"numpy.random": tuple(legacy), "random": repr(random.getstate())}
