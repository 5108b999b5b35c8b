"""What a learner of a user's own has from the protocol, and what every registered one declares."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rlcl
from rlcl.registry import entries, find
from rlcl.types import Event, Experience, Learner, Position

KINDS = {"labelled", "regression", "unlabelled", "environment"}


class Least(Learner):
    measures = ("accuracy",)

    def __init__(self) -> None:
        self.position = Position()

    def prepare(self, setup: Any) -> None: ...

    def learn(self, experience: Experience) -> Iterator[Event | None]:
        yield None

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
        return x, None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None: ...


def test_what_has_a_default_need_not_be_said() -> None:
    learner = Least()
    assert not learner.resumable_within
    assert learner.needs == KINDS


def test_what_has_none_must_be() -> None:
    class Less(Least):
        load_state_dict = Learner.load_state_dict

    with pytest.raises(TypeError, match="load_state_dict"):
        Less()


@pytest.mark.parametrize("name", sorted(entries("learner")))
def test_every_learner_says_by_its_class_what_it_learns_from(name: str) -> None:
    needs = find("learner", name).needs
    assert needs
    assert needs <= KINDS


def test_learners_are_not_asked_by_getattr_what_they_are() -> None:
    # Of a library's objects, of torch's modules and by names that a table holds it is the only way.
    allowed = {"sb3", "avalanche"}
    folder = Path(rlcl.__file__).parent / "learners"
    found = [
        f"{path.relative_to(folder)}: {ast.unparse(node)}"
        for path in sorted(folder.rglob("*.py"))
        if path.relative_to(folder).parts[0] not in allowed
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"getattr", "hasattr"}
        and len(node.args) > 1
        and ast.unparse(node.args[0]) in {"learner", "self", "host", "method", "encoder", "member"}
    ]
    assert [] == found
