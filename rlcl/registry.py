"""Registry of components: ``"ewc"``, ``"package.module:Class"``, ``"path/to/file.py:Class"``.

Dict literals, ``{name: "module:Class"}``, list the built-in components, so that a look-up imports
only one module. Installed packages add components with entry points in the group ``rlcl.<kind>``.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import zlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from attrs import frozen

from rlcl.errors import Problem, did_you_mean

__all__ = ["KINDS", "SYNONYMS", "Entry", "entries", "find", "name_of"]

_FILE_MODULE = "rlcl_file_"

KINDS: Mapping[str, str] = {
    "data": "rlcl.data:DATA",
    "stream": "rlcl.streams:STREAMS",
    "drift": "rlcl.data:DRIFTS",
    "encoder": "rlcl.encoders:ENCODERS",
    "augmentation": "rlcl.data:AUGMENTATIONS",
    "network": "rlcl.networks:NETWORKS",
    "optimizer": "rlcl.learners:OPTIMIZERS",
    "schedule": "rlcl.learners:SCHEDULES",
    "learner": "rlcl.learners:LEARNERS",
    "method": "rlcl.methods:METHODS",
    "measure": "rlcl.evaluation:MEASURES",
    "metric": "rlcl.evaluation:METRICS",
    "probe": "rlcl.evaluation:PROBES",
    "sink": "rlcl.sinks:SINKS",
    "launcher": "rlcl.launch:LAUNCHERS",
}

SYNONYMS: Mapping[str, str] = {
    "replay": "rehearsal",
    "experience_replay": "rehearsal",
    "er": "rehearsal",
    "buffer_size": "capacity",
    "mem_size": "capacity",
    "memory_size": "capacity",
    "lambda": "strength",
    "ewc_lambda": "strength",
    "learning_rate": "lr",
    "batchsize": "batch_size",
    "hidden_sizes": "hidden",
    "layers": "hidden",
    "normalize": "standardize",
    "standardise": "standardize",
    "vec_normalize": "running_norm",
    "normalize_observations": "running_norm",
    "grayscale": "grey_scale",
    "greyscale": "grey_scale",
    "gray_scale": "grey_scale",
    "pretrained": "backbone",
    "split": "class_incremental",
    "n_experiences": "experiences",
    "n_tasks": "experiences",
    "n_envs": "num_envs",
    "timesteps": "env_steps",
    "total_timesteps": "env_steps",
    "steps": "updates",
    "iterations": "updates",
}


@frozen
class Entry:
    """A registered component.

    Args:
        name: its name in a config.
        reference: ``module:Class``.
        origin: ``built-in``, or the distribution that provides it.
    """

    name: str
    reference: str
    origin: str


@cache
def entries(kind: str) -> Mapping[str, Entry]:
    """Return all components of a kind by name: built-in ones first, then those of installed packages."""
    module, _, attribute = KINDS[kind].partition(":")
    built_in: Mapping[str, str] = getattr(importlib.import_module(module), attribute)
    components = {name: Entry(name, reference, "built-in") for name, reference in built_in.items()}
    for point in sorted(entry_points(group=f"rlcl.{kind}"), key=lambda p: p.name):
        components.setdefault(point.name, Entry(point.name, point.value, _origin(point)))
    return components


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.group


def find(kind: str, name: str, relative_to: Path | None = None) -> Any:
    """Return the class (or function) of a component name.

    Args:
        kind: a key of ``KINDS``.
        name: a registered name, ``package.module:Class`` or ``path/to/file.py:Class``.
        relative_to: folder in which relative file paths are searched, after the working directory.

    Raises:
        Problem: the name, module, file or attribute does not exist.
    """
    registered = entries(kind)
    if name in registered:
        return _resolve(registered[name].reference, None)
    if ":" in name:
        return _resolve(name, relative_to)
    if SYNONYMS.get(name) in registered:
        raise Problem(f"unknown {kind} {name!r}; did you mean {SYNONYMS[name]}?")
    raise Problem(
        f"unknown {kind} {name!r}{did_you_mean(name, registered)} (or package.module:Class, or file.py:Class)"
    )


def name_of(kind: str, component: object) -> str:
    """Return the shortest name of a component's class: ``ewc``, else ``module:Class`` or ``/path/file.py:Class``."""
    cls = component if inspect.isclass(component) else type(component)
    for entry in entries(kind).values():
        # An entry point may refer to a class by another module than the one that defines it.
        if entry.reference.rpartition(":")[2] == cls.__qualname__ and _resolve(entry.reference, None) is cls:
            return entry.name
    module = sys.modules.get(cls.__module__)
    if module is not None and cls.__module__.startswith(_FILE_MODULE):
        return f"{Path(str(module.__file__)).as_posix()}:{cls.__qualname__}"
    return f"{cls.__module__}:{cls.__qualname__}"


def _resolve(reference: str, relative_to: Path | None) -> Any:
    source, _, attribute = reference.rpartition(":")
    module = _load_file(source, relative_to) if source.endswith(".py") else _load_module(source)
    if not hasattr(module, attribute):
        own = {n: v for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__}
        public = [n for n, v in own.items() if inspect.isclass(v) or inspect.isfunction(v)]
        raise Problem(f"{source} has no {attribute!r}{did_you_mean(attribute, public)}")
    return getattr(module, attribute)


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise Problem(f"no module named {error.name!r}; is its package installed, or on PYTHONPATH?") from None
        raise Problem(f"importing {name} failed: {error}") from error
    except Exception as error:
        raise Problem(f"importing {name} failed: {type(error).__name__}: {error}") from error


def _load_file(file: str, relative_to: Path | None) -> ModuleType:
    folders = [Path.cwd(), *([relative_to] if relative_to else [])]
    candidates = [(folder / file).resolve() for folder in folders]
    path = next((p for p in candidates if p.is_file()), None)
    if path is None:
        raise Problem(f"no file {file}; looked for {' and '.join(map(str, dict.fromkeys(candidates)))}")
    name = f"{_FILE_MODULE}{path.stem}_{zlib.crc32(str(path).encode()):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise Problem(f"{path} failed to import: {type(error).__name__}: {error}") from error
    return module
