"""Target of the type ``peer``: comparison with another library's learner under the same settings."""

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
from rlcl.reproduction.targets.mean import unknown_metric_faults
from rlcl.reproduction.types import ReproductionRun, ResultRow, SideResult
from rlcl.statistics.aggregates import bootstrap, difference, interquartile_mean, mean, sample_efficiency

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Peer", "area_under_curve", "evaluation_curve", "steps_to_floor"]

BOOTSTRAP_SEED = 0  # the same runs give the same interval
REPLICATIONS = 50_000
CURVE_REPLICATIONS = 10_000


@frozen(kw_only=True)
class Peer:
    """Comparison of our learner with a peer on the same stream, with the same budget, evaluation and seeds.

    The target is reproduced if the 95 % bootstrap interval of the difference of the interquartile means over seeds,
    ours minus the peer's, contains 0 or lies above it, and our mean reaches the floor. The seeds of the two sides are
    resampled independently: runs with the same seed are not paired.

    Args:
        metric: average of a measure over experiences at the end, as named in a run's summary; higher is better.
        floor: minimum of our mean over seeds, in the metric's unit.
        least_seeds: minimum number of seeds for a verdict, since a bootstrap of few values is unreliable.
        source: source of the settings and of the floor.
    """

    metric: str = option("return.average", pattern=(r"\w+\.average", "an average such as return.average"))
    floor: float = option()
    least_seeds: int = option(10, ge=2)
    source: str = option(pattern=(r".*\S.*", "a paper and a table"))

    heading: ClassVar[str] = "Comparison with a peer"
    rule: ClassVar[tuple[str, ...]] = (
        "Both sides have the same environments, settings, budget, evaluation and seeds. A row is reproduced if the",
        "95 % bootstrap interval over seeds of the difference of the interquartile means (IQM), ours minus the peer's,",
        "contains 0 or lies above it, and our mean reaches the floor. The steps to the floor are the steps after which",
        "the evaluated return first reached it, as the median over seeds (none: at least half of the seeds never",
        "reached it). The mean over training is the area under the learning curve divided by the steps. Time is the",
        "median over seeds, including evaluations. The sides ran one after another on a shared machine, so times are",
        "only roughly comparable. Curves are means over seeds with 95 % bootstrap intervals; the JSON file contains",
        "their values.",
    )
    brief: ClassVar[tuple[str, ...]] = (
        *("protocol", "side", "seeds", "mean", "floor", "IQM", "difference", "interval", "steps to the floor"),
        *("time", "verdict"),
    )
    may_differ: ClassVar[tuple[str, ...]] = ("name", "encoder", "learner")

    @property
    def claim(self) -> str:
        return f"comparison with a peer, floor {self.floor:g}"

    @staticmethod
    def sides(data: Mapping[str, Any]) -> Mapping[str, tuple[Key, ...]]:
        if "peer" not in data:
            raise Faults.one("missing; required: the keys in which the peer differs", "peer")
        return {"ours": (), "peer": ("peer",)}

    def check(self, sides: Mapping[str, Experiment]) -> Iterator[Fault]:
        yield from unknown_metric_faults(self.metric, sides["ours"])
        if sides["ours"].hash == sides["peer"].hash:
            yield Fault(("peer",), "both sides are the same; set at least learner")

    def judge(self, sides: Mapping[str, SideResult]) -> ResultRow:
        ours, peer = (np.array(sides[name].values(self.metric))[:, None] for name in ("ours", "peer"))
        rng = np.random.default_rng(BOOTSTRAP_SEED)
        # Both sides use the same generator in sequence, so that they are resampled independently.
        first, second = (bootstrap(side, interquartile_mean, rng, replications=REPLICATIONS) for side in (ours, peer))
        iqm_difference = difference(first, second)
        reproduced = iqm_difference.high >= 0 and ours.mean() >= self.floor
        enough_seeds = len(ours) >= self.least_seeds
        return {
            "target": {"type": "peer", **attrs.asdict(self)},
            "seeds": list(sides["ours"].experiment.seeds),
            "difference": float(iqm_difference.value),
            "interval": None if len(ours) == 1 else [float(iqm_difference.low), float(iqm_difference.high)],
            "verdict": ("reproduced" if reproduced else "differs") if enough_seeds else "not judged",
            **{name: self._side_row(side) for name, side in sides.items()},
        }

    def _side_row(self, side: SideResult) -> dict[str, Any]:
        """Return the entry of a side in the results file."""
        values = np.array(side.values(self.metric))
        curves = [evaluation_curve(run, self.metric.partition(".")[0]) for run in side.runs]
        floor_steps = [steps_to_floor(self.floor, *curve) for curve in curves]
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
            "steps_to_floor": floor_steps,
            "median_steps_to_floor": _median_steps(floor_steps),
            "area": [round(area_under_curve(*curve), 4) for curve in curves],
            "curve": _mean_curve(curves),
        }

    @staticmethod
    def lines(name: str, row: ResultRow) -> list[Mapping[str, str]]:
        return [_line(name, row, "ours"), _line("", row, "peer")]

    @staticmethod
    def figure(name: str, row: ResultRow) -> Figure:
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


