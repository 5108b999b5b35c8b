"""Published protocols: experiments with what they should come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from rlcl.config import Document, Fault, Faults, read_document, shipped_in
from rlcl.config.faults import Key
from rlcl.config.files import merge
from rlcl.errors import ConfigError, did_you_mean
from rlcl.experiment import Experiment
from rlcl.reproduction.batched_regression import refusal
from rlcl.reproduction.sides import Target
from rlcl.reproduction.targets import TARGETS

__all__ = ["Protocol", "load_protocol", "load_protocols", "protocol_files", "published_folder"]


@frozen(kw_only=True)
class Protocol:
    """One file: what is run, and what it is held against.

    Args:
        name: the file's, without ``.yaml``.
        sides: experiments by name, with the same seeds; the first is ours.
        target: judges what they came to.
        together: whether all seeds of a side are run at once, see :mod:`rlcl.reproduction.batched_regression`.
    """

    name: str
    sides: Mapping[str, Experiment]
    target: Target
    together: bool = False

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of every side."""
        return next(iter(self.sides.values())).seeds

    def with_seeds(self, count: int) -> Protocol:
        """The same with as many seeds, from its first one on."""
        seeds = tuple(range(self.seeds[0], self.seeds[0] + count))
        sides = {name: attrs.evolve(experiment, seeds=seeds) for name, experiment in self.sides.items()}
        return attrs.evolve(self, sides=sides)


def published_folder() -> Path:
    """The folder of the protocols that come with rlcl."""
    return shipped_in("published", "benchmarks/published")


def protocol_files(names: Sequence[str] = ()) -> list[Path]:
    """The files that names stand for, each once.

    Args:
        names: of shipped protocols, patterns such as ``vandeven2022-*``, or files of one's own; all
            shipped ones by default.

    Raises:
        ConfigError: every name that stands for nothing, with the nearest there is.
    """
    shipped = {path.stem: path for path in sorted(published_folder().glob("*.yaml"))}
    chosen: list[Path] = []
    unknown: list[str] = []
    for name in names or ["*"]:
        found = [path for stem, path in shipped.items() if fnmatch(stem, name)]
        if not found and Path(name).is_file():
            found = [Path(name)]
        if not found:
            near = did_you_mean(name, shipped)
            unknown.append(f"no published protocol {name!r}{near or '; see them all: rlcl reproduce --list'}")
        chosen += [path for path in found if path not in chosen]
    if unknown:
        raise ConfigError(unknown)
    return chosen


def load_protocol(path: Path) -> Protocol:
    """Reads one protocol: an experiment file with a ``target``, and with what makes its other sides where it has any.

    Args:
        path: a YAML file.

    Raises:
        ConfigError: everything that is wrong, each with its file, line and key path.
    """
    document = read_document(path)
    faults: list[Fault] = []
    kind, target = _target(document, faults)
    sides = _sides(document, kind, faults)
    together = _read(Document(document.name, document.data.get("together", False)), bool, ("together",), faults)
    if not faults:
        faults += target.check(sides)
        reasons = {name: refusal(experiment) for name, experiment in sides.items()} if together else {}
        faults += [Fault(("together",), f"{name}: {reason}") for name, reason in reasons.items() if reason]
    if faults:
        raise ConfigError(document.messages(dict.fromkeys(faults)))  # what sides share is told once
    return Protocol(name=path.stem, sides=sides, target=target, together=together)


def load_protocols(names: Sequence[str] = ()) -> list[Protocol]:
    """All protocols that names stand for; see :func:`protocol_files`.

    Raises:
        ConfigError: everything that is wrong with any of them.
    """
    protocols: list[Protocol] = []
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
    """The kind of target that a file names, and the target, None where it is faulty."""
    data, name = document.data.get("target"), "mean"
    if isinstance(data, Mapping):
        name = str(data.get("type", name))
        data = {key: value for key, value in data.items() if key != "type"}
    if name not in TARGETS:
        allowed = f"expected one of {', '.join(TARGETS)}, got {name!r}{did_you_mean(name, TARGETS)}"
        raise ConfigError(document.messages([Fault(("target", "type"), allowed)]))
    return TARGETS[name], _read(Document(document.name, data), TARGETS[name], ("target",), faults)


def _sides(document: Document, kind: type[Target], faults: list[Fault]) -> dict[str, Experiment]:
    try:
        places = kind.sides(document.data)
    except Faults as found:
        faults += found.faults
        return {}
    apart = {"target", "together", *(path[0] for path in places.values() if path)}
    own = attrs.evolve(document, data={key: value for key, value in document.data.items() if key not in apart})
    return {name: _side(own, document, path, kind.may_differ, faults) for name, path in places.items()}


def _side(own: Document, document: Document, path: tuple[Key, ...], allowed: Sequence[str], faults: list[Fault]) -> Any:
    """The file's own experiment, with what stands at a path in its place; None where it is faulty."""
    if not path:
        return _read(own, Experiment, (), faults)
    changes = document.part(path)
    if not isinstance(changes.data, Mapping):
        faults.append(Fault(path, f"expected the keys that differ, of {', '.join(allowed)}; got {changes.data!r}"))
        return None
    shared = [key for key in changes.data if key not in allowed]
    if shared:
        told = f"is the same on every side; leave it out here (what may differ: {', '.join(allowed)})"
        faults += [Fault((*path, key), told) for key in shared]
        return None
    named = {"name": f"{own.data.get('name')}-{path[-1]}", **changes.data}
    whole = merge(own, attrs.evolve(changes, data=named))
    try:
        return whole.read(Experiment)
    except Faults as found:
        faults += [f.under(*path) if _is_within(changes, whole, f.path) else f for f in found.faults]
        return None


def _is_within(changes: Document, whole: Document, path: tuple[Key, ...]) -> bool:
    """Whether a value of the whole, or what it is missing from, was written among the changes."""
    written = (path[:n] for n in range(len(path), 0, -1) if path[:n] in whole.places)
    return next(written, None) in changes.places


def _read(document: Document, cls: Any, place: tuple[str, ...], faults: list[Fault]) -> Any:
    try:
        return document.read(cls)
    except Faults as found:
        faults += [fault.under(*place) for fault in found.faults]
        return None
