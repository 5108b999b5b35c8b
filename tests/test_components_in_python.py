"""Components that are constructed in Python: what is refused of them, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rlcl import Adam, Classifier, ClassIncremental, Digits, Ewc, Mlp, Plan, Scale, Sgd, Trainer
from rlcl.encoders.compose import Compose
from rlcl.errors import Problem
from rlcl.evaluation.probes import StableRank
from rlcl.learners.optimizers import AdamW, RmsProp


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Classifier(optimizer=torch.optim.Adam), "optimizer: expected an optimizer, got the class Adam"),
        (lambda: Classifier(optimizer=Adam), r"got the class Adam; call it: Adam\(\)"),
        (lambda: Classifier(optimizer="adam"), "optimizer: expected an optimizer, got 'adam'"),
        (lambda: Classifier(network=torch.nn.Linear(2, 2)), "an instance of Linear, which lacks build"),
        (lambda: Classifier(schedule=0.5), "schedule: expected a schedule or null, got 0.5"),
        (lambda: Classifier(methods=Ewc()), "methods: expected a list, each item a method, got Ewc"),
        (lambda: Classifier(methods="ewc"), "methods: expected a list, each item a method, got 'ewc'"),
        (lambda: Classifier(methods=[Ewc]), r"methods\[0\]: expected a method, got the class Ewc; call it: Ewc\(\)"),
        (lambda: Classifier(methods=[Ewc(), Mlp()]), r"methods\[1\]: .* an instance of Mlp, which lacks attach"),
        (lambda: Compose(Scale()), "encoders: expected a list, each item an encoder, got Scale"),
        (lambda: Plan(probes=StableRank()), "probes: expected a list, each item a probe, got StableRank"),
        (
            lambda: ClassIncremental(data=Digits),
            r"data: .* got the class Digits; call it: Digits\(\)",
        ),
        (
            lambda: Trainer(Classifier(), ClassIncremental()),
            r"stream: .* got an instance of ClassIncremental; call stream\.make",
        ),
        (lambda: Trainer(Classifier, ClassIncremental()), "learner: expected a learner, got the class Classifier"),
    ],
)
def test_in_python_too_a_wrong_object_is_named_with_its_place(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(Problem, match=message):
        make()


def test_what_gives_components_one_by_one_is_listed() -> None:
    assert 1 == len(Classifier(methods=(method for method in [Ewc()])).methods)
    assert Classifier(schedule=lambda update, updates: 1.0).schedule is not None


@pytest.mark.parametrize("optimizer", [Adam(), AdamW(), RmsProp(), Sgd()])
def test_an_optimizer_takes_parameters_that_are_read_once(optimizer: Any) -> None:
    module = torch.nn.Linear(3, 2)
    (group,) = optimizer.build(module.parameters()).param_groups
    assert list(map(id, module.parameters())) == list(map(id, group["params"]))
