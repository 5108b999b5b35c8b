"""Checks of rewards, observations and episode lengths of training environments."""

from __future__ import annotations

import logging
import math
from typing import Any

import gymnasium as gym
import numpy as np
from attrs import define, field

from rlcl.errors import DivergenceError

__all__ = ["EnvironmentChecks"]

Array = np.ndarray[Any, Any]
logger = logging.getLogger(__name__)

CHECK_INTERVAL = 64  # steps of all environments between two checks of observations; a check takes a tenth of a step
LONG_EPISODE = 10_000  # env steps of one episode after which a warning is logged


@define(eq=False)
class EnvironmentChecks:
    """Checks of N parallel environments: rewards at each step, observations and episode lengths at intervals.

    Values that are not finite are errors. Observations outside of their space and very long episodes are warnings,
    each of which is logged once.

    Args:
        name: name of the environment.
        space: observation space of a single environment.
        steps: steps of each environment so far.
    """

    name: str
    space: gym.Space[Any]
    steps: int = 0
    _warned: set[str] = field(init=False, factory=set)

    def check_step(self, observations: Array, rewards: Array, lengths: Array) -> None:
        """Check one step of all environments.

        Args:
            observations: (N, *observation) current observations.
            rewards: (N,).
            lengths: (N,) env steps of the current episodes.

        Raises:
            DivergenceError: a reward or an observation is not finite.
        """
        self.steps += 1
        # The sum of squares is finite if all rewards are (below 1e150); it takes a sixth of the time of isfinite.
        if not math.isfinite(rewards.dot(rewards)):
            self._check_finite("rewards", rewards)
        if self.steps % CHECK_INTERVAL == 0:
            self.check_observations(observations)
            self._check_lengths(lengths)

    def check_observations(self, observations: Array) -> None:
        """Raise DivergenceError if observations are not finite; log one warning if they are outside of their space."""
        space = self.space
        if not isinstance(space, gym.spaces.Box) or not np.issubdtype(observations.dtype, np.floating):
            return
        self._check_finite("observations", observations)
        outside = (observations < space.low) | (observations > space.high)
        if "space" in self._warned or not outside.any():
            return
        self._warned.add("space")
        row, *element = (int(i) for i in np.argwhere(outside)[0])
        at = tuple(element)
        logger.warning(
            "environment %s returned an observation outside its observation_space: element %s is %s, allowed is [%s, "
            "%s], %s; widen the space or clip the observation",
            self.name,
            element,
            observations[(row, *at)],
            space.low[at],
            space.high[at],
            self._location(row, len(observations)),
        )

    def _check_lengths(self, lengths: Array) -> None:
        if "end" in self._warned or lengths.max() < LONG_EPISODE:
            return
        self._warned.add("end")
        row = int(lengths.argmax())
        logger.warning(
            "environment %s: an episode is not finished after %s env steps, %s; if episodes never end, set a time "
            "limit, for a registered environment by kwargs: {max_episode_steps: 1000}",
            self.name,
            f"{lengths[row]:,}",
            self._location(row, len(lengths)),
        )

    def _check_finite(self, quantity: str, values: Array) -> None:
        invalid = ~np.isfinite(values)
        if invalid.any():
            row = int(np.argwhere(invalid)[0][0])
            raise DivergenceError(
                f"environment {self.name} returned {quantity} that are not finite: {values[invalid][0]} "
                f"{self._location(row, len(values))}; fix the environment"
            )

    def _location(self, row: int, count: int) -> str:
        environment = f" in environment {row} of {count}" if count > 1 else ""
        return f"at env step {self.steps * count:,} of the experience{environment}"
