"""Avalanche's strategies and plugins by name, with their own keyword arguments."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from attrs import define, field, frozen
from torch import Tensor, nn

from rlcl.data.avalanche_import import check_options, import_avalanche, make, make_object, named
from rlcl.errors import Problem, UnsupportedError
from rlcl.networks.task_ids import takes_task_ids
from rlcl.registry import name_of
from rlcl.types import Network, OptimizerFactory

__all__ = ["Watch", "build_module", "build_strategy", "find_strategy"]

RESERVED: Mapping[str, str] = {
    "model": "set learner.network",
    "slda_model": "set learner.network",
    "optimizer": "set learner.optimizer",
    "criterion": "it is the cross-entropy",
    "train_mb_size": "set learner.batch_size",
    "train_epochs": "set budget: {epochs: N}",
    "eval_mb_size": "it changes no prediction",
    "device": "set device",
    "plugins": "set learner.plugins",
    "evaluator": "rlcl measures; see evaluation.metrics",
    "eval_every": "set evaluation.every",
    "peval_mode": "set evaluation.every",
}
# Those that every strategy takes, though some name them nowhere in their own signature.
EVERYWHERE = ("train_mb_size", "train_epochs", "eval_mb_size", "device", "plugins", "evaluator")
CLASSES = ("num_classes", "n_classes")


@define(eq=False)
class Watch:
    """A plugin that looks on: it counts updates and hands over between them.

    It stands first among the plugins. An update is told when the next one begins, for what other
    plugins do after the last one of an experience belongs to it.
    """

    begun: Callable[[], None] | None = None
    hand_over: Callable[[], None] | None = None
    updates: int = 0
    samples: int = 0
    seen: int = 0  # samples of all updates
    loss: Tensor = field(factory=lambda: torch.zeros(()))
    losses: int = 0
    _told: int = 0

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        self._told = self.updates
        if self.begun is not None:
            self.begun()

    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        if self.updates > self._told and self.hand_over is not None:
            self._told = self.updates
            self.hand_over()

    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        self.updates += 1
        self.samples += len(strategy.mb_x)
        self.seen += len(strategy.mb_x)
        self.loss = self.loss + strategy.loss.detach().mean().cpu()
        self.losses += 1

    def mean_loss(self) -> float:
        """Of the updates since it was last asked."""
        mean = float(self.loss) / max(self.losses, 1)
        self.loss, self.losses, self.samples = torch.zeros(()), 0, 0
        return mean


@frozen
class Ingredients:
    """What a strategy is made of besides its own options.

    Args:
        optimizer: builds it.
        batch_size: of a minibatch.
        classes: of the whole stream.
        device: a torch device.
    """

    optimizer: OptimizerFactory
    batch_size: int
    classes: int
    device: str


def find_strategy(name: str) -> Any:
    """
    Raises:
        Problem: ``avalanche.training`` has no strategy of that name.
    """
    training = import_avalanche().training
    base = training.templates.base.BaseTemplate
    known = {key: v for key, v in vars(training).items() if inspect.isclass(v) and issubclass(v, base)}
    return named(name, known, "strategy", "learner.strategy")


def build_module(
    strategy: Any, options: Mapping[str, Any], network: Network, shape: tuple[int, ...], classes: int
) -> nn.Module | None:
    """The network that a strategy wants, None where it is made of its options alone.

    Raises:
        UnsupportedError: a network that is no module, refuses the shape or wants rlcl's task ids.
    """
    parameters = inspect.signature(strategy).parameters
    if not {"model", "slda_model"} & set(parameters):
        return None
    width = options.get("input_size", classes) if "slda_model" in parameters else classes
    name, module = f"network {name_of('network', network)}", network.build(shape, width, 1)
    if not isinstance(module, nn.Module):
        raise UnsupportedError(f"{name}: build must return a torch.nn.Module, got {type(module).__name__}")
    if takes_task_ids(module):
        raise UnsupportedError(
            f"{name} chooses a head by rlcl's task ids, and Avalanche has its own; use {{type: avalanche, model: "
            "MTSimpleMLP}"
        )
    if not any(isinstance(m, import_avalanche().models.DynamicModule) for m in module.modules()):
        try:
            with torch.no_grad():
                module.eval()(torch.zeros(2, *shape))
        except RuntimeError as error:
            raise UnsupportedError(f"{name} refuses inputs of shape {shape}: {str(error).splitlines()[0]}") from error
    return module.train()


def build_strategy(
    name: str,
    options: Mapping[str, Any],
    plugins: Sequence[Mapping[str, Any]],
    module: nn.Module | None,
    ingredients: Ingredients,
) -> Any:
    """
    Raises:
        Problem: an option or a plugin that does not exist, or that rlcl sets.
        UnsupportedError: the strategy refuses its options.
    """
    strategy = find_strategy(name)
    parameters = inspect.signature(strategy).parameters
    filled = {key: ingredients.classes for key in CLASSES if key in parameters}
    made = {key: make_object(value, f"learner.options.{key}", {}) for key, value in {**filled, **options}.items()}
    check_options(strategy, name, made, RESERVED, "learner.options")
    modules = [m for m in (module, *made.values()) if isinstance(m, nn.Module)]
    weights = [p for m in modules for p in m.parameters() if p.requires_grad]
    optimizer = ingredients.optimizer.build(weights) if "optimizer" in parameters and weights else None
    ours = {
        "model": module,
        "slda_model": module,
        "optimizer": optimizer,
        "criterion": nn.CrossEntropyLoss(),
        "train_mb_size": ingredients.batch_size,
        "train_epochs": 1,
        "eval_mb_size": ingredients.batch_size,
        "device": ingredients.device,
        "plugins": [_plugin(p, f"learner.plugins[{i}]", module, optimizer) for i, p in enumerate(plugins)],
        "evaluator": _silent_evaluator(),
    }
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    taken = {k: v for k, v in ours.items() if k in parameters or (open_ended and k in EVERYWHERE)}
    return make(strategy, name, {**taken, **made})


def _silent_evaluator() -> Any:
    """It measures nothing; Avalanche's default prints."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No loggers specified", category=UserWarning)
        return import_avalanche().training.plugins.EvaluationPlugin(loggers=[])


def _plugin(config: Mapping[str, Any], where: str, module: nn.Module | None, optimizer: Any) -> Any:
    avalanche = import_avalanche()
    found = vars(avalanche.training.plugins).items()
    known = {key: v for key, v in found if inspect.isclass(v) and issubclass(v, avalanche.core.BasePlugin)}
    if "type" not in config:
        raise Problem(f"{where}: expected a mapping with a type, for example {{type: EWCPlugin, ewc_lambda: 1}}")
    cls = named(str(config["type"]), known, "plugin", f"{where}.type")
    given = {"model": module, "optimizer": optimizer}
    made = {key: make_object(v, f"{where}.{key}", given) for key, v in config.items() if key != "type"}
    filled = {"model": module} if "model" in inspect.signature(cls).parameters else {}
    check_options(cls, config["type"], {**filled, **made}, {}, where)
    return make(cls, config["type"], {**filled, **made})
