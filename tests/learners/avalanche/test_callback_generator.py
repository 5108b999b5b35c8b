"""A function and its caller take turns, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch

from rlcl.learners.avalanche.callback_generator import callback_generator


def test_function_and_caller_take_turns_in_order() -> None:
    tape: list[str] = []

    def run(hand_over: Callable[[], None]) -> None:
        for step in range(2):
            tape.append(f"function {step}")
            hand_over()
        tape.append("function ends")

    for step, _ in enumerate(callback_generator(run)):
        tape.append(f"caller {step}")
    assert ["function 0", "caller 0", "function 1", "caller 1", "function ends"] == tape


def test_what_the_function_raises_reaches_the_caller() -> None:
    def run(hand_over: Callable[[], None]) -> None:
        hand_over()
        raise KeyError("lost")

    steps = callback_generator(run)
    next(steps)
    with pytest.raises(KeyError, match="lost"):
        next(steps)


def test_a_closed_generator_ends_the_function_where_it_stands() -> None:
    tape: list[str] = []

    def run(hand_over: Callable[[], None]) -> None:
        try:
            hand_over()
            tape.append("went on")
        except Exception:  # a library that swallows what it can
            tape.append("swallowed")
        finally:
            tape.append("cleaned up")

    before = threading.active_count()
    steps = callback_generator(run)
    next(steps)
    assert before + 1 == threading.active_count()
    steps.close()  # type: ignore[attr-defined]
    assert ["cleaned up"] == tape
    assert before == threading.active_count()


def test_the_thread_counts_as_many_threads_as_its_caller_and_draws_from_the_same_generator() -> None:
    seen: list[object] = []
    torch.manual_seed(3)
    expected = torch.rand(2)

    def run(hand_over: Callable[[], None]) -> None:
        seen.extend([torch.get_num_threads(), torch.rand(1)])
        hand_over()

    torch.manual_seed(3)
    for _ in callback_generator(run):
        seen.append(torch.rand(1))
    assert torch.get_num_threads() == seen[0]
    assert torch.equal(expected, torch.cat(seen[1:]))  # type: ignore[arg-type]
