"""JSON files of a run: damaged ones are told of, whatever damaged them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlcl.tracking.json_files import read_json, read_object

DEEP = 10_000


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "it is not JSON"),
        ("[" * DEEP, "it is not JSON"),
        ("[" * DEEP + "]" * DEEP, "it is not JSON"),
        ('{"a":' * DEEP + "1" + "}" * DEEP, "it is not JSON"),
        ('{"a":' * 61 + "1" + "}" * 61, "it is not JSON"),
        ("9" * 5000, "it is not JSON"),
        ("\x00", "it is not JSON"),
        ("[1]", "it is not an object"),
        ("null", "it is not an object"),
    ],
    ids=range(9),
)
@pytest.mark.parametrize("name", ["status.json", "manifest.json", "summary.json", "suite.json"])
def test_what_is_no_object_is_told(tmp_path: Path, name: str, text: str, fault: str) -> None:
    (tmp_path / name).write_text(text)
    assert ({}, f"{name} is damaged: {fault}") == read_object(tmp_path / name)
    assert {} == read_json(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("status.json", {"state": 3}),
        ("status.json", {"state": "flying"}),
        ("status.json", {"step": "ten"}),
        ("status.json", {"step": 10**30}),
        ("status.json", {"error": "half \ud800"}),
        ("manifest.json", {"git": "abc"}),
        ("manifest.json", {"git": {"revision": 1}}),
        ("manifest.json", {"data": None}),
        ("manifest.json", {"packages": ["torch"]}),
        ("manifest.json", {"sessions": {}}),
        ("summary.json", {"metrics": [1]}),
        ("summary.json", {"metrics": {"a": "1"}}),
        ("summary.json", {"measures": "accuracy"}),
        ("summary.json", {"experiences": [1]}),
        ("summary.json", {"seconds": float("nan")}),
        ("summary.json", {"records": {"length": 1}}),
        ("suite.json", {"cells": {}}),
        ("suite.json", {"cells": [1]}),
        ("suite.json", {"cells": [{"labels": 1}]}),
        ("suite.json", {"definition": {"sweep": [1]}}),
        ("suite.json", {"statement": 1}),
    ],
)
def test_a_value_of_another_kind_is_told_by_its_key(tmp_path: Path, name: str, content: dict[str, Any]) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    found, fault = read_object(tmp_path / name)
    assert {} == found
    assert fault.startswith(f"{name} is damaged: {next(iter(content))} is ")


def test_what_rlcl_writes_is_read_and_so_is_what_it_does_not_know(tmp_path: Path) -> None:
    content = {"state": "finished", "step": 3, "seconds": 0.5, "later": [{"a": "é"}]}
    (tmp_path / "status.json").write_text(json.dumps(content))
    assert (content, "") == read_object(tmp_path / "status.json")


def test_a_folder_in_its_place_and_no_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "status.json").mkdir()
    assert ({}, "status.json cannot be read: Is a directory") == read_object(tmp_path / "status.json")
    assert ({}, "no summary.json") == read_object(tmp_path / "summary.json")
