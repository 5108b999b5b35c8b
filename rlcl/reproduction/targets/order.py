"""A published order of several learners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
from attrs import frozen

from rlcl.config import Fault, Faults, option
from rlcl.config.faults import Key
from rlcl.errors import Problem, did_you_mean
from rlcl.evaluation.measures import Measure
from rlcl.evaluation.results import Array, measure_named
from rlcl.experiment import Experiment
from rlcl.registry import entries
from rlcl.report.curves import Curve, curves_figure
from rlcl.reproduction.sides import Row, Side
from rlcl.statistics.intervals import standard_error, summarize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Order", "online"]

PROBE = "dead_units"  # told where the runs look for it


@frozen(kw_only=True)
class Order:
    """Several learners on the same streams, by how they predict at the end of them.

    Each has a number a seed: the mean online measure (of each example before the update that it serves) over the last
    experiences. Reproduced where the means over seeds stand in the order, and those that are said to get worse end
    worse than they began.

    Args:
        metric: the online measure, as its records name it.
        order: groups of sides, the best first; within a group any order will do.
        worsens: sides that end worse than they begin.
        beginning: share of the experiences that is the beginning, at least one.
        end: share of the experiences that is the end, at least one.
        source: paper and figure.
    """

    metric: str = option(
        "squared_error.online", pattern=(r"\w+\.online", "an online measure such as squared_error.online")
    )
    order: tuple[tuple[str, ...], ...] = option()
    worsens: tuple[str, ...] = option(())
    beginning: float = option(0.02, gt=0, le=1)
    end: float = option(0.1, gt=0, le=1)
    source: str = option(pattern=(r".*\S.*", "a paper and a figure"))

    heading: ClassVar[str] = "An order"
    rule: ClassVar[tuple[str, ...]] = (
        "All learners of a protocol learn from the same streams, one a seed. What is compared is the online measure,",
        "of each example before the update that it serves, over the first and over the last experiences: means over",
        "seeds with their standard errors, best first. A row is reproduced where the means at the end stand in the",
        "order, and what is said to get worse ends worse than it began. Time is that of one seed. Differences between",
        "neighbours with their intervals, and the curves, stand in the JSON file.",
    )
    brief: ClassVar[tuple[str, ...]] = (
        *("protocol", "side", "seeds", "beginning", "end", "dead units", "time", "verdict"),
    )
    may_differ: ClassVar[tuple[str, ...]] = ("name", "encoder", "learner", "evaluation")

    def __attrs_post_init__(self) -> None:
        if len(self.order) < 2 or not all(self.order):
            raise Problem("expected at least two groups, none of them empty", "order")

    @property
    def measure(self) -> Measure:
        return measure_named(self.metric.partition(".")[0])

    @property
    def claim(self) -> str:
        sign = " > " if self.measure.better == "higher" else " < "
        return sign.join(", ".join(group) for group in self.order)

    @staticmethod
    def sides(data: Mapping[str, Any]) -> Mapping[str, tuple[Key, ...]]:
        sides = data.get("sides")
        if not isinstance(sides, Mapping) or not sides:
            raise Faults.one("missing; required: by name, the keys in which each side differs", "sides")
        return {str(name): ("sides", name) for name in sides}

    def check(self, sides: Mapping[str, Experiment]) -> Iterator[Fault]:
        name = self.metric.partition(".")[0]
        if name not in entries("measure"):
            yield Fault(("target", "metric"), f"no measure {name!r}{did_you_mean(name, entries('measure'))}")
        placed = [side for group in self.order for side in group]
        for key, named in (("order", placed), ("worsens", self.worsens)):
            for side in named:
                if side not in sides:
                    yield Fault(("target", key), f"no side {side!r}{did_you_mean(side, sides)}")
        if missing := [side for side in sides if placed.count(side) != 1]:
            yield Fault(("target", "order"), f"every side has one place in it; {', '.join(missing)} has not")
        for side, experiment in sides.items():
            if not experiment.evaluation.online:
                yield Fault(("sides", side), "its examples are not predicted before its updates; set evaluation.online")

    def judge(self, sides: Mapping[str, Side]) -> Row:
        curves = {
            name: np.stack([online(run.outcome.records, self.metric) for run in s.runs]) for name, s in sides.items()
        }
        periods = next(iter(curves.values())).shape[1]
        first, last = (max(round(share * periods), 1) for share in (self.beginning, self.end))
        began = {name: curve[:, :first].mean(1) for name, curve in curves.items()}
        ended = {name: curve[:, -last:].mean(1) for name, curve in curves.items()}
        # How much worse than the one before: more of a loss, less of what is better when it is higher.
        worse = -float(self.measure.sign)
        steps = [(a, b, worse * (ended[b] - ended[a])) for a, b in self._neighbours()]
        decline = {name: worse * (ended[name] - began[name]) for name in self.worsens}
        holds = all(float(d.mean()) > 0 for d in [*decline.values(), *(d for _, _, d in steps)])
        seeds = next(iter(sides.values())).experiment.seeds
        ranked = [name for group in self.order for name in group]
        return {
            "target": {"type": "order", **attrs.asdict(self)},
            "seeds": list(seeds),
            "verdict": "reproduced" if holds else "differs",
            "sides": {name: self._told(sides[name], curves[name], began[name], ended[name]) for name in ranked},
            "differences": [{"better": a, "worse": b, **_paired(d)} for a, b, d in steps],
            "decline": {name: _paired(d) for name, d in decline.items()},
        }

    def _neighbours(self) -> list[tuple[str, str]]:
        """Every side of a group with every one of the next."""
        return [(a, b) for better, worse in pairwise(self.order) for a in better for b in worse]

    def _told(self, side: Side, curve: Array, began: Array, ended: Array) -> dict[str, Any]:
        """One side, as the results file holds it."""
        dead = [[r.value for r in run.outcome.records if r.metric == PROBE][-1:] for run in side.runs]
        mean = curve.mean(0)
        return {
            "name": side.experiment.name,
            "hash": side.experiment.hash,
            "git": side.git,
            "beginning": _mean(began),
            "end": _mean(ended),
            "values": np.round(ended, 6).tolist(),
            PROBE: round(float(np.mean(dead)), 4) if all(dead) else None,
            "seconds": side.seconds,
            "curve": {
                "mean": np.round(mean, 4).tolist(),
                "standard_error": np.round(standard_error(curve), 4).tolist(),
            },
        }

    @staticmethod
    def lines(name: str, row: Row) -> list[Mapping[str, str]]:
        best = next(iter(row["sides"]))
        return [_line(name if side == best else "", side, row) for side in row["sides"]]

    @staticmethod
    def figure(name: str, row: Row) -> Figure:
        curves = {}
        for side, told in row["sides"].items():
            mean, error = (np.array(told["curve"][key]) for key in ("mean", "standard_error"))
            ends = {} if len(row["seeds"]) == 1 else {"low": mean - error, "high": mean + error}
            curves[side] = Curve(steps=range(1, len(mean) + 1), mean=mean, **ends)
        y = row["target"]["metric"].replace("_", " ").replace(".online", ", online")
        return curves_figure(curves, "experience", y, f"{name}, {len(row['seeds'])} seeds, ± a standard error")


def online(records: Sequence[Any], metric: str) -> Array:
    """(T,) of each experience, how well its examples were predicted before their updates.

    Args:
        records: of one run.
        metric: as they name it.

    Raises:
        Problem: there are none.
    """
    found = {r.trained_on: r.value for r in records if r.metric == metric}
    if not found:
        raise Problem(f"the runs have no records of {metric}; name these learners' measure", "target.metric")
    return np.array([found[index] for index in sorted(found)])


def _mean(values: Array) -> dict[str, float]:
    return {"mean": float(values.mean()), "standard_error": float(standard_error(values))}


def _paired(differences: Array) -> dict[str, Any]:
    """The mean difference over seeds, which share their streams, with its Student interval."""
    found = summarize(differences.tolist())
    return {"mean": found.mean, "interval": None if found.seeds == 1 else [found.low, found.high]}


def _line(name: str, side: str, row: Row) -> Mapping[str, str]:
    told = row["sides"][side]
    dead = told[PROBE]
    return {
        "protocol": name,
        "side": side,
        "seeds": str(len(told["values"])),
        **{key: "{mean:.3f} ± {standard_error:.3f}".format(**told[key]) for key in ("beginning", "end")},
        "dead units": "" if dead is None else f"{100 * dead:.0f} %",
        "time": f"{np.median(told['seconds']):.0f} s",
        "verdict": row["verdict"] if name else "",
    }
