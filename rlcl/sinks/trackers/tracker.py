"""Base class of sinks that copy a run to an experiment tracker in batches, each value once."""

from __future__ import annotations

import io
import math
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from attrs import define, field, frozen

from rlcl.config import option
from rlcl.errors import Problem
from rlcl.evaluation.results import TASK, Array, Results, measure_named
from rlcl.sinks.labels import experience_label
from rlcl.tracking.folder import read_events, read_records, write_json
from rlcl.tracking.json_files import read_json
from rlcl.types import Boundary, Event, Record, RunStart, Sink

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["FILE", "UPLOADED_FILES", "Matrix", "Point", "Tracker"]

FILE = "trackers.json"  # in the run's folder: the run's id in each tracker, and how much of its files was sent
UPLOADED_FILES = ("config.yaml", "manifest.json", "records.jsonl", "summary.json")


@frozen
class Point:
    """Values of one step.

    Args:
        step: see :class:`rlcl.types.Event`.
        time: wall-clock time in seconds since 1970.
        values: values by name.
    """

    step: int
    time: float
    values: Mapping[str, float]


@frozen(eq=False)
class Matrix:
    """R of one measure.

    Args:
        measure: the measure, as in records.
        values: (T, J), where higher is better; NaN if absent.
        rows: T names of the experiences trained on.
        columns: J names of the experiences evaluated.
    """

    measure: str
    values: Array
    rows: Sequence[str]
    columns: Sequence[str]

    @property
    def name(self) -> str:
        """Name of the measure in curves."""
        return measure_named(self.measure).name

    def picture(self) -> Image:
        """Draw R."""
        from PIL import Image

        from rlcl.report.figures import r_figure

        buffer = io.BytesIO()
        r_figure(self.values, self.columns, self.measure, trained=self.rows).savefig(buffer, format="png")
        return Image.open(buffer)

    def table(self) -> list[list[Any]]:
        """Return one row per experience trained on: its name, and a value (or None) per experience evaluated.

        Losses have their original sign.
        """
        shown = measure_named(self.measure).sign * self.values
        values = [[None if math.isnan(value) else float(value) for value in row] for row in shown]
        return [[name, *row] for name, row in zip(self.rows, values, strict=False)]


