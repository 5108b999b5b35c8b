"""Strategies and plugins of Avalanche by name, with checked keyword arguments."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from attrs import define, field, frozen
from torch import Tensor, nn

from rlcl.data.avalanche_import import check_options, construct, construct_option, import_avalanche, look_up
from rlcl.errors import Problem, UnsupportedError
from rlcl.networks.task_ids import takes_task_ids
from rlcl.registry import name_of
from rlcl.types import Network, OptimizerFactory

__all__ = ["UpdateCounter", "build_module", "build_strategy", "find_strategy"]

RESERVED: Mapping[str, str] = {
    "model": "set learner.network",
    "slda_model": "set learner.network",
    "optimizer": "set learner.optimizer",
    "criterion": "it is the cross-entropy",
    "train_mb_size": "set learner.batch_size",
    "train_epochs": "set budget: {epochs: N}",
    "eval_mb_size": "it does not change predictions",
    "device": "set device",
    "plugins": "set learner.plugins",
    "evaluator": "set evaluation.metrics",
    "eval_every": "set evaluation.every",
    "peval_mode": "set evaluation.every",
}
# Arguments that every strategy accepts, although some do not list them in their signature.
EVERYWHERE = ("train_mb_size", "train_epochs", "eval_mb_size", "device", "plugins", "evaluator")
CLASSES = ("num_classes", "n_classes")


@define(eq=False)
class UpdateCounter:
    """Plugin that counts updates and hands over to the trainer between them.

    It must be the first plugin. It hands over when the next update begins, because other plugins act after the last
    update of an experience.

    Args:
        on_begin: called when training on an experience begins; None for no call.
        hand_over: called between updates; None for no call.
        updates: updates so far.
        samples: samples since the last event.
        total_samples: samples of all updates.
        loss: sum of losses since the last event.
        losses: number of these losses.
    """

    on_begin: Callable[[], None] | None = None
    hand_over: Callable[[], None] | None = None
    updates: int = 0
    samples: int = 0
    total_samples: int = 0
    loss: Tensor = field(factory=lambda: torch.zeros(()))
    losses: int = 0
    _handed_over: int = 0  # updates at the last call of hand_over

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        self._handed_over = self.updates
        if self.on_begin is not None:
            self.on_begin()

    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        if self.updates > self._handed_over and self.hand_over is not None:
            self._handed_over = self.updates
            self.hand_over()

    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        self.updates += 1
        self.samples += len(strategy.mb_x)
        self.total_samples += len(strategy.mb_x)
        self.loss = self.loss + strategy.loss.detach().mean().cpu()
        self.losses += 1

    def mean_loss(self) -> float:
        """Return the mean loss since the last call, and reset it and the number of samples."""
        mean = float(self.loss) / max(self.losses, 1)
        self.loss, self.losses, self.samples = torch.zeros(()), 0, 0
        return mean


@frozen
class StrategyArguments:
    """Common arguments of strategies, from the config of the learner and the stream.

    Args:
        optimizer: factory of the optimizer.
        batch_size: samples in a minibatch.
        classes: number of classes of the whole stream.
        device: a torch device.
    """

    optimizer: OptimizerFactory
    batch_size: int
    classes: int
    device: str


def find_strategy(name: str) -> Any:
    """Return the strategy class with a name.

    Raises:
        Problem: ``avalanche.training`` has no strategy of that name.
    """
    training = import_avalanche().training
    base = training.templates.base.BaseTemplate
    known = {key: v for key, v in vars(training).items() if inspect.isclass(v) and issubclass(v, base)}
    return look_up(name, known, "strategy", "learner.strategy")


def build_module(
    strategy: Any, options: Mapping[str, Any], network: Network, shape: tuple[int, ...], classes: int
) -> nn.Module | None:
    """Build the network of a strategy.

    Args:
        strategy: class of the strategy.
        options: keyword arguments of the strategy.
        network: factory of the network.
        shape: shape of one encoded input.
        classes: number of classes of the whole stream.

    Returns:
        The network; None if the strategy does not take a model.

    Raises:
        UnsupportedError: the network is not a module, does not support the shape, or needs task ids of rlcl.
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
            f"{name} selects a head by task ids of rlcl, and Avalanche uses its own; use {{type: avalanche, model: "
            "MTSimpleMLP}"
        )
    if not any(isinstance(m, import_avalanche().models.DynamicModule) for m in module.modules()):
        try:
            with torch.no_grad():
                module.eval()(torch.zeros(2, *shape))
        except RuntimeError as error:
            raise UnsupportedError(
                f"{name} does not support inputs of shape {shape}: {str(error).splitlines()[0]}"
            ) from error
    return module.train()


def build_strategy(
    name: str,
    options: Mapping[str, Any],
    plugins: Sequence[Mapping[str, Any]],
    module: nn.Module | None,
    arguments: StrategyArguments,
) -> Any:
    """Create a strategy.

    Args:
        name: name of the strategy.
        options: keyword arguments of the strategy, from the config.
        plugins: ``{type: NAME, ...}`` of each plugin, from the config.
        module: the network; None if the strategy does not take a model.
        arguments: common arguments.

    Raises:
        Problem: an option or a plugin does not exist, or rlcl sets the option.
        UnsupportedError: the strategy does not accept its options.
    """
    strategy = find_strategy(name)
    parameters = inspect.signature(strategy).parameters
    options = {**{key: arguments.classes for key in CLASSES if key in parameters}, **options}
    built = {key: construct_option(value, f"learner.options.{key}", {}) for key, value in options.items()}
    check_options(strategy, name, built, RESERVED, "learner.options")
    modules = [m for m in (module, *built.values()) if isinstance(m, nn.Module)]
    weights = [p for m in modules for p in m.parameters() if p.requires_grad]
    optimizer = arguments.optimizer.build(weights) if "optimizer" in parameters and weights else None
    common = {
        "model": module,
        "slda_model": module,
        "optimizer": optimizer,
        "criterion": nn.CrossEntropyLoss(),
        "train_mb_size": arguments.batch_size,
        "train_epochs": 1,
        "eval_mb_size": arguments.batch_size,
        "device": arguments.device,
        "plugins": [_build_plugin(p, f"learner.plugins[{i}]", module, optimizer) for i, p in enumerate(plugins)],
        "evaluator": _silent_evaluator(),
    }
    has_kwargs = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    accepted = {k: v for k, v in common.items() if k in parameters or (has_kwargs and k in EVERYWHERE)}
    return construct(strategy, name, {**accepted, **built})


def _silent_evaluator() -> Any:
    """Return an evaluator without metrics; the default of Avalanche prints."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No loggers specified", category=UserWarning)
        return import_avalanche().training.plugins.EvaluationPlugin(loggers=[])


def _build_plugin(config: Mapping[str, Any], key_path: str, module: nn.Module | None, optimizer: Any) -> Any:
    avalanche = import_avalanche()
    members = vars(avalanche.training.plugins).items()
    known = {key: v for key, v in members if inspect.isclass(v) and issubclass(v, avalanche.core.BasePlugin)}
    if "type" not in config:
        raise Problem(f"{key_path}: expected a mapping with a type, for example {{type: EWCPlugin, ewc_lambda: 1}}")
    cls = look_up(str(config["type"]), known, "plugin", f"{key_path}.type")
    references = {"model": module, "optimizer": optimizer}
    options = {"model": module} if "model" in inspect.signature(cls).parameters else {}
    options |= {k: construct_option(v, f"{key_path}.{k}", references) for k, v in config.items() if k != "type"}
    check_options(cls, config["type"], options, {}, key_path)
    return construct(cls, config["type"], options)
