"""What every learner that descends a loss over arrays shares: one loop, one state."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import attrs
import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.data.sources import Environment
from rlcl.errors import DivergenceError, UnsupportedError
from rlcl.learners.optimizers import Sgd
from rlcl.learners.shuffle import Shuffle
from rlcl.methods.attach import Attached, attach
from rlcl.networks.mlp import Mlp
from rlcl.registry import name_of
from rlcl.state import cloned
from rlcl.types import (
    Augmentation,
    Batch,
    Budget,
    Encoder,
    Event,
    Experience,
    Method,
    Network,
    OptimizerFactory,
    Position,
    Setup,
)

__all__ = ["GradientLearner", "budget_updates"]

ROWS_AT_ONCE = 512  # of a forward pass without gradient: what stays in the cache is fastest


@define(kw_only=True, eq=False)
class GradientLearner(ABC):
    """Descends a loss over minibatches of arrays; a concrete learner says which loss and network.

    Args:
        network: builds the torch module.
        optimizer: builds the torch optimizer, kept through all experiences.
        batch_size: samples in a minibatch; the last one of an epoch may be smaller.
        drop_last: whether a smaller last minibatch is left out.
        augment: random changes of training inputs, in the order in which they are applied.
        methods: continual-learning methods; they run in the order of their phases.
    """

    network: Network = option(factory=Mlp, help="builds the torch module")
    optimizer: OptimizerFactory = option(factory=Sgd, help="builds the torch optimizer")
    batch_size: int = option(32, ge=1, help="samples in a minibatch")
    drop_last: bool = option(False, help="leave out an epoch's smaller last minibatch")
    augment: tuple[Augmentation, ...] = option((), converter=tuple, help="random changes of training inputs")
    methods: tuple[Method, ...] = option((), converter=tuple, help="continual-learning methods")

    position: Position = field(init=False, factory=Position)
    batch: Batch | None = field(init=False, default=None)
    module: nn.Module = field(init=False, default=None)
    _optimizer: Optimizer = field(init=False, default=None)
    _attached: Attached = field(init=False, default=None)
    _encoder: Encoder = field(init=False, default=None)
    _setup: Setup = field(init=False, default=None)
    _shuffle: Shuffle = field(init=False, default=None)
    _augmenting: torch.Generator = field(init=False, default=None)
    _buffer: Tensor = field(init=False, default=None)
    _just_learned: tuple[Experience, Tensor, Tensor | None] | None = field(init=False, default=None)
    _loss_sum: Tensor = field(init=False, default=None)
    _loss_count: int = field(init=False, default=0)

    # What a concrete learner says.

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

    @abstractmethod
    def build_module(self, setup: Setup, shape: tuple[int, ...]) -> nn.Module:
        """The torch module for encoded inputs of a shape."""

    @abstractmethod
    def outputs(self, x: Tensor, task_ids: Tensor | None = None) -> Tensor:
        """See :class:`rlcl.types.Host`."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Mean loss over a batch, a scalar."""

    @abstractmethod
    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Any, Any]:
        """See :class:`rlcl.types.Predictor`."""

    # What methods see (rlcl.types.Host).

    @property
    def name(self) -> str:
        return name_of("learner", self)

    @property
    def provides(self) -> frozenset[str]:
        """Everything but what the protocol hides."""
        visibility = self._setup.stream.visibility
        hidden = set() if visibility.in_training else {"task_id"}
        if visibility.boundaries == "hidden":
            hidden.add("boundaries")
        return frozenset({"batch", "targets", "loss", "task_id", "boundaries", "native"} - hidden)

    @property
    def primary(self) -> str:
        return "network"

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {"network": self.module}

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        return {"network": self._optimizer}

    def sample(self, n: int, rng: np.random.Generator) -> Batch:
        """At most ``n`` items of the experience just learned, encoded, without replacement."""
        if self._just_learned is None:
            raise ValueError("no experience has been learned yet")
        experience, x, y = self._just_learned
        rows = torch.from_numpy(rng.permutation(len(x))[:n]).to(x.device)
        return Batch(x[rows], None if y is None else y[rows], _task_ids(experience, rows, len(rows), x.device))

    # The learner's life (rlcl.types.Learner).

    @property
    def resumable_within(self) -> bool:
        return True

    @property
    def encoder(self) -> Encoder:
        return self._encoder

    @property
    def device(self) -> str:
        return self._setup.device

    def prepare(self, setup: Setup) -> None:
        if setup.spec.kind not in self.needs:
            raise UnsupportedError(
                f"learner {self.name} learns from {' or '.join(sorted(self.needs))} streams, and this one is "
                f"{setup.spec.kind}"
            )
        self._setup = setup
        self._encoder = setup.encoder
        for experience in setup.stream:
            self.steps(experience)  # a budget in another unit is refused before training
        shape = setup.encoder.shape(setup.spec.observation_shape)
        self._try_augmentations(shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setup.seeds.child("weights").integer())
            self.module = self.build_module(setup, shape).to(setup.device)
        visible = setup.stream.visibility.in_training and setup.stream.visibility.at_evaluation
        if getattr(self.module, "takes_task_ids", False) and not visible:
            raise UnsupportedError(
                f"network {name_of('network', self.network)} chooses a head by the task id, which this stream hides; "
                "set stream.visibility.task_ids: visible, or use another network"
            )
        self._optimizer = self.optimizer.build([p for p in self.module.parameters() if p.requires_grad])
        self._shuffle = Shuffle(setup.seeds.child("shuffle").torch())
        self._augmenting = setup.seeds.child("augment").torch()
        self._loss_sum = torch.zeros((), device=setup.device)
        self._attached = attach(self.methods, self, setup.seeds.child("methods"))

    def _try_augmentations(self, shape: tuple[int, ...]) -> None:
        for index, augmentation in enumerate(self.augment):
            try:
                augmentation(torch.zeros(2, *shape), torch.Generator())
            except (ValueError, IndexError, RuntimeError) as error:
                name = name_of("augmentation", augmentation)
                raise UnsupportedError(
                    f"learner.augment[{index}]: {name} does not go with inputs of shape {shape}; leave out the flatten "
                    "encoder, or the augmentation"
                ) from error

    def steps(self, experience: Experience) -> int:
        """How many updates an experience's budget comes to."""
        parts = experience.parts
        return sum(budget_updates(p.budget, _rows(p), self.batch_size, self.drop_last) for p in parts)

    def learn(self, experience: Experience) -> Iterator[Event | None]:
        position = self.position
        if position.learning and position.experience != experience.index:
            raise ValueError(f"experience {position.experience} is unfinished; finish it before {experience.index}")
        if not position.learning:
            self._attached.begin(experience, self.steps(experience))
            self.position = position = attrs.evolve(
                position, experience=experience.index, segment=0, update=0, learning=True
            )
        for part in experience.parts[position.segment :]:
            yield from self._learn_part(experience, part)

    def _end(self, experience: Experience) -> None:
        """Ends an experience before its last update is told, so that the two are one moment."""
        position = self.position
        position.learning = False
        position.experience += 1
        position.segment = position.update = 0
        self._attached.end(experience)
        self._just_learned = None

    def _learn_part(self, experience: Experience, part: Experience) -> Iterator[Event | None]:
        x, y = self._encoded(part, fit=self.position.update == 0)
        self._just_learned = (part, x, y)
        updates = budget_updates(part.budget, len(x), self.batch_size, self.drop_last)
        position, interval = self.position, self._setup.event_interval
        last_part = part is experience.parts[-1]
        self.module.train()
        started, drawn = time.perf_counter(), 0
        left = updates - position.update
        for rows in self._shuffle.batches(len(x), self.batch_size, self.drop_last, left, x.device):
            batch = Batch(
                x.index_select(0, rows),
                None if y is None else y.index_select(0, rows),
                _task_ids(part, rows, len(rows), x.device),
            )
            self._update(batch)
            position.update += 1
            position.step += 1
            drawn += len(rows)
            finished = position.update == updates
            event = None
            if position.step % interval == 0 or finished:
                event = self._event(drawn / max(time.perf_counter() - started, 1e-9), part)
                started, drawn = time.perf_counter(), 0
            if finished:
                self._shuffle.stop()
                if last_part:
                    self._end(experience)
                else:
                    position.segment += 1
                    position.update = 0
            yield event

    def _update(self, batch: Batch) -> None:
        self.batch = batch
        joined = self._attached.extra(batch)
        self._optimizer.zero_grad()
        loss = self.loss(joined)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._loss_sum += loss.detach()
        self._loss_count += 1

    def augmented(self, x: Tensor) -> Tensor:
        """Encoded training inputs (B, *encoded), changed at random; memories keep them unchanged."""
        for augmentation in self.augment:
            x = augmentation(x, self._augmenting)
        return x

    def _event(self, rate: float, part: Experience) -> Event:
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        norms = [_norm(gradients), _norm([p.detach() for p in self.module.parameters()])]
        loss, gradient_norm, weight_norm = torch.stack([self._loss_sum / self._loss_count, *norms]).tolist()
        self._loss_sum.zero_()
        self._loss_count = 0
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

    def _encoded(self, part: Experience, fit: bool) -> tuple[Tensor, Tensor | None]:
        assert not isinstance(part.train, Environment)
        x, y = part.train.read()
        if fit:
            self._encoder.fit(x)
        return self._into_buffer(x), None if y is None else y.to(self.device)

    def _into_buffer(self, x: Tensor) -> Tensor:
        """Raw inputs (N, *observation), encoded on the device, in memory that every experience uses again.

        A new allocation for each costs more than the encoding itself: the system clears its pages.
        """
        start = 0
        for part in torch.split(x, ROWS_AT_ONCE):
            encoded = self._encoder.encode(part)
            buffer = self._buffer
            if start == 0 and (buffer is None or len(buffer) < len(x) or buffer.shape[1:] != encoded.shape[1:]):
                self._buffer = buffer = torch.empty(len(x), *encoded.shape[1:], device=self.device)
            buffer[start : start + len(part)].copy_(encoded)
            start += len(part)
        return self._buffer[:start]

    # Predicting.

    def predicting(self, task_id: int | None) -> AbstractContextManager[Any]:
        """The module in evaluation mode, without gradient, under the methods' masks."""
        stack = ExitStack()
        stack.enter_context(torch.no_grad())
        stack.callback(self.module.train, self.module.training)
        self.module.eval()
        for method in self._attached.predicting:
            stack.enter_context(method.predicting(task_id))
        return stack

    def chunks(self, x: Any, task_id: int | None) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Encoded inputs on the device with their task ids, a bounded number of rows at a time."""
        tensor = x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))
        for part in torch.split(tensor, ROWS_AT_ONCE):
            encoded = self._encoder.encode(part).to(self.device)
            ids = None if task_id is None else torch.full((len(part),), task_id, device=self.device)
            yield encoded, ids

    # State.

    def state_dict(self) -> dict[str, Any]:
        """See :class:`rlcl.types.Learner`.

        Raises:
            DivergenceError: a weight is not finite; a checkpoint of it could never go on.
        """
        if not math.isfinite(float(_norm([p.detach() for p in self.module.parameters()]))):
            raise DivergenceError(
                f"a weight of learner {self.name} is not finite by update {self.position.step}, in experience "
                f"{self.position.experience}; lower learner.optimizer.lr or a method's strength"
            )
        state: dict[str, Any] = cloned(
            {
                "position": attrs.asdict(self.position),
                "module": dict(self.module.state_dict()),
                "optimizer": self._optimizer.state_dict(),
                "encoder": self._encoder.state_dict(),
                "methods": self._attached.state_dict(),
                "shuffle": self._shuffle.state_dict(),
                "augmenting": self._augmenting.get_state(),
                "loss": [self._loss_sum, self._loss_count],
            }
        )
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        state = cloned(state)
        self.position = Position(**state["position"])
        self.module.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._encoder.load_state_dict(state["encoder"])
        self._attached.load_state_dict(state["methods"])
        self._shuffle.load_state_dict(state["shuffle"])
        self._augmenting.set_state(state["augmenting"])
        self._loss_sum, self._loss_count = state["loss"][0].to(self.device), state["loss"][1]


def tried(module: nn.Module, network: object, shape: tuple[int, ...], width: int, heads: bool = False) -> nn.Module:
    """The module, after one pass over two inputs of zeros.

    Args:
        module: as the network built it.
        network: for messages.
        shape: of one input.
        width: outputs that are expected.
        heads: whether the learner shows its network task ids.

    Raises:
        UnsupportedError: it is no module, refuses the shape, has another number of outputs, or wants
            task ids that it is not shown.
    """
    name = f"network {name_of('network', network)}"
    if not isinstance(module, nn.Module):
        raise UnsupportedError(f"{name}: build must return a torch.nn.Module, got {type(module).__name__}")
    takes_ids = getattr(module, "takes_task_ids", False)
    if takes_ids and not heads:
        raise UnsupportedError(
            f"{name} chooses a head by the task id, which this learner does not show its networks; use another network"
        )
    ids = [torch.zeros(2, dtype=torch.int64)] if takes_ids else []
    try:
        with torch.no_grad():
            found = tuple(module.eval()(torch.zeros(2, *shape), *ids).shape)
    except (RuntimeError, TypeError) as error:  # another shape, or further arguments
        raise UnsupportedError(f"{name} refuses inputs of shape {shape}: {str(error).splitlines()[0]}") from error
    if found != (2, width):
        raise UnsupportedError(
            f"{name}: expected outputs of shape (B, {width}), got (B, {', '.join(map(str, found[1:]))})"
        )
    return module.train()


def _norm(tensors: list[Tensor]) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))
    return norm


def budget_updates(budget: Budget, rows: int, batch_size: int, drop_last: bool = False) -> int:
    """How many updates a budget is for a source of that many rows.

    Raises:
        UnsupportedError: a budget in env steps or episodes.
    """
    per_epoch = rows // batch_size if drop_last else math.ceil(rows / batch_size)
    if budget.epochs is not None:
        return budget.epochs * max(per_epoch, 1)
    if budget.updates is not None:
        return budget.updates
    if budget.samples is not None:
        rows = max(per_epoch, 1) * batch_size if drop_last else rows
        epochs, rest = divmod(budget.samples, rows)
        return epochs * max(per_epoch, 1) + math.ceil(rest / batch_size)
    raise UnsupportedError(
        f"budget.{budget.unit}: arrays have no {budget.unit.replace('_', ' ')}; use epochs, updates or samples"
    )


def _rows(experience: Experience) -> int:
    assert not isinstance(experience.train, Environment)
    return len(experience.train)


def _task_ids(experience: Experience, rows: Tensor, count: int, device: torch.device) -> Tensor | None:
    per_row = getattr(experience.train, "task_ids", None)
    if per_row is not None:
        ids: Tensor = per_row.to(device).index_select(0, rows)
        return ids
    if experience.task_id is None:
        return None
    return torch.full((count,), experience.task_id, device=device)
