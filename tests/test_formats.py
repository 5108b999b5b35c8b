"""What is stored in one version is read by the next, and any other is refused with the remedy."""

from __future__ import annotations

from typing import Any

import pytest

from rlcl.errors import Problem
from rlcl.formats import Format, parse_json

THIRD = Format("a box", 3, "Pack it anew", {1: lambda content: [*content, "a"], 2: lambda content: [*content, "b"]})


@pytest.mark.parametrize(("version", "content"), [(3, []), (2, ["b"]), (1, ["a", "b"])])
def test_older_versions_are_migrated_step_by_step(version: int, content: list[str]) -> None:
    assert content == THIRD.read(version, [])


@pytest.mark.parametrize("version", [0, 4, None, "3", True])
def test_other_versions_are_refused(version: Any) -> None:
    with pytest.raises(Problem) as caught:
        THIRD.read(version, [])
    assert f"a box of version {version!r}; this rlcl reads version 1 and 2 and 3. Pack it anew" == str(caught.value)


def test_what_is_nested_too_deeply_is_a_value_error_as_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000 + "]" * 100_000)
    with pytest.raises(ValueError):
        parse_json("{")
    assert {"a": [1]} == parse_json(b'{"a": [1]}')
