"""Sink for Trackio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, field

from rlcl.config import option
from rlcl.sinks.labels import run_settings
from rlcl.sinks.trackers.tracker import Matrix, Point, Tracker
from rlcl.types import RunStart

__all__ = ["Trackio"]


@define(kw_only=True, eq=False)
class Trackio(Tracker):
    """Copy of the run in Trackio, which stores it on this machine: config, metrics with steps, R as image and table.

    Args:
        project: name of the project.
        space_id: Space of Hugging Face that stores the run, as ``user/space``; null for this machine.
    """

    package: ClassVar[str] = "trackio"

    project: str = option("rlcl")
    space_id: str | None = option(None)
    _tracked: Any = field(init=False)

    @property
    def destination(self) -> str:
        return f"{self.space_id}/{self.project}" if self.space_id else self.project

    def connect(self, run: RunStart, run_id: str) -> str:
        import trackio

        name = run_id or f"{run.title} {run.hash}"
        with redirect_stdout(StringIO()):  # it prints how to start its dashboard
            self._tracked = trackio.init(
                self.project,
                name=name,
                group=f"{run.name} {run.hash}",
                space_id=self.space_id,
                config=run_settings(run.config, run.seed),
                resume="allow",
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        trackio.context_vars.current_run.set(None)  # else Trackio ends this run again at exit
        return name

    def send(self, points: Sequence[Point]) -> None:
        for point in points:
            self._tracked.log(dict(point.values), step=point.step)

    def send_results(self, run: RunStart, step: int, metrics: Mapping[str, float], matrices: Sequence[Matrix]) -> None:
        import trackio

        self._tracked.log({f"metrics/{name}": value for name, value in metrics.items()}, step=step)
        for matrix in matrices:
            picture, table = trackio.Image(matrix.picture()), trackio.Table(["after", *matrix.columns], matrix.table())
            self._tracked.log({f"R/{matrix.name}": picture, f"R table/{matrix.name}": table}, step=step)

    def disconnect(self, *, finished: bool) -> None:
        with redirect_stdout(StringIO()):
            self._tracked.finish()

    def look(self, folder: Path) -> str:
        return f"trackio show --project {self.project}"
