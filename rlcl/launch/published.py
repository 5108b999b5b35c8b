"""Published protocols: experiments with the number that they should come to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import frozen

import rlcl
from rlcl.config import Fault, Faults, option, read, read_document
from rlcl.errors import ConfigError, Problem, did_you_mean
from rlcl.evaluation.results import reported_names
from rlcl.experiment import Experiment
from rlcl.registry import entries

__all__ = ["Protocol", "Target", "load_protocol", "load_protocols", "protocol_files", "published_folder"]


@frozen(kw_only=True)
class Target:
    """A published number, and how near to it ours must come.

    Args:
        metric: as a run's summary names it.
        value: the published mean, in the metric's unit (accuracies in [0, 1]).
        error: what is published behind the plus-minus sign; null where nothing is.
        error_is: a ``deviation`` over runs, or the ``standard error`` of the mean.
        runs: how many the published mean is over; needed beside a deviation.
        tolerance: a difference that always passes, in the metric's unit.
        standard_errors: of the difference of the two means, that pass where they are more.
        decides: whether there is a verdict; false where the published number is itself in doubt.
        source: paper and table.
    """

    metric: str = option("accuracy.average", help="as a run's summary names it")
    value: float = option(help="the published mean, in the metric's unit")
    error: float | None = option(None, ge=0, help="what is published behind the plus-minus sign")
    error_is: Literal["deviation", "standard error"] = option("deviation", help="over runs, or of the mean")
    runs: int | None = option(None, ge=1, help="how many the published mean is over")
    tolerance: float = option(0.015, ge=0, help="a difference that always passes, in the metric's unit")
    standard_errors: float = option(2.0, ge=0, help="of the difference, that pass where they are more")
    decides: bool = option(True, help="whether there is a verdict")
    source: str = option(pattern=(r".*\S.*", "a paper and a table"), help="paper and table")

    def __attrs_post_init__(self) -> None:
        if self.error is not None and self.error_is == "deviation" and self.runs is None:
            raise Problem("a deviation needs the number of runs that it is over; set runs, or error_is", "error")

    @property
    def standard_error(self) -> float:
        """Of the published mean; 0 where none is published."""
        if self.error is None:
            return 0.0
        return self.error if self.error_is == "standard error" else self.error / math.sqrt(self.runs or 1)

    def allowed(self, standard_error: float) -> float:
        """The largest difference that passes.

        Args:
            standard_error: of our mean, 0 where it is unknown.
        """
        return max(self.tolerance, self.standard_errors * math.hypot(self.standard_error, standard_error))


@frozen(kw_only=True)
class Protocol:
    """One file: an experiment, and its target.

    Args:
        name: the file's, without ``.yaml``.
        experiment: what is run.
        target: what it is held against.
    """

    name: str
    experiment: Experiment
    target: Target

    def with_seeds(self, count: int) -> Protocol:
        """The same with seeds 0 to ``count - 1``."""
        return attrs.evolve(self, experiment=attrs.evolve(self.experiment, seeds=tuple(range(count))))


def published_folder() -> Path:
    """The folder of the protocols that come with rlcl."""
    package = Path(rlcl.__file__).parent
    checkout = package.parent / "benchmarks" / "published"
    return checkout if checkout.is_dir() else package / "published"


def protocol_files(names: Sequence[str] = ()) -> list[Path]:
    """The files that names stand for, each once.

    Args:
        names: of shipped protocols, patterns such as ``vandeven2022-*``, or files of one's own; all
            shipped ones by default.

    Raises:
        ConfigError: every name that stands for nothing, with the nearest there is.
    """
    shipped = {path.stem: path for path in sorted(published_folder().glob("*.yaml"))}
    chosen: list[Path] = []
    unknown: list[str] = []
    for name in names or ["*"]:
        found = [path for stem, path in shipped.items() if fnmatch(stem, name)]
        if not found and Path(name).is_file():
            found = [Path(name)]
        if not found:
            near = did_you_mean(name, shipped)
            unknown.append(f"no published protocol {name!r}{near or '; see them all: rlcl reproduce --list'}")
        chosen += [path for path in found if path not in chosen]
    if unknown:
        raise ConfigError(unknown)
    return chosen


def load_protocol(path: Path) -> Protocol:
    """Reads one protocol: an experiment file with a ``target`` beside its other keys.

    Args:
        path: a YAML file.

    Raises:
        ConfigError: everything that is wrong, each with its file, line and key path.
    """
    document = read_document(path)
    data: dict[str, Any] = dict(document.data)
    faults: list[Fault] = []
    target = _read(data.pop("target", None), Target, ("target",), faults)
    experiment = _read(data, Experiment, (), faults)
    if experiment is not None and target is not None:
        known = reported_names(tuple(entries("measure")), experiment.evaluation.metrics)
        if target.metric not in known:
            faults.append(
                Fault(("target", "metric"), f"no metric {target.metric!r}{did_you_mean(target.metric, known)}")
            )
    if faults:
        raise ConfigError(document.messages(faults))
    return Protocol(name=path.stem, experiment=experiment, target=target)


def load_protocols(names: Sequence[str] = ()) -> list[Protocol]:
    """All protocols that names stand for; see :func:`protocol_files`.

    Raises:
        ConfigError: everything that is wrong with any of them.
    """
    protocols: list[Protocol] = []
    problems: list[str] = []
    for path in protocol_files(names):
        try:
            protocols.append(load_protocol(path))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return protocols


def _read(data: Any, cls: Any, place: tuple[str, ...], faults: list[Fault]) -> Any:
    try:
        return read(data, cls)
    except Faults as found:
        faults += [fault.under(*place) for fault in found.faults]
        return None
