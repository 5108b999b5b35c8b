"""Where a bundle comes from: its manifest."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata, requires
from typing import Any

import attrs
import numpy as np

from rlcl.deploy.bundle import FORMAT
from rlcl.deploy.exporting.held_out import digests
from rlcl.evaluation.results import Results
from rlcl.launch.restored import Restored
from rlcl.tracking.folder import read_records
from rlcl.tracking.jsonlines import read_lines
from rlcl.tracking.manifest import data_hash, manifest
from rlcl.tracking.runs import Run
from rlcl.types import Spending

__all__ = ["lineage"]

ALSO = ("onnx", "onnxruntime", "onnxscript")  # of the extra that exports


def lineage(run: Run, restored: Restored, parity: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a bundle, as plain data.

    Args:
        run: that is exported.
        restored: from it.
        parity: what :func:`rlcl.deploy.exporting.parity.check_parity` found.
    """
    experiment, trainer = restored.experiment, restored.trainer
    here = manifest(trainer.stream, run.seed, experiment.threads, "cpu")
    return {
        "format": FORMAT.version,
        "exported": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "run": {"name": experiment.name, "hash": experiment.hash, "seed": run.seed},
        "data": data_hash(trainer.stream),
        "files": run.manifest.get("files", {}),
        "code": {"trained": run.manifest.get("git"), "exported": here["git"]},
        "versions": {
            "trained": run.manifest.get("packages", {}),
            "exported": {name: entry["version"] for name, entry in licences().items()},
        },
        "python": here["python"],
        "licences": {name: entry["licence"] for name, entry in licences().items()},
        "held_out": _held_out(run, restored),
        "parity": dict(parity),
        "costs": _costs(run, restored),
    }


def _held_out(run: Run, restored: Restored) -> list[dict[str, Any]]:
    trainer, sets = restored.trainer, []
    measure = trainer.learner.measures[0]
    results = Results(read_records(run.path), measure)
    for entry in digests(trainer.stream, trainer.evaluation):
        value = results.sign * results.R[-1, entry["index"]] if results.R.size else np.nan
        known = None if np.isnan(value) else float(value)
        load = {"experiment": "experiment.yaml", "seed": run.seed, "experience": entry["index"]}
        sets.append({**entry, "measure": measure, "result": known, "load": load})
    return sets


def _costs(run: Run, restored: Restored) -> dict[str, Any]:
    learner = restored.trainer.learner
    spent = attrs.asdict(learner.costs()) if isinstance(learner, Spending) else {}
    rows = list(read_lines(run.path / "costs.jsonl"))
    clock = {key: sum(float(row[key]) for row in rows) for key in ("seconds", "cpu_seconds")}
    return {**spent, "steps": run.summary.get("steps"), **clock}


def licences() -> dict[str, dict[str, str]]:
    """Version and licence of every package that rlcl stands on, as their authors state them."""
    required = [text for text in requires("rlcl") or () if "extra ==" not in text]
    wanted = [re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in required]
    found = {}
    for name in sorted({"rlcl", *wanted, *ALSO}):
        try:
            stated = metadata(name)
        except PackageNotFoundError:
            continue
        found[name] = {"version": stated["Version"], "licence": _licence(stated)}
    return found


def _licence(stated: Any) -> str:
    classified = [c.split(" :: ")[-1] for c in stated.get_all("Classifier") or () if c.startswith("License ::")]
    text = stated.get("License-Expression") or "; ".join(classified) or (stated.get("License") or "").split("\n")[0]
    return text or "not stated"
