"""Experiment config: all settings of a run, read from a YAML file."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
from attrs import frozen
from ruamel.yaml import YAML

from rlcl import registry
from rlcl.config import (
    Component,
    Document,
    Fault,
    Faults,
    Kind,
    component,
    json_schema,
    option,
    override,
    read_document,
    resolve_aliases,
    unstructure,
    without_defaults,
)
from rlcl.errors import ConfigError, Problem
from rlcl.evaluation.plan import Plan
from rlcl.objective import Objective
from rlcl.run_format import CONFIG, upgraded_config
from rlcl.types import BoundaryPolicy, Budget

__all__ = [
    "Experiment",
    "Initial",
    "dump",
    "experiment_from",
    "experiment_from_document",
    "hashed_settings",
    "load_experiment",
    "schema",
]

HASH = (r"[0-9a-f]{12}", "12 hexadecimal digits")
FOLDER_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"

# The keys that determine a run's records; the experiment's hash covers them.
HASHED_KEYS = (
    "stream",
    "encoder",
    "learner",
    "budget",
    "boundary",
    "evaluation",
    "validation",
    "first",
    "device",
    "threads",
    "initial",
    "continued_from",
)


@frozen(kw_only=True)
class Initial:
    """A finished run whose trained weights initialize an experiment; optimizers, memories and counters start new.

    Args:
        run: folder of one run, or of all seeds of an experiment, ``runs/NAME/HASH``.
        seed: seed of the run to load: ``same`` for the seed of each new run, or one number for all of them.
        parameters: patterns of the weights to load, ``NETWORK.NAME`` with ``*`` and ``?``; other weights are sampled.
        encoder: ``keep`` loads the run's fitted encoder, whose config must be the same; ``own`` fits a new one.
        of: hash of the run's experiment, which identifies the run; set when a file without it is read.
    """

    run: str = option()
    seed: int | Literal["same"] = option("same", ge=0)
    parameters: tuple[str, ...] = option(("*",))
    encoder: Literal["keep", "own"] = option("keep")
    of: str | None = option(None, pattern=HASH)

    def __attrs_post_init__(self) -> None:
        if not self.parameters:
            raise Problem("expected at least one pattern, got none", "parameters")

    @property
    def folders(self) -> Sequence[Path]:
        """Folders of the runs that ``run`` selects."""
        folder = Path(self.run).expanduser()
        if (folder / "config.yaml").is_file():
            return [folder]
        return sorted(file.parent for file in folder.glob("seed*/config.yaml"))

    @property
    def complete(self) -> bool:
        """True if all weights are loaded."""
        return "*" in self.parameters

    def with_hash(self) -> Initial:
        """Return a copy with the hash of the run's experiment in ``of``.

        Raises:
            ConfigError: the folder contains no run, or its config cannot be read.
        """
        if self.of is not None:
            return self
        if not self.folders:
            raise ConfigError(
                [f"initial.run: no run in {self.run}; expected a folder such as runs/NAME/HASH or runs/NAME/HASH/seed0"]
            )
        return attrs.evolve(self, of=load_experiment(self.folders[0] / "config.yaml").hash)


@frozen(kw_only=True)
class Experiment:
    """The complete, immutable config of an experiment.

    Args:
        name: name of the folder of its runs.
        objective: purpose of the experiment, and its conditions of success.
        seeds: random seeds, one run per seed.
        batched_seeds: train all seeds at once, as one computation (ppo and dqn); see
            :mod:`rlcl.launch.batched_runs`.
        stream: the experiences, in their order.
        encoder: feature encoder; a list is applied in order.
        learner: the learner with its methods.
        budget: training budget of each experience; exactly one unit must be set.
        boundary: state of the learner that is kept from one experience to the next.
        evaluation: schedule and scope of the evaluations.
        validation: fraction of each experience's training data that is held out.
        first: number of experiences that are used, from the beginning of the stream; null for all. Hyper-parameters of
            continual learning are tuned on the first experiences.
        device: torch device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``, which selects CUDA if available.
        threads: threads of torch and NumPy; one is fastest for small networks.
        event_interval: number of updates (for environments: env steps) between two events.
        checkpoint_minutes: minutes between checkpoints within an experience.
        sinks: receivers of events and records, in addition to the run folder.
        initial: the finished run whose weights initialize the learner; new weights by default.
        continued_from: hash of the experiment whose finished runs these continue; written by
            ``rlcl run --continue-from``.
    """

    name: str = option(pattern=(FOLDER_NAME, "a folder name of letters, digits, '-', '_' and '.'"))
    objective: Objective | None = option(None)
    seeds: tuple[int, ...] = option((0,), ge=0)
    batched_seeds: bool = option(False)
    stream: Annotated[Component, Kind("stream")] = option()
    encoder: Annotated[Component, Kind("encoder")] = option(factory=lambda: component("encoder", "identity"))
    learner: Annotated[Component, Kind("learner")] = option()
    budget: Budget = option()
    boundary: BoundaryPolicy = option(factory=BoundaryPolicy)
    evaluation: Plan = option(factory=Plan)
    validation: float = option(0.0, ge=0, lt=1)
    first: int | None = option(None, ge=1)
    device: str = option("cpu", pattern=(r"cpu|cuda|cuda:\d+|auto", "cpu, cuda, cuda:N or auto"))
    threads: int = option(1, ge=1, le=1024)
    event_interval: int = option(100, ge=1)
    checkpoint_minutes: float = option(5.0, gt=0)
    sinks: tuple[Annotated[Component, Kind("sink")], ...] = option(factory=lambda: (component("sink", "tensorboard"),))
    initial: Initial | None = option(None)
    continued_from: str | None = option(None, pattern=HASH)

    def __attrs_post_init__(self) -> None:
        if not self.seeds:
            raise Problem("expected at least one seed, got none", "seeds")
        repeated = sorted({seed for seed in self.seeds if self.seeds.count(seed) > 1})
        if repeated:
            raise Problem(f"expected distinct seeds, got {', '.join(map(str, repeated))} more than once", "seeds")

    @cached_property
    def hash(self) -> str:
        """Hash of the settings that determine the records, 12 hexadecimal digits.

        It covers neither name, objective and seeds nor settings that equal their default.
        """
        return config_hash(without_defaults(self))


def config_hash(config: Mapping[str, Any]) -> str:
    """Return the hash of an experiment's config; see :attr:`Experiment.hash`.

    Args:
        config: plain data without the settings that equal their default.
    """
    text = json.dumps(hashed_settings(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def hashed_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an experiment's config that determine its records.

    Args:
        config: plain data, with or without the settings that equal their default.
    """
    settings = {name: config[name] for name in HASHED_KEYS if config.get(name) is not None}
    # Metrics and baselines do not change the records of a run. initial.of identifies the run of initial.run.
    for group, excluded in (("evaluation", ("metrics", "baselines")), ("initial", ("run",))):
        rest = {name: value for name, value in settings.pop(group, {}).items() if name not in excluded}
        if rest:
            settings[group] = rest
    content: dict[str, Any] = _with_file_checksums(settings)
    return content


