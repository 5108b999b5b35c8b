"""Finished runs as ``rlcl compare`` reads them, written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlcl.evaluation.results import meanings


def stream(data: str = "digits", **settings: Any) -> dict[str, Any]:
    return {"type": "single", "data": {"type": data}, **settings}


def write_seed(
    root: Path,
    name: str,
    seed: int,
    metrics: Mapping[str, float],
    *,
    folder: str = "h",
    learner: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    manifest: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
    records: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """``root/name/folder/seed<k>``; the learner's only setting is its name unless it is given."""
    path = root / name / folder / f"seed{seed}"
    path.mkdir(parents=True)
    content = {
        "name": name,
        "stream": stream(),
        "learner": {"type": "classifier", "lr": 0.1, "methods": [{"type": name}], **(learner or {})},
        "budget": {"epochs": 1, "updates": None},
        "evaluation": {"every": "experience", "on": "all", "split": "test", "episodes": 20, "episode_steps": 100},
        **(config or {}),
    }
    told = {"measures": ["accuracy"], **(summary or {})}
    meant = meanings(told["measures"])
    written = {
        "config.yaml": content,  # JSON is YAML
        "status.json": {"state": "finished", "step": 10},
        "manifest.json": {"data": f"data of seed {seed}", "git": None, "packages": {}, **(manifest or {})},
        "summary.json": {
            "metrics": dict(metrics),
            "meaning": {key: meant[key].as_json for key in metrics if key in meant},
            "measures": ["accuracy"],
            "experiences": ["a"],
            "names": [],
            **(summary or {}),
        },
    }
    for file, each in written.items():
        (path / file).write_text(json.dumps(each))
    (path / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def write_learner(root: Path, name: str, values: Sequence[float], **settings: Any) -> None:
    """Seeds 0, 1, ... with one accuracy each."""
    for seed, value in enumerate(values):
        write_seed(root, name, seed, {"accuracy.average": value}, **settings)
