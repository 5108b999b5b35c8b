"""Costs of runs: parameters and memory at the end, and total updates, samples and time."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

import attrs

from rlcl.comparison.groups import SeedGroup, SeedRun
from rlcl.types import Costs

__all__ = ["COSTS", "COSTS_AND_TIMES", "Cost", "costs", "experience_seconds"]

COSTS = tuple(attrs.fields_dict(Costs))
FINAL_VALUES = ("parameters", "memory_bytes")  # reported as their last value; the other costs are added up
TIMES = ("seconds", "cpu_seconds")
COSTS_AND_TIMES = (*COSTS, *TIMES)


@attrs.frozen
class Cost:
    """One cost over seeds.

    Args:
        name: one of COSTS_AND_TIMES.
        values: one value per seed.
    """

    name: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return fmean(self.values)


def costs(group: SeedGroup) -> Mapping[str, Cost]:
    """Return the costs that all seeds of an experiment recorded, by name."""
    by_seed = [_seed_costs(seed) for seed in group.seeds]
    names = [name for name in COSTS_AND_TIMES if by_seed and all(name in values for values in by_seed)]
    return {name: Cost(name, tuple(values[name] for values in by_seed)) for name in names}


def _seed_costs(seed: SeedRun) -> dict[str, float]:
    recorded: dict[str, dict[int, float]] = {}
    for record in seed.records:
        if record.metric in COSTS:
            recorded.setdefault(record.metric, {})[record.trained_on] = record.value
    totals = {
        name: values[max(values)] if name in FINAL_VALUES else sum(values.values()) for name, values in recorded.items()
    }
    return totals | {name: seed.run.summary[name] for name in TIMES if name in seed.run.summary}


def experience_seconds(group: SeedGroup) -> Mapping[int, float]:
    """Return the wall time of each experience in seconds, mean over the seeds with a known time."""
    known = sorted({t for seed in group.seeds for t in seed.seconds})
    return {t: fmean([seed.seconds[t] for seed in group.seeds if t in seed.seconds]) for t in known}
