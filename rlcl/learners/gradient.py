"""The base of learners that descend a loss over arrays: what each of them says, and the life cycle that they share."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
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
from rlcl.learners.augmenting import Augmenting, try_augmentations
from rlcl.learners.batch_norm import check_single, single_examples_told
from rlcl.learners.boundary import EncoderFitting, memory_refusal
from rlcl.learners.early_stopping import EarlyStopping, Watch
from rlcl.learners.host import GradientHost
from rlcl.learners.initial import begin_with
from rlcl.learners.ledger import Ledger, trainable
from rlcl.learners.minibatches import (
    ROWS_AT_ONCE,
    Loader,
    budget_updates,
    epoch_updates,
    fitted_on,
)
from rlcl.learners.needs import check_kind
from rlcl.learners.objective import LossMean, Objective, norm_of
from rlcl.learners.optimizers import Sgd, built_optimizer
from rlcl.learners.schedules import place_in
from rlcl.learners.shuffle import Shuffle
from rlcl.learners.update import Precision, Update, compiled
from rlcl.learners.validation import check_validation, validation_loss
from rlcl.methods.attach import Attached, attach
from rlcl.networks.mlp import Mlp
from rlcl.networks.task_ids import takes_task_ids
from rlcl.networks.tried import tried
from rlcl.registry import name_of
from rlcl.state import cloned, tensor_bytes
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
)

__all__ = ["GradientLearner"]


@define(kw_only=True, eq=False)
class GradientLearner(Exportable, ABC):
    """Descends a loss over minibatches of arrays; a concrete learner says which loss and network.

    Args:
        network: builds the torch module.
        optimizer: builds the torch optimizer, kept through all experiences.
        batch_size: samples in a minibatch; the last one of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is left out.
        augment: random changes of training inputs, in the order in which they are applied.
        methods: continual-learning methods; they run in the order of their phases.
        schedule: factor of the learning rate over the budget; constant by default.
        schedule_over: what the schedule runs over: each ``experience``, or the ``stream``.
        accumulate: parts in which a minibatch is computed, one after the other, to save memory; their
            gradients add up to the minibatch's where the loss is a mean over examples.
        clip_norm: the greatest norm of the gradient; what methods add to it is clipped with it.
        precision: of the forward pass in training: ``float32``, or mixed with ``bfloat16`` or ``float16``.
        compile: whether networks are compiled by ``torch.compile``: slow at first, faster later.
        ema: decay of an exponential moving average of the weights, which then predicts.
        early_stopping: ends an experience when the loss on its validation data no longer falls.
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
    _watch: Watch = field(init=False, default=None)
    _attached: Attached = field(init=False, default=None)
    host: GradientHost = field(init=False, default=None)  # what methods and probes see
    objective: Objective = field(init=False, default=None)
    changed: Augmenting = field(init=False, default=None)  # inputs (B, *encoded) changed at random, in training or not
    _fitting: EncoderFitting = field(init=False, default=None)
    _setup: Setup = field(init=False, default=None)
    _shuffle: Shuffle = field(init=False, default=None)
    _loader: Loader = field(init=False, default=None)
    _validation: Loader = field(init=False, default=None)
    _loss: LossMean = field(init=False, default=None)
    _ledger: Ledger = field(init=False, default=None)

    grows = True

    # What a concrete learner says.

    # Whether its loss is a mean over examples, each times its weight, that ends with `with_memory`.
    weighs: ClassVar[bool] = False

    # Whether the outputs that its loss sees are those of :meth:`outputs`, so that methods may use them.
    shows_pass: ClassVar[bool] = True

    def scores(self, outputs: Tensor, batch: Batch) -> Tensor:
        """(S,) the first measure of examples one by one, by the outputs (B, K) of the training pass."""
        raise NotImplementedError

    def losses(self, batch: Batch) -> Tensor:
        """(B,) the loss of each example alone; of a learner that ``weighs``."""
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
        """The kinds of stream that it learns from; see :class:`rlcl.types.StreamSpec`."""

    @property
    def own_methods(self) -> tuple[Method, ...]:
        """Methods that belong to the learner itself, after those of the config; none by default."""
        return ()

    @abstractmethod
    def build_module(self, setup: Setup, shape: tuple[int, ...]) -> nn.Module:
        """The torch module for encoded inputs of a shape."""

    @abstractmethod
    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """See :class:`rlcl.types.Host`."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Mean loss over a batch, a scalar."""

    def targets(self, part: Experience, y: Tensor) -> Tensor:
        """The targets (N, ...) that the loss is to see of a part's own (N, ...)."""
        return y

    @abstractmethod
    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
        """See :class:`rlcl.types.Predictor`."""

    # What it may use.

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
        """A module that a network builds, tried once, and compiled where that is asked for.

        Args:
            network: builds it.
            shape: of one input.
            outputs: of each head.
            tasks: in the stream, at least 1.
            heads: whether the learner shows its network task ids.
        """
        module = tried(network.build(shape, outputs, tasks), network, shape, outputs, heads)
        return compiled(module) if self.compile else module

    def augmented(self, x: Tensor) -> Tensor:
        """Encoded inputs (B, *encoded): in training changed at random. Memories keep them unchanged."""
        return self.changed(x) if self.module.training else x

    def with_memory(self, loss: Tensor, x: Tensor, outputs: Tensor, batch: Batch) -> Tensor:
        """A loss with the distances to stored outputs that a batch asks for; notes the pass for methods.

        Args:
            loss: mean over the batch, a scalar.
            x: (B, *encoded) as the network saw them, augmented.
            outputs: (B, K), which it was computed from.
            batch: with ``outputs`` and ``pulls`` where a method asks for it.
        """
        return self.objective.with_memory(loss, x, outputs, batch)

    def encoded(self, x: Tensor) -> Tensor:
        """(B, *encoded) of raw inputs (B, *observation), on the device."""
        return self.encoder.encode(x).to(self.device)

    def predicting(self, task_id: int | None) -> AbstractContextManager[Any]:
        """The module in evaluation mode, without gradient, under the methods' masks."""
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
        """Encoded inputs on the device with their task ids, a bounded number of rows at a time."""
        tensor = x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))
        # A graph of ONNX takes any number of rows, and cannot say into how many parts they fall.
        for part in (tensor,) if torch.onnx.is_in_onnx_export() else torch.split(tensor, ROWS_AT_ONCE):
            ids = None if task_id is None else torch.full((len(part),), task_id, device=self.device)
            yield self.encoded(part), ids

    # The learner's life (rlcl.types.Learner).

    @property
    def resumable_within(self) -> bool:
        return True

    def prepare(self, setup: Setup) -> None:
        check_kind(self.name, self.needs, setup.spec.kind)
        self._setup = setup
        self.host = GradientHost(self, setup)
        self._fitting = EncoderFitting.of(setup)
        if setup.online and type(self).scores is GradientLearner.scores:
            raise UnsupportedError(f"evaluation.online: learner {self.name} predicts nothing in training; leave it out")
        for experience in setup.stream:
            self.steps(experience)  # a budget in another unit is refused before training
        self._watch = Watch(self.early_stopping)
        if self.early_stopping is not None:
            check_validation(setup.stream)
        self._loader, self._validation = (Loader(setup.encoder, setup.device) for _ in range(2))
        shape = self.host.input_shape
        try_augmentations(self.augment, shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setup.seeds.child("weights").integer())
            self.module = self.build_module(setup, shape).to(setup.device)
        begin_with(setup.initial, self.modules)
        visible = setup.stream.visibility.in_training and setup.stream.visibility.at_evaluation
        if takes_task_ids(self.module) and not visible:
            raise UnsupportedError(
                f"network {name_of('network', self.network)} chooses a head by the task id, which this stream hides; "
                "set stream.visibility.task_ids: visible, or use another network"
            )
        self._optimizer = built_optimizer(self.optimizer, [p for p in self.module.parameters() if p.requires_grad])
        self._shuffle = Shuffle(setup.seeds.child("shuffle").torch())
        self.changed = Augmenting(self.augment, setup.seeds.child("augment").torch())
        self._loss = LossMean(setup.device)
        self._ledger = Ledger(setup.device)
        self._attached = attach((*self.methods, *self.own_methods), self.host, setup.seeds.child("methods"))
        parts, joined = [part for e in setup.stream for part in e.parts], bool(self.methods or self.own_methods)
        check_single(self.module, parts, self.batch_size, self.drop_last, joined=joined)
        penalizing = self._attached.penalizing if "pass" in self.host.provides else ()
        self.objective = Objective(self.loss, penalizing)
        self._update = Update(
            self._optimizer,
            self.module,
            self.accumulate,
            self.clip_norm,
            self.precision,
            self.schedule,
            self.ema,
            setup.device,
        )

    def steps(self, experience: Experience) -> int:
        """How many updates an experience's budget comes to."""
        return sum(map(self._updates, experience.parts))

    def _updates(self, part: Experience) -> int:
        return budget_updates(part.budget, len(part.arrays), self.batch_size, self.drop_last)

    def learn(self, experience: Experience) -> Iterator[Event | None]:
        if self.position.begin(experience):
            if experience.index:
                self._cross_boundary()
            with self._eager():
                self._attached.begin(experience, self.steps(experience))
        with single_examples_told(self.name):
            for part in experience.parts[self.position.segment :]:
                yield from self._learn_part(experience, part)

    def refuses(self, key: str) -> str | None:
        """See :class:`rlcl.types.BoundaryLearner`."""
        if key == "exploration":
            return "it does not explore"
        return memory_refusal(self._attached) if key == "memory" else None

    def _cross_boundary(self) -> None:
        """What the policy resets between two experiences, but for the encoder, which the next one's data refit."""
        if self._setup.boundary.optimizer == "reset":
            self._optimizer.state.clear()
        if self._setup.boundary.memory == "reset":
            self._attached.forget()

    def _eager(self) -> AbstractContextManager[Any]:
        """For methods that look into the layers, which compiled ones do not show."""
        return torch.compiler.set_stance("force_eager") if self.compile else nullcontext()

    def _learn_part(self, experience: Experience, part: Experience) -> Iterator[Event | None]:
        source, position, watch = part.arrays, self.position, self._watch
        if position.update == 0:
            if self._fitting.due(part):
                self.encoder.fit(fitted_on(source))
            watch.start()
            self._ledger.start()
        targets = None if source.targets is None else self.targets(part, source.targets)
        data = self.host.data = self._loader.load(source, targets, part.task_id)
        updates, epoch = self._updates(part), epoch_updates(len(source), self.batch_size, self.drop_last)
        scope = self._setup.stream if self.schedule_over == "stream" else [experience]
        before, planned = place_in(scope, part, self._updates)
        self.module.train()
        started, drawn = time.perf_counter(), 0
        for batch in data.batches(self._shuffle, self.batch_size, self.drop_last, updates - position.update):
            self.batch = batch
            self.objective.start(batch)
            self._update.scheduled(before + position.update, planned)
            joined = self._attached.extra(batch)
            self._loss.add(self._update(self.objective, joined))
            if self._setup.online:
                self._ledger.score(self.scores(self.objective.given, batch))
            self._ledger.samples += len(batch.inputs)
            position.advance()
            drawn += len(batch.inputs)
            finished = position.update == updates
            if watch.due(position.update, epoch, finished):
                finished = (
                    watch.observe(validation_loss(self, self._validation, part), self._update.weights) or finished
                )
            event = None
            if position.step % self._setup.event_interval == 0 or finished:
                event = self._event(drawn / max(time.perf_counter() - started, 1e-9), part)
                started, drawn = time.perf_counter(), 0
            if finished:
                self._end_part(experience)
            yield event
            if finished:
                return

    def _end_part(self, experience: Experience) -> None:
        """Ends a part before its last update is told, so that the two are one moment."""
        self._shuffle.stop()
        self._watch.restore(self._update.weights)
        if self.position.end(experience):
            with self._eager():
                self._attached.end(experience)
            self.host.data = None

    def closed_by(self) -> str | None:
        """See :class:`rlcl.types.Reopening`."""
        return self._attached.closed_by()

    def reopen(self, update: int) -> None:
        """See :class:`rlcl.types.Reopening`; a new epoch begins."""
        self.position.reopen(update)
        self._watch.reopen(self._update.weights)

    def online(self) -> float | None:
        """See :class:`rlcl.types.Online`: in training mode, with augmentations and dropout as in the update."""
        return self._ledger.mean

    def costs(self) -> Costs:
        """See :class:`rlcl.types.Spending`."""
        return Costs(
            parameters=trainable([self.module]),
            memory_bytes=tensor_bytes(self._attached.state_dict()),
            updates=self.position.step,
            samples=self._ledger.samples,
        )

    def _event(self, rate: float, part: Experience) -> Event:
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        norms = [norm_of(gradients), norm_of([p.detach() for p in self.module.parameters()])]
        loss, gradient_norm, weight_norm = self._loss.read(*norms)
        for what, value in (("loss", loss), ("norm of the weights", weight_norm)):
            if not math.isfinite(value):
                raise DivergenceError(
                    f"the {what} of learner {self.name} is {value} by update {self.position.step}, in experience "
                    f"{part.index} ({part.name}); lower learner.optimizer.lr or a method's strength, or standardize "
                    "the data"
                )
        lr = self._optimizer.param_groups[0]["lr"]
        values = {"loss": loss, "lr": float(lr), "gradient_norm": gradient_norm, "samples_per_second": rate}
        return Event(self.position.step, values)

    # State.

    def networks_in(self, state: Mapping[str, Any]) -> Mapping[str, Mapping[str, Tensor]]:
        """See :class:`rlcl.types.Starting`; an average of the weights (``ema``) begins at them."""
        return {"network": state["module"]}

    def state_dict(self) -> dict[str, Any]:
        """See :class:`rlcl.types.Learner`.

        Raises:
            DivergenceError: a weight is not finite; a checkpoint of it could never go on.
        """
        if not math.isfinite(float(norm_of([p.detach() for p in self.module.parameters()]))):
            raise DivergenceError(
                f"a weight of learner {self.name} is not finite by update {self.position.step}, in experience "
                f"{self.position.experience}; lower learner.optimizer.lr or a method's strength"
            )
        state: dict[str, Any] = cloned(
            {
                "position": attrs.asdict(self.position),
                "module": dict(self.module.state_dict()),
                "update": self._update.state_dict(),
                "encoder": self.encoder.state_dict(),
                "methods": self._attached.state_dict(),
                "shuffle": self._shuffle.state_dict(),
                "augmenting": self.changed.generator.get_state(),
                "loss": self._loss.state_dict(),
                "ledger": self._ledger.state_dict(),
                "watch": self._watch.state_dict(),
            }
        )
        return state

    def grown(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`rlcl.types.Exportable`."""
        names = [name for name, parameter in self.module.named_parameters() if parameter.requires_grad]
        fresh, classes = self.state_dict(), self._setup.spec.classes
        return growth.grown(state, fresh, names, growth.classes_of(state, fresh, classes), classes)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        state = cloned(state)
        self.position = Position(**state["position"])
        self.module.load_state_dict(state["module"])
        self._update.load_state_dict(state["update"])
        self.encoder.load_state_dict(state["encoder"])
        self._attached.load_state_dict(state["methods"])
        self._shuffle.load_state_dict(state["shuffle"])
        self.changed.generator.set_state(state["augmenting"])
        self._loss.load_state_dict(state["loss"])
        self._ledger.load_state_dict(state["ledger"])
        self._watch.load_state_dict(state["watch"])
