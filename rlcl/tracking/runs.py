"""Index of run folders; files are read on demand, and a damaged folder does not affect the others.

This module does not import torch: listing a thousand runs takes as long as importing torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from rlcl.errors import Problem, RunFolderError, did_you_mean
from rlcl.lock import LOCK, is_held
from rlcl.run_format import RUN_FOLDER, upgraded_config
from rlcl.tracking.block_yaml import UnsupportedYamlError, read_block
from rlcl.tracking.checksum import Checksum
from rlcl.tracking.json_files import read_json, read_object

if TYPE_CHECKING:
    from rlcl.evaluation.metric_meaning import MetricMeaning

__all__ = [
    "FIELDS",
    "StoredRun",
    "check_key",
    "dotted_keys",
    "find_runs",
    "named_runs",
    "row_names",
    "runs_at",
    "state_of",
    "trained_names",
]

MAX_DEPTH = 6  # folders between a root and its runs
SEED_FOLDER = re.compile(r"seed\d+")
FIELDS = ("run", "seed", "state", "step", "updated", "seconds", "cpu_seconds", "error")


@define(eq=False, slots=False)
class StoredRun:
    """A stored run; each file of its folder is read at its first use.

    Args:
        path: the run's folder.
        name: its path relative to the root of all runs.
        shared: cache of configs by folder, which the seeds of an experiment share.
    """

    path: Path
    name: str
    _shared: dict[Path, Mapping[str, Any]] = field(factory=dict, repr=False)
    _files: dict[str, tuple[dict[str, Any], str]] = field(init=False, factory=dict, repr=False)

    @cached_property
    def seed(self) -> int:
        """The seed in the folder's name; -1 if it contains none."""
        digits = self.path.name.removeprefix("seed")
        return int(digits) if digits.isdigit() else -1

    @cached_property
    def group(self) -> Path:
        """The folder of all seeds of the experiment."""
        return self.path.parent

    @cached_property
    def status(self) -> Mapping[str, Any]:
        """Content of ``status.json``; empty if it cannot be read."""
        return self._read("status.json")[0]

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        """Metrics, R, measures, experiences, steps and seconds; empty until the run has finished."""
        return self._read("summary.json")[0]

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """Content of ``manifest.json``; empty if it cannot be read."""
        return self._read("manifest.json")[0]

    def _read(self, name: str) -> tuple[dict[str, Any], str]:
        """Return the content of a JSON file, and its fault; see :func:`rlcl.tracking.json_files.read_object`."""
        if name not in self._files:
            self._files[name] = read_object(self.path / name)
        return self._files[name]

    @property
    def is_imported(self) -> bool:
        """Whether the results come from another library (``rlcl runs import``)."""
        return bool(self.manifest.get("imported"))

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The resolved config as plain data of the current version; empty if it cannot be read."""
        if self.group not in self._shared:
            content = _read_yaml(self.path / "config.yaml")
            if not content or self.version_fault:
                return {}
            self._shared[self.group] = upgraded_config(self.path, content)
        return self._shared[self.group]

    @cached_property
    def metrics(self) -> Mapping[str, float]:
        """Metrics of a finished run, by name; without those that are not finite."""
        metrics = self.summary.get("metrics")
        return {k: v for k, v in metrics.items() if isinstance(v, int | float)} if isinstance(metrics, dict) else {}

    @cached_property
    def meanings(self) -> Mapping[str, MetricMeaning]:
        """Descriptions of the metrics of a finished run, by name, as stored when it finished."""
        from rlcl.evaluation.metric_meaning import meanings_in  # brings numpy along

        return meanings_in(self.summary)

    def meaning(self, name: str) -> MetricMeaning | None:
        """Return the description of a metric, also of one that the run does not report; None if it is unknown.

        A run without stored descriptions uses those of the current metrics.
        """
        return self.meanings.get(name) or self.available_meanings.get(name)

    @cached_property
    def available_meanings(self) -> Mapping[str, MetricMeaning]:
        """Descriptions of all metrics that the run reports or can report, without those of missing files."""
        from rlcl.evaluation.results import meanings  # brings torch along

        names, measures = (tuple(map(str, self.summary.get(key) or ())) for key in ("names", "measures"))
        available: dict[str, MetricMeaning] = {}
        for selection in ((), *((name,) for name in names)):
            with suppress(Problem):
                available |= meanings(measures, selection) if measures else {}
        return available

    @property
    def state(self) -> str:
        """``finished``, ``running``, ``failed``, ``interrupted``, ``crashed``, or ``corrupt``."""
        return "corrupt" if self.fault else _state(self.path, self.status)

    @cached_property
    def fault(self) -> str:
        """The reason why the folder cannot be read as a run; empty if it can."""
        status, fault = self._read("status.json")
        if fault == "no status.json":
            return f"{fault}: the run has just started, or it ended before its state was saved"
        if self.version_fault:
            return self.version_fault
        if not fault and "state" not in status:
            fault = "status.json contains no state"
        if not fault and (self.path / "manifest.json").exists():
            fault = self._read("manifest.json")[1]
        return fault or (self._results_fault() if status["state"] == "finished" else "")

    def _results_fault(self) -> str:
        """Return the fault of a finished run's summary or records; empty if there is none."""
        summary, fault = self._read("summary.json")
        if fault:
            return fault
        if not {"metrics", "measures", "experiences"} <= summary.keys():
            return "summary.json is not complete"
        checksum = Checksum.in_summary(summary)
        if checksum is None:
            return ""
        try:
            return checksum.mismatch(Checksum.of_file(self.path / "records.jsonl"), "summary.json")
        except OSError as error:
            return f"records.jsonl cannot be read: {error.strerror}"

    @cached_property
    def version_fault(self) -> str:
        """Message if the version of the folder is not supported, else empty."""
        return RUN_FOLDER.version_fault(self.manifest.get("format", 1))

    @property
    def finished(self) -> bool:
        """True if the run has finished and can be read."""
        return self.state == "finished"

    def values(self, key: str) -> list[Any]:
        """Return the values of a key: a field of the run, a metric, or a key of its config.

        Args:
            key: ``state``, ``accuracy.average``, ``learner.optimizer.lr``; a list without an index stands for all of
                its items: ``learner.methods.type``.

        Returns:
            One value, several values from a list, or none.
        """
        if key in FIELDS:
            value = self._field(key)
            return [] if value is None else [value]
        if key in self.metrics:
            return [self.metrics[key]]
        return list(_values_at(self.config, [part for part in re.split(r"[.\[\]]+", key) if part]))

    def _field(self, key: str) -> Any:
        own = {"run": self.name, "seed": self.seed, "state": self.state, "error": self.fault or None}
        if own.get(key) is not None:
            return own[key]
        return self.status.get(key, self.summary.get(key))


