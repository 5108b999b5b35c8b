"""Vector environment whose environments run in parallel worker processes."""

from __future__ import annotations

import os
import queue
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState

from rlcl.data.environments.state import restore_single, single_state
from rlcl.error_origin import user_error
from rlcl.errors import EnvironmentApiError, RlclError
from rlcl.threads import set_threads

__all__ = ["WorkerEnv", "WorkerVectorEnv"]

AnyEnv = gym.Env[Any, Any]

ERROR_TIMEOUT = 10.0  # seconds to wait for the error of a worker that has failed


class WorkerEnv(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper of one environment in its worker process, which saves its state and attributes its errors.

    Args:
        env: the environment.
        name: name of the environment in the config.
        owner: id of the process that owns the workers. It makes one environment itself, to read its spaces.
    """

    def __init__(self, env: AnyEnv, name: str, owner: int) -> None:
        super().__init__(env)
        self._name = name
        if os.getpid() == owner:
            return
        # Ctrl-C reaches every process of a terminal. Only the owner handles it, and stops its workers.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        set_threads(1)  # OpenMP hangs in a process that was forked after its parent used several threads

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        with self._attributed_errors():
            return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        with self._attributed_errors():
            return self.env.step(action)

    @property
    def saved_state(self) -> dict[str, Any] | None:
        """State of the environment, None if it cannot be saved; setting it restores the state."""
        return single_state(self.env)

    @saved_state.setter
    def saved_state(self, state: Mapping[str, Any]) -> None:
        restore_single(self.env, state)

    @contextmanager
    def _attributed_errors(self) -> Iterator[None]:
        """Convert errors to messages, because tracebacks and some errors cannot be sent between processes."""
        try:
            yield
        except RlclError:
            raise
        except Exception as error:
            message = f"environment {self._name} raised {type(error).__name__}: {error}"
            raise user_error(error) or EnvironmentApiError(
                f"{message}; set vectorization: sync to see the traceback"
            ) from error


class WorkerVectorEnv(AsyncVectorEnv):
    """Gymnasium's vector environment in processes, which reports an error once and always ends its processes.

    Args:
        make: function that makes one environment.
        count: number of environments.
        mode: time at which a finished episode restarts.
        name: name for messages.

    Raises:
        EnvironmentApiError: an environment or its process failed.
    """

    def __init__(self, make: Callable[[], AnyEnv], count: int, mode: AutoresetMode, name: str) -> None:
        self._name, self._broken = name, False
        owner = os.getpid()
        # A fork takes milliseconds, and has the classes loaded from files. It is safe only on Linux; elsewhere each
        # process imports everything itself.
        context = "fork" if sys.platform == "linux" else None
        with self._reported_process_failures(), warnings.catch_warnings():
            # Python 3.12 warns about locks held by other threads: those of progress bars and TensorBoard, which
            # workers never acquire.
            warnings.filterwarnings("ignore", r"This process .* is multi-threaded", DeprecationWarning)
            super().__init__([lambda: WorkerEnv(make(), name, owner)] * count, context=context, autoreset_mode=mode)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        with self._reported_process_failures():
            return super().reset(seed=seed, options=options)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        with self._reported_process_failures():
            return super().step(actions)

    def call_wait(self, timeout: float | None = None) -> tuple[Any, ...]:
        with self._reported_process_failures():
            return super().call_wait(timeout)

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        # After an error, or an interrupt within a step, some workers have not replied; waiting for all would hang.
        if self._broken or self._state is not AsyncState.DEFAULT:
            self._state, terminate = AsyncState.DEFAULT, True
        super().close_extras(timeout, terminate)

    @contextmanager
    def _reported_process_failures(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            self._broken = True
            raise EnvironmentApiError(
                f"a process of environment {self._name} did not start or ended unexpectedly: it was killed or ran out "
                "of memory; set fewer num_envs, or vectorization: sync"
            ) from error

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        """Raise the error of the first failed worker; Gymnasium would warn about all errors and raise the last."""
        if all(successes):
            return
        self._broken = True
        try:
            _, _, error, _ = self.error_queue.get(timeout=ERROR_TIMEOUT)
        except queue.Empty:
            raise EnvironmentApiError(
                f"a process of environment {self._name} failed without an error message; set vectorization: sync"
            ) from None
        raise error
