"""Bundles of small runs, made through the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlcl.commands import main


@pytest.fixture(scope="session")
def exported_as() -> Callable[[str, Path], Path]:
    """Runs an experiment in a folder, and exports it there; gives the bundle."""

    def exported_as(text: str, folder: Path) -> Path:
        (folder / "model.yaml").write_text(f"name: model\n{text}")
        for arguments in (
            ["run", str(folder / "model.yaml"), "--root", str(folder / "runs"), "-q"],
            ["export", "model", "--root", str(folder / "runs"), "--to", str(folder / "model")],
        ):
            with pytest.raises(SystemExit) as ended:
                main(arguments)
            assert not ended.value.code
        return folder / "model"

    return exported_as
