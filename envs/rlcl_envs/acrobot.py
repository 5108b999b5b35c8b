"""Acrobot: two links with an actuated joint between them that must swing above a line."""

from __future__ import annotations

from collections.abc import Mapping
from math import pi
from typing import Any, Literal, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.acrobot import AcrobotEnv
from gymnasium.envs.classic_control.utils import maybe_parse_reset_bounds

from rlcl_envs.physics import Parameter
from rlcl_envs.single import ClassicSingle
from rlcl_envs.vector import Array, ClassicVector

__all__ = ["Acrobot", "AcrobotVector"]

Equations = Literal["book", "nips"]
TORQUES = np.array([-1.0, 0.0, 1.0])


class LinkConstants(NamedTuple):
    """Constants of the links in the equations of motion: numbers, or arrays (num_envs,)."""

    fixed_1: Any  # m1 lc1^2
    mass_2: Any
    fixed_2: Any  # l1^2 + lc2^2
    coupling: Any  # 2 l1 lc2
    moment: Any  # moment of inertia, the same for both links
    center_2: Any  # lc2^2
    reach: Any  # l1 lc2
    weight_1: Any  # (m1 lc1 + m2 l1) g
    weight_2: Any  # m2 lc2 g
    centrifugal: Any  # m2 l1 lc2
    coriolis: Any  # 2 m2 l1 lc2
    inertia_2: Any  # m2 lc2^2 + I2


def link_constants(m1: Any, m2: Any, l1: Any, lc1: Any, lc2: Any, moment: Any, g: Any) -> LinkConstants:
    """Compute the constants of the equations, in Gymnasium's order of operations."""
    center_2 = _square(lc2)
    return LinkConstants(
        fixed_1=m1 * _square(lc1),
        mass_2=m2,
        fixed_2=_square(l1) + center_2,
        coupling=2 * l1 * lc2,
        moment=moment,
        center_2=center_2,
        reach=l1 * lc2,
        weight_1=(m1 * lc1 + m2 * l1) * g,
        weight_2=m2 * lc2 * g,
        centrifugal=m2 * l1 * lc2,
        coriolis=2 * m2 * l1 * lc2,
        inertia_2=m2 * center_2 + moment,
    )


def accelerations(state: Any, torque: Any, k: LinkConstants, equations: Equations) -> tuple[Any, Any]:
    """Compute the angular accelerations of both joints, for numbers or arrays (num_envs,).

    Args:
        state: two angles in radians, the second relative to the first, and their velocities.
        torque: torque on the joint between the links.
        k: constants of the links.
        equations: equations of the ``book``, or of the ``nips`` paper, which lacks a term.

    Source: Sutton & Barto 2018, Reinforcement Learning, section 11.3 of the first edition.
    """
    theta_1, theta_2, velocity_1, velocity_2 = state
    cos, sin = np.cos(theta_2), np.sin(theta_2)
    d1 = k.fixed_1 + k.mass_2 * (k.fixed_2 + k.coupling * cos) + k.moment + k.moment
    d2 = k.mass_2 * (k.center_2 + k.reach * cos) + k.moment
    phi_2 = k.weight_2 * np.cos(theta_1 + theta_2 - pi / 2.0)
    phi_1 = (
        -k.centrifugal * _square(velocity_2) * sin
        - k.coriolis * velocity_2 * velocity_1 * sin
        + k.weight_1 * np.cos(theta_1 - pi / 2)
        + phi_2
    )
    effective_torque = torque + d2 / d1 * phi_1
    if equations == "book":
        effective_torque = effective_torque - k.centrifugal * _square(velocity_1) * sin
    acceleration_2 = (effective_torque - phi_2) / (k.inertia_2 - _square(d2) / d1)
    return -(d2 * acceleration_2 + phi_1) / d1, acceleration_2


