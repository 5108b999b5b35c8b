"""Target of the type ``order``: a published order of several learners."""

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
from rlcl.reproduction.types import ResultRow, SideResult
from rlcl.statistics.intervals import standard_error, summarize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Order", "online_curve"]

PROBE = "dead_units"  # reported if the runs record it


@frozen(kw_only=True)
class Order:
    """Order of several learners on the same streams, by their online measure at the end.

    The number of a side and seed is the mean online measure over the last experiences; it evaluates the prediction
    for each example before the update on that example. The order is reproduced if the means over seeds are in this
    order, and if each side listed in ``worsens`` is worse at the end than at the beginning.

    Args:
        metric: name of the online measure in the records.
        order: groups of sides, best group first; the order within a group is arbitrary.
        worsens: sides that are worse at the end than at the beginning.
        beginning: share of the experiences that form the beginning, at least one experience.
        end: share of the experiences that form the end, at least one experience.
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

    heading: ClassVar[str] = "Order of learners"
    rule: ClassVar[tuple[str, ...]] = (
        "All learners of a protocol learn from the same streams, one stream per seed. The online measure evaluates the",
        "prediction for each example before the update on that example. The table contains its means over the first",
        "and over the last experiences: means over seeds with standard errors, best first. A row is reproduced if the",
        "means at the end are in the published order, and if the sides that should worsen are worse at the end than at",
        "the beginning. Time is that of one seed. The JSON file contains the differences between neighbours with their",
        "intervals, and the curves.",
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
            raise Faults.one("missing; required: the keys in which each side differs, by name", "sides")
        return {str(name): ("sides", name) for name in sides}

    def check(self, sides: Mapping[str, Experiment]) -> Iterator[Fault]:
        name = self.metric.partition(".")[0]
        if name not in entries("measure"):
            yield Fault(("target", "metric"), f"no measure {name!r}{did_you_mean(name, entries('measure'))}")
        ordered = [side for group in self.order for side in group]
        for key, names in (("order", ordered), ("worsens", self.worsens)):
            for side in names:
                if side not in sides:
                    yield Fault(("target", key), f"no side {side!r}{did_you_mean(side, sides)}")
        if misplaced := [side for side in sides if ordered.count(side) != 1]:
            yield Fault(
                ("target", "order"), f"expected every side exactly once; missing or repeated: {', '.join(misplaced)}"
            )
        for side, experiment in sides.items():
            if not experiment.evaluation.online:
                yield Fault(("sides", side), "the online measure is not recorded; set evaluation.online: true")

    def judge(self, sides: Mapping[str, SideResult]) -> ResultRow:
        curves = {
            name: np.stack([online_curve(run.outcome.records, self.metric) for run in s.runs])
            for name, s in sides.items()
        }
        experiences = next(iter(curves.values())).shape[1]
        first, last = (max(round(share * experiences), 1) for share in (self.beginning, self.end))
        at_start = {name: curve[:, :first].mean(1) for name, curve in curves.items()}
        at_end = {name: curve[:, -last:].mean(1) for name, curve in curves.items()}
        # With this sign, a positive difference is worse, for losses and for measures that are better when higher.
        worse = -float(self.measure.sign)
        differences = [(a, b, worse * (at_end[b] - at_end[a])) for a, b in self._neighbours()]
        decline = {name: worse * (at_end[name] - at_start[name]) for name in self.worsens}
        reproduced = all(float(d.mean()) > 0 for d in [*decline.values(), *(d for _, _, d in differences)])
        seeds = next(iter(sides.values())).experiment.seeds
        ordered = [name for group in self.order for name in group]
        return {
            "target": {"type": "order", **attrs.asdict(self)},
            "seeds": list(seeds),
            "verdict": "reproduced" if reproduced else "differs",
            "sides": {
                name: self._side_row(sides[name], curves[name], at_start[name], at_end[name]) for name in ordered
            },
            "differences": [{"better": a, "worse": b, **_paired_difference(d)} for a, b, d in differences],
            "decline": {name: _paired_difference(d) for name, d in decline.items()},
        }

    def _neighbours(self) -> list[tuple[str, str]]:
        """Return all pairs of a side and a side of the next group."""
        return [(a, b) for better, worse in pairwise(self.order) for a in better for b in worse]

    def _side_row(self, side: SideResult, curve: Array, at_start: Array, at_end: Array) -> dict[str, Any]:
        """Return the entry of a side in the results file."""
        dead_units = [[r.value for r in run.outcome.records if r.metric == PROBE][-1:] for run in side.runs]
        mean = curve.mean(0)
        return {
            "name": side.experiment.name,
            "hash": side.experiment.hash,
            "git": side.git,
            "beginning": _mean(at_start),
            "end": _mean(at_end),
            "values": np.round(at_end, 6).tolist(),
            PROBE: round(float(np.mean(dead_units)), 4) if all(dead_units) else None,
            "seconds": side.seconds,
            "curve": {
                "mean": np.round(mean, 4).tolist(),
                "standard_error": np.round(standard_error(curve), 4).tolist(),
            },
        }

    @staticmethod
    def lines(name: str, row: ResultRow) -> list[Mapping[str, str]]:
        best = next(iter(row["sides"]))
        return [_line(name if side == best else "", side, row) for side in row["sides"]]

    @staticmethod
    def figure(name: str, row: ResultRow) -> Figure:
        curves = {}
        for side, entry in row["sides"].items():
            mean, error = (np.array(entry["curve"][key]) for key in ("mean", "standard_error"))
            band = {} if len(row["seeds"]) == 1 else {"low": mean - error, "high": mean + error}
            curves[side] = Curve(steps=range(1, len(mean) + 1), mean=mean, **band)
        y = row["target"]["metric"].replace("_", " ").replace(".online", ", online")
        return curves_figure(curves, "experience", y, f"{name}, {len(row['seeds'])} seeds, ± one standard error")


def online_curve(records: Sequence[Any], metric: str) -> Array:
    """Return the online measure (T,) of each experience.

    Args:
        records: records of one run.
        metric: name of the measure in the records.

    Raises:
        Problem: there are no such records.
    """
    values = {r.trained_on: r.value for r in records if r.metric == metric}
    if not values:
        raise Problem(f"the runs have no records of {metric}; set the measure of these learners", "target.metric")
    return np.array([values[index] for index in sorted(values)])


def _mean(values: Array) -> dict[str, float]:
    return {"mean": float(values.mean()), "standard_error": float(standard_error(values))}


def _paired_difference(differences: Array) -> dict[str, Any]:
    """Return the mean paired difference over seeds, whose streams are the same, with its Student interval."""
    summary = summarize(differences.tolist())
    return {"mean": summary.mean, "interval": None if summary.seeds == 1 else [summary.low, summary.high]}


def _line(name: str, side: str, row: ResultRow) -> Mapping[str, str]:
    entry = row["sides"][side]
    dead_units = entry[PROBE]
    return {
        "protocol": name,
        "side": side,
        "seeds": str(len(entry["values"])),
        **{key: "{mean:.3f} ± {standard_error:.3f}".format(**entry[key]) for key in ("beginning", "end")},
        "dead units": "" if dead_units is None else f"{100 * dead_units:.0f} %",
        "time": f"{np.median(entry['seconds']):.0f} s",
        "verdict": row["verdict"] if name else "",
    }
