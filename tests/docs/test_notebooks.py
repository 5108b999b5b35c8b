"""Notebooks run from top to bottom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def outputs(book: Any) -> list[Any]:
    return [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]


def shown(book: Any, kind: str) -> list[str]:
    """What cells ended with, of one MIME type."""
    return [output.data[kind] for output in outputs(book) if "data" in output and kind in output.data]


def executed(name: str, folder: Path) -> Any:
    (path,) = [path for path in NOTEBOOKS if path.stem == name]
    book = nbformat.read(path, as_version=4)
    client = NotebookClient(book, timeout=200, resources={"metadata": {"path": str(folder)}})
    return client.execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_repository_holds_no_outputs(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    assert [] == outputs(book)
    assert all(cell.execution_count is None for cell in book.cells if cell.cell_type == "code")


def test_the_comparison_of_learners_runs(tmp_path: Path) -> None:
    book = executed("continual-classification", tmp_path)
    (table,) = shown(book, "text/markdown")
    accuracy = {row.split("|")[1].strip(): float(row.split("|")[2]) for row in table.splitlines()[2:]}
    assert accuracy["all at once"] > accuracy["rehearsal"] > accuracy["one after the other"]
    assert 3 == len(shown(book, "image/png"))


def test_the_policy_is_learned_and_filmed(tmp_path: Path) -> None:
    book = executed("continual-cartpole", tmp_path)
    assert 2 == len(shown(book, "image/png"))
    assert 1 == len(shown(book, "image/gif"))
