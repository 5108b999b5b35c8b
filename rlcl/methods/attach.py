"""Attaches methods to a host, in the order of their phases, and refuses what it cannot serve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from rlcl.errors import UnsupportedError
from rlcl.registry import name_of
from rlcl.seeding import Seeds
from rlcl.types import (
    Batch,
    Experience,
    ForgettingMethod,
    Host,
    LackingHost,
    Method,
    MixingMethod,
    PenalizingMethod,
    PredictingMethod,
)

__all__ = ["NO_TASKS", "PHASES", "Attached", "attach", "refusal"]

# The order in which hooks run. Up to clip they run before the optimizer's step, then after it.
PHASES = ("record", "mix", "add", "project", "clip", "edit", "restore")

REASONS: Mapping[str, str] = {
    "batch": "its minibatches cannot be seen from outside",
    "targets": "its minibatches carry no targets",
    "loss": "its loss cannot be evaluated on other data",
    "task_id": "this stream hides task ids; set stream.visibility.task_ids: visible",
    "task_id_everywhere": "this stream hides task ids in training or at evaluation; "
    "set stream.visibility.task_ids: visible",
    "boundaries": "this stream hides where an experience ends; set stream.visibility.boundaries: announced",
    "native": "its network and prediction belong to another library",
    "weights": "its loss cannot weigh one example more than another",
}

# Of learners that act, whatever their stream shows.
NO_TASKS: Mapping[str, str] = dict.fromkeys(
    ("task_id", "task_id_everywhere"), "learners that act show their networks no task ids; leave the method out"
)


@frozen(eq=False)
class Attached:
    """Methods at work on one host."""

    methods: tuple[Method, ...]
    mixing: tuple[MixingMethod, ...]
    penalizing: tuple[PenalizingMethod, ...]
    predicting: tuple[PredictingMethod, ...]

    def begin(self, experience: Experience, updates: int | None) -> None:
        for method in self.methods:
            method.begin(experience, updates)

    def end(self, experience: Experience) -> None:
        for method in self.methods:
            method.end(experience)

    def forget(self) -> None:
        """Empties all memories."""
        for method in self.methods:
            if isinstance(method, ForgettingMethod):
                method.forget()

    @property
    def remembering(self) -> tuple[Method, ...]:
        """Those with a memory of examples."""
        return tuple(m for m in self.methods if isinstance(m, ForgettingMethod) or m.memory is not None)

    def closed_by(self) -> str | None:
        """See :class:`rlcl.types.Reopening`."""
        closing = [method for method in self.methods if not method.reopens]
        return f"method {name_of('method', closing[0])} has consolidated it" if closing else None

    def extra(self, batch: Batch) -> Batch:
        """The batch with the memories of all mixing methods joined to it."""
        for method in self.mixing:
            more = method.extra(batch)
            if more is not None:
                batch = joined(batch, more, method.shares)
        return batch

    def state_dict(self) -> list[dict[str, Any]]:
        return [method.state_dict() for method in self.methods]

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        for method, state in zip(self.methods, states, strict=True):
            method.load_state_dict(state)


def attach(methods: Sequence[Method], host: Host, seeds: Seeds) -> Attached:
    """Attaches methods, each with a generator of its own.

    Args:
        methods: in any order; their phases decide.
        host: the learner.
        seeds: of all methods; a child by each one's name, without the module or file that it stands in.

    Raises:
        UnsupportedError: a method needs what the host cannot show, or stands there twice.
    """
    names = [name_of("method", method) for method in methods]
    for index, (name, method) in enumerate(zip(names, methods, strict=True)):
        reason = refusal(method, host)
        if method.phase not in PHASES:
            reason = f"its phase is {method.phase!r}, expected one of {', '.join(PHASES)}"
        if reason:
            raise UnsupportedError(f"learner.methods[{index}]: {name} cannot serve learner {host.name}: {reason}")
        if name in names[:index]:
            raise UnsupportedError(f"learner.methods[{index}]: {name} stands there twice; leave one out")
    order = sorted(range(len(methods)), key=lambda i: PHASES.index(methods[i].phase))
    for index, name in zip(order, _seed_names([names[i] for i in order]), strict=True):
        methods[index].attach(host, seeds.child(name).numpy())
    ordered = tuple(methods[i] for i in order)
    return Attached(
        ordered,
        # One mean over batch and memory first: means of their own are added to it.
        tuple(sorted((m for m in ordered if isinstance(m, MixingMethod)), key=lambda m: m.shares is not None)),
        tuple(m for m in ordered if isinstance(m, PenalizingMethod)),
        tuple(m for m in ordered if isinstance(m, PredictingMethod)),
    )


def _seed_names(names: Sequence[str]) -> Iterator[str]:
    """Yield a name for each method's draws, which a class keeps that moves to another file or folder."""
    seen: Counter[str] = Counter()
    for name in names:
        own = name.rpartition(":")[2]
        yield f"{own} {seen[own]}" if seen[own] else own
        seen[own] += 1


def refusal(method: Method, host: Host) -> str | None:
    """Why a host cannot serve a method, None where it can."""
    if not host.optimizers:
        return "it attaches to an optimizer, and this learner changes its weights without one"
    missing = sorted(method.requires - host.provides)
    if missing:
        reasons = {**REASONS, **host.lacking} if isinstance(host, LackingHost) else REASONS
        return "; ".join(f"it needs {need}, and {reasons.get(need, 'the host lacks it')}" for need in missing)
    if method.kinds is not None and host.kind not in method.kinds:
        return f"it works on outputs that are {' or '.join(sorted(method.kinds))}, and these are {host.kind}"
    return method.refuses(host)


def joined(a: Batch, b: Batch, shares: tuple[float, float] | None = None) -> Batch:
    """One batch out of two, ``a`` first.

    Args:
        a, b: minibatches of equal columns, but for what they are to weigh.
        shares: factors of the mean loss over ``a`` and of that over ``b``, which add up to the loss of the
            whole; None for one mean over all examples.
    """
    rows = len(a.inputs) + len(b.inputs)
    factors = (1.0, 1.0)
    if shares is not None:
        factors = (shares[0] * rows / len(a.inputs), shares[1] * rows / len(b.inputs))

    def both(x: Tensor | None, y: Tensor | None) -> Tensor | None:
        return None if x is None or y is None else torch.cat((x, y))

    def scaled(x: Tensor | None, y: Tensor | None, otherwise: float) -> Tensor:
        parts = zip((a, b), (x, y), factors, strict=True)
        return torch.cat(
            [p.inputs.new_full((len(p.inputs),), otherwise * f) if c is None else c * f for p, c, f in parts]
        )

    plain = shares is None and a.weights is None and b.weights is None
    kept = next((c for c in (a.outputs, b.outputs) if c is not None), None)
    outputs = pulls = None
    if kept is not None and (a.pulls is not None or b.pulls is not None):
        blank = [kept.new_zeros(len(p.inputs), *kept.shape[1:]) if p.outputs is None else p.outputs for p in (a, b)]
        outputs, pulls = torch.cat(blank), scaled(a.pulls, b.pulls, 0.0)
    return Batch(
        torch.cat((a.inputs, b.inputs)),
        both(a.targets, b.targets),
        both(a.task_ids, b.task_ids),
        None if plain else scaled(a.weights, b.weights, 1.0),
        outputs,
        pulls,
    )