def _with_file_checksums(value: Any) -> Any:
    """Replace ``/home/me/net.py:Net`` by the file's checksum and ``Net``.

    An experiment keeps its hash if the file is moved, and gets another one if the file is edited.
    """
    if isinstance(value, Mapping):
        return {str(key): _with_file_checksums(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_file_checksums(item) for item in value]
    match = re.fullmatch(r"(.+\.py):(\w+)", value) if isinstance(value, str) else None
    if match is None or not Path(match[1]).is_file():
        return value
    return f"{hashlib.sha256(Path(match[1]).read_bytes()).hexdigest()[:12]}:{match[2]}"


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment file, or a run's ``config.yaml``, which is upgraded to the current format.

    Args:
        path: a YAML file, or the bare name of a shipped experiment.
        overrides: ``key.path=value``, the value as YAML.

    Raises:
        ConfigError: all faults, each with its file, line and key path.
        RunFolderError: the file belongs to a run folder of a version that is not supported.
    """
    document = read_document(path)
    if Path(path).name == CONFIG:
        document = attrs.evolve(document, data=upgraded_config(Path(path).parent, document.data))
    return experiment_from_document(override(document, overrides))


def experiment_from(data: Mapping[str, Any], name: str = "config") -> Experiment:
    """Return an experiment from plain data, for example from :func:`rlcl.config.unstructure`.

    Args:
        data: the content of an experiment file.
        name: prefix of each message.

    Raises:
        ConfigError: all faults, each with its key path.
    """
    return experiment_from_document(Document(name, dict(data)))


def experiment_from_document(document: Document) -> Experiment:
    """Return an experiment from a document.

    Raises:
        ConfigError: all faults, each with its file, line and key path.
    """
    try:
        document = _without_aliases(document)
        experiment: Experiment = document.read(Experiment)
    except Faults as error:
        raise ConfigError(document.messages(map(_with_remedy, error.faults))) from None
    if experiment.initial is not None:
        experiment = attrs.evolve(experiment, initial=experiment.initial.with_hash())
    return experiment


def _with_remedy(fault: Fault) -> Fault:
    """Return a fault; for a key that a former version had, with the key that replaced it."""
    if fault.path != ("tensorboard",):
        return fault
    return Fault(fault.path, "unknown key; write its settings as those of a sink, sinks: [{type: tensorboard, ...}]")


def dump(experiment: Experiment) -> str:
    """Return the resolved config as YAML with all defaults; reading it returns an equal experiment."""
    return dump_config(unstructure(experiment))


def dump_config(config: Mapping[str, Any]) -> str:
    """Return a config, which is plain data, as YAML."""
    yaml, text = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(dict(config), text)
    return text.getvalue()


def _without_aliases(document: Document) -> Document:
    """Return the document with the learner's settings under their own names."""
    learner = document.data.get("learner") if isinstance(document.data, Mapping) else None
    name = learner.get("type") if isinstance(learner, Mapping) else None
    if not isinstance(name, str):
        return document
    try:
        cls = registry.find("learner", name)
    except Problem:  # reported when the document is read
        return document
    return resolve_aliases(document, "learner", cls)


def schema() -> dict[str, Any]:
    """Return the JSON schema of an experiment file, for editors."""
    content = json_schema(Experiment)
    content["properties"]["extends"] = {"type": "string", "description": "a file that this one changes"}
    return content
