"""Experiment files: YAML with ``extends``, overrides from the command line, and the line of every key."""

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
from rlcl.config.retyped import Merged, Retyped, joined, nulled, told, unmarked
from rlcl.config.structuring import read
from rlcl.errors import ConfigError, Problem, did_you_mean

__all__ = [
    "Document",
    "extended",
    "find_file",
    "merge",
    "override",
    "put",
    "read_document",
    "shipped_folder",
    "shipped_in",
]

_DEPTH = 40  # of nested values
_SIZE = 100_000  # values; aliases of aliases multiply
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null")}
_IN_FILE = re.compile(r"[^\s:]+\.py:[A-Za-z_][\w.]*")


@frozen
class Place:
    """Where a value was written: a file and a line, or the command line."""

    name: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.name}:{self.line}" if self.line else self.name


@frozen
class Document:
    """Plain data, and where each of its values was written.

    Args:
        name: the file that was asked for.
        data: mappings, lists and scalars.
        places: by key path.
        retyped: by key path, the components whose type was changed.
    """

    name: str
    data: Any
    places: dict[tuple[Key, ...], Place] = field(factory=dict)
    retyped: dict[tuple[Key, ...], Retyped] = field(factory=dict)

    def place(self, path: Sequence[Key]) -> Place:
        """Where a value, or else what it is missing from, was written."""
        lengths = range(len(path), 0, -1)
        return next((self.places[tuple(path[:n])] for n in lengths if tuple(path[:n]) in self.places), Place(self.name))

    def part(self, path: tuple[Key, ...]) -> Document:
        """What stands at a key path, as a document of its own."""
        node = self.data
        for key in path:
            node = node[key]
        size = len(path)
        places = {p[size:]: at for p, at in self.places.items() if p[:size] == path}
        retyped = {p[size:]: change for p, change in self.retyped.items() if p[:size] == path}
        return Document(self.name, node, places, retyped)

    def read(self, cls: Any) -> Any:
        """The data as a class of settings; those that are null and that a new type lacks are left out.

        Raises:
            Faults: everything that is wrong.
        """
        data = unmarked(self.data)
        while True:
            try:
                return read(data, cls)
            except Faults as found:
                before, data = data, nulled(data, found.faults, self.retyped)
                if data is before:
                    raise Faults(told(found.faults, self.retyped)) from None

    def messages(self, faults: Iterable[Fault]) -> list[str]:
        """The faults as lines for people, in the order of the file."""
        order = {self.name: 0}
        placed = [(self.place(fault.path), fault) for fault in faults]
        for place, _ in placed:
            order.setdefault(place.name, len(order))
        placed.sort(key=lambda pair: (order[pair[0].name], pair[0].line))
        return [f"{place}: {fault}" for place, fault in placed]


def shipped_folder() -> Path:
    """The folder of the experiments that come with rlcl."""
    return shipped_in("experiments")


def shipped_in(name: str, checkout: str | None = None) -> Path:
    """A folder that comes with rlcl: within the package where it is installed, else beside it in a checkout.

    Beside an installed package lie those of all others, one of which may have a folder of the same name.

    Args:
        name: of the folder within the package.
        checkout: its path within a checkout; the same by default.
    """
    package = Path(rlcl.__file__).parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / (checkout or name)


def find_file(name: str | Path, folder: Path = Path(), shipped: Path | None = None) -> Path:
    """The file that a path, or the bare name of a shipped one, stands for.

    Args:
        name: ``x.yaml``, ``quickstart`` or ``continual/split_digits``.
        folder: where relative paths start from.
        shipped: the folder of those that come with rlcl; of the experiments by default.

    Raises:
        ConfigError: there is no such file.
    """
    path, shipped = folder / name, shipped_folder() if shipped is None else shipped
    candidates = [path, *([shipped / f"{name}.yaml", shipped / name] if not Path(name).is_absolute() else [])]
    for candidate in candidates:
        try:
            if candidate.is_file():
                return candidate
        except OSError as error:  # too long a name, or a folder that may not be read
            raise ConfigError([f"{_cut(candidate)}: cannot be read: {error.strerror}"]) from None
    near = [p.name for pattern in ("*.yaml", "*.yml") for p in path.parent.glob(pattern)]
    ours = [p.relative_to(shipped).with_suffix("").as_posix() for p in shipped.rglob("*.yaml")]
    what = "is a folder, not a file" if path.is_dir() else "no such file"
    raise ConfigError([f"{path}: {what}{did_you_mean(Path(name).name if near else str(name), {*near, *ours})}"])


