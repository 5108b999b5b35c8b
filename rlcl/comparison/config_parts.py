"""Division of a run's config into learner, stream and protocol, and short names for these parts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from rlcl.tracking.runs import StoredRun, dotted_keys

__all__ = ["TRAINING_SETTINGS", "ConfigParts", "SuiteLabels", "distinct_names", "short_names", "split_config"]

LEARNER_SECTIONS = ("learner", "encoder", "boundary")
# These settings of an environment only affect training; the evaluations in R do not depend on them.
TRAINING_SETTINGS = ("num_envs", "vectorization")
# Runs with different values of these evaluation settings measure different quantities.
EVALUATION_SETTINGS = ("split", "on", "episodes", "episode_steps")

FlatConfig = Mapping[str, Any]


@frozen
class SuiteLabels:
    """Labels that a suite gives to the learner and the stream of one of its cells.

    Args:
        learner: labels of the axes that vary the learner; empty if no axis does.
        stream: labels of the axes that vary the stream; empty if no axis does.
        varied: keys in which the learners of the suite differ, for example ``learner.methods`` or ``budget``.
    """

    learner: str
    stream: str
    varied: tuple[str, ...] = ()


@frozen
class ConfigParts:
    """The config of a run in three parts with dotted keys.

    Args:
        learner: settings that identify the learner, which is compared.
        stream: settings that identify the stream, on which learners are compared.
        protocol: settings that must be equal for all learners on a stream: budget, evaluation, validation.
        learner_key, stream_key: the learner and the stream as text, by which runs are grouped.
    """

    learner: FlatConfig
    stream: FlatConfig
    protocol: FlatConfig
    learner_key: str = field(init=False)
    stream_key: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "learner_key", _text(self.learner))
        object.__setattr__(self, "stream_key", _text(self.stream))


def split_config(
    run: StoredRun, within: bool, by: Sequence[str] = (), cell_labels: SuiteLabels | None = None
) -> ConfigParts:
    """Split the config of a run into learner, stream and protocol.

    Args:
        run: a run whose config can be read.
        within: whether the compared metric depends on the frequency of evaluations within experiences.
        by: keys that identify the learner instead of all its settings; stream and protocol do not contain them.
        cell_labels: labels of the run's cell in a suite; they replace the settings that the axes of the suite vary.
    """
    config = run.config
    evaluation = config.get("evaluation", {})
    keys = (*EVALUATION_SETTINGS, "every") if within else EVALUATION_SETTINGS
    stream = dotted_keys({"stream": config.get("stream", {})})
    training = {key: value for key, value in stream.items() if key.rpartition(".")[2] in TRAINING_SETTINGS}
    learner = {**dotted_keys({section: config.get(section) for section in LEARNER_SECTIONS}), **training}
    protocol = {
        **dotted_keys({"budget": config.get("budget"), "validation": config.get("validation", 0.0)}),
        **dotted_keys({"evaluation": {key: evaluation.get(key) for key in keys}}),
    }
    if by:
        learner = {key: values[0] if len(values := run.values(key)) == 1 else values for key in by}
    elif cell_labels is not None:
        learner = {"label": cell_labels.learner} if cell_labels.learner else learner
        stream = {"label": cell_labels.stream} if cell_labels.stream else stream
        by = cell_labels.varied
    return ConfigParts(
        _without_null(learner),
        _without_null({k: v for k, v in stream.items() if k not in training and not _is_in(k, by)}),
        _without_null({k: v for k, v in protocol.items() if not _is_in(k, by)}),
    )


def _without_null(part: FlatConfig) -> FlatConfig:
    """Return the settings other than None.

    A setting that is off by default is None in new runs and absent in runs that are older than the setting. Both must
    be equal.
    """
    return {key: value for key, value in part.items() if value is not None}


def short_names(parts: Sequence[FlatConfig], roots: Sequence[str]) -> list[str]:
    """Return a short name for each part of a config: its components, followed by the settings that distinguish it.

    Args:
        parts: parts of configs, all different.
        roots: keys whose values always come first in the name, for example ``learner.type``.
    """
    return distinct_names([_base_name(part, roots) for part in parts], parts)


def distinct_names(names: Sequence[str], parts: Sequence[FlatConfig]) -> list[str]:
    """Return the names; equal names are extended by the settings in which their parts of configs differ."""
    extended = list(names)
    differing = sorted(
        (key for key in dict.fromkeys(k for part in parts for k in part) if len({_word(p, key) for p in parts}) > 1),
        key=lambda key: -len({_word(part, key) for part in parts}),
    )
    for key in differing:  # the setting with the most distinct values comes first; no more settings than necessary
        repeated = {name for name in extended if extended.count(name) > 1}
        if not repeated:
            break
        separated = {
            name
            for name in repeated
            if len({_word(p, key) for p, other in zip(parts, extended, strict=True) if other == name}) > 1
        }
        extended = [
            f"{name} {_short_key(key)}={_word(part, key)}" if name in separated else name
            for part, name in zip(parts, extended, strict=True)
        ]
    return extended


def _base_name(part: FlatConfig, roots: Sequence[str]) -> str:
    words = [_component_name(part[root]) for root in roots if part.get(root) is not None]
    keys = [key for key in part if key.startswith("learner.methods[") and key.endswith("].type")]
    methods = [_component_name(part[key]) for key in keys]
    other_methods = [m for m in methods if m not in words]
    if words:
        return " ".join([*words, *(["+".join(other_methods)] if other_methods else [])])
    if len(part) == 1:
        return _word(part, next(iter(part)))
    return " ".join(f"{_short_key(k)}={_word(part, k)}" for k in part)


def _component_name(value: Any) -> str:
    """Return the name of a component; of a class in a file without the folder of the file."""
    path, separator, name = str(value).rpartition(".py:")
    return f"{path.rpartition('/')[2]}{separator}{name}"


def _word(part: FlatConfig, key: str) -> str:
    value = part.get(key)
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return str(value)


def _short_key(key: str) -> str:
    """Return the last component of a key other than ``type``."""
    return key.removesuffix(".type").rpartition(".")[2]


def _is_in(key: str, names: Sequence[str]) -> bool:
    """Return whether a key is one of the names or lies below one of them."""
    return any(key == name or key.startswith((f"{name}.", f"{name}[")) for name in names)


def _text(part: FlatConfig) -> str:
    return json.dumps(dict(sorted(part.items())), default=str)
