"""What of a config is the learner, what the stream, and what must be alike for a comparison to be fair."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from rlcl.tracking.runs import Run, dotted

__all__ = ["TRAINING", "Identity", "Labelled", "identify", "labels", "told_apart"]

LEARNER = ("learner", "encoder", "boundary")
# Of an environment these say how it is trained in; R does not depend on them otherwise.
TRAINING = ("num_envs", "vectorization")
ALIKE = ("split", "on", "episodes", "episode_steps")  # of the evaluation: another one measures something else

Flat = Mapping[str, Any]


@frozen
class Labelled:
    """A cell of a suite, by the labels of its axes.

    Args:
        learner, stream: labels of the axes that vary the one and the other; empty where none does.
        varied: keys that its learners differ in, for example ``learner.methods`` or ``budget``.
    """

    learner: str
    stream: str
    varied: tuple[str, ...] = ()


@frozen
class Identity:
    """A run's config in three parts, each as dotted keys.

    Args:
        learner: what is compared.
        stream: what it is compared on.
        protocol: what must be the same of all learners on a stream: budget, evaluation, validation.
        learner_key, stream_key: the same as text, to group by.
    """

    learner: Flat
    stream: Flat
    protocol: Flat
    learner_key: str = field(init=False)
    stream_key: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "learner_key", _text(self.learner))
        object.__setattr__(self, "stream_key", _text(self.stream))


def identify(run: Run, within: bool, by: Sequence[str] = (), cell: Labelled | None = None) -> Identity:
    """Splits a run's config.

    Args:
        run: its config can be read.
        within: whether the metric that is compared sees how often was evaluated within experiences.
        by: keys that make the learner instead of all its settings; they are left out of stream and protocol.
        cell: of a suite, whose labels then stand for what its axes vary.
    """
    config = run.config
    evaluation = config.get("evaluation", {})
    keys = (*ALIKE, "every") if within else ALIKE
    stream = dotted({"stream": config.get("stream", {})})
    training = {key: value for key, value in stream.items() if key.rpartition(".")[2] in TRAINING}
    learner = {**dotted({part: config.get(part) for part in LEARNER}), **training}
    protocol = {
        **dotted({"budget": config.get("budget"), "validation": config.get("validation", 0.0)}),
        **dotted({"evaluation": {key: evaluation.get(key) for key in keys}}),
    }
    if by:
        learner = {key: found[0] if len(found := run.values(key)) == 1 else found for key in by}
    elif cell is not None:
        learner = {"label": cell.learner} if cell.learner else learner
        stream = {"label": cell.stream} if cell.stream else stream
        by = cell.varied
    return Identity(
        _without_null(learner),
        _without_null({k: v for k, v in stream.items() if k not in training and not _named(k, by)}),
        _without_null({k: v for k, v in protocol.items() if not _named(k, by)}),
    )


def _without_null(part: Flat) -> Flat:
    """The keys that say something: a run of before an option was there, off by default, does not have its key."""
    return {key: value for key, value in part.items() if value is not None}


def labels(parts: Sequence[Flat], roots: Sequence[str]) -> list[str]:
    """A short name for each of several parts of configs: its components, and then what sets it apart.

    Args:
        parts: all different.
        roots: keys whose values always stand first, for example ``learner.type``.
    """
    return told_apart([_base(part, roots) for part in parts], parts)


def told_apart(names: Sequence[str], parts: Sequence[Flat]) -> list[str]:
    """Names, with those settings added to equal ones in which their parts of configs differ."""
    found = list(names)
    differing = sorted(
        (key for key in dict.fromkeys(k for part in parts for k in part) if len({_word(p, key) for p in parts}) > 1),
        key=lambda key: -len({_word(part, key) for part in parts}),
    )
    for key in differing:  # what tells most apart comes first, and no more is said than needed
        alike = {name for name in found if found.count(name) > 1}
        if not alike:
            break
        divided = {n for n in alike if len({_word(p, key) for p, f in zip(parts, found, strict=True) if f == n}) > 1}
        found = [
            f"{name} {_short(key)}={_word(part, key)}" if name in divided else name
            for part, name in zip(parts, found, strict=True)
        ]
    return found


def _base(part: Flat, roots: Sequence[str]) -> str:
    words = [str(part[root]) for root in roots if part.get(root) is not None]
    methods = [str(v) for k, v in part.items() if k.startswith("learner.methods[") and k.endswith("].type")]
    inner = [m for m in methods if m not in words]
    if words:
        return " ".join([*words, *(["+".join(inner)] if inner else [])])
    return _word(part, next(iter(part))) if len(part) == 1 else " ".join(f"{_short(k)}={_word(part, k)}" for k in part)


def _word(part: Flat, key: str) -> str:
    value = part.get(key)
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return str(value)


def _short(key: str) -> str:
    """The last part of a key that says something."""
    return key.removesuffix(".type").rpartition(".")[2]


def _named(key: str, by: Sequence[str]) -> bool:
    return any(key == name or key.startswith((f"{name}.", f"{name}[")) for name in by)


def _text(part: Flat) -> str:
    return json.dumps(dict(sorted(part.items())), default=str)
