"""Published protocols: experiments with a target for their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from rlcl.config import Document, Fault, Faults, packaged_folder, read_document
from rlcl.config.faults import Key
from rlcl.config.files import merge
from rlcl.errors import ConfigError, did_you_mean
from rlcl.experiment import Experiment
from rlcl.reproduction.batched_regression import unsupported_reason
from rlcl.reproduction.targets import TARGETS
from rlcl.reproduction.types import Target

__all__ = ["ReproductionProtocol", "load_protocol", "load_protocols", "protocol_files", "protocols_folder"]


@frozen(kw_only=True)
class ReproductionProtocol:
    """Content of a protocol file: the experiments to run, and the target for their results.

    Args:
        name: name of the file without ``.yaml``.
        sides: experiments by name, with the same seeds; the first one is ours.
        target: target that judges the results.
        together: whether all seeds of a side are run at once, see :mod:`rlcl.reproduction.batched_regression`.
    """

    name: str
    sides: Mapping[str, Experiment]
    target: Target
    together: bool = False

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of every side."""
        return next(iter(self.sides.values())).seeds

    def with_seeds(self, count: int) -> ReproductionProtocol:
        """Return the protocol with a number of consecutive seeds, starting at its first seed."""
        seeds = tuple(range(self.seeds[0], self.seeds[0] + count))
        sides = {name: attrs.evolve(experiment, seeds=seeds) for name, experiment in self.sides.items()}
        return attrs.evolve(self, sides=sides)


def protocols_folder() -> Path:
    """Return the folder of the shipped protocols."""
    return packaged_folder("published", "benchmarks/published")


def protocol_files(names: Sequence[str] = ()) -> list[Path]:
    """Return the files of some protocols, without duplicates.

    Args:
        names: names of shipped protocols, patterns such as ``vandeven2022-*``, or paths of protocol files; all
            shipped protocols by default.

    Raises:
        ConfigError: a name matches no protocol; the error contains a suggestion for each.
    """
    shipped = {path.stem: path for path in sorted(protocols_folder().glob("*.yaml"))}
    files: list[Path] = []
    unknown: list[str] = []
    for name in names or ["*"]:
        matches = [path for stem, path in shipped.items() if fnmatch(stem, name)]
        if not matches and Path(name).is_file():
            matches = [Path(name)]
        if not matches:
            near = did_you_mean(name, shipped)
            unknown.append(f"no published protocol {name!r}{near or '; list them with rlcl reproduce --list'}")
        files += [path for path in matches if path not in files]
    if unknown:
        raise ConfigError(unknown)
    return files


def load_protocol(path: Path) -> ReproductionProtocol:
    """Read a protocol: an experiment file with a ``target``, and the keys of further sides if the target needs them.

    Args:
        path: a YAML file.

    Raises:
        ConfigError: the file is invalid; each problem has its file, line and key path.
    """
    document = read_document(path)
    faults: list[Fault] = []
    kind, target = _target(document, faults)
    sides = _sides(document, kind, faults)
    together = _read(Document(document.name, document.data.get("together", False)), bool, ("together",), faults)
    if not faults:
        faults += target.check(sides)
        reasons = {name: unsupported_reason(experiment) for name, experiment in sides.items()} if together else {}
        faults += [Fault(("together",), f"{name}: {reason}") for name, reason in reasons.items() if reason]
    if faults:
        raise ConfigError(document.messages(dict.fromkeys(faults)))  # faults that sides share are reported once
    return ReproductionProtocol(name=path.stem, sides=sides, target=target, together=together)


def load_protocols(names: Sequence[str] = ()) -> list[ReproductionProtocol]:
    """Read several protocols by name; see :func:`protocol_files`.

    Raises:
        ConfigError: some protocols are unknown or invalid; the error contains all problems.
    """
    protocols: list[ReproductionProtocol] = []
    problems: list[str] = []
    for path in protocol_files(names):
        try:
            protocols.append(load_protocol(path))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return protocols


def _target(document: Document, faults: list[Fault]) -> tuple[type[Target], Any]:
    """Return the kind of target that a file names, and the target; None if it is faulty."""
    data, name = document.data.get("target"), "mean"
    if isinstance(data, Mapping):
        name = str(data.get("type", name))
        data = {key: value for key, value in data.items() if key != "type"}
    if name not in TARGETS:
        allowed = f"expected one of {', '.join(TARGETS)}, got {name!r}{did_you_mean(name, TARGETS)}"
        raise ConfigError(document.messages([Fault(("target", "type"), allowed)]))
    return TARGETS[name], _read(Document(document.name, data), TARGETS[name], ("target",), faults)


def _sides(document: Document, kind: type[Target], faults: list[Fault]) -> dict[str, Experiment]:
    """Return the experiment of each side, by name; None for faulty ones."""
    try:
        paths = kind.sides(document.data)
    except Faults as error:
        faults += error.faults
        return {}
    other_keys = {"target", "together", *(path[0] for path in paths.values() if path)}
    base = attrs.evolve(document, data={key: value for key, value in document.data.items() if key not in other_keys})
    return {name: _side(base, document, path, kind.may_differ, faults) for name, path in paths.items()}


def _side(
    base: Document, document: Document, path: tuple[Key, ...], allowed: Sequence[str], faults: list[Fault]
) -> Any:
    """Return the file's own experiment, changed by the keys at a path; None if it is faulty."""
    if not path:
        return _read(base, Experiment, (), faults)
    changes = document.part(path)
    if not isinstance(changes.data, Mapping):
        faults.append(Fault(path, f"expected the keys that differ, of {', '.join(allowed)}; got {changes.data!r}"))
        return None
    shared = [key for key in changes.data if key not in allowed]
    if shared:
        message = f"must be the same for all sides; remove it here (keys that may differ: {', '.join(allowed)})"
        faults += [Fault((*path, key), message) for key in shared]
        return None
    data = {"name": f"{base.data.get('name')}-{path[-1]}", **changes.data}
    merged = merge(base, attrs.evolve(changes, data=data))
    try:
        return merged.read(Experiment)
    except Faults as error:
        faults += [f.under(*path) if _is_within(changes, merged, f.path) else f for f in error.faults]
        return None


def _is_within(changes: Document, merged: Document, path: tuple[Key, ...]) -> bool:
    """Return whether the innermost part of a path that the file contains belongs to the changes."""
    written = (path[:n] for n in range(len(path), 0, -1) if path[:n] in merged.locations)
    return next(written, None) in changes.locations


def _read(document: Document, cls: Any, path: tuple[str, ...], faults: list[Fault]) -> Any:
    """Read a document; on failure, add its faults below a path and return None."""
    try:
        return document.read(cls)
    except Faults as error:
        faults += [fault.under(*path) for fault in error.faults]
        return None
