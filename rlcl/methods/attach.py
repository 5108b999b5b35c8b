"""Attachment of methods to a host in the order of their phases, with checks of their requirements."""

from __future__ import annotations

import math
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

__all__ = ["NO_TASKS", "PHASES", "AttachedMethods", "attach", "refusal"]

# The order in which hooks run. Up to clip they run before the optimizer's step, then after it.
PHASES = ("record", "mix", "add", "project", "clip", "edit", "restore")

REASONS: Mapping[str, str] = {
    "batch": "its minibatches are not accessible",
    "targets": "its minibatches carry no targets",
    "loss": "its loss cannot be evaluated on other data",
    "task_id": "this stream hides task ids; set stream.visibility.task_ids: visible",
    "task_id_everywhere": "this stream hides task ids in training or at evaluation; "
    "set stream.visibility.task_ids: visible",
    "one_task": "an experience of this stream holds several tasks; use a stream with one task per experience",
    "boundaries": "this stream hides where an experience ends; set stream.visibility.boundaries: announced",
    "input_shape": "the shape of its inputs is not known",
    "native": "its network and prediction belong to another library",
    "weights": "its loss does not support example weights",
    "shares": "the mean losses of its minibatch and of a memory batch cannot be weighted",
    "transitions": "its transitions are not accessible",
    "off_policy": "its loss is for transitions of its current policy",
    "critic": "it has no critics as networks of their own",
    "log_probs": "the probabilities of its collected actions are not known",
}

# Reasons that hold for every reinforcement learner, independent of its stream.
NO_TASKS: Mapping[str, str] = dict.fromkeys(
    ("task_id", "task_id_everywhere"),
    "recurrent policies and the learners of sb3 do not pass task ids to their networks; remove the method",
)


@frozen(eq=False)
class AttachedMethods:
    """Methods that are attached to one host."""

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
        """Empty all memories."""
        for method in self.methods:
            if isinstance(method, ForgettingMethod):
                method.forget()

    @property
    def remembering(self) -> tuple[Method, ...]:
        """Methods with a memory of examples."""
        return tuple(m for m in self.methods if isinstance(m, ForgettingMethod) or m.memory is not None)

    def closed_by(self) -> str | None:
        """See :class:`rlcl.types.Reopening`."""
        consolidating = [method for method in self.methods if not method.reopens]
        return f"method {name_of('method', consolidating[0])} has consolidated it" if consolidating else None

    def extra(self, batch: Batch) -> Batch:
        """Return the batch, joined with a batch from the memory of each mixing method."""
        for method in self.mixing:
            replayed = method.extra(batch)
            if replayed is not None:
                batch = join_batches(batch, replayed, method.shares)
        return batch

    def quantities(self) -> dict[str, float]:
        """Return the finite quantities that the methods log, as ``<method>/<quantity>``."""
        names = _short_names([name_of("method", method) for method in self.methods])
        values = {
            f"{name}/{quantity}": float(value)
            for name, method in zip(names, self.methods, strict=True)
            for quantity, value in method.quantities().items()
        }
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def state_dict(self) -> list[dict[str, Any]]:
        return [method.state_dict() for method in self.methods]

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        for method, state in zip(self.methods, states, strict=True):
            method.load_state_dict(state)


