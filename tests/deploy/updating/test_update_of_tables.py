"""A model that learned from a table with missing cells learns from more of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rlcl.commands import main
from rlcl.deploy.bundle import Bundle
from rlcl.deploy.deployment import Deployment


def test_rows_with_missing_cells_are_learned_and_profiled(bundle: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copytree(bundle("people"), tmp_path / "people")
    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(0, 100, 30), rng.integers(0, 3, 30), rng.integers(0, 990, 30)], 1).astype(np.float64)
    x[::3, 0] = np.nan
    np.savez(tmp_path / "new.npz", x=x, y=np.where(np.arange(30) % 2, "yes", "no"))
    with pytest.raises(SystemExit) as left:
        main(["update", str(tmp_path / "people"), "--from", str(tmp_path / "new.npz")])
    assert left.value.code in (0, 4, 5)  # judged, and not broken
    made = Bundle.open(Deployment(tmp_path / "people").bundle_folder("0001"))
    assert made.signature.inputs[0].missing
    before, new = json.loads((made.path / "profile.json").read_text())["experiences"]
    assert ("people", 81) == (before["name"], before["train"]["rows"])
    assert ("new", 30) == (new["name"], new["train"]["rows"] + new["test"]["rows"])
    card = (made.path / "MODEL_CARD.md").read_text()
    assert f"| 2 | new | {new['train']['rows']} |" in card[card.index("## Data") :]
