"""Sink that writes a run, and intervals over the seeds of a config, for TensorBoard."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field

from rlcl.config import option
from rlcl.errors import short_error
from rlcl.evaluation.probe_runner import probe_name
from rlcl.evaluation.results import TASK, Results, measure_named
from rlcl.sinks.labels import experience_label, run_settings
from rlcl.sinks.tensorboard.hparams import session_end, session_start
from rlcl.sinks.tensorboard.layout import run_layout
from rlcl.sinks.tensorboard.learner_images import LearnerImages, spread_indices
from rlcl.sinks.tensorboard.media_files import MediaFiles
from rlcl.sinks.tensorboard.seed_intervals import FOLDER, write_seed_board
from rlcl.streams.stream import Stream
from rlcl.tracking.folder import read_events, read_records
from rlcl.types import Boundary, Event, Record, RunStart, Sink

__all__ = ["TensorBoard"]


@define(kw_only=True, eq=False)
class TensorBoard(Sink):
    """Curves, R, images of the learner, settings and metrics for TensorBoard; means with intervals over seeds.

    Curves are rebuilt from the run's files whenever the sink is opened. Images are kept as files.

    Args:
        moments: maximum number of boundaries at which images are written, evenly spaced and including the last; 0
            for no images.
        images: number of reconstructed inputs per experience, and number of columns in the grid of generated inputs.
        points: number of test inputs in the projector, over all experiences.
        frames: maximum number of frames in the video of an episode; a frame is recorded every two env steps.
    """

    moments: int = option(10, ge=0)
    images: int = option(8, ge=0, le=32)
    points: int = option(300, ge=0, le=5000)
    frames: int = option(100, ge=0, le=1000)
    _run: RunStart = field(init=False)
    _folder: Path = field(init=False)
    _writer: Any = field(init=False)
    _media_files: MediaFiles = field(init=False)
    _learner_images: LearnerImages = field(init=False)
    _image_experiences: frozenset[int] = field(init=False)  # experiences after which images are written
    _stream: Stream = field(init=False)
    _records: list[Record] = field(init=False, factory=list)

    def open(self, run: RunStart) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._run, self._stream, self._folder = run, run.trainer.stream, run.folder / FOLDER
        for old in self._folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(self._folder))
        self._media_files = MediaFiles(self._folder / "shown", self._writer)
        self._learner_images = LearnerImages(run.trainer, images=self.images, points=self.points, frames=self.frames)
        self._image_experiences = frozenset(spread_indices(len(run.experiences), self.moments))
        self._write_layout_and_settings()
        self._rewrite_curves()

    def _write_layout_and_settings(self) -> None:
        """Write the layout of charts and the run's settings, which precede all curves."""
        run = self._run
        names = [measure_named(measure).name for measure in run.measures]
        acting = self._stream.spec.kind == "environment"
        self._summary(run_layout(names, acting, [probe_name(probe) for probe in run.trainer.evaluation.probes]))
        self._summary(session_start(f"{run.title} {run.hash[:4]}", run_settings(run.config, run.seed)))

    def _rewrite_curves(self) -> None:
        """Write the events and records of a resumed run again."""
        for row in read_events(self._run.folder):
            step, time = row.pop("step"), row.pop("time")
            self._scalars(step, row, time)
        for record in read_records(self._run.folder):
            self.write(record)

    def write(self, item: Event | Record | Boundary) -> None:
        if isinstance(item, Event):
            self._scalars(item.step, item.values, None)
        elif isinstance(item, Record):
            self._records.append(item)
            if item.metric in self._run.measures:
                name = experience_label(item.evaluated_on, self._run.evaluated[item.evaluated_on])
                self._writer.add_scalar(f"{measure_named(item.metric).name}/{name}", item.value, item.step)
            elif item.metric != TASK:  # a metric of the learner itself has a single curve
                self._writer.add_scalar(f"learner/{item.metric}", item.value, item.step)
        elif item.trained_on in self._image_experiences:
            self._write_images(item)
            self._writer.flush()

    def _scalars(self, step: int, values: Mapping[str, float], time: float | None) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"train/{name}", value, step, walltime=time)

    def _summary(self, summary: Any) -> None:
        self._writer._get_file_writer().add_summary(summary)

    def _write_images(self, boundary: Boundary) -> None:
        for what, write in (
            ("the image of R", self._write_r),
            ("the images of the learner", self._write_learner_images),
        ):
            try:
                write(boundary)
            except Exception as error:  # a missing image must not stop a run
                warnings.warn(f"TensorBoard: {what} could not be written ({short_error(error)})", stacklevel=2)

    def _write_r(self, boundary: Boundary) -> None:
        from rlcl.report.figures import r_figure
        from rlcl.report.markdown import r_markdown
        from rlcl.sinks.tensorboard.pictures import figure_picture

        last = boundary.trained_on == len(self._stream) - 1
        names, trained, measures = self._run.evaluated, self._run.experiences, self._run.measures
        for measure in measures if last else measures[:1]:
            results = Results(self._records, measure)
            matrix, rows = results.R, results.row_names(trained)
            if matrix.size:
                tag = f"R/{measure_named(measure).name}"
                self._media_files.picture(
                    tag, figure_picture(r_figure(matrix, names, measure, trained=rows)), boundary.step
                )
                self._media_files.table(tag, r_markdown(matrix, names, measure, rows), boundary.step)

    def _write_learner_images(self, boundary: Boundary) -> None:
        from rlcl.sinks.tensorboard.projector import write_embedding

        for tag, picture in self._learner_images.pictures(boundary.trained_on).items():
            self._media_files.picture(tag, picture, boundary.step)
        embedding = self._learner_images.embedding()
        if embedding is not None:
            name = f"after {experience_label(boundary.trained_on, self._run.experiences[boundary.trained_on])}"
            write_embedding(self._folder, name, boundary.step, embedding)

    def finish(self, summary: Mapping[str, Any]) -> None:
        from rlcl.report.markdown import metrics_markdown

        config, metrics = (self._run.folder / "config.yaml").read_text(), summary["metrics"]
        self._writer.add_text("config", "\n".join(f"    {line}" for line in config.splitlines()))
        self._writer.add_text("metrics", metrics_markdown(metrics))
        for name, value in metrics.items():
            self._writer.add_scalar(f"Metrics/{name}", value)  # the capital letter sorts them before all curves
        self._summary(session_end())

    def close(self) -> None:
        self._writer.close()

    def seeds_changed(self, folder: Path) -> None:
        write_seed_board(folder)

    def look(self, folder: Path) -> str:
        return f"tensorboard --logdir {folder}"
