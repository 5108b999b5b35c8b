"""Reader of experiment files: YAML with ``extends``, overrides from the command line, and the line of each key."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import MarkedYAMLError

import rlcl
from rlcl.config.faults import Fault, Faults, Key, key_path, parse_key_path
from rlcl.config.merging import (
    ConfigMerger,
    TypeChange,
    combined_changes,
    with_type_remedies,
    without_markers,
    without_nulls,
)
from rlcl.config.structuring import read
from rlcl.errors import ConfigError, Problem, did_you_mean

__all__ = [
    "Document",
    "find_file",
    "merge",
    "override",
    "packaged_folder",
    "put",
    "read_document",
    "resolve_extends",
    "shipped_experiments",
]

_MAX_DEPTH = 40  # of nested values
_MAX_VALUES = 100_000  # nested aliases multiply
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null")}
_IN_FILE = re.compile(r"[^\s:]+\.py:[A-Za-z_][\w.]*")


@frozen
class SourceLocation:
    """Source of a value: a file and a line, or the command line."""

    name: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.name}:{self.line}" if self.line else self.name


@frozen
class Document:
    """Plain data and the source of each value.

    Args:
        name: the file.
        data: mappings, lists and scalars.
        locations: source of each value, by key path.
        type_changes: changes of a component's type, by key path.
    """

    name: str
    data: Any
    locations: dict[tuple[Key, ...], SourceLocation] = field(factory=dict)
    type_changes: dict[tuple[Key, ...], TypeChange] = field(factory=dict)

    def location(self, path: Sequence[Key]) -> SourceLocation:
        """Return the source of a value; for a missing value, that of the mapping in which it is missing."""
        prefixes = (tuple(path[:n]) for n in range(len(path), 0, -1))
        return next((self.locations[p] for p in prefixes if p in self.locations), SourceLocation(self.name))

    def part(self, path: tuple[Key, ...]) -> Document:
        """Return the value at a key path as a separate document."""
        node = self.data
        for key in path:
            node = node[key]
        size = len(path)
        locations = {p[size:]: location for p, location in self.locations.items() if p[:size] == path}
        type_changes = {p[size:]: change for p, change in self.type_changes.items() if p[:size] == path}
        return Document(self.name, node, locations, type_changes)

    def read(self, cls: Any) -> Any:
        """Structure the data as a class of settings; null settings that a new type does not have are ignored.

        Raises:
            Faults: all faults of the data.
        """
        data = without_markers(self.data)
        while True:
            try:
                return read(data, cls)
            except Faults as error:
                before, data = data, without_nulls(data, error.faults, self.type_changes)
                if data is before:
                    raise Faults(with_type_remedies(error.faults, self.type_changes)) from None

    def messages(self, faults: Iterable[Fault]) -> list[str]:
        """Return the faults as messages with their sources, in the order of the file."""
        order = {self.name: 0}
        located = [(self.location(fault.path), fault) for fault in faults]
        for location, _ in located:
            order.setdefault(location.name, len(order))
        located.sort(key=lambda pair: (order[pair[0].name], pair[0].line))
        return [f"{location}: {fault}" for location, fault in located]


def shipped_experiments() -> Path:
    """Return the folder of the shipped experiments."""
    return packaged_folder("experiments")


def packaged_folder(name: str, checkout: str | None = None) -> Path:
    """Return a folder that is shipped with rlcl.

    It is inside the installed package, or next to the package in a checkout. The folder inside has priority: next to
    an installed package, another package may have a folder of the same name.

    Args:
        name: name of the folder inside the package.
        checkout: its path in a checkout; ``name`` by default.
    """
    package = Path(rlcl.__file__).parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / (checkout or name)


def find_file(name: str | Path, folder: Path = Path(), shipped: Path | None = None) -> Path:
    """Return the file of a path or of the bare name of a shipped file.

    Args:
        name: ``x.yaml``, ``quickstart`` or ``continual/split_digits``.
        folder: base of relative paths.
        shipped: folder of the shipped files; that of the experiments by default.

    Raises:
        ConfigError: the file does not exist.
    """
    path, shipped = folder / name, shipped_experiments() if shipped is None else shipped
    candidates = [path, *([shipped / f"{name}.yaml", shipped / name] if not Path(name).is_absolute() else [])]
    for candidate in candidates:
        try:
            if candidate.is_file():
                return candidate
        except OSError as error:  # the name is too long, or the folder is not readable
            raise ConfigError([f"{_truncated(candidate)}: cannot be read: {error.strerror}"]) from None
    local = [p.name for pattern in ("*.yaml", "*.yml") for p in path.parent.glob(pattern)]
    known = [p.relative_to(shipped).with_suffix("").as_posix() for p in shipped.rglob("*.yaml")]
    fault = "is a folder, not a file" if path.is_dir() else "no such file"
    raise ConfigError([f"{path}: {fault}{did_you_mean(Path(name).name if local else str(name), {*local, *known})}"])


def read_document(name: str | Path, overrides: Sequence[str] = (), shipped: Path | None = None) -> Document:
    """Read a file and the files that it extends, and apply overrides.

    Args:
        name: see :func:`find_file`.
        overrides: ``key.path=value``, the value as YAML.
        shipped: see :func:`find_file`.

    Raises:
        ConfigError: a file is missing or is not a YAML mapping, or an override cannot be applied.
    """
    document = _read(find_file(name, shipped=shipped), ())
    return override(document, overrides)


def resolve_extends(document: Document) -> Document:
    """Merge a document with the file that it extends; its path is relative to the folder of the extending file.

    Raises:
        ConfigError: the extended file is missing or is not a YAML mapping.
    """
    return _extended(document, Path(document.location(("extends",)).name).parent, ())


def _read(path: Path, chain: tuple[Path, ...]) -> Document:
    if path.resolve() in chain:
        cycle = " extends ".join(_short_path(p) for p in (*chain[chain.index(path.resolve()) :], path.resolve()))
        raise ConfigError([f"{_short_path(path)}: a file cannot extend itself: {cycle}"])
    return _extended(_parse(path), path.parent, (*chain, path.resolve()))


def _extended(document: Document, folder: Path, chain: tuple[Path, ...]) -> Document:
    if "extends" not in document.data:
        return document
    location, base_name = document.location(("extends",)), document.data["extends"]
    if not isinstance(base_name, str):
        raise ConfigError([f"{location}: extends: expected the path of one file, got {base_name!r}"])
    try:
        base_path = find_file(base_name, folder)
    except ConfigError as error:
        raise ConfigError([f"{location}: extends: {problem}" for problem in error.problems]) from None
    own = {key: value for key, value in document.data.items() if key != "extends"}
    return merge(_read(base_path, chain), Document(document.name, own, document.locations))


def _truncated(path: Path) -> str:
    return text if len(text := str(path)) <= 200 else f"{text[:200]}..."


def _short_path(path: Path) -> str:
    """Return a path relative to the working directory if it is inside, else the full path."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path)


