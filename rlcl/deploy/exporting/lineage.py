"""Manifest of a bundle: its run, data, code, dependencies, held-out sets, parity check and costs."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata, requires
from typing import Any

import attrs
import numpy as np

from rlcl.deploy.bundle import FORMAT
from rlcl.deploy.exporting.reference_rows import held_out_digests
from rlcl.evaluation.results import Results
from rlcl.launch.restored_run import RestoredRun
from rlcl.tracking.folder import read_costs, read_records
from rlcl.tracking.manifest import data_hash, manifest
from rlcl.tracking.runs import StoredRun
from rlcl.types import Spending

__all__ = ["lineage"]

EXPORT_PACKAGES = ("onnx", "onnxruntime", "onnxscript")  # packages of the optional dependency group deploy


def lineage(run: StoredRun, restored: RestoredRun, parity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a bundle as plain data.

    Args:
        run: exported run.
        restored: the run's restored learner.
        parity: result of :func:`rlcl.deploy.exporting.parity.check_parity`.
    """
    experiment, trainer = restored.experiment, restored.trainer
    current = manifest(trainer.stream, run.seed, experiment.threads, "cpu")
    return {
        "format": FORMAT.version,
        "exported": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "run": {"name": experiment.name, "hash": experiment.hash, "seed": run.seed},
        "data": data_hash(trainer.stream),
        "files": run.manifest.get("files", {}),
        "code": {"trained": run.manifest.get("git"), "exported": current["git"]},
        "versions": {
            "trained": run.manifest.get("packages", {}),
            "exported": {name: entry["version"] for name, entry in licences().items()},
        },
        "python": current["python"],
        "licences": {name: entry["licence"] for name, entry in licences().items()},
        "held_out": _held_out(run, restored),
        "parity": dict(parity),
        "costs": _costs(run, restored),
    }


def _held_out(run: StoredRun, restored: RestoredRun) -> list[dict[str, Any]]:
    trainer, sets = restored.trainer, []
    measure = trainer.learner.measures[0]
    results = Results(read_records(run.path), measure)
    for entry in held_out_digests(trainer.stream, trainer.evaluation):
        last = results.R[-1] if results.R.size else np.empty(0)  # a task that was never evaluated may have no column
        value = results.sign * last[entry["index"]] if entry["index"] < len(last) else np.nan
        score = None if np.isnan(value) else float(value)
        load = {"experiment": "experiment.yaml", "seed": run.seed, "experience": entry["index"]}
        sets.append({**entry, "measure": measure, "result": score, "load": load})
    return sets


def _costs(run: StoredRun, restored: RestoredRun) -> dict[str, Any]:
    learner = restored.trainer.learner
    spent = attrs.asdict(learner.costs()) if isinstance(learner, Spending) else {}
    rows = read_costs(run.path)
    clock = {key: sum(float(row[key]) for row in rows) for key in ("seconds", "cpu_seconds")}
    return {**spent, "steps": run.summary.get("steps"), **clock}


def licences() -> dict[str, dict[str, str]]:
    """Return the version and the licence that every dependency of rlcl states in its metadata."""
    required = [text for text in requires("rlcl") or () if "extra ==" not in text]
    names = [re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in required]
    entries = {}
    for name in sorted({"rlcl", *names, *EXPORT_PACKAGES}):
        try:
            package = metadata(name)
        except PackageNotFoundError:
            continue
        entries[name] = {"version": package["Version"], "licence": _licence(package)}
    return entries


def _licence(package: Any) -> str:
    classified = [c.split(" :: ")[-1] for c in package.get_all("Classifier") or () if c.startswith("License ::")]
    text = package.get("License-Expression") or "; ".join(classified) or (package.get("License") or "").split("\n")[0]
    return text or "not stated"
