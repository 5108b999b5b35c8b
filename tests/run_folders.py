"""Run folders as a run leaves them, written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONFIG = """name: {name}
learner:
  type: {learner}
  lr: {lr}
  methods:
  - type: l2
    strength: 1.0
  - type: ewc
    strength: 50.0
"""


def write_run(
    root: Path,
    name: str,
    metrics: Mapping[str, float] | None,
    *,
    learner: str = "ppo",
    lr: float = 0.001,
    state: str = "finished",
    packages: Mapping[str, str] | None = None,
    **status: Any,
) -> Path:
    """A run's folder; without metrics there is no summary."""
    path = root / name
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(CONFIG.format(name=name.split("/", maxsplit=1)[0], learner=learner, lr=lr))
    (path / "status.json").write_text(json.dumps({"state": state, "step": 10, **status}))
    (path / "manifest.json").write_text(json.dumps({"packages": dict(packages or {"torch": "2.8"}), "git": None}))
    if metrics is not None:
        summary = {"metrics": dict(metrics), "measures": ["return"], "experiences": ["a"], "names": [], "seconds": 2.5}
        (path / "summary.json").write_text(json.dumps(summary))
    return path