def state_of(path: Path) -> str:
    """Return the state in a run's ``status.json``.

    It is ``crashed`` if the state is ``running`` and no process holds the lock, and ``unknown`` without a status.

    Args:
        path: the run's folder.
    """
    return _state(path, read_json(path / "status.json"))


def _state(path: Path, status: Mapping[str, Any]) -> str:
    state = str(status.get("state", "unknown"))
    return "crashed" if state == "running" and not is_held(path / LOCK) else state


def find_runs(folder: Path) -> tuple[StoredRun, ...]:
    """Return the runs in a folder and its subfolders, sorted by name; for a run's folder, this run.

    A run is a folder ``seed<k>``, or any folder that contains a ``config.yaml`` and a ``status.json``.
    """
    shared: dict[Path, Mapping[str, Any]] = {}
    folder = Path(folder)
    if _is_run(folder):
        return (StoredRun(folder, str(folder), shared),)
    names = sorted(_walk(folder, "", MAX_DEPTH), key=_natural_key)
    return tuple(StoredRun(folder / name, name, shared) for name in names)


def named_runs(selector: str, root: Path) -> tuple[StoredRun, ...]:
    """Return the runs that match a folder, a name, the beginning of a name, or a pattern with ``*`` and ``?``.

    Args:
        selector: a path, or a pattern for :attr:`StoredRun.name`.
        root: the folder of all runs.

    Raises:
        RunFolderError: no run matches.
    """
    if Path(selector).is_dir() and (runs := find_runs(Path(selector))):
        return runs
    stored = find_runs(root)
    name = selector.removeprefix(f"{root}/").rstrip("/")
    matches = tuple(run for run in stored if fnmatch(run.name, name) or fnmatch(run.name, f"{name}/*"))
    if not matches:
        prefixes = {"/".join(run.name.split("/")[:n]) for run in stored for n in range(1, 4)}
        raise RunFolderError(f"no run {selector} in {root}{did_you_mean(name, prefixes)}")
    return matches


