"""Another library's learner under the same settings, beside ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
from attrs import frozen

from rlcl.config import Fault, Faults, option
from rlcl.config.faults import Key
from rlcl.evaluation.results import Array, Results
from rlcl.experiment import Experiment
from rlcl.report.curves import Curve, curves_figure
from rlcl.reproduction.sides import Row, Run, Side
from rlcl.reproduction.targets.mean import unknown_metric
from rlcl.statistics.aggregates import bootstrap, difference, interquartile_mean, mean, sample_efficiency

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Peer", "area", "evaluated", "steps_to"]

BOOTSTRAP_SEED = 0  # the same runs give the same interval
REPLICATIONS = 50_000
CURVE_REPLICATIONS = 10_000


@frozen(kw_only=True)
class Peer:
    """Ours beside a peer on the same stream, with the same budget, evaluation and seeds.

    Reproduced where the 95 % bootstrap interval of the difference of the interquartile means over seeds, ours minus
    the peer's, contains 0 or lies above it, and our mean reaches the floor. The seeds of the two sides are drawn
    independently: that they have the same numbers pairs nothing.

    Args:
        metric: the average of a measure over experiences at the end, as a run's summary names it; higher is better.
        floor: what our mean over seeds must reach, in the metric's unit.
        least_seeds: with fewer there is no verdict: a bootstrap of a few values tells little.
        source: where settings and floor come from.
    """

    metric: str = option("return.average", pattern=(r"\w+\.average", "an average such as return.average"))
    floor: float = option()
    least_seeds: int = option(10, ge=2)
    source: str = option(pattern=(r".*\S.*", "a paper and a table"))

    heading: ClassVar[str] = "Beside a peer"
    rule: ClassVar[tuple[str, ...]] = (
        "Both sides have the same environments, settings, budget, evaluation and seeds. A row is reproduced where the",
        "95 % bootstrap interval over seeds of the difference of the interquartile means (IQM), ours minus the peer's,",
        "contains 0 or lies above it, and our mean reaches the floor. The steps to the floor are those after which the",
        "evaluated return first reached it, the median over seeds (none: by half of the seeds it was never reached);",
        "the mean on the way is the area under the learning curve over the steps. Time is the median of a seed,",
        "evaluations included; the sides ran one after the other on a shared machine, so that it compares roughly.",
        "Curves are means over seeds with their 95 % bootstrap intervals; their numbers stand in the JSON file.",
    )
    brief: ClassVar[tuple[str, ...]] = (
        *("protocol", "side", "seeds", "mean", "floor", "IQM", "difference", "interval", "steps to the floor"),
        *("time", "verdict"),
    )
    may_differ: ClassVar[tuple[str, ...]] = ("name", "encoder", "learner")

    @property
    def claim(self) -> str:
        return f"beside a peer, floor {self.floor:g}"

    @staticmethod
    def sides(data: Mapping[str, Any]) -> Mapping[str, tuple[Key, ...]]:
        if "peer" not in data:
            raise Faults.one("missing; required: the keys in which the other side differs", "peer")
        return {"ours": (), "peer": ("peer",)}

    def check(self, sides: Mapping[str, Experiment]) -> Iterator[Fault]:
        yield from unknown_metric(self.metric, sides["ours"])
        if sides["ours"].hash == sides["peer"].hash:
            yield Fault(("peer",), "both sides are the same; set at least learner")

    def judge(self, sides: Mapping[str, Side]) -> Row:
        ours, peer = (np.array(sides[name].values(self.metric))[:, None] for name in ("ours", "peer"))
        rng = np.random.default_rng(BOOTSTRAP_SEED)
        # The generator goes on from the one to the other, so that runs of the two are drawn apart.
        first, second = (bootstrap(side, interquartile_mean, rng, replications=REPLICATIONS) for side in (ours, peer))
        found = difference(first, second)
        good = found.high >= 0 and ours.mean() >= self.floor
        enough = len(ours) >= self.least_seeds
        return {
            "target": {"type": "peer", **attrs.asdict(self)},
            "seeds": list(sides["ours"].experiment.seeds),
            "difference": float(found.value),
            "interval": None if len(ours) == 1 else [float(found.low), float(found.high)],
            "verdict": ("reproduced" if good else "differs") if enough else "not judged",
            **{name: self._told(side) for name, side in sides.items()},
        }

    def _told(self, side: Side) -> dict[str, Any]:
        """One side, as the results file holds it."""
        values = np.array(side.values(self.metric))
        paths = [evaluated(run, self.metric.partition(".")[0]) for run in side.runs]
        reached = [steps_to(self.floor, *each) for each in paths]
        learner = side.experiment.learner
        return {
            "name": side.experiment.name,
            "learner": learner.type,
            "hash": side.experiment.hash,
            "git": side.git,
            "values": values.tolist(),
            "mean": float(values.mean()),
            "iqm": float(interquartile_mean(values[:, None])),
            "seconds": side.seconds,
            "unit": "env steps" if side.experiment.budget.unit in ("env_steps", "episodes") else "updates",
            "steps_to_floor": reached,
            "median_steps_to_floor": _median(reached),
            "area": [round(area(*each), 4) for each in paths],
            "curve": _curve(paths),
        }

    @staticmethod
    def lines(name: str, row: Row) -> list[Mapping[str, str]]:
        return [_line(name, row, "ours"), _line("", row, "peer")]

    @staticmethod
    def figure(name: str, row: Row) -> Figure:
        curves = {
            f"{row[side]['name']} ({row[side]['learner']})": Curve(
                **{key: row[side]["curve"][key] for key in ("steps", "mean", "low", "high")}
            )
            for side in SIDES
        }
        target, count = row["target"], len(row["seeds"])
        title = f"{name}, {count} seed{'s' * (count > 1)}"
        return curves_figure(curves, row["ours"]["unit"], target["metric"].partition(".")[0], title, target["floor"])


SIDES = ("ours", "peer")


def _line(name: str, row: Row, side: str) -> Mapping[str, str]:
    """A side's line; what the row says as a whole stands in the first."""
    told, first = row[side], side == SIDES[0]
    steps = told["median_steps_to_floor"]
    interval = "" if row["interval"] is None else "{:+.2f} to {:+.2f}".format(*row["interval"])
    return {
        "protocol": name,
        "side": told["name"],
        "seeds": str(len(told["values"])),
        "mean": f"{told['mean']:.2f}",
        "floor": f"{row['target']['floor']:g}" if first else "",
        "IQM": f"{told['iqm']:.2f}",
        "difference": f"{row['difference']:+.2f}" if first else "",
        "interval": interval if first else "",
        "steps to the floor": "none" if steps is None else f"{steps:,.0f}",
        "mean on the way": f"{np.mean(told['area']):.2f}",
        "time": f"{np.median(told['seconds']):.0f} s",
        "verdict": row["verdict"] if first else "",
    }