def _parse(path: Path) -> Document:
    name = _short_path(path) if not path.is_absolute() else str(path)
    try:
        node = _load_yaml(path.read_text(encoding="utf-8"))
    except _InvalidYamlError as error:
        raise ConfigError([f"{SourceLocation(name, error.line)}: {error}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{name}: not valid YAML: {error}"]) from None
    except OSError as error:
        raise ConfigError([f"{name}: cannot be read: {error.strerror}"]) from None
    if node is None:
        raise ConfigError([f"{name}: empty; expected at least name, stream, learner and budget"])
    if not isinstance(node, CommentedMap):
        raise ConfigError([f"{name}: expected a mapping at the top, got {type(_plain(node, path.parent)).__name__}"])
    document = Document(name, None)
    faults: list[Fault] = []
    data = _plain(node, path.parent, document.locations, faults, name)
    if faults:
        raise ConfigError(document.messages(faults))
    return Document(name, data, document.locations)


class _InvalidYamlError(ValueError):
    """Raised when a text is not valid YAML.

    Args:
        message: the fault.
        line: line of the fault, from 1; 0 if it is not known.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def _load_yaml(text: str) -> Any:
    """Parse a text to ruamel.yaml's nodes.

    Raises:
        _InvalidYamlError: the text is not valid YAML.
    """
    try:
        return YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        duplicate = re.match(r'found duplicate key "(.*?)"', error.problem or "")
        fault = f"duplicate key {duplicate[1]!r}" if duplicate else f"not valid YAML: {error.problem or error.context}"
        raise _InvalidYamlError(fault, mark.line + 1 if mark else 0) from None
    except RecursionError:
        raise _InvalidYamlError(f"deeper than {_MAX_DEPTH} levels") from None
    except Exception as error:  # `!!int abc` and `? [a]` raise the errors of int("abc") and {[a]: 1}
        message = (str(error).splitlines() or [type(error).__name__])[0]
        raise _InvalidYamlError(f"not valid YAML: {message}") from None


def _plain(
    node: Any,
    folder: Path,
    locations: dict[tuple[Key, ...], SourceLocation] | None = None,
    faults: list[Fault] | None = None,
    name: str = "",
    path: tuple[Key, ...] = (),
) -> Any:
    """Return ruamel.yaml's nodes as plain data; add the line of each key to ``locations``, and faults to ``faults``."""
    locations, faults = {} if locations is None else locations, [] if faults is None else faults
    tag = getattr(getattr(node, "tag", None), "value", None)
    if isinstance(node, TaggedScalar) or (tag is not None and tag not in _TAGS):
        faults.append(Fault(path, f"the YAML tag {tag} has no meaning here; remove it"))
        return None
    if len(path) > _MAX_DEPTH or len(locations) > _MAX_VALUES:
        limit = f"deeper than {_MAX_DEPTH} levels" if len(path) > _MAX_DEPTH else f"more than {_MAX_VALUES:,} values"
        raise ConfigError([f"{name}: {key_path(path[:3])}: {limit}" if path else f"{name}: {limit}"])
    if isinstance(node, CommentedMap | CommentedSeq):
        pairs = list(node.items()) if isinstance(node, CommentedMap) else list(enumerate(node))
        for key, _ in pairs:
            position = (node.lc.data or {}).get(key)  # None for keys that `<<` merges
            if position is not None:
                locations[(*path, _key(key))] = SourceLocation(name, position[0] + 1)
        items = [(_key(key), _plain(item, folder, locations, faults, name, (*path, _key(key)))) for key, item in pairs]
        return dict(items) if isinstance(node, CommentedMap) else [item for _, item in items]
    return _scalar(node, folder)