def attach(methods: Sequence[Method], host: Host, seeds: Seeds, path: str = "learner.methods") -> AttachedMethods:
    """Attach methods to a host, each with a separate random generator.

    Args:
        methods: in any order; their phases determine the order of attachment.
        host: the learner.
        seeds: for all methods. Each method has a child seed by its name, without its module or file.
        path: key path of the methods, for messages.

    Raises:
        UnsupportedError: a method requires something that the host does not provide, or a method is listed twice.
    """
    names = [name_of("method", method) for method in methods]
    for index, (name, method) in enumerate(zip(names, methods, strict=True)):
        reason = refusal(method, host)
        if method.phase not in PHASES:
            reason = f"its phase is {method.phase!r}, expected one of {', '.join(PHASES)}"
        if reason:
            raise UnsupportedError(f"{path}[{index}]: {name} does not support learner {host.name}: {reason}")
        if name in names[:index]:
            raise UnsupportedError(f"{path}[{index}]: {name} is listed twice; remove one")
    order = sorted(range(len(methods)), key=lambda i: PHASES.index(methods[i].phase))
    for index, name in zip(order, _short_names([names[i] for i in order]), strict=True):
        methods[index].attach(host, seeds.child(name).numpy())
    ordered = tuple(methods[i] for i in order)
    return AttachedMethods(
        ordered,
        # Methods that share one mean with the minibatch come first; separate means are added to that mean.
        tuple(sorted((m for m in ordered if isinstance(m, MixingMethod)), key=lambda m: m.shares is not None)),
        tuple(m for m in ordered if isinstance(m, PenalizingMethod)),
        tuple(m for m in ordered if isinstance(m, PredictingMethod)),
    )


def _short_names(names: Sequence[str]) -> Iterator[str]:
    """Yield a distinct name for each method. It does not change if the class moves to another file or folder."""
    counts: Counter[str] = Counter()
    for name in names:
        class_name = name.rpartition(":")[2]
        yield f"{class_name} {counts[class_name]}" if counts[class_name] else class_name
        counts[class_name] += 1


def refusal(method: Method, host: Host) -> str | None:
    """Return the reason why a host does not support a method, or None if it does."""
    if not host.optimizers:
        return "it attaches to an optimizer, and this learner trains without one"
    missing = sorted(method.requires - host.provides)
    if missing:
        reasons = {**REASONS, **host.lacking} if isinstance(host, LackingHost) else REASONS
        return "; ".join(f"it needs {need}, and {reasons.get(need, 'the host lacks it')}" for need in missing)
    if method.kinds is not None and host.kind not in method.kinds:
        return f"it supports outputs that are {' or '.join(sorted(method.kinds))}, and these are {host.kind}"
    return method.refuses(host)


def join_batches(a: Batch, b: Batch, shares: tuple[float, float] | None = None) -> Batch:
    """Join two batches into one, the rows of ``a`` first.

    Args:
        a, b: minibatches with the same columns, except for the weights and the outputs.
        shares: factors of the mean loss over ``a`` and of the mean loss over ``b``. The loss of the joined batch is
            the sum of both terms. None for one mean over all examples.
    """
    rows = len(a.inputs) + len(b.inputs)
    factors = (1.0, 1.0)
    if shares is not None:
        factors = (shares[0] * rows / len(a.inputs), shares[1] * rows / len(b.inputs))

    def concatenated(x: Tensor | None, y: Tensor | None) -> Tensor | None:
        return None if x is None or y is None else torch.cat((x, y))

    def scaled(x: Tensor | None, y: Tensor | None, default: float) -> Tensor:
        parts = zip((a, b), (x, y), factors, strict=True)
        return torch.cat(
            [p.inputs.new_full((len(p.inputs),), default * f) if c is None else c * f for p, c, f in parts]
        )

    unweighted = shares is None and a.weights is None and b.weights is None
    stored = next((c for c in (a.outputs, b.outputs) if c is not None), None)
    outputs = distillation_weights = None
    if stored is not None and (a.distillation_weights is not None or b.distillation_weights is not None):
        parts = [stored.new_zeros(len(p.inputs), *stored.shape[1:]) if p.outputs is None else p.outputs for p in (a, b)]
        outputs, distillation_weights = torch.cat(parts), scaled(a.distillation_weights, b.distillation_weights, 0.0)
    return Batch(
        torch.cat((a.inputs, b.inputs)),
        concatenated(a.targets, b.targets),
        concatenated(a.task_ids, b.task_ids),
        None if unweighted else scaled(a.weights, b.weights, 1.0),
        outputs,
        distillation_weights,
    )