def read_document(name: str | Path, overrides: Sequence[str] = (), shipped: Path | None = None) -> Document:
    """Reads a file, what it extends, and applies overrides.

    Args:
        name: see :func:`find_file`.
        overrides: ``key.path=value``, the value as YAML.
        shipped: see :func:`find_file`.

    Raises:
        ConfigError: a file is missing or is no YAML mapping, or an override cannot be applied.
    """
    document = _read(find_file(name, shipped=shipped), ())
    return override(document, overrides)


def extended(document: Document) -> Document:
    """A document with what it extends; paths start from the folder of the file that names it.

    Raises:
        ConfigError: that file is missing or is no YAML mapping.
    """
    return _extended(document, Path(document.place(("extends",)).name).parent, ())


def _read(path: Path, chain: tuple[Path, ...]) -> Document:
    if path.resolve() in chain:
        circle = " extends ".join(_shown(p) for p in (*chain[chain.index(path.resolve()) :], path.resolve()))
        raise ConfigError([f"{_shown(path)}: a file cannot extend itself: {circle}"])
    return _extended(_parse(path), path.parent, (*chain, path.resolve()))


def _extended(document: Document, folder: Path, chain: tuple[Path, ...]) -> Document:
    if "extends" not in document.data:
        return document
    place, base_name = document.place(("extends",)), document.data["extends"]
    if not isinstance(base_name, str):
        raise ConfigError([f"{place}: extends: expected the path of one file, got {base_name!r}"])
    try:
        base_path = find_file(base_name, folder)
    except ConfigError as error:
        raise ConfigError([f"{place}: extends: {problem}" for problem in error.problems]) from None
    own = {key: value for key, value in document.data.items() if key != "extends"}
    return merge(_read(base_path, chain), Document(document.name, own, document.places))


def _cut(path: Path) -> str:
    """A path as a message may show it."""
    return text if len(text := str(path)) <= 200 else f"{text[:200]}..."


def _shown(path: Path) -> str:
    """As short as can be: relative to the working directory where it is within."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path)


def _parse(path: Path) -> Document:
    name = _shown(path) if not path.is_absolute() else str(path)
    try:
        node = _loaded(path.read_text(encoding="utf-8"))
    except _NotYaml as error:
        raise ConfigError([f"{Place(name, error.line)}: {error}"]) from None
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
    data = _plain(node, path.parent, document.places, faults, name)
    if faults:
        raise ConfigError(document.messages(faults))
    return Document(name, data, document.places)


class _NotYaml(ValueError):
    """A text that is no YAML, and the line where it is not; 0 where that is not known."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def _loaded(text: str) -> Any:
    """Ruamel's nodes of a text.

    Raises:
        _NotYaml: it is none.
    """
    try:
        return YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        duplicate = re.match(r'found duplicate key "(.*?)"', error.problem or "")
        what = f"duplicate key {duplicate[1]!r}" if duplicate else f"not valid YAML: {error.problem or error.context}"
        raise _NotYaml(what, mark.line + 1 if mark else 0) from None
    except RecursionError:
        raise _NotYaml(f"deeper than {_DEPTH} levels") from None
    except Exception as error:  # `!!int abc` and `? [a]` are whatever Python says of int("abc") and {[a]: 1}
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise _NotYaml(f"not valid YAML: {said}") from None


