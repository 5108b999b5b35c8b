"""JSON without what it does not have."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from rlcl.strict_json import json_text
from rlcl.tracking.folder import RunFolder, read_events, read_records
from rlcl.tracking.json_files import read_json
from rlcl.types import Event, Record

NAN = float("nan")


def refused(text: str) -> None:
    raise AssertionError(text)


@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf])
def test_what_is_not_finite_becomes_null(value: float) -> None:
    text = json_text({"a": [1.5, (value, "x")], "b": {"c": value}})
    assert {"a": [1.5, [None, "x"]], "b": {"c": None}} == json.loads(text, parse_constant=refused)
    assert '{"a":1.0}' == json_text({"a": 1.0}, separators=(",", ":"))


def test_a_run_folder_writes_no_nan_and_reads_it_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.open({})
    folder.write(Record("r", 0, 1, 0, 0, "accuracy", NAN))
    folder.write(Event(1, {"loss": NAN, "lr": 0.5}))
    folder.write_json("summary.json", {"R": [[NAN, 1.0]]})
    folder.close()
    for file in folder.path.glob("*.json*"):
        for line in file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]:
            json.loads(line, parse_constant=refused)
    (record,) = read_records(folder.path)
    (event,) = read_events(folder.path)
    assert math.isnan(record.value)
    assert (True, 0.5) == (math.isnan(event["loss"]), event["lr"])
    assert [[None, 1.0]] == read_json(folder.path / "summary.json")["R"]
