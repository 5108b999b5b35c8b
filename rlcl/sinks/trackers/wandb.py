"""Sink for Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from attrs import define, field

from rlcl.config import option
from rlcl.sinks.trackers.tracker import UPLOADED_FILES, Matrix, Point, Tracker
from rlcl.types import RunStart

__all__ = ["Wandb"]

FOLDER = "wandb"  # in the run's folder


@define(kw_only=True, eq=False)
class Wandb(Tracker):
    """Copy of the run in Weights & Biases: config, metrics over ``step``, R as image and table, files.

    The runs of all seeds of a config are one group. The client's own files are in the folder ``wandb`` of the run;
    ``wandb sync`` uploads a run that was recorded offline.

    Args:
        project: name of the project.
        entity: user or team; the default of the account if null.
        mode: ``online``, ``offline`` or ``disabled``; by default the environment variable WANDB_MODE, else ``online``
            if an API key is configured, and ``offline`` if not.
        tags: tags of the run.
    """

    package: ClassVar[str] = "wandb"

    project: str = option("rlcl")
    entity: str | None = option(None)
    mode: Literal["online", "offline", "disabled"] | None = option(None)
    tags: tuple[str, ...] = option(())
    _tracked: Any = field(init=False)

    @property
    def destination(self) -> str:
        return f"{self.entity}/{self.project}" if self.entity else self.project

    def connect(self, run: RunStart, run_id: str) -> str:
        import wandb

        mode = self.mode or os.environ.get("WANDB_MODE") or ("online" if wandb.setup().settings.api_key else "offline")
        self._tracked = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=mode,  # type: ignore[arg-type]
            dir=run.folder.absolute(),  # its service may have been started in another folder
            id=run_id or None,
            resume="allow",
            name=run.title,
            group=f"{run.name} {run.hash}",
            tags=self.tags or None,
            config={**run.config, "seed": run.seed, "hash": run.hash},
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", init_timeout=30, disable_git=True),
        )
        self._tracked.define_metric("*", step_metric="step")
        return str(self._tracked.id)

    def send(self, points: Sequence[Point]) -> None:
        for point in points:
            self._tracked.log({"step": point.step, "time": point.time, **point.values})

    def send_results(self, run: RunStart, step: int, metrics: Mapping[str, float], matrices: Sequence[Matrix]) -> None:
        import wandb

        for matrix in matrices:
            table = wandb.Table(columns=["after", *matrix.columns], data=matrix.table())
            self._tracked.log({f"R/{matrix.name}": wandb.Image(matrix.picture()), f"R table/{matrix.name}": table})
        self._tracked.summary.update({f"metrics/{name}": value for name, value in metrics.items()})
        artifact = wandb.Artifact(f"{run.hash}-seed{run.seed}", "run")
        for file in UPLOADED_FILES:
            artifact.add_file(str(run.folder / file))
        self._tracked.log_artifact(artifact)

    def disconnect(self, *, finished: bool) -> None:
        self._tracked.finish(exit_code=0 if finished else 1)

    def look(self, folder: Path) -> str:
        offline = sorted(folder.rglob(f"{FOLDER}/offline-run-*"))
        if offline:
            inner = "" if (folder / "config.yaml").is_file() else "seed*/"
            return f"wandb sync {folder}/{inner}{FOLDER}/offline-run-*"
        return f"https://wandb.ai/{self.destination}" if self.entity else f"wandb project {self.project}"
