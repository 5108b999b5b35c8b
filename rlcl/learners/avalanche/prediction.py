"""Predicts as Avalanche's own evaluation does, and leaves the strategy as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from attrs import define, field
from torch import Tensor

from rlcl.data.avalanche_import import import_avalanche
from rlcl.errors import UnseenTaskError
from rlcl.seeding import preserved_global_state

__all__ = ["adapt", "is_multitask", "predict", "weights_suffice"]

# What its evaluation assigns; the clock counts evaluated minibatches too.
CHANGED = ("experience", "is_training", "dataloader", "adapted_dataset", "mbatch", "mb_output", "loss", "_criterion")
HOOKS = ("before_eval_iteration", "before_eval_forward", "after_eval_forward", "after_eval_iteration")


@define(eq=False)
class _Collector:
    """A plugin that keeps the classes of every minibatch, after all others have changed the outputs."""

    classes: list[Tensor] = field(factory=list)

    def after_eval_iteration(self, strategy: Any, **_: Any) -> None:
        self.classes.append(strategy.mb_output.argmax(1).cpu())


def predict(strategy: Any, experience: Any, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Classes (N,) int64 by the strategy's own ``eval_epoch``, without adapting the model to what is evaluated.

    Args:
        strategy: of Avalanche.
        experience: one that it has met, of the task of these inputs.
        batches: encoded inputs (B, *encoded) and their task labels (B,) int64.

    Raises:
        UnseenTaskError: the model has no head for the task yet.
    """
    _refuse_unseen(strategy, {int(task) for _, tasks in batches for task in tasks[:1]})
    collector = _Collector()
    with _evaluating(strategy, collector), torch.no_grad(), preserved_global_state():
        strategy.experience = experience
        # The loss is not asked for; a label would have to be one that its criterion knows.
        strategy.dataloader = [[x, torch.zeros(len(x), dtype=torch.int64), tasks] for x, tasks in batches]
        strategy.eval_epoch()
    return torch.cat(collector.classes)


@contextmanager
def _evaluating(strategy: Any, collector: _Collector) -> Iterator[None]:
    before = {name: getattr(strategy, name) for name in CHANGED}
    clock = dict(vars(strategy.clock))
    modes = [(module, module.training) for module in strategy.model.modules()]
    strategy.plugins.append(collector)
    strategy.is_training = False
    strategy._criterion = lambda outputs, targets: torch.zeros(1, device=strategy.device)
    strategy.model.eval()
    try:
        yield
    finally:
        strategy.plugins.remove(collector)
        for name, value in before.items():
            setattr(strategy, name, value)
        vars(strategy.clock).update(clock)
        for module, training in modes:
            module.training = training


def is_multitask(module: Any) -> bool:
    """Whether a model takes task labels."""
    found: bool = import_avalanche().models.utils.is_multi_task_module(module)
    return found


def adapt(module: Any, experiences: Any) -> None:
    """Gives a model the heads that these experiences of Avalanche's call for."""
    module.train()
    for experience in experiences:
        import_avalanche().models.dynamic_modules.avalanche_model_adaptation(module, experience)


def _refuse_unseen(strategy: Any, tasks: set[int]) -> None:
    models, model = import_avalanche().models, strategy.model
    if is_multitask(model) and not tasks <= model.known_train_tasks_labels:
        raise UnseenTaskError(f"the model has no head for task {max(tasks)} yet")
    for module in model.modules():
        if isinstance(module, models.NCMClassifier) and not module.class_means_dict:
            raise UnseenTaskError("the model has no class means yet")
        if isinstance(module, models.IncrementalClassifier) and module.masking and not module.active_units.any():
            raise UnseenTaskError("the model has met no class yet")


def weights_suffice(strategy: Any) -> bool:
    """Whether predictions are a function of the weights alone, and not of what strategy, plugins or layers keep."""
    avalanche = import_avalanche()
    models = avalanche.models
    keeping = (models.packnet.PackNetModule, models.NCMClassifier, models.FeCAMClassifier)  # masks and means, unsaved
    if any(isinstance(module, keeping) for module in strategy.model.modules()):
        return False
    template, plain = avalanche.training.templates.SupervisedTemplate, avalanche.core.SupervisedPlugin
    own = any(getattr(type(strategy), name) is not getattr(template, name) for name in ("forward", "eval_epoch"))
    plugins = [p for p in strategy.plugins if p not in (strategy.evaluator, strategy.clock)]
    hooks = [(getattr(type(p), hook, None), getattr(plain, hook)) for p in plugins for hook in HOOKS]
    return not own and all(found in (None, nothing) for found, nothing in hooks)
