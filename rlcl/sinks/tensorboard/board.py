"""What TensorBoard shows of a run. Curves are rebuilt from the run's files whenever a run goes on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlcl.evaluation.probing import probe_name
from rlcl.evaluation.results import Results, measure_named
from rlcl.experiment import Board
from rlcl.sinks.tensorboard.hparams import session_end, session_start
from rlcl.sinks.tensorboard.layout import run_layout
from rlcl.sinks.tensorboard.learner_images import Exhibition, called, spread
from rlcl.sinks.tensorboard.shown import Shown
from rlcl.tracking.jsonlines import read_lines
from rlcl.training.trainer import Trainer
from rlcl.types import Boundary, Event, Record

__all__ = ["TensorBoard"]


class TensorBoard:
    """A sink: curves, R, what the learner shows of itself, settings and metrics.

    Args:
        run: the run's folder; its events and records so far are written anew.
        trainer: of the run; at a boundary its learner is looked at, and left as it was.
        board: how much is shown.
        name: of the run, unlike that of any other.
        settings: the run's, dotted keys to plain values.
    """

    def __init__(self, run: Path, trainer: Trainer, board: Board, name: str, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = run / "tensorboard"
        for old in self._folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(self._folder))
        self._shown = Shown(self._folder / "shown", self._writer)
        self._exhibition = Exhibition(trainer, board)
        self._moments = {*spread(len(trainer.stream), board.moments)}
        self._evaluated = trainer.stream.evaluated
        self._stream = trainer.stream
        self._measures = tuple(trainer.learner.measures)
        self._records: list[Record] = []
        names = [measure_named(measure).name for measure in self._measures]
        acting = trainer.stream.spec.kind == "environment"
        self._summary(run_layout(names, acting, [probe_name(probe) for probe in trainer.evaluation.probes]))
        self._summary(session_start(name, settings))
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
                name = called(self._evaluated[item.evaluated_on])
                self._writer.add_scalar(f"{measure_named(item.metric).name}/{name}", item.value, item.step)
            else:  # of the learner itself, a single curve
                self._writer.add_scalar(f"learner/{item.metric}", item.value, item.step)
        elif item.trained_on in self._moments:
            self._show(item)
            self._writer.flush()

    def _scalars(self, step: int, values: Mapping[str, float], time: float | None) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"train/{name}", value, step, walltime=time)

    def _summary(self, summary: Any) -> None:
        self._writer._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]

    def _show(self, boundary: Boundary) -> None:
        from rlcl.report.figures import r_figure
        from rlcl.report.markdown import r_markdown
        from rlcl.sinks.tensorboard.pictures import drawn

        names, trained = ([e.name for e in experiences] for experiences in (self._evaluated, self._stream))
        last = boundary.trained_on == len(self._stream) - 1
        for measure in self._measures if last else self._measures[:1]:
            matrix = Results(self._records, measure).R
            if matrix.size:
                tag = f"R/{measure_named(measure).name}"
                self._shown.picture(tag, drawn(r_figure(matrix, names, measure, trained=trained)), boundary.step)
                self._shown.table(tag, r_markdown(matrix, names, measure, trained), boundary.step)
        try:
            self._show_learner(boundary)
        except Exception as error:  # a picture is not worth a run
            said = f"{type(error).__name__}: {error}"
            warnings.warn(f"TensorBoard: what the learner shows of itself is missing ({said})", stacklevel=2)

    def _show_learner(self, boundary: Boundary) -> None:
        from rlcl.sinks.tensorboard.projector import write_embedding

        for tag, picture in self._exhibition.pictures(boundary.trained_on).items():
            self._shown.picture(tag, picture, boundary.step)
        embedding = self._exhibition.embedding()
        if embedding is not None:
            name = f"after {called(self._stream[boundary.trained_on])}"
            write_embedding(self._folder, name, boundary.step, embedding)

    def summary(self, config: str, metrics: Mapping[str, float]) -> None:
        """The run's config and, with its settings on the HPARAMS page, its metrics.

        Args:
            config: the resolved config as YAML.
            metrics: names to values.
        """
        from rlcl.report.markdown import metrics_markdown

        self._writer.add_text("config", "\n".join(f"    {line}" for line in config.splitlines()))
        self._writer.add_text("metrics", metrics_markdown(metrics))
        for name, value in metrics.items():
            self._writer.add_scalar(f"Metrics/{name}", value)  # the capital puts them before all curves
        self._summary(session_end())

    def close(self) -> None:
        self._writer.close()
