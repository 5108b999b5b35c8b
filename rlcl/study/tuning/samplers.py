"""Samplers, which propose the values of a trial, and pruners, which stop trials early; all are those of Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlcl.config import Fault, Faults
from rlcl.errors import UnsupportedError
from rlcl.study.tuning.search_space import Choices, Parameter, Range

__all__ = [
    "PRUNERS",
    "SAMPLERS",
    "check_sampler",
    "distributions",
    "grid_size",
    "make_pruner",
    "make_sampler",
    "optuna",
]

WARM_UP = 5  # trials without pruning, after which trials can be compared


def optuna() -> Any:
    """Return the module ``optuna``, whose log is silent.

    Raises:
        UnsupportedError: it is not installed.
    """
    try:
        import optuna as module
    except ImportError as error:
        raise UnsupportedError("rlcl tune needs Optuna; install it with pip install 'rlcl[tune]'") from error
    module.logging.set_verbosity(module.logging.ERROR)
    return module


def _random(seed: int, parameters: Sequence[Parameter]) -> Any:
    return optuna().samplers.RandomSampler(seed=seed)


def _tpe(seed: int, parameters: Sequence[Parameter]) -> Any:
    return optuna().samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _cma_es(seed: int, parameters: Sequence[Parameter]) -> Any:
    return optuna().samplers.CmaEsSampler(seed=seed)


def _gp(seed: int, parameters: Sequence[Parameter]) -> Any:
    return optuna().samplers.GPSampler(seed=seed, deterministic_objective=False)


def _grid(seed: int, parameters: Sequence[Parameter]) -> Any:
    return optuna().samplers.GridSampler({p.name: _grid_values(p) for p in parameters}, seed=0)


SAMPLERS: Mapping[str, Callable[[int, Sequence[Parameter]], Any]] = {
    "tpe": _tpe,
    "random": _random,
    "cma_es": _cma_es,
    "gp": _gp,
    "grid": _grid,
}
PRUNERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {  # class of Optuna and its settings
    "none": ("NopPruner", {}),
    "asha": ("SuccessiveHalvingPruner", {}),
    "median": ("MedianPruner", {"n_startup_trials": WARM_UP}),
}


def make_sampler(name: str, seed: int, number: int, parameters: Sequence[Parameter]) -> Any:
    """Return the sampler for one trial.

    Each trial has a sampler of its own, whose seed depends on the number of the trial, so that an interrupted search
    proposes the same values when it is resumed.

    Args:
        name: name of the sampler.
        seed: seed of the search.
        number: number of trials that exist.
        parameters: the search space.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SAMPLERS[name]((seed * 1_000_003 + number) % 2**32, parameters)


def make_pruner(name: str) -> Any:
    """Return a pruner."""
    kind, settings = PRUNERS[name]
    return getattr(optuna().pruners, kind)(**settings)


def distributions(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Return the search space as distributions of Optuna."""
    return {parameter.name: _distribution(parameter.domain) for parameter in parameters}


def _distribution(domain: Choices | Range) -> Any:
    kinds = optuna().distributions
    if isinstance(domain, Choices):
        return kinds.CategoricalDistribution(domain.labels)
    if domain.integer:
        step = int(domain.step or 1)
        return kinds.IntDistribution(int(domain.low), int(domain.high), log=domain.log, step=step)
    return kinds.FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)


def _grid_values(parameter: Parameter) -> list[Any]:
    domain = parameter.domain
    if isinstance(domain, Choices):
        return [*domain.labels]
    step = domain.step or 1
    count = int((domain.high - domain.low) / step + 1e-9) + 1
    return [type(domain.low)(domain.low + index * step) for index in range(count)]


def grid_size(parameters: Sequence[Parameter]) -> int:
    """Return the number of points of a grid."""
    size = 1
    for parameter in parameters:
        size *= len(_grid_values(parameter))
    return size


def check_sampler(sampler: str, pruner: str, parameters: Sequence[Parameter], targets: int) -> None:
    """Check that a sampler and a pruner support a search space and a number of objectives.

    Raises:
        Faults: they do not.
    """
    faults = []
    choices = [parameter.name for parameter in parameters if isinstance(parameter.domain, Choices)]
    continuous = [
        p.name for p in parameters if isinstance(p.domain, Range) and p.domain.step is None and not p.domain.integer
    ]
    scaled = [p.name for p in parameters if isinstance(p.domain, Range) and p.domain.log]
    if pruner != "none" and targets > 1:
        faults.append(Fault(("pruner",), f"{pruner} supports one objective, got {targets}; set pruner: none"))
    if sampler == "cma_es":
        if choices:
            faults.append(
                Fault(("sampler",), f"cma_es supports numeric ranges only, not the choices of {choices[0]}; use tpe")
            )
        if targets > 1:
            faults.append(Fault(("sampler",), f"cma_es supports one objective, got {targets}; use tpe or gp"))
        if len(parameters) < 2:
            faults.append(Fault(("sampler",), "cma_es needs at least two parameters; use tpe"))
    if sampler == "grid" and (continuous or scaled):
        name = (continuous or scaled)[0]
        faults.append(Fault(("search", name), "grid needs a list of values, or a range with a step"))
    if faults:
        raise Faults(faults)
