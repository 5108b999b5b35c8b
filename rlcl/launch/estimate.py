"""What a run will cost, measured on its first second."""

from __future__ import annotations

import time

from attrs import frozen

from rlcl.evaluation.plan import Interval
from rlcl.launch.latency import latency_ms
from rlcl.launch.running import total_steps
from rlcl.registry import name_of
from rlcl.tracking.clock import peak_bytes
from rlcl.training.trainer import Trainer
from rlcl.types import Reserving, Source, Spending, Warming, methods_of

__all__ = ["Estimate", "estimate"]

SECONDS = 1.0  # of training


@frozen
class Estimate:
    """What one seed costs.

    Args:
        learner: in words, with its number of parameters where it tells.
        steps: of the whole run; None where the learner does not tell.
        rate: steps a second.
        evaluation_seconds: one evaluation as planned.
        seconds: of the whole run; None without its steps.
        memory: bytes at the peak.
        replay: bytes of those that are a memory of transitions, 0 without one.
        latency_ms: of one prediction for one input; None where the learner cannot predict yet.
    """

    learner: str
    steps: int | None
    rate: float
    evaluation_seconds: float
    seconds: float | None
    memory: int
    replay: int = 0
    latency_ms: float | None = None


def estimate(trainer: Trainer) -> Estimate:
    """Evaluates once, trains for about a second and extrapolates. The trainer is spent afterwards."""
    started = time.perf_counter()
    for _ in trainer._evaluate(-1):
        pass
    evaluation = time.perf_counter() - started
    learner = trainer.learner
    steps = total_steps(trainer)
    warming = (
        learner.learning_starts if isinstance(learner, Warming) else 0
    )  # steps without updates, which say nothing of the others
    started, first, before = 0.0, 0, 0.0
    for _ in learner.learn(trainer._experiences[0]):
        now = time.perf_counter()
        if not started or learner.position.step <= warming:  # the first update warms up
            started, first, before = now, learner.position.step, now
            continue
        before = now
        if now - started > SECONDS:
            break
    done = learner.position.step - first
    rate = done / max(before - started, 1e-9) if done else 1.0
    seconds = None if steps is None else steps / rate + evaluation * _evaluations(trainer, steps)
    # A memory of transitions is allocated at once, but given by the system as it is filled.
    replay, unwritten = learner.reserved_bytes if isinstance(learner, Reserving) else (0, 0)
    memory = _peak(trainer) + unwritten
    return Estimate(_describe(trainer), steps, rate, evaluation, seconds, memory, replay, latency_ms(trainer))


def _evaluations(trainer: Trainer, steps: int) -> float:
    every, count = trainer.evaluation.every, len(trainer.stream)
    if every == "end":
        return 1 + trainer.evaluation.before
    within = steps // every.steps if isinstance(every, Interval) else 0
    return count + trainer.evaluation.before + within


def _describe(trainer: Trainer) -> str:
    learner = trainer.learner
    count = learner.costs().parameters if isinstance(learner, Spending) else 0
    size = f", {count:,} parameters" if count else ""
    methods = ", ".join(name_of("method", m) for m in methods_of(learner))
    return f"{name_of('learner', learner)}{size}, {f'methods {methods}' if methods else 'no methods'}"


def _peak(trainer: Trainer) -> int:
    """This process's peak so far (data, network and one experience are in it), and larger experiences to come."""
    largest = max((_bytes(e.train) for e in trainer.stream), default=0)
    return peak_bytes() + max(largest - _bytes(trainer.stream[0].train), 0)


def _bytes(source: Source) -> int:
    if source.kind == "environment" or source.streamed:
        return 0
    return 4 * source.inputs.shape[1:].numel() * len(source)  # encoded as float32