def evaluated(run: Run, measure: str) -> tuple[Array, Array]:
    """(T,) steps at which a run was evaluated, and (T,) a measure's means over experiences, higher being better.

    Args:
        run: with at least one evaluation.
        measure: as its records name it.
    """
    results = Results(run.outcome.records, measure)
    found: dict[int, list[float]] = {}
    for record in results.rows:
        found.setdefault(record.step, []).append(results.sign * record.value)
    return np.array(list(found)), np.array([np.mean(values) for values in found.values()])


def steps_to(floor: float, steps: Array, values: Array) -> int | None:
    """The first of the steps (T,) at which the value (T,) is the floor or above it, None where it never is."""
    reached = np.flatnonzero(values >= floor)
    return int(steps[reached[0]]) if len(reached) else None


def area(steps: Array, values: Array) -> float:
    """The area under the curve through the values (T,) by the trapezoidal rule, over the steps' length: their mean."""
    if len(steps) < 2:
        return float(values.mean())
    return float(((values[1:] + values[:-1]) / 2 * np.diff(steps)).sum() / (steps[-1] - steps[0]))


def _median(reached: list[int | None]) -> float | None:
    """None where half of the seeds or more never came there."""
    median = float(np.median([np.inf if steps is None else steps for steps in reached]))
    return median if np.isfinite(median) else None


def _curve(paths: list[tuple[Array, Array]]) -> dict[str, Any]:
    """Of every seed, and their mean, at every step at which any was evaluated: whole rollouts may end at other ones."""
    steps = np.unique(np.concatenate([steps for steps, _ in paths]))
    values = np.stack([np.interp(steps, *each) for each in paths], axis=1)[:, :, None]
    found = sample_efficiency(
        values, np.random.default_rng(BOOTSTRAP_SEED), statistic=mean, replications=CURVE_REPLICATIONS
    )
    alone = len(paths) == 1
    told = {"mean": found.value, "low": None if alone else found.low, "high": None if alone else found.high}
    return {
        "steps": steps.tolist(),
        **{key: None if ends is None else np.round(ends, 4).tolist() for key, ends in told.items()},
        "seeds": np.round(values[:, :, 0].T, 4).tolist(),
    }
