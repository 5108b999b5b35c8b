"""Base class of gradient-based learners on arrays: their abstract interface and shared training loop."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any, ClassVar, Literal

import attrs
import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.errors import DivergenceError, UnsupportedError
from rlcl.learners import growth
from rlcl.learners.augmentation_pipeline import AugmentationPipeline, check_augmentations
from rlcl.learners.batch_norm import check_minibatch_sizes, explained_single_example_errors
from rlcl.learners.boundary import NOT_REINFORCEMENT, EncoderFitting, freeze_encoder, memory_refusal
from rlcl.learners.data_parallel import ParallelUpdate, check_no_batch_norm
from rlcl.learners.early_stopping import EarlyStopping, EarlyStoppingMonitor
from rlcl.learners.host import GradientHost
from rlcl.learners.initial_weights import load_initial_weights
from rlcl.learners.minibatches import (
    ROWS_AT_ONCE,
    MinibatchLoader,
    budget_updates,
    epoch_updates,
    fitting_rows,
)
from rlcl.learners.online_score import OnlineScore, count_trainable
from rlcl.learners.optimizers import Sgd, build_optimizer
from rlcl.learners.precision import check_precision
from rlcl.learners.schedules import schedule_position
from rlcl.learners.shuffle import Shuffle
from rlcl.learners.stream_kinds import check_stream_kind, check_task_ids
from rlcl.learners.training_objective import RunningLoss, TrainingObjective, total_norm
from rlcl.learners.update import Precision, Update, compile_module
from rlcl.learners.validation import check_validation, validation_loss
from rlcl.methods.attach import AttachedMethods, attach
from rlcl.networks.check_forward import check_forward
from rlcl.networks.mlp import Mlp
from rlcl.networks.task_ids import takes_task_ids
from rlcl.process_group import ProcessGroup, process_group
from rlcl.registry import name_of
from rlcl.state import clone_state, tensor_bytes
from rlcl.types import (
    Augmentation,
    Batch,
    Costs,
    Encoder,
    Event,
    Experience,
    Exportable,
    Method,
    Network,
    OptimizerFactory,
    Position,
    Schedule,
    Setup,
    TaskIds,
)

__all__ = ["GradientLearner"]


@define(kw_only=True, eq=False)
class GradientLearner(Exportable, ABC):
    """Learner that minimizes a loss over minibatches of arrays; subclasses define the loss and the module.

    Args:
        network: network architecture.
        optimizer: torch optimizer, kept across all experiences.
        batch_size: samples in a minibatch; the last minibatch of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is dropped.
        augment: random augmentations of training inputs, in the order in which they are applied.
        methods: continual-learning methods, run in the order of their phases.
        schedule: learning-rate schedule, which multiplies the learning rate by a factor that depends on the used
            fraction of the budget; constant by default.
        schedule_over: budget that the schedule covers: that of each ``experience``, or of the whole ``stream``.
        accumulate: gradient-accumulation steps per minibatch, to save memory. The update equals that of the whole
            minibatch if the loss is a mean over examples.
        clip_norm: maximum norm of the gradient, applied after methods have changed it; None for no clipping.
        precision: numerical precision of the forward pass in training: ``float32``, or mixed precision with
            ``bfloat16`` or ``float16``.
        compile: whether networks are compiled with ``torch.compile``, which is slow at the start and faster later.
        ema: decay of an exponential moving average of the weights, which is used for prediction; None for no average.
        early_stopping: settings for stopping an experience when the loss on its validation data stops falling.
    """

    network: Network = option(factory=Mlp)
    optimizer: OptimizerFactory = option(factory=Sgd)
    batch_size: int = option(32, ge=1)
    drop_last: bool = option(False)
    augment: tuple[Augmentation, ...] = option((), converter=tuple)
    methods: tuple[Method, ...] = option((), converter=tuple)
    schedule: Schedule | None = option(None)
    schedule_over: Literal["experience", "stream"] = option("experience")
    accumulate: int = option(1, ge=1)
    clip_norm: float | None = option(None, gt=0)
    precision: Precision = option("float32")
    compile: bool = option(False)
    ema: float | None = option(None, gt=0, lt=1)
    early_stopping: EarlyStopping | None = option(None)

    position: Position = field(init=False, factory=Position)
    batch: Batch | None = field(init=False, default=None)
    module: nn.Module = field(init=False, default=None)
    _optimizer: Optimizer = field(init=False, default=None)
    _update: Update = field(init=False, default=None)
    _early_stopping_monitor: EarlyStoppingMonitor = field(init=False, default=None)
    _attached: AttachedMethods = field(init=False, default=None)
    host: GradientHost = field(init=False, default=None)  # the interface to methods and probes
    objective: TrainingObjective = field(init=False, default=None)
    augmentations: AugmentationPipeline = field(init=False, default=None)  # augments in training and in evaluation mode
    _fitting: EncoderFitting = field(init=False, default=None)
    _setup: Setup = field(init=False, default=None)
    _shuffle: Shuffle = field(init=False, default=None)
    _loader: MinibatchLoader = field(init=False, default=None)
    _validation_loader: MinibatchLoader = field(init=False, default=None)
    _loss: RunningLoss = field(init=False, default=None)
    _online_score: OnlineScore = field(init=False, default=None)

    grows = True

    # The interface that subclasses implement.

    # Whether the loss is a mean over examples, weighted by `batch.weights`, and is the result of `with_memory`.
    weighs: ClassVar[bool] = False

    # Whether the loss is computed from the outputs of :meth:`outputs`, so that methods may use them.
    shows_pass: ClassVar[bool] = True

    def scores(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the per-example values (S,) of the first measure, from the outputs (B, K) of the training pass."""
        raise NotImplementedError

    def losses(self, batch: Batch) -> Tensor:
        """Return the per-example losses (B,), if the learner ``weighs``."""
        raise NotImplementedError

    @property
    @abstractmethod
    def kind(self) -> str:
        """See :class:`rlcl.types.Host`."""

    @property
    @abstractmethod
    def measures(self) -> tuple[str, ...]:
        """See :class:`rlcl.types.Predictor`."""

    @property
    @abstractmethod
    def needs(self) -> frozenset[str]:
        """The supported kinds of stream; see :class:`rlcl.types.StreamSpec`."""

    @property
    def own_methods(self) -> tuple[Method, ...]:
        """Built-in methods of the learner, which run after those of the config; none by default."""
        return ()

    @abstractmethod
    def build_module(self, setup: Setup, shape: tuple[int, ...]) -> nn.Module:
        """Build the torch module for encoded inputs of a shape."""

    @abstractmethod
    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """See :class:`rlcl.types.Host`."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Return the mean loss over a batch, a scalar."""

    def targets(self, part: Experience, y: Tensor) -> Tensor:
        """Return the targets (N, ...) for the loss, from the targets (N, ...) of a part of an experience."""
        return y

    @abstractmethod
    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
        """See :class:`rlcl.types.Predictor`."""

    # Helpers for subclasses.

    @property
    def name(self) -> str:
        return name_of("learner", self)

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.module}

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        return {"network": self._optimizer}

    @property
    def encoder(self) -> Encoder:
        return self._setup.encoder

    @property
    def device(self) -> str:
        return self._setup.device

    def built(
        self, network: Network, shape: tuple[int, ...], outputs: int, tasks: int = 1, heads: bool = False
    ) -> nn.Module:
        """Build a module, check its forward pass, and compile it if ``compile`` is set.

        Args:
            network: network architecture.
            shape: shape of one input.
            outputs: outputs of each head.
            tasks: tasks in the stream, at least 1.
            heads: whether the learner passes task ids to the network.
        """
        module = check_forward(network.build(shape, outputs, tasks), network, shape, outputs, heads)
        return compile_module(module) if self.compile else module

    def augmented(self, x: Tensor) -> Tensor:
        """Return encoded inputs (B, *encoded), augmented in training mode. Memories store them without augmentation."""
        return self.augmentations(x) if self.module.training else x

    def with_memory(self, loss: Tensor, x: Tensor, outputs: Tensor, batch: Batch) -> Tensor:
        """Return a loss plus the distances to stored outputs, and record the forward pass for methods.

        Args:
            loss: mean over the batch, a scalar.
            x: (B, *encoded) augmented inputs of the network.
            outputs: (B, K) outputs from which the loss was computed.
            batch: minibatch, with ``outputs`` and ``distillation_weights`` if a method set them.
        """
        return self.objective.with_memory(loss, x, outputs, batch)

    def encoded(self, x: Tensor, task_id: TaskIds = None) -> Tensor:
        """Encode raw inputs (B, *observation) as (B, *encoded), on the device."""
        return self.encoder.encode(x, task_id).to(self.device)

    def predicting(self, task_id: int | None) -> AbstractContextManager[Any]:
        """Return a context for prediction: evaluation mode, no gradients, averaged weights, and the methods' masks."""
        stack = ExitStack()
        stack.enter_context(torch.no_grad())
        if self._update.average is not None:
            stack.callback(setattr, self, "module", self.module)
            self.module = self._update.average.module
        stack.callback(self.module.train, self.module.training)
        self.module.eval()
        for method in self._attached.predicting:
            stack.enter_context(method.predicting(task_id))
        return stack

    def chunks(self, x: Any, task_id: int | None) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield encoded inputs on the device with their task ids, a bounded number of rows at a time."""
        tensor = x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))
        # An ONNX graph has a dynamic number of rows, so its export cannot split them.
        for part in (tensor,) if torch.onnx.is_in_onnx_export() else torch.split(tensor, ROWS_AT_ONCE):
            ids = None if task_id is None else torch.full((len(part),), task_id, device=self.device)
            yield self.encoded(part, task_id), ids

    # The protocol rlcl.types.Learner.

    @property
    def resumable_within(self) -> bool:
        return True

    def prepare(self, setup: Setup) -> None:
        check_stream_kind(self.name, self.needs, setup.spec.kind)
        group = process_group()
        self._setup = setup = freeze_encoder(setup, self.methods)
        self.host = GradientHost(self, setup)
        self._fitting = EncoderFitting.of(setup)
        if setup.online and type(self).scores is GradientLearner.scores:
            raise UnsupportedError(
                f"evaluation.online: learner {self.name} predicts nothing in training; remove the key"
            )
        for experience in setup.stream:
            self.steps(experience)  # raises for a budget in an unsupported unit
        self._early_stopping_monitor = EarlyStoppingMonitor(self.early_stopping)
        if self.early_stopping is not None:
            check_validation(setup.stream)
        self._loader, self._validation_loader = (MinibatchLoader(setup.encoder, setup.device) for _ in range(2))
        shape = self.host.input_shape
        check_augmentations(self.augment, shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setup.seeds.child("weights").integer())
            self.module = self.build_module(setup, shape).to(setup.device)
        load_initial_weights(setup.initial, self.modules)
        if takes_task_ids(self.module):
            check_task_ids(setup.stream, self.network)
        self._optimizer = build_optimizer(self.optimizer, [p for p in self.module.parameters() if p.requires_grad])
        self._shuffle = Shuffle(setup.seeds.child("shuffle").torch(), (group.rank, group.size))
        self.augmentations = AugmentationPipeline(self.augment, setup.seeds.child("augment").torch())
        self._loss = RunningLoss(setup.device)
        self._online_score = OnlineScore(setup.device)
        self._attached = attach((*self.methods, *self.own_methods), self.host, setup.seeds.child("methods"))
        mixing = self._attached.mixing
        trial = partial(self._trial_pass, shape)
        check_minibatch_sizes(
            self.module, trial, setup.stream, self.batch_size, self.drop_last, self.accumulate, mixing
        )
        check_precision(self.module, trial, self.precision, setup.device)
        penalizing = self._attached.penalizing if "pass" in self.host.provides else ()
        self.objective = TrainingObjective(self.loss, penalizing)
        update: Any = Update
        if group.size > 1:
            check_no_batch_norm(self.module, group.size)
            update = partial(ParallelUpdate, group=group, start=partial(self._seed_part, group))
        self._update = update(
            self._optimizer,
            self.module,
            self.accumulate,
            self.clip_norm,
            self.precision,
            self.schedule,
            self.ema,
            setup.device,
        )

    def _seed_part(self, group: ProcessGroup) -> None:
        """Seed the dropout and the augmentations of the rows of this process in the next update."""
        seeds = self._setup.seeds.child(f"process {group.rank}").child(f"update {self.position.step}")
        torch.manual_seed(seeds.child("torch").integer())
        self.augmentations.generator.manual_seed(seeds.child("augment").integer())

    def _trial_pass(self, shape: tuple[int, ...]) -> None:
        """Run the network on one input of zeros."""
        ids = torch.zeros(1, dtype=torch.int64, device=self.device) if takes_task_ids(self.module) else None
        with self._eager():
            self.outputs(torch.zeros(1, *shape, device=self.device), ids)

    def steps(self, experience: Experience) -> int:
        """Return the number of updates in the budget of an experience."""
        return sum(map(self._updates, experience.parts))

    def _updates(self, part: Experience) -> int:
        return budget_updates(part.budget, len(part.arrays), self.batch_size, self.drop_last)

    def learn(self, experience: Experience) -> Iterator[Event | None]:
        if self.position.begin(experience):
            if experience.index:
                self._cross_boundary()
            with self._eager():
                self._attached.begin(experience, self.steps(experience))
        with explained_single_example_errors(self.name):
            for part in experience.parts[self.position.segment :]:
                yield from self._learn_part(experience, part)

    def indivisible(self) -> str | None:
        """See :class:`rlcl.types.Dividing`."""
        if not self.weighs:
            return "its loss is not a mean over examples"
        if self._setup.online:
            return "evaluation.online needs the predictions of the whole minibatch"
        if self._attached.remembering:
            return f"method {name_of('method', self._attached.remembering[0])} has a memory of examples"
        return None

    def refuses(self, key: str, value: str) -> str | None:
        """See :class:`rlcl.types.BoundaryLearner`."""
        if key in NOT_REINFORCEMENT:
            return NOT_REINFORCEMENT[key]
        return memory_refusal(self._attached) if key == "memory" else None

    def _cross_boundary(self) -> None:
        """Apply the boundary policy between two experiences, except for the encoder, which is fitted with the next."""
        if self._setup.boundary.optimizer == "reset":
            self._optimizer.state.clear()
        if self._setup.boundary.memory == "reset":
            self._attached.forget()

    def _eager(self) -> AbstractContextManager[Any]:
        """Return a context without compilation, for methods that use hooks of layers."""
        return torch.compiler.set_stance("force_eager") if self.compile else nullcontext()

    def _learn_part(self, experience: Experience, part: Experience) -> Iterator[Event | None]:
        source, position, monitor = part.arrays, self.position, self._early_stopping_monitor
        if position.update == 0:
            if self._fitting.due(part):
                self.encoder.fit(fitting_rows(source))
            monitor.start()
            self._online_score.start()
        targets = None if source.targets is None else self.targets(part, source.targets)
        data = self.host.data = self._loader.load(source, targets, part.task_id)
        updates, epoch = self._updates(part), epoch_updates(len(source), self.batch_size, self.drop_last)
        scope = self._setup.stream if self.schedule_over == "stream" else [experience]
        before, planned = schedule_position(scope, part, self._updates)
        self.module.train()
        started, samples = time.perf_counter(), 0
        for batch in data.batches(self._shuffle, self.batch_size, self.drop_last, updates - position.update):
            self.batch = batch
            self.objective.start(batch)
            self._update.set_learning_rate(before + position.update, planned)
            extended_batch = self._attached.extra(batch)
            self._loss.add(self._update(self.objective, extended_batch))
            if self._setup.online:
                self._online_score.add(self.scores(self.objective.outputs, batch))
            rows = self._update.rows(batch)
            self._online_score.samples += rows
            position.advance()
            samples += rows
            finished = position.update == updates
            if monitor.due(position.update, epoch, finished):
                loss = validation_loss(self, self._validation_loader, part)
                finished = monitor.observe(loss, self._update.weights) or finished
            event = None
            if position.step % self._setup.event_interval == 0 or finished:
                event = self._event(samples / max(time.perf_counter() - started, 1e-9), part)
                started, samples = time.perf_counter(), 0
            if finished:
                self._end_part(experience)
            yield event
            if finished:
                return

    def _end_part(self, experience: Experience) -> None:
        """Finish a part before its last update is yielded, so that no checkpoint lies between the two."""
        self._shuffle.stop()
        self._early_stopping_monitor.restore(self._update.weights)
        if self.position.end(experience):
            with self._eager():
                self._attached.end(experience)
            self.host.data = None

    def closed_by(self) -> str | None:
        """See :class:`rlcl.types.Reopening`."""
        return self._attached.closed_by()

    def reopen(self, update: int) -> None:
        """See :class:`rlcl.types.Reopening`; a new epoch starts."""
        self.position.reopen(update)
        self._early_stopping_monitor.reopen(self._update.weights)

    def online(self) -> float | None:
        """See :class:`rlcl.types.OnlineTesting`; predictions are in training mode, with augmentations and dropout."""
        return self._online_score.mean

    def costs(self) -> Costs:
        """See :class:`rlcl.types.Spending`."""
        return Costs(
            parameters=count_trainable([self.module]),
            memory_bytes=tensor_bytes(self._attached.state_dict()),
            updates=self.position.step,
            samples=self._online_score.samples,
        )

    def _event(self, rate: float, part: Experience) -> Event:
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        norms = [total_norm(gradients), total_norm([p.detach() for p in self.module.parameters()])]
        loss, gradient_norm, weight_norm = self._loss.read(*norms)
        for quantity, value in (("loss", loss), ("norm of the weights", weight_norm)):
            if not math.isfinite(value):
                raise DivergenceError(
                    f"the {quantity} of learner {self.name} is {value} at update {self.position.step}, in experience "
                    f"{part.index} ({part.name}); lower learner.optimizer.lr or a method's strength, or standardize "
                    "the data"
                )
        lr = self._optimizer.param_groups[0]["lr"]
        values = {"loss": loss, "lr": float(lr), "gradient_norm": gradient_norm, "samples_per_second": rate}
        return Event(self.position.step, {**values, **self._attached.quantities()})

    # State.

    def networks_in(self, state: Mapping[str, Any]) -> Mapping[str, Mapping[str, Tensor]]:
        """See :class:`rlcl.types.Starting`; an average of the weights (``ema``) starts at these weights."""
        return {"network": state["module"]}

    def state_dict(self) -> dict[str, Any]:
        """See :class:`rlcl.types.Learner`.

        Raises:
            DivergenceError: a weight is not finite, so a run could not resume from a checkpoint.
        """
        if not math.isfinite(float(total_norm([p.detach() for p in self.module.parameters()]))):
            raise DivergenceError(
                f"a weight of learner {self.name} is not finite at update {self.position.step}, in experience "
                f"{self.position.experience}; lower learner.optimizer.lr or a method's strength"
            )
        state: dict[str, Any] = clone_state(
            {
                "position": attrs.asdict(self.position),
                "module": dict(self.module.state_dict()),
                "update": self._update.state_dict(),
                "encoder": self.encoder.state_dict(),
                "methods": self._attached.state_dict(),
                "shuffle": self._shuffle.state_dict(),
                "augmenting": self.augmentations.generator.get_state(),
                "loss": self._loss.state_dict(),
                "ledger": self._online_score.state_dict(),
                "watch": self._early_stopping_monitor.state_dict(),
            }
        )
        return state

    def grown(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`rlcl.types.Exportable`."""
        names = [name for name, parameter in self.module.named_parameters() if parameter.requires_grad]
        fresh, classes = self.state_dict(), self._setup.spec.classes
        return growth.grow_state(state, fresh, names, growth.classes_of(state, fresh, classes), classes)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        state = clone_state(state)
        self.position = Position(**state["position"])
        self.module.load_state_dict(state["module"])
        self._update.load_state_dict(state["update"])
        self.encoder.load_state_dict(state["encoder"])
        self._attached.load_state_dict(state["methods"])
        self._shuffle.load_state_dict(state["shuffle"])
        self.augmentations.generator.set_state(state["augmenting"])
        self._loss.load_state_dict(state["loss"])
        self._online_score.load_state_dict(state["ledger"])
        self._early_stopping_monitor.load_state_dict(state["watch"])