def _plain(
    node: Any,
    folder: Path,
    places: dict[tuple[Key, ...], Place] | None = None,
    faults: list[Fault] | None = None,
    name: str = "",
    path: tuple[Key, ...] = (),
) -> Any:
    """Ruamel's nodes as plain data; notes the line of every key on the way."""
    places, faults = {} if places is None else places, [] if faults is None else faults
    tag = getattr(getattr(node, "tag", None), "value", None)
    if isinstance(node, TaggedScalar) or (tag is not None and tag not in _TAGS):
        faults.append(Fault(path, f"the YAML tag {tag} has no meaning here; remove it"))
        return None
    if len(path) > _DEPTH or len(places) > _SIZE:
        much = f"deeper than {_DEPTH} levels" if len(path) > _DEPTH else f"more than {_SIZE:,} values"
        raise ConfigError([f"{name}: {key_path(path[:3])}: {much}" if path else f"{name}: {much}"])
    if isinstance(node, CommentedMap | CommentedSeq):
        pairs = list(node.items()) if isinstance(node, CommentedMap) else list(enumerate(node))
        for key, _ in pairs:
            position = (node.lc.data or {}).get(key)  # none for what `<<` brings in
            if position is not None:
                places[(*path, _key(key))] = Place(name, position[0] + 1)
        items = [(_key(key), _plain(item, folder, places, faults, name, (*path, _key(key)))) for key, item in pairs]
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
    """``file.py:Class`` by its full path, so that a resolved config is found from any folder."""
    if not _IN_FILE.fullmatch(text):
        return text
    place, _, attribute = text.rpartition(":")
    found = next((base / place for base in (Path(), folder) if (base / place).is_file()), None)
    return text if found is None else f"{found.resolve().as_posix()}:{attribute}"


def merge(base: Document, over: Document) -> Document:
    """A document as another changes it: mappings are merged, all else is replaced.

    A component of another type keeps its other settings; see :mod:`rlcl.config.retyped`.
    """
    merged = Merged()
    data = merged.merge(base.data, over.data, ())
    kept = {p: place for p, place in base.places.items() if not merged.replaces(p)}
    retyped = {p: change for p, change in base.retyped.items() if not merged.replaces(p)}
    return Document(over.name, data, kept | over.places, joined(retyped, merged.retyped) | over.retyped)


def _types_first(item: tuple[tuple[Key, ...], Any]) -> tuple[bool, int]:
    path, _ = item
    return path[-1] != "type", len(path) if path[-1] == "type" else 0


def override(document: Document, overrides: Sequence[str]) -> Document:
    """Sets single values, as the command line does.

    Args:
        document: is left as it is.
        overrides: ``key.path=value``, the value as YAML.

    Raises:
        ConfigError: one is malformed, or there is nothing to set.
    """
    faults = list[str]()
    parsed: list[tuple[tuple[Key, ...], Any]] = []
    for text in overrides:
        try:
            parsed.append(_parse_override(text))
        except Problem as problem:
            faults.append(f"command line: {problem}")
    # A component as a whole comes before what is set within it, and its type before its other settings.
    for path, value in sorted(parsed, key=_types_first):
        try:
            document = put(document, path, Document(document.name, value, _all_at(value, Place("command line"))))
        except Problem as problem:
            faults.append(f"command line: {problem}")
    if faults:
        raise ConfigError(faults)
    return document


def put(document: Document, path: Sequence[Key], value: Document) -> Document:
    """A document with one value in it, which changes what is there as a file does that extends another.

    Args:
        document: is left as it is.
        path: of the value; keys on the way that are missing are made.
        value: its places start at itself.

    Raises:
        Problem: there is no such item of a list, or something on the way has no keys.
    """
    merged = Merged()
    data, at = merged.put(document.data, tuple(path), value.data)
    kept = {p: place for p, place in document.places.items() if not merged.replaces(p)}
    written = {(*at, *p): place for p, place in value.places.items()}
    new = {at[:n]: written[at] for n in range(1, len(at))} if at in written else {}
    retyped = {p: change for p, change in document.retyped.items() if not merged.replaces(p)}
    return Document(document.name, data, new | kept | written, joined(retyped, merged.retyped))


def _all_at(value: Any, place: Place, path: tuple[Key, ...] = ()) -> dict[tuple[Key, ...], Place]:
    """One place for a value and for all within it."""
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    return {path: place} | {p: at for key, item in pairs for p, at in _all_at(item, place, (*path, key)).items()}


def _parse_override(text: str) -> tuple[tuple[Key, ...], Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Problem(f"{text!r}: expected key.path=value")
    path = parse_key_path(name.strip())
    try:
        node = _loaded(value)
    except _NotYaml as error:
        raise Problem(f"{error}; quote the whole argument where it holds spaces", name) from None
    faults: list[Fault] = []
    made = _plain(node, Path(), None, faults, f"command line: {name}")
    if faults:
        raise Problem(str(faults[0]), name)
    return path, made
