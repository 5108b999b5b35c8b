"""The docstrings of all that a config can hold say what each setting means."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from rlcl import registry
from rlcl.config import descriptions, settings
from rlcl.config.components import is_settings_group
from rlcl.config.rules import union_members
from rlcl.errors import Problem
from rlcl.experiment import Experiment
from rlcl.study.suite import SuiteDefinition


def components() -> Iterator[Any]:
    for kind in registry.KINDS:
        for name in registry.entries(kind):
            try:
                found = registry.find(kind, name)
            except Problem:  # it needs a package that is not installed here
                continue
            if inspect.isclass(found):  # some metrics and measures are instances, without settings
                yield found


def groups(hint: Any) -> Iterator[Any]:
    """The plain groups of settings that an annotation holds, at any depth."""
    for arm in union_members(hint):
        if is_settings_group(arm):
            yield arm
        for inner in get_args(arm):
            yield from groups(inner)


def classes() -> list[Any]:
    found: dict[Any, None] = {}
    waiting = [Experiment, SuiteDefinition, *components()]
    while waiting:
        cls = waiting.pop(0)
        if cls not in found:
            found[cls] = None
            waiting += [group for setting in settings(cls) for group in groups(setting.hint)]
    return list(found)


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: f"{cls.__module__}.{cls.__qualname__}")
def test_each_setting_is_described(cls: Any) -> None:
    assert [s.name for s in settings(cls) if s.name not in descriptions(cls)] == []
