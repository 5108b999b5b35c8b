"""What TensorBoard shows of a run. It is rebuilt from the run's files whenever a run goes on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlcl.evaluation.results import Results, measure_named
from rlcl.tracking.jsonlines import read_lines
from rlcl.types import Boundary, Event, Record

__all__ = ["TensorBoard"]


class TensorBoard:
    """A sink: training curves, a curve an experience, R as an image, and the hyperparameters.

    Args:
        run: the run's folder; its events and records so far are written anew.
        names: of the experiences, for people.
        measures: the learner's, the decisive one first.
    """

    def __init__(self, run: Path, names: Sequence[str], measures: Sequence[str]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run / "tensorboard"
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder))
        self._names = names
        self._measures = measures
        self._records: list[Record] = []
        for row in read_lines(run / "events.jsonl"):
            step, time = row.pop("step"), row.pop("time")
            self._scalars(step, row, time)
        for row in read_lines(run / "records.jsonl"):
            self.write(Record(**row))

    def write(self, item: Event | Record | Boundary) -> None:
        if isinstance(item, Event):
            self._scalars(item.step, item.values, None)
        elif isinstance(item, Record):
            self._records.append(item)
            if item.metric in self._measures:
                name = f"{item.evaluated_on:02d} {self._names[item.evaluated_on]}"
                self._writer.add_scalar(f"{measure_named(item.metric).name}/{name}", item.value, item.step)
            else:  # of the learner itself, a single curve
                self._writer.add_scalar(f"learner/{item.metric}", item.value, item.step)
        elif item.trained_on >= 0:
            self._picture(item.step)

    def _scalars(self, step: int, values: Mapping[str, float], time: float | None) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"train/{name}", value, step, walltime=time)

    def _picture(self, step: int) -> None:
        from rlcl.report.figures import r_figure

        for measure in self._measures:
            matrix = Results(self._records, measure).R
            if matrix.size:
                called = measure_named(measure).name
                self._writer.add_figure(f"R/{called}", r_figure(matrix, self._names, measure), step)
        self._writer.flush()

    def summary(self, config: str, settings: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """The run's config and, for the HPARAMS page, its settings and metrics.

        Args:
            config: the resolved config as YAML.
            settings: dotted keys to plain values.
            metrics: names to values.
        """
        indented = "\n".join(f"    {line}" for line in config.splitlines())
        self._writer.add_text("config", indented)
        plain = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in settings.items()}
        # Without run_name a second run appears beside this one.
        self._writer.add_hparams(plain, {f"metrics/{k}": v for k, v in metrics.items()}, run_name=".")

    def close(self) -> None:
        self._writer.close()
