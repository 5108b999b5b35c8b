"""Pictures of classic control by Pillow alone, of Gymnasium's own environments and of ours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium.envs.classic_control import (
    AcrobotEnv,
    CartPoleEnv,
    Continuous_MountainCarEnv,
    MountainCarEnv,
    PendulumEnv,
)
from PIL import Image, ImageDraw

__all__ = ["picture"]

WIDTH, HEIGHT = 240, 160
FINER = 3  # drawn larger and made smaller, which smooths the edges
PAPER, INK, BODY, ACCENT, GOAL = (255, 255, 255), (60, 60, 60), (0, 114, 178), (213, 94, 0), (0, 158, 115)

Point = tuple[float, float]


class Sheet:
    """A sheet of paper in the environment's own lengths, its origin in the middle, y upwards.

    Args:
        width: of the whole sheet, in the environment's lengths.
        bottom: y of the lower edge.
    """

    def __init__(self, width: float, bottom: float) -> None:
        self._scale, self._bottom = WIDTH * FINER / width, bottom
        self._image = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def _at(self, point: Point) -> Point:
        x, y = point
        return WIDTH * FINER / 2 + x * self._scale, HEIGHT * FINER - (y - self._bottom) * self._scale

    def line(self, points: list[Point], color: tuple[int, int, int], width: float) -> None:
        """A line of a width in pixels of the finished picture."""
        self._draw.line([self._at(p) for p in points], fill=color, width=round(width * FINER), joint="curve")

    def dot(self, centre: Point, color: tuple[int, int, int], radius: float) -> None:
        x, y = self._at(centre)
        r = radius * FINER
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=color)

    def pixels(self) -> np.ndarray[Any, Any]:
        return np.asarray(self._image.resize((WIDTH, HEIGHT), Image.Resampling.BOX))


def picture(env: Any) -> np.ndarray[Any, Any] | None:
    """What an environment looks like now.

    Args:
        env: unwrapped.

    Returns:
        (160, 240, 3) uint8, or None where it is none that is known here, or has not been reset.
    """
    drawing = next((draw for kind, draw in DRAWINGS.items() if isinstance(env, kind)), None)
    if drawing is None or env.state is None:
        return None
    return drawing(env)


def _cartpole(env: Any) -> np.ndarray[Any, Any]:
    x, _, angle, _ = env.state
    sheet = Sheet(max(2 * env.x_threshold, 2 * env.x_threshold + env.length), -0.6)
    end = env.x_threshold
    sheet.line([(-end, 0), (end, 0)], INK, 1)
    sheet.line([(x - 0.25, 0.1), (x + 0.25, 0.1)], INK, 9)
    tip = (x + 2 * env.length * math.sin(angle), 0.2 + 2 * env.length * math.cos(angle))
    sheet.line([(x, 0.2), tip], ACCENT, 5)
    sheet.dot((x, 0.2), BODY, 3)
    return sheet.pixels()


def _mountain_car(env: Any) -> np.ndarray[Any, Any]:
    middle = (env.min_position + env.max_position) / 2
    sheet = Sheet(1.1 * (env.max_position - env.min_position), -0.05)

    def road(position: float) -> Point:
        return position - middle, 0.45 * math.sin(3 * position) + 0.55

    sheet.line([road(p) for p in np.linspace(env.min_position, env.max_position, 60).tolist()], INK, 2)
    x, y = road(env.goal_position)
    sheet.line([(x, y), (x, y + 0.15)], GOAL, 3)
    x, y = road(float(env.state[0]))
    sheet.dot((x, y + 0.04), BODY, 6)
    return sheet.pixels()


def _pendulum(env: Any) -> np.ndarray[Any, Any]:
    angle = float(env.state[0])
    sheet = Sheet(3 * 1.3 * env.l, -1.3 * env.l)
    tip = (-env.l * math.sin(angle), env.l * math.cos(angle))
    sheet.line([(0, 0), tip], ACCENT, 10)
    sheet.dot(tip, ACCENT, 5)
    sheet.dot((0, 0), INK, 4)
    return sheet.pixels()


def _acrobot(env: Any) -> np.ndarray[Any, Any]:
    first, second = float(env.state[0]), float(env.state[0] + env.state[1])
    one, two = env.LINK_LENGTH_1, env.LINK_LENGTH_2
    reach = 1.1 * (one + two)
    sheet = Sheet(3 * reach, -reach)
    sheet.line([(-1.5 * reach, one), (1.5 * reach, one)], GOAL, 1)
    elbow = (one * math.sin(first), -one * math.cos(first))
    hand = (elbow[0] + two * math.sin(second), elbow[1] - two * math.cos(second))
    sheet.line([(0, 0), elbow], BODY, 7)
    sheet.line([elbow, hand], ACCENT, 7)
    for joint in ((0.0, 0.0), elbow):
        sheet.dot(joint, INK, 4)
    return sheet.pixels()


DRAWINGS: Mapping[type, Callable[[Any], np.ndarray[Any, Any]]] = {
    CartPoleEnv: _cartpole,
    MountainCarEnv: _mountain_car,
    Continuous_MountainCarEnv: _mountain_car,
    PendulumEnv: _pendulum,
    AcrobotEnv: _acrobot,
}
