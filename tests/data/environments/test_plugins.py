"""Environments that an installed package declares by entry points are found by their id alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest

from rlcl.data.environments.environment import Environment
from rlcl.errors import SettingError

SOURCE = """
import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv


def spaced():
    gym.register("Orchard/Apple-v0", entry_point=CartPoleEnv)


def broken():
    raise RuntimeError("rotten")


def bare():
    gym.register("OrchardPear-v0", entry_point=CartPoleEnv)
"""


@pytest.fixture
def orchard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package."""
    (tmp_path / "orchard_envs.py").write_text(SOURCE)
    about = tmp_path / "orchard_envs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: orchard-envs\nVersion: 1.0\n")
    lines = (
        "[gymnasium.envs]\nOrchard = orchard_envs:spaced\nRotten = orchard_envs:broken\n__root__ = orchard_envs:bare\n"
    )
    (about / "entry_points.txt").write_text(lines)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("Orchard/Apple-v0", "OrchardPear-v0"):
        gym.registry.pop(name, None)
    sys.modules.pop("orchard_envs", None)


@pytest.mark.usefixtures("orchard")
@pytest.mark.parametrize("name", ["Orchard/Apple-v0", "OrchardPear-v0"])
def test_an_environment_of_an_installed_package_needs_no_import(name: str) -> None:
    assert name not in gym.registry
    env = Environment(name, name=name).make()
    assert env.spec is not None and env.spec.id == name
    env.close()


@pytest.mark.usefixtures("orchard")
def test_a_misspelt_id_of_its_namespace_is_told_the_near_one() -> None:
    with pytest.raises(SettingError, match="did you mean Orchard/Apple-v0"):
        Environment("Orchard/Aple-v0", name="x").make()


@pytest.mark.usefixtures("orchard")
def test_a_package_that_fails_is_named_and_the_id_refused(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SettingError, match="no installed package declares the namespace"):
        Environment("Rotten/Plum-v0", name="x").make()
    assert "entry point orchard_envs:broken cannot be registered: RuntimeError: rotten" in caplog.text


def test_an_unknown_namespace_is_told_how_to_name_the_module() -> None:
    with pytest.raises(SettingError, match=r"no installed package declares the namespace of this id; .* module:Id"):
        Environment("Nowhere/Apple-v0", name="x").make()
