"""Whether an environment can be made in worker processes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

from gymnasium.vector.utils import CloudpickleWrapper

from rlcl.data.environments.environment import Environment
from rlcl.doctor.findings import Finding
from rlcl.doctor.recording import Recording
from rlcl.errors import short_error

__all__ = ["check_pickle"]

CHECK = "worker processes"


def check_pickle(source: Environment, recording: Recording, seed: int) -> Iterator[Finding]:
    """Pickle what makes the environment, as vector environments in other processes do."""
    try:
        pickle.dumps(CloudpickleWrapper(source.make))
    except Exception as error:
        reason = short_error(error)
        yield Finding(
            CHECK,
            "warning",
            f"what makes the environment cannot be pickled ({reason})",
            "open files, windows and connections in __init__, not in a module or in kwargs",
        )
        return
    yield Finding(CHECK, "ok", "it can be made in other processes (vectorization: async)")
