"""The order in which methods run, on one tape that they write to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from attrs import define, field
from harness import cartpoles, classifier, digit_stream, learn_all, ppo, prepared, sb3
from torch import Tensor

from rlcl.errors import UnsupportedError
from rlcl.learners.reinforcement.recurrent import Recurrent
from rlcl.methods.attach import PHASES, join_batches
from rlcl.methods.packnet import PackNet
from rlcl.methods.xdg import Xdg
from rlcl.types import Batch, Budget, Experience, Host, Method, Visibility


@define(eq=False)
class Dummy(Method):
    """Writes down what is asked of it."""

    phase: str
    tape: list[str]
    requires: frozenset[str] = frozenset()
    null: Mapping[str, Any] | None = None
    _first: float = field(init=False, default=0.0)

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self.tape.append(f"attach {self.phase}")
        self._first = rng.random()
        optimizer = host.optimizers[host.primary]
        before = PHASES.index(self.phase) <= PHASES.index("clip")
        register = optimizer.register_step_pre_hook if before else optimizer.register_step_post_hook
        register(lambda *_: self.tape.append(self.phase))

    def begin(self, experience: Experience, updates: int | None) -> None:
        self.tape.append(f"begin {self.phase} {updates}")

    def end(self, experience: Experience) -> None:
        self.tape.append(f"end {self.phase}")

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def dummies(tape: list[str], phases: tuple[str, ...] = PHASES) -> list[Any]:
    """A class each, for a method stands there once."""
    return [type(f"Dummy{phase}", (Dummy,), {})(phase, tape) for phase in phases]


def test_hooks_run_in_the_order_of_their_phases() -> None:
    tape: list[str] = []
    stream = digit_stream(1, budget=Budget(updates=1))
    learner = prepared(classifier(*reversed(dummies(tape))), stream)
    learn_all(learner, stream)
    expected = [
        *(f"attach {phase}" for phase in PHASES),
        *(f"begin {phase} 1" for phase in PHASES),
        *PHASES,
        *(f"end {phase}" for phase in PHASES),
    ]
    assert expected == tape


def test_each_method_has_a_generator_of_its_own_name_whatever_stands_beside_it() -> None:
    stream = digit_stream(1)

    def draws(phases: tuple[str, ...]) -> dict[str, float]:
        methods = dummies([], phases)
        prepared(classifier(*methods), stream)
        return {m.phase: m._first for m in methods}

    both = draws(("add", "edit"))
    assert both["add"] != both["edit"]
    assert both == {**draws(("add",)), **draws(("edit",))}


def test_a_method_draws_the_same_wherever_its_class_stands() -> None:
    def first(module: str) -> float:
        method: Any = type("Moved", (Dummy,), {"__module__": module})("add", [])
        prepared(classifier(method), digit_stream(1))
        return float(method._first)

    assert first("here") == first("rlcl_file_there")


def test_classes_of_one_name_draw_apart() -> None:
    methods: list[Any] = [type("Same", (Dummy,), {"__module__": module})("add", []) for module in ("one", "other")]
    prepared(classifier(*methods), digit_stream(1))
    assert methods[0]._first != methods[1]._first


def test_a_need_without_an_explanation_is_refused_all_the_same() -> None:
    odd = Dummy("add", [], requires=frozenset({"time travel"}))
    with pytest.raises(UnsupportedError, match="it needs time travel, and the host lacks it"):
        prepared(classifier(odd), digit_stream(1))


def test_hidden_task_ids_are_refused_with_the_key_that_hides_them() -> None:
    needy = Dummy("add", [], requires=frozenset({"task_id"}))
    with pytest.raises(UnsupportedError, match=r"stream\.visibility\.task_ids"):
        prepared(classifier(needy), digit_stream(1))


def test_a_method_that_predicts_is_entered_with_the_task_id() -> None:
    tape: list[str] = []

    class Masking(Dummy):
        @contextmanager
        def predicting(self, task_id: int | None) -> Any:
            self.tape.append(f"in {task_id}")
            yield
            self.tape.append("out")

    learner = prepared(classifier(Masking("restore", tape)), digit_stream(2, task_ids=True))
    learner.predict(torch.zeros(1, 1, 8, 8), 1)
    assert tape == ["attach restore", "in 1", "out"]


def test_joined_batches_lack_what_either_lacks() -> None:
    a = Batch(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
    b = Batch(torch.ones(1, 3), torch.ones(1, dtype=torch.int64), None)
    both = join_batches(a, b)
    assert both.inputs[:, 0].tolist() == [0, 0, 1]
    assert both.targets is not None
    assert both.targets.tolist() == [0, 0, 1]
    assert both.task_ids is None


def test_shares_weigh_the_means_of_two_batches() -> None:
    def mean(batch: Batch, column: Tensor) -> float:
        assert batch.weights is not None
        return float((batch.weights * column).mean())

    a, b, c = (Batch(torch.zeros(n, 3), torch.zeros(n, dtype=torch.int64)) for n in (2, 3, 5))
    losses = torch.arange(10.0)  # means 0.5 (two), 3 (three) and 7 (five)
    both = join_batches(a, b, (0.25, 2.0))
    assert pytest.approx(0.25 * 0.5 + 2 * 3) == mean(both, losses[:5])
    # What was weighed before keeps its part of the loss.
    assert pytest.approx(0.25 * 0.5 + 2 * 3 + 4 * 7) == mean(join_batches(both, c, (1.0, 4.0)), losses)
    assert join_batches(a, b).weights is None


def test_pulls_are_weighed_alike_and_blank_where_nothing_is_stored() -> None:
    a = Batch(torch.zeros(2, 3))
    b = Batch(
        torch.zeros(3, 3), weights=torch.zeros(3), outputs=torch.ones(3, 4), distillation_weights=torch.full((3,), 0.5)
    )
    both = join_batches(a, b, (1.0, 1.0))
    assert both.distillation_weights is not None
    assert both.outputs is not None
    assert pytest.approx(0.5 * 3) == float((both.distillation_weights * torch.tensor([9.0, 9.0, 2.0, 3.0, 4.0])).mean())
    assert [[0.0] * 4] * 2 + [[1.0] * 4] * 3 == both.outputs.tolist()
    assert join_batches(a, b._replace(distillation_weights=None), (1.0, 1.0)).outputs is None


@pytest.mark.parametrize("method", [PackNet(), Xdg()])
@pytest.mark.parametrize(
    "learner", [lambda method: ppo(method, recurrent=Recurrent()), lambda method: sb3("PPO", method)]
)
def test_what_is_set_already_is_not_advised(method: Any, learner: Callable[[Any], Any]) -> None:
    stream = attrs.evolve(cartpoles(64), visibility=Visibility(task_ids="visible"))
    with pytest.raises(UnsupportedError, match="do not pass task ids to their networks; remove the method") as raised:
        prepared(learner(method), stream)
    assert "visibility" not in str(raised.value)