def _line(name: str, row: ResultRow, side: str) -> Mapping[str, str]:
    """Return the line of a side; only the first line contains the results of the whole row."""
    entry, first = row[side], side == SIDES[0]
    steps = entry["median_steps_to_floor"]
    interval = "" if row["interval"] is None else "{:+.2f} to {:+.2f}".format(*row["interval"])
    return {
        "protocol": name,
        "side": entry["name"],
        "seeds": str(len(entry["values"])),
        "mean": f"{entry['mean']:.2f}",
        "floor": f"{row['target']['floor']:g}" if first else "",
        "IQM": f"{entry['iqm']:.2f}",
        "difference": f"{row['difference']:+.2f}" if first else "",
        "interval": interval if first else "",
        "steps to the floor": "none" if steps is None else f"{steps:,.0f}",
        "mean over training": f"{np.mean(entry['area']):.2f}",
        "time": f"{np.median(entry['seconds']):.0f} s",
        "verdict": row["verdict"] if first else "",
    }


def evaluation_curve(run: ReproductionRun, measure: str) -> tuple[Array, Array]:
    """Return the steps (T,) of a run's evaluations, and the means (T,) of a measure over experiences.

    Losses are negated, so higher is better.

    Args:
        run: a run with at least one evaluation.
        measure: name of the measure in the records.
    """
    results = Results(run.outcome.records, measure)
    values_at: dict[int, list[float]] = {}
    for record in results.rows:
        values_at.setdefault(record.step, []).append(results.sign * record.value)
    return np.array(list(values_at)), np.array([np.mean(values) for values in values_at.values()])


def steps_to_floor(floor: float, steps: Array, values: Array) -> int | None:
    """Return the first of the steps (T,) at which the value (T,) is at least the floor; None if there is none."""
    reached = np.flatnonzero(values >= floor)
    return int(steps[reached[0]]) if len(reached) else None


def area_under_curve(steps: Array, values: Array) -> float:
    """Compute the mean of a curve: the area under the values (T,) by the trapezoidal rule, divided by the steps."""
    if len(steps) < 2:
        return float(values.mean())
    return float(((values[1:] + values[:-1]) / 2 * np.diff(steps)).sum() / (steps[-1] - steps[0]))


def _median_steps(floor_steps: list[int | None]) -> float | None:
    """Return the median of the steps to the floor; None if at least half of the seeds never reached it."""
    median = float(np.median([np.inf if steps is None else steps for steps in floor_steps]))
    return median if np.isfinite(median) else None


def _mean_curve(curves: list[tuple[Array, Array]]) -> dict[str, Any]:
    """Return the curves of all seeds and their mean, interpolated at every step at which any seed was evaluated.

    The steps of the seeds may differ, because an evaluation waits for the end of a rollout.
    """
    steps = np.unique(np.concatenate([steps for steps, _ in curves]))
    values = np.stack([np.interp(steps, *curve) for curve in curves], axis=1)[:, :, None]
    estimate = sample_efficiency(
        values, np.random.default_rng(BOOTSTRAP_SEED), statistic=mean, replications=CURVE_REPLICATIONS
    )
    single_seed = len(curves) == 1
    low, high = (None, None) if single_seed else (estimate.low, estimate.high)
    bands = {"mean": estimate.value, "low": low, "high": high}
    return {
        "steps": steps.tolist(),
        **{key: None if band is None else np.round(band, 4).tolist() for key, band in bands.items()},
        "seeds": np.round(values[:, :, 0].T, 4).tolist(),
    }
