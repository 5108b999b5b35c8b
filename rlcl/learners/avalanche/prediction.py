"""Prediction by Avalanche's own evaluation, without changing the strategy."""

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

# Attributes that its evaluation assigns, besides the clock, which also counts evaluated minibatches.
CHANGED = ("experience", "is_training", "dataloader", "adapted_dataset", "mbatch", "mb_output", "loss", "_criterion")
HOOKS = ("before_eval_iteration", "before_eval_forward", "after_eval_forward", "after_eval_iteration")


@define(eq=False)
class _ClassRecorder:
    """Plugin that records the predicted classes of each minibatch, after all other plugins have changed the outputs."""

    classes: list[Tensor] = field(factory=list)

    def after_eval_iteration(self, strategy: Any, **_: Any) -> None:
        self.classes.append(strategy.mb_output.argmax(1).cpu())


def predict(strategy: Any, experience: Any, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Predict classes (N,) int64 by the strategy's ``eval_epoch``, without adapting the model to the evaluated data.

    Args:
        strategy: a strategy of Avalanche.
        experience: an experience that has been learned, with the task of the inputs.
        batches: encoded inputs (B, *encoded) and their task labels (B,) int64.

    Raises:
        UnseenTaskError: the model has no head for the task yet.
    """
    _check_seen(strategy, {int(task) for _, tasks in batches for task in tasks[:1]})
    recorder = _ClassRecorder()
    with _evaluating(strategy, recorder), torch.no_grad(), preserved_global_state():
        strategy.experience = experience
        # The labels are not used: the criterion is replaced.
        strategy.dataloader = [[x, torch.zeros(len(x), dtype=torch.int64), tasks] for x, tasks in batches]
        strategy.eval_epoch()
    return torch.cat(recorder.classes)


@contextmanager
def _evaluating(strategy: Any, recorder: _ClassRecorder) -> Iterator[None]:
    before = {name: getattr(strategy, name) for name in CHANGED}
    clock = dict(vars(strategy.clock))
    modes = [(module, module.training) for module in strategy.model.modules()]
    strategy.plugins.append(recorder)
    strategy.is_training = False
    strategy._criterion = lambda outputs, targets: torch.zeros(1, device=strategy.device)
    strategy.model.eval()
    try:
        yield
    finally:
        strategy.plugins.remove(recorder)
        for name, value in before.items():
            setattr(strategy, name, value)
        vars(strategy.clock).update(clock)
        for module, training in modes:
            module.training = training


def is_multitask(module: Any) -> bool:
    """Return whether a model takes task labels."""
    multitask: bool = import_avalanche().models.utils.is_multi_task_module(module)
    return multitask


def adapt(module: Any, experiences: Any) -> None:
    """Add the heads that experiences of Avalanche need to a model."""
    module.train()
    for experience in experiences:
        import_avalanche().models.dynamic_modules.avalanche_model_adaptation(module, experience)


def _check_seen(strategy: Any, tasks: set[int]) -> None:
    models, model = import_avalanche().models, strategy.model
    if is_multitask(model) and not tasks <= model.known_train_tasks_labels:
        raise UnseenTaskError(f"the model has no head for task {max(tasks)} yet")
    for module in model.modules():
        if isinstance(module, models.NCMClassifier) and not module.class_means_dict:
            raise UnseenTaskError("the model has no class means yet")
        if isinstance(module, models.IncrementalClassifier) and module.masking and not module.active_units.any():
            raise UnseenTaskError("the model has observed no class yet")


def weights_suffice(strategy: Any) -> bool:
    """Return whether predictions depend on weights only, and not on other state of strategy, plugins or layers."""
    avalanche = import_avalanche()
    models = avalanche.models
    # Their masks and class means are not part of the saved weights.
    stateful = (models.packnet.PackNetModule, models.NCMClassifier, models.FeCAMClassifier)
    if any(isinstance(module, stateful) for module in strategy.model.modules()):
        return False
    template, plain = avalanche.training.templates.SupervisedTemplate, avalanche.core.SupervisedPlugin
    overridden = any(getattr(type(strategy), name) is not getattr(template, name) for name in ("forward", "eval_epoch"))
    plugins = [p for p in strategy.plugins if p not in (strategy.evaluator, strategy.clock)]
    hooks = [(getattr(type(p), hook, None), getattr(plain, hook)) for p in plugins for hook in HOOKS]
    return not overridden and all(hook in (None, default) for hook, default in hooks)
