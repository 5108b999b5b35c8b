"""A fixed sample of the matrix, ``sample.yaml``, is taken end to end; the whole of it is ``make matrix``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

SAMPLE = YAML(typ="safe", pure=True).load(Path(__file__).with_name("sample.yaml").read_text())
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What became of each, all in one process that imports everything once."""
    folder = tmp_path_factory.mktemp("matrix")
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "matrix", "--fixed-sample", "--folder", folder, "--output", folder / "found.json"]
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=1500, check=False
    )
    assert (folder / "found.json").exists(), ended.stdout + ended.stderr
    found: list[dict[str, Any]] = json.loads((folder / "found.json").read_text())
    return found


@pytest.mark.timeout(1600)  # the first one waits for all
@pytest.mark.parametrize("index", range(len(SAMPLE)))
def test_a_combination_goes_end_to_end(index: int, outcomes: list[dict[str, Any]]) -> None:
    found = outcomes[index]
    assert SAMPLE[index].items() <= found["row"].items()
    assert not found["failure"], f"{found['failure']} at {found['stage']}\n{found['text']}"
