"""Rendering of the classic-control environments of Gymnasium and of rlcl_envs with Pillow."""

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

__all__ = ["render_image"]

WIDTH, HEIGHT = 240, 160
SUPERSAMPLING = 3  # images are drawn larger by this factor and then reduced, for smooth edges
PAPER, INK, BODY, ACCENT, GOAL = (255, 255, 255), (60, 60, 60), (0, 114, 178), (213, 94, 0), (0, 158, 115)

Point = tuple[float, float]


class Canvas:
    """An image with the environment's coordinates: the origin is in the horizontal centre, y points upwards.

    Args:
        width: width of the image, in the environment's unit of length.
        bottom: y coordinate of the lower edge.
    """

    def __init__(self, width: float, bottom: float) -> None:
        self._scale, self._bottom = WIDTH * SUPERSAMPLING / width, bottom
        self._image = Image.new("RGB", (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def _at(self, point: Point) -> Point:
        x, y = point
        return WIDTH * SUPERSAMPLING / 2 + x * self._scale, HEIGHT * SUPERSAMPLING - (y - self._bottom) * self._scale

    def line(self, points: list[Point], color: tuple[int, int, int], width: float) -> None:
        """Draw a line; ``width`` is in pixels of the final image."""
        self._draw.line([self._at(p) for p in points], fill=color, width=round(width * SUPERSAMPLING), joint="curve")

    def dot(self, centre: Point, color: tuple[int, int, int], radius: float) -> None:
        """Draw a filled circle; ``radius`` is in pixels of the final image."""
        x, y = self._at(centre)
        r = radius * SUPERSAMPLING
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=color)

    def pixels(self) -> np.ndarray[Any, Any]:
        """Return the final image, (160, 240, 3) uint8."""
        return np.asarray(self._image.resize((WIDTH, HEIGHT), Image.Resampling.BOX))


def render_image(env: Any) -> np.ndarray[Any, Any] | None:
    """Render the current state of an environment.

    Args:
        env: unwrapped environment.

    Returns:
        (160, 240, 3) uint8, or None if the environment is not supported or has not been reset.
    """
    render = next((function for cls, function in RENDERERS.items() if isinstance(env, cls)), None)
    if render is None or env.state is None:
        return None
    return render(env)


def _cartpole(env: Any) -> np.ndarray[Any, Any]:
    x, _, angle, _ = env.state
    canvas = Canvas(max(2 * env.x_threshold, 2 * env.x_threshold + env.length), -0.6)
    end = env.x_threshold
    canvas.line([(-end, 0), (end, 0)], INK, 1)
    canvas.line([(x - 0.25, 0.1), (x + 0.25, 0.1)], INK, 9)
    tip = (x + 2 * env.length * math.sin(angle), 0.2 + 2 * env.length * math.cos(angle))
    canvas.line([(x, 0.2), tip], ACCENT, 5)
    canvas.dot((x, 0.2), BODY, 3)
    return canvas.pixels()


def _mountain_car(env: Any) -> np.ndarray[Any, Any]:
    middle = (env.min_position + env.max_position) / 2
    canvas = Canvas(1.1 * (env.max_position - env.min_position), -0.05)

    def road(position: float) -> Point:
        return position - middle, 0.45 * math.sin(3 * position) + 0.55

    canvas.line([road(p) for p in np.linspace(env.min_position, env.max_position, 60).tolist()], INK, 2)
    x, y = road(env.goal_position)
    canvas.line([(x, y), (x, y + 0.15)], GOAL, 3)
    x, y = road(float(env.state[0]))
    canvas.dot((x, y + 0.04), BODY, 6)
    return canvas.pixels()


def _pendulum(env: Any) -> np.ndarray[Any, Any]:
    angle = float(env.state[0])
    canvas = Canvas(3 * 1.3 * env.l, -1.3 * env.l)
    tip = (-env.l * math.sin(angle), env.l * math.cos(angle))
    canvas.line([(0, 0), tip], ACCENT, 10)
    canvas.dot(tip, ACCENT, 5)
    canvas.dot((0, 0), INK, 4)
    return canvas.pixels()


def _acrobot(env: Any) -> np.ndarray[Any, Any]:
    first, second = float(env.state[0]), float(env.state[0] + env.state[1])
    one, two = env.LINK_LENGTH_1, env.LINK_LENGTH_2
    reach = 1.1 * (one + two)
    canvas = Canvas(3 * reach, -reach)
    canvas.line([(-1.5 * reach, one), (1.5 * reach, one)], GOAL, 1)
    elbow = (one * math.sin(first), -one * math.cos(first))
    hand = (elbow[0] + two * math.sin(second), elbow[1] - two * math.cos(second))
    canvas.line([(0, 0), elbow], BODY, 7)
    canvas.line([elbow, hand], ACCENT, 7)
    for joint in ((0.0, 0.0), elbow):
        canvas.dot(joint, INK, 4)
    return canvas.pixels()


RENDERERS: Mapping[type, Callable[[Any], np.ndarray[Any, Any]]] = {
    CartPoleEnv: _cartpole,
    MountainCarEnv: _mountain_car,
    Continuous_MountainCarEnv: _mountain_car,
    PendulumEnv: _pendulum,
    AcrobotEnv: _acrobot,
}
