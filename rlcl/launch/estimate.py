"""Estimate of the cost of a run, extrapolated from about a second of training."""

from __future__ import annotations

import time

from attrs import frozen

from rlcl.evaluation.plan import EvaluationInterval
from rlcl.launch.latency import latency_ms
from rlcl.launch.seed_run import total_steps
from rlcl.registry import name_of
from rlcl.tracking.clock import peak_bytes
from rlcl.training.trainer import Trainer
from rlcl.types import Reserving, Source, Spending, Warming, methods_of

__all__ = ["Estimate", "estimate"]

SECONDS = 1.0  # of training


@frozen
class Estimate:
    """Estimated cost of one seed.

    Args:
        learner: description of the learner, with its number of parameters if it reports them.
        steps: steps of the whole run; None if the learner does not report them.
        rate: steps per second.
        evaluation_seconds: seconds of one planned evaluation.
        seconds: seconds of the whole run; None if ``steps`` is None.
        memory: peak memory in bytes.
        replay: the part of ``memory`` that is a replay buffer, in bytes; 0 without one.
        latency_ms: milliseconds of a prediction for one input; None if the learner cannot predict yet.
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
    """Evaluate once, train for about a second and extrapolate; the trainer cannot be used for a run afterwards."""
    started = time.perf_counter()
    for _ in trainer._evaluate(-1):
        pass
    evaluation = time.perf_counter() - started
    learner = trainer.learner
    steps = total_steps(trainer)
    # The steps before the first update are faster than the others, so they are not timed.
    warm_up_steps = learner.learning_starts if isinstance(learner, Warming) else 0
    started, first, latest = 0.0, 0, 0.0
    for _ in learner.learn(trainer._experiences[0]):
        now = time.perf_counter()
        if not started or learner.position.step <= warm_up_steps:  # the first update is slower, so it is not timed
            started, first, latest = now, learner.position.step, now
            continue
        latest = now
        if now - started > SECONDS:
            break
    timed_steps = learner.position.step - first
    rate = timed_steps / max(latest - started, 1e-9) if timed_steps else 1.0
    seconds = None if steps is None else steps / rate + evaluation * _evaluations(trainer, steps)
    # A replay buffer is allocated at once, but its memory becomes resident only as it is filled.
    replay, unwritten = learner.reserved_bytes if isinstance(learner, Reserving) else (0, 0)
    memory = _peak_memory(trainer) + unwritten
    return Estimate(_describe(trainer), steps, rate, evaluation, seconds, memory, replay, latency_ms(trainer))


def _evaluations(trainer: Trainer, steps: int) -> float:
    """Return the number of evaluations of the whole run."""
    every, count = trainer.evaluation.every, len(trainer.stream)
    if every == "end":
        return 1 + trainer.evaluation.before
    within = steps // every.steps if isinstance(every, EvaluationInterval) else 0
    return count + trainer.evaluation.before + within


def _describe(trainer: Trainer) -> str:
    learner = trainer.learner
    count = learner.costs().parameters if isinstance(learner, Spending) else 0
    size = f", {count:,} parameters" if count else ""
    methods = ", ".join(name_of("method", m) for m in methods_of(learner))
    return f"{name_of('learner', learner)}{size}, {f'methods {methods}' if methods else 'no methods'}"


def _peak_memory(trainer: Trainer) -> int:
    """Return the peak of this process (data, network, first experience) plus the excess of the largest experience."""
    largest = max((_encoded_bytes(e.train) for e in trainer.stream), default=0)
    return peak_bytes() + max(largest - _encoded_bytes(trainer.stream[0].train), 0)


def _encoded_bytes(source: Source) -> int:
    """Return the bytes of a source's encoded inputs; 0 if they are not held in memory as a whole."""
    if source.kind == "environment" or source.streamed:
        return 0
    return 4 * source.inputs.shape[1:].numel() * len(source)  # encoded as float32
