"""Names of components."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlcl import registry
from rlcl.errors import Problem

PART = "class Ewc: ...\nclass Other: ...\nTABLE = {'ewc': 'registry_part:Ewc'}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "registry_part.py").write_text(PART)
    (tmp_path / "own.py").write_text(PART)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "needy.py").write_text("import no_such_package_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "registry_part", raising=False)
    monkeypatch.setattr(registry, "KINDS", {"method": "registry_part:TABLE"})
    registry.entries.cache_clear()
    yield tmp_path
    registry.entries.cache_clear()


def test_a_name_leads_to_a_class_and_back() -> None:
    cls = registry.find("method", "ewc")
    assert cls.__qualname__ == "Ewc"
    assert "ewc" == registry.name_of("method", cls) == registry.name_of("method", cls())


def test_a_module_and_class_is_a_name() -> None:
    assert registry.name_of("method", registry.find("method", "registry_part:Other")) == "registry_part:Other"


def test_a_class_offered_by_another_module_keeps_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "registry_front.py").write_text("from registry_part import Ewc\nTABLE = {'ewc': 'registry_front:Ewc'}\n")
    monkeypatch.setattr(registry, "KINDS", {"method": "registry_front:TABLE"})
    registry.entries.cache_clear()
    assert registry.name_of("method", registry.find("method", "ewc")) == "ewc"


def test_a_file_and_class_is_a_name(folder: Path) -> None:
    cls = registry.find("method", "own.py:Other")
    assert f"{folder.as_posix()}/own.py:Other" == registry.name_of("method", cls)
    assert cls is registry.find("method", registry.name_of("method", cls))


def test_a_file_is_found_beside_the_config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert registry.find("method", "own.py:Other", relative_to=folder).__qualname__ == "Other"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ewcc", "unknown method 'ewcc'; did you mean ewc?"),
        ("nothing.at.all:Ewc", "no module named 'nothing'"),
        ("registry_part:Ewcc", "registry_part has no 'Ewcc'; did you mean Ewc?"),
        ("gone.py:Ewc", "no file gone.py; looked for"),
        ("own.py:Ewcc", "own.py has no 'Ewcc'; did you mean Ewc?"),
        ("broken.py:Ewc", "failed to import: ZeroDivisionError"),
        ("broken:Ewc", "importing broken failed: ZeroDivisionError"),
        ("needy:Ewc", "importing needy failed: No module named 'no_such_package_anywhere'"),
    ],
)
def test_a_name_that_leads_nowhere(name: str, message: str) -> None:
    with pytest.raises(Problem) as caught:
        registry.find("method", name)
    assert message in str(caught.value)


def test_a_synonym_names_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "SYNONYMS", {"consolidation": "ewc"})
    with pytest.raises(Problem, match=r"unknown method 'consolidation'; did you mean ewc\?"):
        registry.find("method", "consolidation")
