"""Import of Avalanche, and construction of its objects by class name.

All imports of Avalanche go through this module. Avalanche imports torchvision, which must be imported by
:mod:`rlcl.data.torchvision_import` first. The import takes 5 to 9 seconds and is done only if Avalanche is used.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

from rlcl.data.torchvision_import import import_torchvision
from rlcl.errors import Problem, UnsupportedError, did_you_mean

__all__ = [
    "check_options",
    "construct",
    "construct_option",
    "import_avalanche",
    "known_classes",
    "look_up",
    "suppressed_deprecations",
]


@cache
def import_avalanche() -> ModuleType:
    """Import the avalanche package with its benchmarks, models, plugins and strategies."""
    import_torchvision()
    with warnings.catch_warnings():
        # Only GEM needs a solver, and it raises its own error without one.
        warnings.filterwarnings("ignore", message="no QP solver found", category=UserWarning)
        # On Python 3.12 and later the solver depends on jaxopt, which warns that it is no longer maintained.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        import avalanche
        import avalanche.benchmarks.classic
        import avalanche.models
        import avalanche.training.plugins
    module: ModuleType = avalanche
    return module


@contextmanager
def suppressed_deprecations() -> Iterator[None]:
    """Suppress the deprecation warnings of functions that Avalanche's code calls.

    Avalanche's code also resets the warning filters of the process. They are restored on exit.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if not issubclass(warning.category, DeprecationWarning) and "deprecated" not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def look_up(name: str, known: Mapping[str, Any], what: str, where: str) -> Any:
    """Return the entry of ``known`` with a name.

    Args:
        name: name to look up.
        known: entries by name.
        what: kind of the entries, for the message.
        where: key path of the name in the config, for the message.

    Raises:
        Problem: the name is not in ``known``; the message suggests the most similar one.
    """
    if name not in known:
        raise Problem(f"{where}: unknown {what} {name!r}{did_you_mean(name, known)}")
    return known[name]


def check_options(
    target: Callable[..., Any], name: str, options: Mapping[str, Any], reserved: Mapping[str, str], where: str
) -> None:
    """Check keyword arguments against the signature of a class or function of Avalanche.

    Args:
        target: the class or function.
        name: its name, for messages.
        options: keyword arguments from the config.
        reserved: arguments that rlcl sets itself, each with the alternative for the user.
        where: key path of the options in the config.

    Raises:
        Problem: an argument does not exist, is set by rlcl, or is missing.
    """
    parameters = [p for p in inspect.signature(target).parameters.values() if p.kind is not p.VAR_KEYWORD]
    allowed = {p.name for p in parameters} - set(reserved)
    for key in options:
        if key in reserved:
            raise Problem(f"{where}.{key}: rlcl sets it; {reserved[key]}")
        if key not in allowed:
            raise Problem(f"{where}.{key}: {name} has no option {key!r}{did_you_mean(key, allowed)}")
    for parameter in parameters:
        required = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL
        if required and parameter.name in allowed and parameter.name not in options:
            raise Problem(f"{where}.{parameter.name}: missing; {name} requires it")


def construct(target: Callable[..., Any], name: str, arguments: Mapping[str, Any]) -> Any:
    """Call a class or function of Avalanche.

    Raises:
        UnsupportedError: it raised an error for its arguments.
    """
    try:
        return target(**arguments)
    except (AssertionError, AttributeError, ImportError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnsupportedError(f"avalanche's {name} rejected its options: {reason}") from error


def known_classes() -> Mapping[str, Any]:
    """Return the classes, by name, that options ``{type: NAME, ...}`` can use: models, losses, layers, and others."""
    import torch

    avalanche = import_avalanche()
    modules = (torch.optim.lr_scheduler, torch.nn, avalanche.training, avalanche.models)
    return {name: value for module in modules for name, value in vars(module).items() if inspect.isclass(value)}


def construct_option(value: Any, where: str, defaults: Mapping[str, Any]) -> Any:
    """Return the value of an option in which each ``{type: NAME, ...}`` is replaced by an instance of that class.

    Args:
        value: value in the config.
        where: its key path.
        defaults: arguments passed to classes that have them, unless the config sets them.
    """
    if isinstance(value, list | tuple):
        return [construct_option(item, f"{where}[{index}]", defaults) for index, item in enumerate(value)]
    if not isinstance(value, Mapping) or "type" not in value:
        return dict(value) if isinstance(value, Mapping) else value
    cls = look_up(str(value["type"]), known_classes(), "class", f"{where}.type")
    arguments = {
        key: construct_option(item, f"{where}.{key}", defaults) for key, item in value.items() if key != "type"
    }
    arguments = {**{k: v for k, v in defaults.items() if k in inspect.signature(cls).parameters}, **arguments}
    check_options(cls, value["type"], arguments, {}, where)
    return construct(cls, value["type"], arguments)