def runs_at(folder: str | Path) -> tuple[StoredRun, ...]:
    """Return the runs in the folder of a run, an experiment or a suite, or in the root of all runs.

    Raises:
        RunFolderError: the folder does not exist, or it contains no run.
    """
    path = Path(folder)
    if not path.is_dir():
        raise RunFolderError(f"{folder}: no such folder; expected a run (runs/NAME/HASH/seedN) or a folder of runs")
    runs = find_runs(path)
    if not runs:
        raise RunFolderError(
            f"{folder}: no run in this folder or its subfolders; a run is a folder runs/NAME/HASH/seedN"
        )
    return runs


def check_key(key: str, runs: Sequence[StoredRun], option: str) -> None:
    """Check that at least one of the runs has a key.

    Args:
        key: see :meth:`StoredRun.values`.
        runs: the runs; nothing is checked if there are none.
        option: name of the option for the message, for example ``--sort``.

    Raises:
        RunFolderError: no run has the key; the message lists similar names.
    """
    if key in FIELDS or not runs or any(run.values(key) for run in runs):
        return
    names = {*FIELDS, *(name for run in runs for name in run.metrics)}
    names |= {name for run in {run.group: run for run in runs}.values() for name in dotted_keys(run.config)}
    raise RunFolderError(f"{option} {key}: no run has such a metric, setting or field{did_you_mean(key, names)}")


def dotted_keys(tree: Any, path: str = "") -> Mapping[str, Any]:
    """Return a nested config as a flat mapping with dotted keys; lists of mappings have an index for each item."""
    if isinstance(tree, Mapping) and tree:
        return {
            k: v
            for key, value in tree.items()
            for k, v in dotted_keys(value, f"{path}.{key}" if path else str(key)).items()
        }
    if isinstance(tree, list | tuple) and tree and isinstance(tree[0], Mapping):
        return {k: v for i, value in enumerate(tree) for k, v in dotted_keys(value, f"{path}[{i}]").items()}
    return {path: tree} if path else {}


def _values_at(tree: Any, parts: Sequence[str]) -> Iterator[Any]:
    """Yield the values at a dotted key; a list without an index stands for all of its items."""
    if not parts:
        yield tree
    elif isinstance(tree, Mapping):
        if parts[0] in tree:
            yield from _values_at(tree[parts[0]], parts[1:])
    elif isinstance(tree, list):
        if parts[0].isdigit():
            yield from _values_at(tree[int(parts[0])], parts[1:]) if int(parts[0]) < len(tree) else ()
        else:
            for item in tree:
                yield from _values_at(item, parts)


def _is_run(folder: Path) -> bool:
    return bool(SEED_FOLDER.fullmatch(folder.name)) or all(
        (folder / n).is_file() for n in ("config.yaml", "status.json")
    )


def _walk(folder: Path, name: str, depth: int) -> Iterator[str]:
    """Yield the paths of the runs in a subfolder, relative to ``folder``, at most ``depth`` levels deep."""
    try:
        with os.scandir(folder / name) as entries:
            subfolders = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:  # runs in a folder without read permission are ignored
        return
    for subfolder in subfolders:
        path = f"{name}/{subfolder}" if name else subfolder
        if _is_run(folder / path):
            yield path
        elif depth > 1:
            yield from _walk(folder, path, depth - 1)


def _natural_key(name: str) -> list[Any]:
    """Return a sort key that puts seed2 before seed10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(?<=seed)(\d+)", name)]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        try:
            content = read_block(text)
        except UnsupportedYamlError:
            content = _parse_yaml(text)
    except (OSError, UnicodeDecodeError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _parse_yaml(text: str) -> Any:
    from ruamel.yaml import YAML

    try:
        return YAML(typ="safe", pure=True).load(text)
    except Exception:  # the file is damaged; an invalid value such as int("abc") may raise any error
        return None


def row_names(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the rows of R of a finished run: the experiences trained on, or the moments of a drift."""
    return tuple(summary.get("rows") or trained_names(summary))


def trained_names(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the trained experiences, the rows of R; ``experiences`` of the summary names its columns."""
    return tuple(summary.get("trained", summary["experiences"]))
