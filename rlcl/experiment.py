"""One experiment: everything that a run is made of, as read from its YAML file."""

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

from rlcl.config import (
    Component,
    Document,
    Fault,
    Faults,
    Kind,
    component,
    decisive,
    json_schema,
    option,
    override,
    read_document,
    unstructure,
)
from rlcl.errors import ConfigError, Problem
from rlcl.evaluation.plan import Plan
from rlcl.objective import Objective
from rlcl.run_format import CONFIG, todays_config
from rlcl.types import BoundaryPolicy, Budget

__all__ = [
    "Experiment",
    "Initial",
    "deciding",
    "dump",
    "experiment_from",
    "load_experiment",
    "schema",
    "structured",
]

HASH = (r"[0-9a-f]{12}", "12 hexadecimal digits")
FOLDER_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"

# What decides a run's records: its hash is over these.
DECISIVE = (
    "stream",
    "encoder",
    "learner",
    "budget",
    "boundary",
    "evaluation",
    "validation",
    "device",
    "threads",
    "initial",
    "continued_from",
)


@frozen(kw_only=True)
class Initial:
    """A finished run whose learned weights an experiment begins with; optimizers, memories and counters are fresh.

    Args:
        run: folder of one run, or of all seeds of its experiment, ``runs/NAME/HASH``.
        seed: of the run that is taken: the ``same`` for each seed, or a number for all of them.
        parameters: patterns of the weights that are taken, ``NETWORK.NAME`` with ``*`` and ``?``; the others are drawn.
        encoder: ``keep`` takes the run's fitted encoder along, which must have the same config; ``own`` does not.
        of: hash of the run's experiment, by which it counts; found when a file without it is read.
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
        """Of the runs that there are to choose from."""
        place = Path(self.run).expanduser()
        if (place / "config.yaml").is_file():
            return [place]
        return sorted(file.parent for file in place.glob("seed*/config.yaml"))

    @property
    def complete(self) -> bool:
        """Whether all weights are taken."""
        return "*" in self.parameters

    def identified(self) -> Initial:
        """With the hash of the run's experiment.

        Raises:
            ConfigError: there is no run, or its config cannot be read.
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
    """A frozen, complete config.

    Args:
        name: names the folder of its runs.
        objective: why it exists and when it has succeeded.
        seeds: one run each.
        batched_seeds: whether they are trained at once, as one computation (ppo and dqn); see
            :mod:`rlcl.launch.batched`.
        stream: the experiences, in their order.
        encoder: feature encoding; a list is applied in order.
        learner: what learns, with its methods.
        budget: training of each experience, in exactly one unit.
        boundary: what the learner keeps from one experience to the next.
        evaluation: when and what is evaluated.
        validation: fraction of each experience's training data that is held out.
        device: torch device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: CUDA where there is any.
        threads: threads of torch; one is fastest for small networks.
        event_interval: updates (env steps) between two events.
        checkpoint_minutes: minutes between checkpoints within an experience.
        sinks: what takes its events and records, beside its folder.
        initial: the finished run whose weights it begins with; fresh ones by default.
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
        twice = sorted({seed for seed in self.seeds if self.seeds.count(seed) > 1})
        if twice:
            raise Problem(f"expected distinct seeds, got {', '.join(map(str, twice))} more than once", "seeds")

    @cached_property
    def hash(self) -> str:
        """12 hexadecimal digits over what decides its records: not name, objective or seeds, and no default."""
        text = json.dumps(deciding(decisive(self)), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of an experiment's config decides its records.

    Args:
        config: as plain data, with or without what equals its default.
    """
    said = {name: config[name] for name in DECISIVE if config.get(name) is not None}
    # Metrics are computed from the records, which they do not change; for a run stands the hash of its experiment.
    for group, key in (("evaluation", "metrics"), ("initial", "run")):
        rest = {name: value for name, value in said.pop(group, {}).items() if name != key}
        if rest:
            said[group] = rest
    found: dict[str, Any] = _by_content(said)
    return found


def _by_content(value: Any) -> Any:
    """``/home/me/net.py:Net`` as the file's checksum and ``Net``: moved it is the same experiment, edited another."""
    if isinstance(value, Mapping):
        return {str(key): _by_content(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_by_content(item) for item in value]
    found = re.fullmatch(r"(.+\.py):(\w+)", value) if isinstance(value, str) else None
    if found is None or not Path(found[1]).is_file():
        return value
    return f"{hashlib.sha256(Path(found[1]).read_bytes()).hexdigest()[:12]}:{found[2]}"


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Reads an experiment file; a run's ``config.yaml``, of whatever version, as today's has it.

    Args:
        path: a YAML file, or the bare name of a shipped experiment.
        overrides: ``key.path=value``, the value as YAML.

    Raises:
        ConfigError: everything that is wrong, each with its file, line and key path.
        RunFolderError: it is of a run whose version cannot be read.
    """
    document = read_document(path)
    if Path(path).name == CONFIG:
        document = attrs.evolve(document, data=todays_config(Path(path).parent, document.data))
    return structured(override(document, overrides))


def experiment_from(data: Mapping[str, Any], name: str = "config") -> Experiment:
    """An experiment from plain data, for example from :func:`rlcl.config.unstructure`.

    Args:
        data: as in a file.
        name: stands before each message.

    Raises:
        ConfigError: everything that is wrong, each with its key path.
    """
    return structured(Document(name, dict(data)))


def structured(document: Document) -> Experiment:
    """An experiment from a document.

    Raises:
        ConfigError: everything that is wrong, each with its file, line and key path.
    """
    try:
        experiment: Experiment = document.read(Experiment)
    except Faults as found:
        raise ConfigError(document.messages(map(_with_remedy, found.faults))) from None
    if experiment.initial is not None:
        experiment = attrs.evolve(experiment, initial=experiment.initial.identified())
    return experiment


def _with_remedy(fault: Fault) -> Fault:
    """A fault; of a key that there was once, what is written now."""
    if fault.path != ("tensorboard",):
        return fault
    return Fault(fault.path, "unknown key; write its settings as those of a sink, sinks: [{type: tensorboard, ...}]")


def dump(experiment: Experiment) -> str:
    """The resolved config as YAML, every default written out; reading it gives an equal experiment."""
    yaml, text = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(unstructure(experiment), text)
    return text.getvalue()


def schema() -> dict[str, Any]:
    """The JSON schema of an experiment file, for editors."""
    made = json_schema(Experiment)
    made["properties"]["extends"] = {"type": "string", "description": "a file that this one changes"}
    return made
