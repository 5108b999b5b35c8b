"""What runs have cost: what is held at the end, and what was spent in all."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

import attrs

from rlcl.comparison.groups import Group, Seed
from rlcl.types import Costs

__all__ = ["COSTS", "SPENT", "Cost", "costs", "experience_seconds"]

COSTS = tuple(attrs.fields_dict(Costs))
HELD = ("parameters", "memory_bytes")
TIMES = ("seconds", "cpu_seconds")
SPENT = (*COSTS, *TIMES)


@attrs.frozen
class Cost:
    """One cost over seeds.

    Args:
        name: one of SPENT.
        values: one a seed.
    """

    name: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return fmean(self.values)


def costs(group: Group) -> Mapping[str, Cost]:
    """The costs that all seeds of an experiment tell, by name."""
    each = [_spent(seed) for seed in group.seeds]
    names = [name for name in SPENT if each and all(name in found for found in each)]
    return {name: Cost(name, tuple(found[name] for found in each)) for name in names}


def _spent(seed: Seed) -> dict[str, float]:
    told: dict[str, dict[int, float]] = {}
    for record in seed.records:
        if record.metric in COSTS:
            told.setdefault(record.metric, {})[record.trained_on] = record.value
    found = {name: each[max(each)] if name in HELD else sum(each.values()) for name, each in told.items()}
    return found | {name: seed.run.summary[name] for name in TIMES if name in seed.run.summary}


def experience_seconds(group: Group) -> Mapping[int, float]:
    """Seconds on the wall of each experience, mean over the seeds that took it."""
    known = sorted({t for seed in group.seeds for t in seed.seconds})
    return {t: fmean([seed.seconds[t] for seed in group.seeds if t in seed.seconds]) for t in known}
