"""What is wrong with what environments give, said while they run and not by what it makes of a learner."""

from __future__ import annotations

import logging
import math
from typing import Any

import gymnasium as gym
import numpy as np
from attrs import define, field

from rlcl.errors import DivergenceError

__all__ = ["Watch"]

Array = np.ndarray[Any, Any]
logger = logging.getLogger(__name__)

SAMPLED = 64  # steps of all environments from one look at their observations to the next, which costs a tenth of a step
ENDLESS = 10_000  # env steps of one episode, after which its environment is asked whether it ends


@define(eq=False)
class Watch:
    """Looks at rewards always, and at observations and the length of episodes now and then.

    What cannot be learned from is an error; what may be meant is a warning, said once.

    Args:
        name: of the environment.
        space: of one observation.
        steps: made by each environment so far.
    """

    name: str
    space: gym.Space[Any]
    steps: int = 0
    _said: set[str] = field(init=False, factory=set)

    def step(self, observations: Array, rewards: Array, lengths: Array) -> None:
        """One step of all environments.

        Args:
            observations: (N, *observation) to act in next.
            rewards: (N,).
            lengths: (N,) env steps of the episodes in progress.

        Raises:
            DivergenceError: a reward or an observation is not finite.
        """
        self.steps += 1
        # The sum of squares is finite where all are (and below 1e150), in a sixth of the time of asking each.
        if not math.isfinite(rewards.dot(rewards)):
            self._finite("rewards", rewards)
        if self.steps % SAMPLED == 0:
            self.look(observations)
            self._ends(lengths)

    def look(self, observations: Array) -> None:
        """Raises DivergenceError where observations are not finite, and says once where they leave their space."""
        space = self.space
        if not isinstance(space, gym.spaces.Box) or not np.issubdtype(observations.dtype, np.floating):
            return
        self._finite("observations", observations)
        outside = (observations < space.low) | (observations > space.high)
        if "space" in self._said or not outside.any():
            return
        self._said.add("space")
        which, *element = (int(i) for i in np.argwhere(outside)[0])
        place = tuple(element)
        logger.warning(
            "environment %s gave an observation outside its observation_space: element %s is %s, allowed is [%s, %s], "
            "%s; widen the space or clip the observation",
            self.name,
            element,
            observations[(which, *place)],
            space.low[place],
            space.high[place],
            self._where(which, len(observations)),
        )

    def _ends(self, lengths: Array) -> None:
        if "end" in self._said or lengths.max() < ENDLESS:
            return
        self._said.add("end")
        which = int(lengths.argmax())
        logger.warning(
            "environment %s: an episode has gone on for %s env steps without an end, %s; if it never ends, give it a "
            "time limit, for a registered one by kwargs: {max_episode_steps: 1000}",
            self.name,
            f"{lengths[which]:,}",
            self._where(which, len(lengths)),
        )

    def _finite(self, what: str, values: Array) -> None:
        wrong = ~np.isfinite(values)
        if wrong.any():
            which = int(np.argwhere(wrong)[0][0])
            raise DivergenceError(
                f"environment {self.name} gave {what} that are not finite: {values[wrong][0]} "
                f"{self._where(which, len(values))}; mend it"
            )

    def _where(self, which: int, count: int) -> str:
        side_by_side = f" in environment {which} of {count}" if count > 1 else ""
        return f"at env step {self.steps * count:,} of the experience{side_by_side}"