class AcrobotVector(ClassicVector):
    """Vectorized Acrobot: all environments are computed in one NumPy step.

    State: angle of the first link, angle of the second link relative to the first, and their angular velocities.
    Observation: cosine and sine of both angles, and the velocities. Actions: torque -1, 0 or 1.

    Args:
        num_envs: number of environments, at least 1.
        max_episode_steps: env steps after which an episode is truncated.
        physics: values of parameters by name. The length of the second link is not a parameter: it affects only the
            rendering.
        book_or_nips: source of the equations of motion.

    Source: Sutton 1996; physics as in Gymnasium's Acrobot-v1.
    """

    gravity = Parameter(9.8)
    LINK_LENGTH_1 = Parameter(1.0, above=0)
    LINK_MASS_1 = Parameter(1.0, above=0)
    LINK_MASS_2 = Parameter(1.0, above=0)
    LINK_COM_POS_1 = Parameter(0.5, above=0)
    LINK_COM_POS_2 = Parameter(0.5, above=0)
    LINK_MOI = Parameter(1.0, above=0)
    MAX_VEL_1 = Parameter(4 * pi, above=0, high=4 * pi)
    MAX_VEL_2 = Parameter(9 * pi, above=0, high=9 * pi)
    torque_noise_max = Parameter(0.0, low=0)
    dt = Parameter(0.2, above=0)  # duration of a step in seconds

    START_SAMPLES = 4
    START_DTYPE = np.float32  # Gymnasium computes the first observation in single precision

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int = 500,
        physics: Mapping[str, Any] | None = None,
        book_or_nips: Equations = "book",
    ) -> None:
        high = np.array([1.0, 1.0, 1.0, 1.0, 4 * pi, 9 * pi], dtype=np.float32)
        self.book_or_nips: Equations = book_or_nips
        super().__init__(num_envs, max_episode_steps, physics, gym.spaces.Box(-high, high), gym.spaces.Discrete(3))

    def _derive(self) -> None:
        self._links = _links_of(self)
        self._max_velocities = np.stack([self.MAX_VEL_1, self.MAX_VEL_2])
        self._noisy_envs = np.flatnonzero(self.torque_noise_max)
        self._dt = self.dt

    def _start(self, samples: Array, options: Mapping[str, Any]) -> Array:
        low, high = maybe_parse_reset_bounds(dict(options), -0.1, 0.1)
        return low + (high - low) * samples

    def _observe(self, state: Array) -> Array:
        angles = state[:2]
        observations = np.empty((state.shape[1], 6), dtype=np.float32)
        observations[:, 0:4:2] = np.cos(angles).T
        observations[:, 1:4:2] = np.sin(angles).T
        observations[:, 4:] = state[2:].T
        return observations

    def _advance(self, actions: Array) -> tuple[Array, Array]:
        torque = TORQUES[actions]
        for i in self._noisy_envs.tolist():
            noise = self.torque_noise_max[i]
            torque[i] += self._generators[i].uniform(-noise, noise)  # type: ignore[union-attr]
        self.state = self._integrate(torque)
        angles, velocities = self.state[:2], self.state[2:]
        while (above := angles > pi).any():
            angles[above] -= 2 * pi
        while (below := angles < -pi).any():
            angles[below] += 2 * pi
        np.clip(velocities, -self._max_velocities, self._max_velocities, out=velocities)
        terminated = -np.cos(angles[0]) - np.cos(angles[1] + angles[0]) > 1.0
        return np.where(terminated, 0.0, -1.0), terminated

    def _integrate(self, torque: Array) -> Array:
        """Compute the next state with the classic fourth-order Runge-Kutta method."""
        state, dt = self.state, self._dt
        k1 = self._slope(state, torque)
        k2 = self._slope(state + dt / 2.0 * k1, torque)
        k3 = self._slope(state + dt / 2.0 * k2, torque)
        k4 = self._slope(state + dt * k3, torque)
        next_state: Array = state + dt / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)
        return next_state

    def _slope(self, state: Array, torque: Array) -> Array:
        slope = np.empty_like(state)
        slope[:2] = state[2:]
        slope[2], slope[3] = accelerations(state, torque, self._links, self.book_or_nips)
        return slope


class Acrobot(ClassicSingle, AcrobotEnv):
    """Gymnasium's Acrobot with parameters that can be changed by name, including gravity.

    Args:
        book_or_nips: source of the equations of motion.
        settings: ``physics``, and the settings of Gymnasium's environment.
    """

    vector = AcrobotVector
    gravity: float

    def __init__(self, book_or_nips: Equations = "book", **settings: Any) -> None:
        super().__init__(**settings)
        self.book_or_nips = book_or_nips

    def _dsdt(self, s_augmented: Array) -> tuple[Any, ...]:
        *state, torque = s_augmented
        first, second = accelerations(state, torque, _links_of(self), self.book_or_nips)  # type: ignore[arg-type]
        return state[2], state[3], first, second, 0.0


def _links_of(env: Any) -> LinkConstants:
    return link_constants(
        env.LINK_MASS_1,
        env.LINK_MASS_2,
        env.LINK_LENGTH_1,
        env.LINK_COM_POS_1,
        env.LINK_COM_POS_2,
        env.LINK_MOI,
        env.gravity,
    )


def _square(x: Any) -> Any:
    # For a number, x ** 2 is C's pow. For an array, it is x * x, which sometimes differs from pow by one bit.
    return np.float_power(x, 2)
