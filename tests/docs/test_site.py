"""The documentation as a site, and its extension of the API reference."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "-d", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    warnings = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
    assert (done.returncode, warnings) == (0, [])
    return folder


def test_it_builds_without_a_warning(site: Path) -> None:
    assert (site / "index.html").is_file()
    assert (site / "repository" / "CONTRIBUTING" / "index.html").is_file()


def test_arguments_of_attrs_classes_and_named_tuples_have_their_types(site: Path) -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import griffe
        from griffe_extension import ApiReference

        package = griffe.load("rlcl.types", extensions=griffe.load_extensions(ApiReference), search_paths=[str(ROOT)])
    finally:
        sys.path.remove(str(ROOT / "docs"))
    record, batch = package["records.Record"].parameters, package["methods.Batch"].parameters
    assert (str(record["value"].annotation), record["value"].default) == ("float", None)
    assert (str(batch["weights"].annotation), str(batch["weights"].default)) == ("Tensor | None", "None")