def _key(key: Any) -> Any:
    return _scalar(key, Path())


def _scalar(node: Any, folder: Path) -> Any:
    if node is None or isinstance(node, bool):
        return node
    if isinstance(node, int):
        return int(node)
    if isinstance(node, float):
        return float(node)
    if isinstance(node, datetime.date):
        return node.isoformat()
    return _absolute(str(node), folder)


def _absolute(text: str, folder: Path) -> str:
    """Return ``file.py:Class`` with its absolute path, so that a resolved config can be read from any folder."""
    if not _IN_FILE.fullmatch(text):
        return text
    name, _, attribute = text.rpartition(":")
    file = next((base / name for base in (Path(), folder) if (base / name).is_file()), None)
    return text if file is None else f"{file.resolve().as_posix()}:{attribute}"


def merge(base: Document, over: Document) -> Document:
    """Merge two documents: mappings are merged, other values of ``base`` are replaced by those of ``over``.

    A component whose type changes keeps its other settings; see :mod:`rlcl.config.merging`.
    """
    merger = ConfigMerger()
    data = merger.merge(base.data, over.data, ())
    locations = {p: location for p, location in base.locations.items() if not merger.replaces(p)}
    type_changes = {p: change for p, change in base.type_changes.items() if not merger.replaces(p)}
    type_changes = combined_changes(type_changes, merger.type_changes) | over.type_changes
    return Document(over.name, data, locations | over.locations, type_changes)


def _types_first(item: tuple[tuple[Key, ...], Any]) -> tuple[bool, int]:
    """Return a sort key that puts types before other settings, and outer types before inner ones."""
    path, _ = item
    return path[-1] != "type", len(path) if path[-1] == "type" else 0


def override(document: Document, overrides: Sequence[str]) -> Document:
    """Return a document with single values set, as on the command line.

    Args:
        document: the document, which is not changed.
        overrides: ``key.path=value``, the value as YAML.

    Raises:
        ConfigError: an override is malformed, or its key path cannot be set.
    """
    faults = list[str]()
    parsed: list[tuple[tuple[Key, ...], Any]] = []
    for text in overrides:
        try:
            parsed.append(_parse_override(text))
        except Problem as problem:
            faults.append(f"command line: {problem}")
    # The type of a component is set before its settings.
    for path, value in sorted(parsed, key=_types_first):
        try:
            locations = _locations_at(value, SourceLocation("command line"))
            document = put(document, path, Document(document.name, value, locations))
        except Problem as problem:
            faults.append(f"command line: {problem}")
    if faults:
        raise ConfigError(faults)
    return document


def put(document: Document, path: Sequence[Key], value: Document) -> Document:
    """Return a document with one value set; it is merged with the former value as by ``extends``.

    Args:
        document: the document, which is not changed.
        path: key path of the value; missing keys are created.
        value: the value, with locations relative to it.

    Raises:
        Problem: a list has no such item, or a value on the path has no keys.
    """
    merger = ConfigMerger()
    data, full_path = merger.put(document.data, tuple(path), value.data)
    unchanged = {p: location for p, location in document.locations.items() if not merger.replaces(p)}
    changed = {(*full_path, *p): location for p, location in value.locations.items()}
    created = {full_path[:n]: changed[full_path] for n in range(1, len(full_path))} if full_path in changed else {}
    type_changes = {p: change for p, change in document.type_changes.items() if not merger.replaces(p)}
    type_changes = combined_changes(type_changes, merger.type_changes)
    return Document(document.name, data, created | unchanged | changed, type_changes)


def _locations_at(
    value: Any, location: SourceLocation, path: tuple[Key, ...] = ()
) -> dict[tuple[Key, ...], SourceLocation]:
    """Return the same location for a value and for all values within it."""
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    inner = (_locations_at(item, location, (*path, key)) for key, item in pairs)
    return {path: location} | {p: at for locations in inner for p, at in locations.items()}


def _parse_override(text: str) -> tuple[tuple[Key, ...], Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Problem(f"{text!r}: expected key.path=value")
    path = parse_key_path(name.strip())
    try:
        node = _load_yaml(value)
    except _InvalidYamlError as error:
        raise Problem(f"{error}; quote the whole argument if it contains spaces", name) from None
    faults: list[Fault] = []
    data = _plain(node, Path(), None, faults, f"command line: {name}")
    if faults:
        raise Problem(str(faults[0]), name)
    return path, data