@define(kw_only=True, eq=False)
class Tracker(Sink):
    """A sink that sends the events, records and results of a run to a tracker.

    The tracker is a copy: the run's files remain the reference. The file ``trackers.json`` of the run's folder contains
    the run's id in the tracker and the numbers of events and records that were sent. A resumed run therefore continues
    the same run of the tracker, and sends what is missing there. After a kill, the last batch may be sent twice, with
    the same values, and a tracker with buffers of its own may lack their content.

    Args:
        seconds: minimum time between two batches.
    """

    package: ClassVar[str]
    """Name of the package, and of the extra that installs it."""
    from_files: ClassVar[bool] = True

    seconds: float = option(15.0, ge=0)
    _run: RunStart = field(init=False)
    _id: str = field(init=False, default="")
    _sent: dict[str, int] = field(init=False, factory=dict)
    _complete: bool = field(init=False, default=False)  # whether the results were sent, too
    _seen: dict[str, int] = field(init=False, factory=dict)
    _waiting: list[Point] = field(init=False, factory=list)
    _due: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        if find_spec(self.package) is None:
            raise Problem(
                f"this sink needs the package {self.package}; install it with pip install 'rlcl[{self.package}]'"
            )

    # What a tracker implements.

    @property
    @abstractmethod
    def destination(self) -> str:
        """Text that distinguishes the places to which the sink can send runs."""

    @abstractmethod
    def connect(self, run: RunStart, run_id: str) -> str:
        """Continue the run ``run_id`` of the tracker, or start a run if it is empty or does not exist there.

        Returns:
            The run's id.
        """

    @abstractmethod
    def send(self, points: Sequence[Point]) -> None:
        """Send values in the order of their steps."""

    @abstractmethod
    def send_results(self, run: RunStart, step: int, metrics: Mapping[str, float], matrices: Sequence[Matrix]) -> None:
        """Send the results of a run that has finished at ``step``: metrics, R, and :data:`UPLOADED_FILES`."""

    @abstractmethod
    def disconnect(self, *, finished: bool) -> None:
        """End the connection; the run has finished, or can be resumed."""

    def sent_run(self, folder: Path) -> str | None:
        """Return the id of a run in the tracker; None if it was not sent there."""
        run_id: str | None = read_json(folder / FILE).get(f"{self.package} {self.destination}", {}).get("run")
        return run_id

    # Sink.

    def open(self, run: RunStart) -> None:
        self._run, saved = run, read_json(run.folder / FILE).get(f"{self.package} {self.destination}", {})
        former = saved.get("run", "")
        self._id = self.connect(run, former)
        is_former = self._id == former
        self._complete = is_former and saved.get("complete", False)
        self._sent = {kind: saved.get(kind, 0) if is_former else 0 for kind in ("events", "records")}
        self._seen = {"events": 0, "records": 0}
        for row in read_events(run.folder):
            self._add_event(row.pop("step"), row.pop("time"), row)
        for record in read_records(run.folder):
            self._add_record(record, time.time())
        self._waiting.sort(key=lambda point: point.step)
        self._send_waiting()

    def write(self, item: Event | Record | Boundary) -> None:
        now = time.time()
        if isinstance(item, Event):
            self._add_event(item.step, now, item.values)
        elif isinstance(item, Record):
            self._add_record(item, now)
        if time.monotonic() >= self._due:
            self._send_waiting()

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._send_waiting()
        if not self._complete:
            metrics = {name: value for name, value in summary["metrics"].items() if value is not None}
            self.send_results(self._run, summary["steps"], metrics, list(self._matrices()))
            self._complete = True
            self._save()
        self.disconnect(finished=True)
        self._id = ""

    def close(self) -> None:
        if self._id:
            self._send_waiting()
            self.disconnect(finished=False)

    def _add_event(self, step: int, moment: float, values: Mapping[str, float]) -> None:
        if self._is_new("events"):
            self._waiting.append(Point(step, moment, {f"train/{name}": value for name, value in values.items()}))

    def _add_record(self, record: Record, moment: float) -> None:
        if not self._is_new("records") or record.metric == TASK:
            return
        if record.metric in self._run.measures:
            label = experience_label(record.evaluated_on, self._run.evaluated[record.evaluated_on])
            name = f"{measure_named(record.metric).name}/{label}"
        else:  # a metric of the learner itself has a single curve
            name = f"learner/{record.metric}"
        self._waiting.append(Point(record.step, moment, {name: record.value}))

    def _is_new(self, kind: str) -> bool:
        """Count an event or a record; return whether it was not sent yet."""
        self._seen[kind] += 1
        return self._seen[kind] > self._sent[kind]

    def _send_waiting(self) -> None:
        if self._waiting:
            self.send(list(_joined(self._waiting)))
            self._waiting = []
        for kind, seen in self._seen.items():
            self._sent[kind] = max(self._sent[kind], seen)
        self._save()
        self._due = time.monotonic() + self.seconds

    def _save(self) -> None:
        saved = {"run": self._id, **self._sent, "complete": self._complete}
        path = self._run.folder / FILE
        write_json(path, {**read_json(path), f"{self.package} {self.destination}": saved})

    def _matrices(self) -> Iterator[Matrix]:
        records = read_records(self._run.folder)
        for measure in self._run.measures:
            results = Results(records, measure)
            if results.R.size:
                rows, columns = results.row_names(self._run.experiences), self._run.evaluated[: results.R.shape[1]]
                yield Matrix(measure, results.R, rows, columns)


def _joined(points: Sequence[Point]) -> Iterator[Point]:
    """Join the values of successive points of one step."""
    joined = points[0]
    for point in points[1:]:
        if point.step == joined.step and not joined.values.keys() & point.values.keys():
            joined = attrs.evolve(joined, values={**joined.values, **point.values})
        else:
            yield joined
            joined = point
    yield joined
