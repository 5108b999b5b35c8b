"""Imports Avalanche, and makes objects of its classes by name.

Every import of Avalanche goes through here: it imports torchvision, which needs its remedy first,
and it takes 5 to 9 seconds, so that it is imported only where it is used.
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

__all__ = ["check_options", "import_avalanche", "known_objects", "make", "make_object", "named", "quietly"]


@cache
def import_avalanche() -> ModuleType:
    """The avalanche package, with its benchmarks, models, plugins and strategies imported."""
    import_torchvision()
    with warnings.catch_warnings():
        # GEM alone needs a solver, and says so itself when it is used.
        warnings.filterwarnings("ignore", message="no QP solver found", category=UserWarning)
        # On Python 3.12 and later its solver comes with jaxopt, which says that it is no longer maintained.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        import avalanche
        import avalanche.benchmarks.classic
        import avalanche.models
        import avalanche.training.plugins
    module: ModuleType = avalanche
    return module


@contextmanager
def quietly() -> Iterator[None]:
    """While Avalanche's own code runs: leaves out warnings of deprecated functions that it calls.

    They also reset the process's warning filters, which are restored here.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield
    for warning in said:
        if not issubclass(warning.category, DeprecationWarning) and "deprecated" not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def named(name: str, known: Mapping[str, Any], what: str, where: str) -> Any:
    """The object of a name.

    Raises:
        Problem: there is none; it names the nearest.
    """
    if name not in known:
        raise Problem(f"{where}: unknown {what} {name!r}{did_you_mean(name, known)}")
    return known[name]


def check_options(
    target: Callable[..., Any], name: str, options: Mapping[str, Any], reserved: Mapping[str, str], where: str
) -> None:
    """
    Args:
        target: a class or a function of Avalanche.
        name: of it, for messages.
        options: keyword arguments for it.
        reserved: arguments that rlcl sets itself, each with what to write instead.
        where: the options' key path.

    Raises:
        Problem: an argument that it does not have, that rlcl sets, or that is missing.
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
            raise Problem(f"{where}.{parameter.name}: missing, and {name} needs it")


def make(target: Callable[..., Any], name: str, arguments: Mapping[str, Any]) -> Any:
    """Calls a class or a function of Avalanche.

    Raises:
        UnsupportedError: it refuses its arguments.
    """
    try:
        return target(**arguments)
    except (AssertionError, AttributeError, ImportError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        told = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnsupportedError(f"avalanche's {name} refuses its options: {told}") from error


def known_objects() -> Mapping[str, Any]:
    """Classes that an option ``{type: NAME, ...}`` may name: models, memories, losses, layers, schedulers."""
    import torch

    avalanche = import_avalanche()
    places = (torch.optim.lr_scheduler, torch.nn, avalanche.training, avalanche.models)
    return {name: value for place in places for name, value in vars(place).items() if inspect.isclass(value)}


def make_object(value: Any, where: str, given: Mapping[str, Any]) -> Any:
    """An option's value: what ``{type: NAME, ...}`` describes is made, all else is left as it is.

    Args:
        value: of the option.
        where: its key path.
        given: arguments that are filled in where the class has them and the config does not say them.
    """
    if isinstance(value, list | tuple):
        return [make_object(item, f"{where}[{index}]", given) for index, item in enumerate(value)]
    if not isinstance(value, Mapping) or "type" not in value:
        return dict(value) if isinstance(value, Mapping) else value
    cls = named(str(value["type"]), known_objects(), "class", f"{where}.type")
    said = {key: make_object(item, f"{where}.{key}", given) for key, item in value.items() if key != "type"}
    said = {**{k: v for k, v in given.items() if k in inspect.signature(cls).parameters}, **said}
    check_options(cls, value["type"], said, {}, where)
    return make(cls, value["type"], said)
