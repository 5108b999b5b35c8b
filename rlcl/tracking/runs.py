"""An index of run folders: found by their names, read when they are asked, and none of them breaks the others.

Nothing here imports torch, so that a thousand runs are listed in the time that torch takes to load.
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
from rlcl.lock import is_held
from rlcl.run_format import RUN_FOLDER, todays_config
from rlcl.tracking.block_yaml import Unusual, read_block
from rlcl.tracking.json_files import read_json, read_object
from rlcl.tracking.stamp import Stamp

if TYPE_CHECKING:
    from rlcl.evaluation.meaning import Meaning

__all__ = ["FIELDS", "Run", "check_known", "dotted", "find_runs", "named_runs", "runs_at", "state_of", "trained_names"]

DEEPEST = 6  # folders between a root and its runs
RUN = re.compile(r"seed\d+")
FIELDS = ("run", "seed", "state", "step", "updated", "seconds", "cpu_seconds", "error")


@define(eq=False, slots=False)
class Run:
    """One run's folder; each of its files is read when it is first asked for.

    Args:
        path: of the folder.
        name: its path from the root of all runs, for people.
        shared: what runs of one experiment have in common: configs by folder, read once.
    """

    path: Path
    name: str
    _shared: dict[Path, Mapping[str, Any]] = field(factory=dict, repr=False)

    @cached_property
    def seed(self) -> int:
        """The seed that its folder's name gives; -1 where it gives none."""
        digits = self.path.name.removeprefix("seed")
        return int(digits) if digits.isdigit() else -1

    @cached_property
    def group(self) -> Path:
        """The folder of all seeds of its experiment."""
        return self.path.parent

    @cached_property
    def status(self) -> Mapping[str, Any]:
        return read_json(self.path / "status.json")

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        """Metrics, R, measures, experiences, steps and seconds; empty until the run has finished."""
        return read_json(self.path / "summary.json")

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        return read_json(self.path / "manifest.json")

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The resolved config as plain data of today, the same for all seeds; empty where it cannot be read."""
        if self.group not in self._shared:
            content = _yaml(self.path / "config.yaml")
            if not content or self.unreadable:
                return {}
            self._shared[self.group] = todays_config(self.path, content)
        return self._shared[self.group]

    @cached_property
    def metrics(self) -> Mapping[str, float]:
        """Of a finished run, by name."""
        found = self.summary.get("metrics")
        return {k: v for k, v in found.items() if isinstance(v, int | float)} if isinstance(found, dict) else {}

    @cached_property
    def meanings(self) -> Mapping[str, Meaning]:
        """What the metrics of a finished run mean, by name, as it was told when it finished."""
        from rlcl.evaluation.meaning import meanings_in  # brings numpy along

        return meanings_in(self.summary)

    def meaning(self, name: str) -> Meaning | None:
        """What a metric means, whether the run reports it or not; None where nothing says so.

        A run that was told nothing of it is read by the metrics there are now.
        """
        return self.meanings.get(name) or self.offered.get(name)

    @cached_property
    def offered(self) -> Mapping[str, Meaning]:
        """What all metrics mean that the run reports or could report; those of files that are gone are absent."""
        from rlcl.evaluation.results import meanings  # brings torch along

        names, measures = (tuple(map(str, self.summary.get(key) or ())) for key in ("names", "measures"))
        found: dict[str, Meaning] = {}
        for chosen in ((), *((name,) for name in names)):
            with suppress(Problem):
                found |= meanings(measures, chosen) if measures else {}
        return found

    @property
    def state(self) -> str:
        """``finished``, ``running``, ``failed``, ``interrupted``, ``crashed``, or ``corrupt``."""
        return "corrupt" if self.fault else _state(self.path, self.status)

    @cached_property
    def fault(self) -> str:
        """Why the folder cannot be read as a run; empty where it can."""
        status, fault = read_object(self.path / "status.json")
        if fault == "no status.json":
            return f"{fault}: it has only just begun, or ended before anything was saved"
        if self.unreadable:
            return self.unreadable
        if not fault and "state" not in status:
            fault = "status.json names no state"
        if not fault and (self.path / "manifest.json").exists():
            fault = read_object(self.path / "manifest.json")[1]
        return fault or (self._fault_of_results() if status["state"] == "finished" else "")

    def _fault_of_results(self) -> str:
        """What a finished run came to, if it cannot be read."""
        summary, fault = read_object(self.path / "summary.json")
        if fault:
            return fault
        if not {"metrics", "measures", "experiences"} <= summary.keys():
            return "summary.json is not complete"
        stamp = Stamp.in_summary(summary)
        try:
            return "" if stamp is None else stamp.fault(Stamp.of_file(self.path / "records.jsonl"), "summary.json")
        except OSError as error:
            return f"records.jsonl cannot be read: {error.strerror}"

    @cached_property
    def unreadable(self) -> str:
        """Why its version cannot be read; empty where it can."""
        return RUN_FOLDER.refusal(self.manifest.get("format", 1))

    @property
    def finished(self) -> bool:
        return self.state == "finished"

    def values(self, key: str) -> list[Any]:
        """What a key stands for: a field of the run, a metric, or a key of its config.

        Args:
            key: ``state``, ``accuracy.average``, ``learner.optimizer.lr``; past a list without a number, every item
                is meant: ``learner.methods.type``.

        Returns:
            One value, several of a list, or none.
        """
        if key in FIELDS:
            value = self._field(key)
            return [] if value is None else [value]
        if key in self.metrics:
            return [self.metrics[key]]
        return list(_below(self.config, [part for part in re.split(r"[.\[\]]+", key) if part]))

    def _field(self, key: str) -> Any:
        own = {"run": self.name, "seed": self.seed, "state": self.state, "error": self.fault or None}
        if own.get(key) is not None:
            return own[key]
        return self.status.get(key, self.summary.get(key))


def state_of(path: Path) -> str:
    """What the status of a run's folder says; ``crashed`` where its process ended without a word, ``unknown`` without.

    Args:
        path: of the folder.
    """
    return _state(path, read_json(path / "status.json"))


def _state(path: Path, status: Mapping[str, Any]) -> str:
    state = str(status.get("state", "unknown"))
    return "crashed" if state == "running" and not is_held(path / "lock") else state


def find_runs(place: Path) -> tuple[Run, ...]:
    """The runs in a folder and below, in the order of their names; a run's own folder is one run.

    A run is a folder ``seed<k>``, whatever is in it, or one that holds a ``config.yaml`` and a ``status.json``.
    """
    shared: dict[Path, Mapping[str, Any]] = {}
    place = Path(place)
    if _is_run(place):
        return (Run(place, str(place), shared),)
    names = sorted(_walk(place, "", DEEPEST), key=_natural)
    return tuple(Run(place / name, name, shared) for name in names)


def named_runs(wanted: str, root: Path) -> tuple[Run, ...]:
    """The runs that a folder, a name, the beginning of one, or a pattern with ``*`` and ``?`` stands for.

    Args:
        wanted: a path, or what :attr:`Run.name` is matched with.
        root: the folder of all runs.

    Raises:
        RunFolderError: there are none.
    """
    if Path(wanted).is_dir() and (found := find_runs(Path(wanted))):
        return found
    known = find_runs(root)
    name = wanted.removeprefix(f"{root}/").rstrip("/")
    chosen = tuple(run for run in known if fnmatch(run.name, name) or fnmatch(run.name, f"{name}/*"))
    if not chosen:
        beginnings = {"/".join(run.name.split("/")[:n]) for run in known for n in range(1, 4)}
        raise RunFolderError(f"no run {wanted} in {root}{did_you_mean(name, beginnings)}")
    return chosen


def runs_at(place: str | Path) -> tuple[Run, ...]:
    """The runs of a path: a run, an experiment's folder, a suite's, or the root of all runs.

    Raises:
        RunFolderError: there is no such folder, or no run in it.
    """
    path = Path(place)
    if not path.is_dir():
        raise RunFolderError(f"{place}: no such folder; expected a run (runs/NAME/HASH/seedN) or one above runs")
    found = find_runs(path)
    if not found:
        raise RunFolderError(f"{place}: no run in this folder or below; a run's folder is runs/NAME/HASH/seedN")
    return found


def check_known(key: str, runs: Sequence[Run], option: str) -> None:
    """Refuses a key that none of the runs has.

    Args:
        key: see :meth:`Run.values`.
        runs: at least one of them must have it, where there are any.
        option: for the message, for example ``--sort``.

    Raises:
        RunFolderError: with the nearest names.
    """
    if key in FIELDS or not runs or any(run.values(key) for run in runs):
        return
    known = {*FIELDS, *(name for run in runs for name in run.metrics)}
    known |= {name for run in {run.group: run for run in runs}.values() for name in dotted(run.config)}
    raise RunFolderError(f"{option} {key}: no run has such a metric, setting or field{did_you_mean(key, known)}")


def dotted(tree: Any, path: str = "") -> Mapping[str, Any]:
    """A nested config as dotted keys, items of lists of mappings by their number."""
    if isinstance(tree, Mapping) and tree:
        return {
            k: v for key, value in tree.items() for k, v in dotted(value, f"{path}.{key}" if path else str(key)).items()
        }
    if isinstance(tree, list | tuple) and tree and isinstance(tree[0], Mapping):
        return {k: v for i, value in enumerate(tree) for k, v in dotted(value, f"{path}[{i}]").items()}
    return {path: tree} if path else {}


def _below(tree: Any, parts: Sequence[str]) -> Iterator[Any]:
    if not parts:
        yield tree
    elif isinstance(tree, Mapping):
        if parts[0] in tree:
            yield from _below(tree[parts[0]], parts[1:])
    elif isinstance(tree, list):
        if parts[0].isdigit():
            yield from _below(tree[int(parts[0])], parts[1:]) if int(parts[0]) < len(tree) else ()
        else:
            for item in tree:
                yield from _below(item, parts)


def _is_run(place: Path) -> bool:
    return bool(RUN.fullmatch(place.name)) or all((place / n).is_file() for n in ("config.yaml", "status.json"))


def _walk(place: Path, name: str, depth: int) -> Iterator[str]:
    try:
        with os.scandir(place / name) as entries:
            folders = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:  # a folder that may not be read holds no runs for us
        return
    for folder in folders:
        below = f"{name}/{folder}" if name else folder
        if _is_run(place / below):
            yield below
        elif depth > 1:
            yield from _walk(place, below, depth - 1)


def _natural(name: str) -> list[Any]:
    """Sorts seed2 before seed10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(?<=seed)(\d+)", name)]


def _yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        try:
            content = read_block(text)
        except Unusual:
            content = _any_yaml(text)
    except (OSError, UnicodeDecodeError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _any_yaml(text: str) -> Any:
    from ruamel.yaml import YAML

    try:
        return YAML(typ="safe", pure=True).load(text)
    except Exception:  # whatever Python says of a value, such as int("abc"): the file is damaged
        return None


def trained_names(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the experiences that a run was trained on: of the rows of R, as ``experiences`` are of its columns."""
    return tuple(summary.get("trained", summary["experiences"]))
