"""Environments in processes of their own, which step at the same time."""

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
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState

from rlcl.blame import blamed
from rlcl.data.environments.state import environment_of_state, state_of_environment
from rlcl.errors import EnvironmentApiError, RlclError

__all__ = ["Worker", "Workers"]

AnyEnv = gym.Env[Any, Any]

ANSWER = 10.0  # seconds in which a worker that has failed says why


class Worker(gym.Wrapper[Any, Any, Any, Any]):
    """One environment as its process has it: tells its state, and whose mistake an error is.

    Args:
        env: the environment.
        name: as the config names it.
        owner: the process that all workers belong to, which makes one of them too, to look at its spaces.
    """

    def __init__(self, env: AnyEnv, name: str, owner: int) -> None:
        super().__init__(env)
        self._name = name
        if os.getpid() == owner:
            return
        # Ctrl-C reaches every process of a terminal: the owner decides what becomes of it, and ends its workers.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        torch.set_num_threads(1)  # OpenMP hangs in a process that was forked from one whose threads have worked

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        with self._blaming():
            return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        with self._blaming():
            return self.env.step(action)

    @property
    def saved(self) -> dict[str, Any] | None:
        """The state, and from it; None where it cannot be saved."""
        return state_of_environment(self.env)

    @saved.setter
    def saved(self, state: Mapping[str, Any]) -> None:
        environment_of_state(self.env, state)

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        """An error crosses between processes without its traceback, and not all can: so it is put into words here."""
        try:
            yield
        except RlclError:
            raise
        except Exception as error:
            said = f"environment {self._name} raised {type(error).__name__}: {error}"
            raise blamed(error) or EnvironmentApiError(f"{said}; vectorization: sync shows where") from error


class Workers(AsyncVectorEnv):
    """Gymnasium's environments in processes, whose errors are told once and whose processes always end.

    Args:
        make: one environment.
        count: how many.
        mode: when an ended episode restarts.
        name: for messages.

    Raises:
        EnvironmentApiError: an environment, or its process, failed.
    """

    def __init__(self, make: Callable[[], AnyEnv], count: int, mode: AutoresetMode, name: str) -> None:
        self._name, self._broken = name, False
        owner = os.getpid()
        # A fork takes milliseconds, and knows classes from a file; elsewhere it is not safe, and each imports anew.
        context = "fork" if sys.platform == "linux" else None
        with self._watching(), warnings.catch_warnings():
            # Python 3.12 warns of locks that other threads hold: progress and TensorBoard's, which no worker takes.
            warnings.filterwarnings("ignore", r"This process .* is multi-threaded", DeprecationWarning)
            super().__init__([lambda: Worker(make(), name, owner)] * count, context=context, autoreset_mode=mode)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        with self._watching():
            return super().reset(seed=seed, options=options)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        with self._watching():
            return super().step(actions)

    def call_wait(self, timeout: float | None = None) -> tuple[Any, ...]:
        with self._watching():
            return super().call_wait(timeout)

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        # After an error, or an interrupt within a step, some have answered and others have not: to wait for all hangs.
        if self._broken or self._state is not AsyncState.DEFAULT:
            self._state, terminate = AsyncState.DEFAULT, True
        super().close_extras(timeout, terminate)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            self._broken = True
            raise EnvironmentApiError(
                f"a process of environment {self._name} did not start, or ended before its time: it was killed, or "
                "short of memory; set fewer num_envs, or vectorization: sync"
            ) from error

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        """Raises what the first failed worker says; Gymnasium gives warnings of all of them, and raises the last."""
        if all(successes):
            return
        self._broken = True
        try:
            _, _, error, _ = self.error_queue.get(timeout=ANSWER)
        except queue.Empty:
            raise EnvironmentApiError(f"a process of environment {self._name} failed, and cannot say why") from None
        raise error
