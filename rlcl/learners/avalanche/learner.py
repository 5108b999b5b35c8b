"""Learner for the strategies of Avalanche."""

from __future__ import annotations

import copy
import math
import time
import traceback
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch
from attrs import define, field
from torch import Tensor, nn

from rlcl.config import option
from rlcl.data.avalanche_import import suppressed_deprecations
from rlcl.data.sources import LabelledArrays
from rlcl.errors import CheckpointError, DivergenceError, RlclError, UnsupportedError
from rlcl.learners.avalanche.callback_generator import callback_generator
from rlcl.learners.boundary import NOT_REINFORCEMENT, EncoderFitting
from rlcl.learners.minibatches import ROWS_AT_ONCE
from rlcl.learners.online_score import count_trainable
from rlcl.learners.optimizers import Sgd
from rlcl.learners.stream_kinds import check_stream_kind
from rlcl.methods.attach import AttachedMethods, attach
from rlcl.networks.mlp import Mlp
from rlcl.registry import name_of
from rlcl.seeding import Seeds, preserved_global_state, seed_globals
from rlcl.state import clone_state, tensor_bytes
from rlcl.types import (
    Costs,
    Encoder,
    Event,
    Experience,
    Exportable,
    Graph,
    Method,
    Network,
    OptimizerFactory,
    Position,
    Setup,
)

if TYPE_CHECKING:
    from rlcl.learners.avalanche.benchmark import EncodedDataset
    from rlcl.learners.avalanche.host import AvalancheHost
    from rlcl.learners.avalanche.strategy import UpdateCounter

__all__ = ["Avalanche"]


@define(kw_only=True, eq=False)
class Avalanche(Exportable):
    """Strategy of Avalanche, run by its original code.

    The strategy's ``train`` runs on each experience, in a thread that alternates with the trainer, so that an
    experience ends with the weights of a plain script. Predictions are those of Avalanche's evaluation;
    a task for which the model has no head yet is left out of R. It resumes at the boundaries of
    experiences, by repeating the previous experiences: strategies hold arbitrary Python objects, which only a
    pickle could save (docs/decisions/0009).

    Inputs are encoded when their experience begins and kept to the end of the run, because memories
    refer to them. Steps are updates of the strategy. :meth:`steps` counts the updates over the
    experience's data; a strategy that adds data of other experiences (``Cumulative``) makes more updates.

    Args:
        strategy: a class of ``avalanche.training`` by name.
        options: keyword arguments of the strategy, checked by name. ``{type: NAME, ...}`` creates a
            model, layer, memory or scheduler.
        plugins: classes of ``avalanche.training.plugins``: ``{type: EWCPlugin, ewc_lambda: 1}``.
        network: builds the torch module; ``{type: avalanche, model: MTSimpleMLP}`` for one head per task.
        optimizer: builds the torch optimizer, which is kept through all experiences.
        batch_size: samples in a minibatch.
        methods: continual-learning methods of rlcl; they run in the order of their phases.

    Source: Carta et al. 2023, Avalanche: a PyTorch library for deep continual learning.
    """

    strategy: str = option()
    options: Mapping[str, Any] = option(factory=dict)
    plugins: tuple[Mapping[str, Any], ...] = option((), converter=tuple)
    network: Network = option(factory=Mlp)
    optimizer: OptimizerFactory = option(factory=Sgd)
    batch_size: int = option(32, ge=1)
    methods: tuple[Method, ...] = option((), converter=tuple)

    needs = frozenset({"labelled"})

    position: Position = field(init=False, factory=Position)
    host: AvalancheHost = field(init=False, default=None)  # interface to methods
    _setup: Setup = field(init=False, default=None)
    _seeds: Seeds = field(init=False, default=None)
    # Methods and state of the encoder before training.
    _initial: tuple[tuple[Method, ...], dict[str, Any]] = field(init=False, default=None)
    _fitting: EncoderFitting = field(init=False, default=None)
    _strategy: Any = field(init=False, default=None)
    _counter: UpdateCounter = field(init=False, default=None)
    _data: list[EncodedDataset] = field(init=False, factory=list)
    _benchmark: Any = field(init=False, default=None)
    _attached: AttachedMethods = field(init=False, default=None)
    _learned_experiences: int = field(init=False, default=0)  # experiences that the current strategy has learned
    _loaded: dict[str, Any] | None = field(init=False, default=None)  # loaded state that has not been reached yet
    _restored: bool = field(init=False, default=False)  # whether the model has its weights

    @property
    def measures(self) -> tuple[str, ...]:
        return ("accuracy",)

    @property
    def resumable_within(self) -> bool:
        return False

    @property
    def encoder(self) -> Encoder:
        return self._setup.encoder

    @property
    def name(self) -> str:
        return f"avalanche ({self.strategy})"

    @property
    def module(self) -> nn.Module:
        """Model of the strategy; growing heads replace some of its parameters."""
        module: nn.Module = self._strategy.model
        return module

    def prepare(self, setup: Setup) -> None:
        from rlcl.learners.avalanche.prediction import is_multitask
        from rlcl.learners.avalanche.strategy import find_strategy

        check_stream_kind("avalanche", self.needs, setup.spec.kind)
        if setup.stream.visibility.boundaries == "hidden":
            raise UnsupportedError(
                "learner avalanche needs announced boundaries of experiences, and this stream hides them; set "
                "stream.visibility.boundaries: announced"
            )
        joint = issubclass(find_strategy(self.strategy), find_strategy("JointTraining"))
        if joint and len(setup.stream) > 1:
            raise UnsupportedError(
                f"learner.strategy: {self.strategy} trains once, on all data; use stream: {{type: joint, of: ...}}, "
                "or the strategy Cumulative"
            )
        for experience in setup.stream:
            self.steps(experience)  # raises for a budget in another unit before training
        self._setup, self._seeds, self._fitting = setup, setup.seeds, EncoderFitting.of(setup)
        self._initial = (copy.deepcopy(self.methods), clone_state(setup.encoder.state_dict()))
        self._build()
        tasks = max(len(set(data.tasks.tolist())) for data in self._data)
        if self.batch_size < tasks:
            raise UnsupportedError(
                f"learner.batch_size: got {self.batch_size}, and Avalanche splits minibatches by the tasks of an "
                f"experience, up to {tasks} in this stream; set it to {tasks} or more, or hide task ids"
            )
        visibility = setup.stream.visibility
        if is_multitask(self.module) and visibility.in_training != visibility.at_evaluation:
            raise UnsupportedError(
                f"network {name_of('network', self.network)} selects a head by the task id, which must be visible in "
                "training and at evaluation; set stream.visibility.task_ids: visible"
            )

    def _build(self) -> None:
        """Create an untrained strategy with data, host and methods."""
        from rlcl.learners.avalanche.benchmark import build_benchmark
        from rlcl.learners.avalanche.host import AvalancheHost
        from rlcl.learners.avalanche.strategy import (
            StrategyArguments,
            UpdateCounter,
            build_module,
            build_strategy,
            find_strategy,
        )

        setup, spec = self._setup, self._setup.spec
        shape = setup.encoder.shape(spec.observation_shape)
        arguments = StrategyArguments(self.optimizer, self.batch_size, spec.classes, setup.device)
        with preserved_global_state(), suppressed_deprecations():
            seed_globals(self._seeds.child("strategy"))
            torch.manual_seed(self._seeds.child("weights").integer())  # same seeds as learner classifier
            cls = find_strategy(self.strategy)
            module = build_module(cls, self.options, self.network, shape, spec.classes)
            self._strategy = build_strategy(self.strategy, self.options, self.plugins, module, arguments)
        self._counter = UpdateCounter()
        self._strategy.plugins.insert(0, self._counter)
        self._strategy.model.to(setup.device)
        self._data, self._benchmark = build_benchmark(setup.stream)
        self._learned_experiences = 0
        self.host = AvalancheHost(
            self.name, self._strategy, spec, setup.stream.visibility, lambda: self._data[self._learned_experiences]
        )
        self._attached = attach(self.methods, self.host, self._seeds.child("methods"))

    def refuses(self, key: str, value: str) -> str | None:
        """See :class:`rlcl.types.BoundaryLearner`."""
        if key == "optimizer" and self._strategy.optimizer is None:
            return "it has no optimizer"
        reasons = {
            "memory": "memories of its strategy and plugins cannot be emptied",
            **NOT_REINFORCEMENT,
        }
        return reasons.get(key)

    def costs(self) -> Costs:
        """See :class:`rlcl.types.Spending`; samples are counted in minibatches, including those of memories."""
        return Costs(
            parameters=count_trainable([self.module]),
            memory_bytes=tensor_bytes(self._attached.state_dict()),
            updates=self.position.step,
            samples=self._counter.total_samples,
        )

    def steps(self, experience: Experience) -> int:
        """Return the updates of an experience's budget over its data."""
        budget = experience.budget
        if budget.epochs is None:
            raise UnsupportedError(f"budget.{budget.unit}: strategies of Avalanche count epochs; write {{epochs: N}}")
        assert isinstance(experience.train, LabelledArrays)
        return budget.epochs * math.ceil(len(experience.train) / self.batch_size)

    def learn(self, experience: Experience) -> Iterator[Event | None]:
        position = self.position
        if not position.begin(experience):
            raise ValueError(f"experience {experience.index} is unfinished; it is resumed at its start")
        self._learn_until(experience.index)
        counter, first, interval = self._counter, position.step - self._counter.updates, self._setup.event_interval
        started, reported = time.perf_counter(), position.step
        with closing(self._updates(experience)) as updates:
            for finished in updates:
                position.advance(first + counter.updates - position.step)
                event = None
                if position.step // interval != reported // interval or finished:
                    event = self._event(counter.samples / max(time.perf_counter() - started, 1e-9), experience)
                    started, reported = time.perf_counter(), position.step
                if finished:
                    self._end(experience)
                    position.end(experience)
                yield event

    def _updates(self, experience: Experience) -> Generator[bool, None, None]:
        """Train on an experience; yields after every update whether it was the last one."""
        strategy, counter, index = self._strategy, self._counter, self._learned_experiences
        seed_globals(self._seeds.child(f"experience {index}"))
        assert isinstance(experience.train, LabelledArrays)
        x, _ = experience.train.read()
        if self._fitting.due(experience):
            self.encoder.fit(x)
        if index and self._setup.boundary.optimizer == "reset":
            strategy.optimizer.state.clear()
        self._data[index].inputs = torch.cat(
            [self.encoder.encode(part, experience.task_id) for part in torch.split(x, ROWS_AT_ONCE)]
        )
        strategy.train_epochs = experience.budget.epochs

        def run(hand_over: Any) -> None:
            filters = ExitStack()

            def pause() -> None:
                filters.close()  # the caller runs with the warning filters of the process
                hand_over()
                filters.enter_context(suppressed_deprecations())

            # Methods begin when the model has its heads.
            counter.on_begin, counter.hand_over = lambda: self._attached.begin(experience, None), pause
            with filters:
                filters.enter_context(suppressed_deprecations())
                strategy.train(self._benchmark.train_stream[index], eval_streams=[])

        try:
            for _ in callback_generator(run):
                yield False
        except RlclError:
            raise
        except Exception as error:  # of a strategy that does not support the network or the options
            name = type(error).__name__
            message = f"{name}: {error}" if str(error) else f"{name} at {_line_of(error)}"
            raise UnsupportedError(f"learner {self.name} failed in experience {index}: {message}") from error
        yield True

    def _end(self, experience: Experience) -> None:
        """Finish an experience, after the event of its last update."""
        self._attached.end(experience)
        self._learned_experiences += 1

    def _event(self, rate: float, experience: Experience) -> Event:
        values = {"loss": self._counter.mean_loss()}
        for optimizer in self.host.optimizers.values():
            values["lr"] = float(optimizer.param_groups[0]["lr"])
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        if gradients:
            values["gradient_norm"] = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
        for quantity, value in (("loss", values["loss"]), ("norm of the weights", _norm(self.module))):
            if not math.isfinite(value):
                raise DivergenceError(
                    f"the {quantity} of learner {self.name} is {value} at update {self.position.step}, in experience "
                    f"{experience.index} ({experience.name}); lower learner.optimizer.lr or the strength of the "
                    "strategy, or standardize the data"
                )
        values |= self._attached.quantities()
        return Event(self.position.step, {**values, "samples_per_second": rate})

    def _learn_until(self, experiences: int) -> None:
        """Train on the first experiences of the stream that the current strategy has not yet learned.

        Args:
            experiences: number of experiences that are to be learned.

        Raises:
            CheckpointError: the weights differ from those of the loaded state.
        """
        if self._learned_experiences > experiences:
            raise ValueError(f"experience {experiences} was learned before; experiences must be learned in order")
        if self._learned_experiences < experiences and self._loaded is not None:
            self._rebuild()
        while self._learned_experiences < experiences:
            experience = self._setup.stream[self._learned_experiences]
            for _ in self._updates(experience):
                pass
            self._end(experience)
        self._counter.mean_loss()
        loaded, self._loaded = self._loaded, None
        if loaded is not None and not _equal(loaded["module"], self.module.state_dict()):
            raise CheckpointError(
                f"learner {self.name} was resumed by repeating {experiences} experiences, and its weights differ from "
                "the checkpoint: versions, threads or the device have changed; remove the run with rlcl runs rm"
            )

    def _rebuild(self) -> None:
        methods, encoder = self._initial
        self.methods = copy.deepcopy(methods)
        self.encoder.load_state_dict(clone_state(encoder))
        self._build()

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        raise UnsupportedError(
            "predictions of Avalanche strategies and plugins cannot be exported as a graph; use a learner of rlcl"
        )

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """Predict classes (B,) int64 by the strategy's evaluation.

        Args:
            x: (B, *observation) raw inputs.
            task_id: task of the inputs; None if it is hidden.
            state: not used.

        Raises:
            UnseenTaskError: the model has no head for the task yet.
        """
        from rlcl.learners.avalanche.prediction import predict

        if self._loaded is not None and not self._restored:
            with preserved_global_state():
                self._learn_until(self.position.experience)
        tensor = x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))
        batches = []
        for part in torch.split(tensor, ROWS_AT_ONCE):
            batches.append((self.encoder.encode(part, task_id), torch.full((len(part),), task_id or 0)))
        stream = self._benchmark.train_stream
        experience = next(
            (e for e in stream if task_id in e.task_labels), stream[max(self._learned_experiences - 1, 0)]
        )
        with ExitStack() as stack:
            for method in self._attached.predicting:
                stack.enter_context(method.predicting(task_id))
            return predict(self._strategy, experience, batches), None

    def state_dict(self) -> dict[str, Any]:
        """Return the state at a boundary between experiences.

        Raises:
            ValueError: an experience is unfinished.
            DivergenceError: a weight is not finite.
        """
        if self.position.learning:
            raise ValueError("learner avalanche can be saved only at the boundaries of experiences")
        if self._loaded is not None:
            loaded: dict[str, Any] = clone_state(self._loaded)
            return loaded
        if not math.isfinite(_norm(self.module)):
            raise DivergenceError(
                f"a weight of learner {self.name} is not finite at update {self.position.step}; lower "
                "learner.optimizer.lr or the strength of the strategy"
            )
        state: dict[str, Any] = clone_state(
            {
                "position": attrs.asdict(self.position),
                "seeds": {"seed": self._seeds.seed, "path": self._seeds.path},
                "module": dict(self.module.state_dict()),
                "encoder": self.encoder.state_dict(),
                "methods": self._attached.state_dict(),
            }
        )
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore position, encoder and weights; previous experiences are repeated when training continues."""
        self._loaded = loaded = clone_state(state)
        self.position = Position(**loaded["position"])
        self._seeds = Seeds(loaded["seeds"]["seed"], tuple(loaded["seeds"]["path"]))
        self._rebuild()
        self._restored = self._restore_weights(loaded["module"])
        self.encoder.load_state_dict(clone_state(loaded["encoder"]))

    def _restore_weights(self, weights: Mapping[str, Tensor]) -> bool:
        """Add the heads of the saved model and load its weights; returns whether predictions depend on these only."""
        from rlcl.learners.avalanche.prediction import adapt, weights_suffice

        with preserved_global_state():
            adapt(self.module, self._benchmark.train_stream[: self.position.experience])
        try:
            self.module.load_state_dict(dict(weights))
        except RuntimeError:  # it has state that layers do not declare (class means)
            return False
        return weights_suffice(self._strategy)


def _line_of(error: Exception) -> str:
    """Return the line of code that raised an error without a message."""
    return traceback.extract_tb(error.__traceback__)[-1].line or "an unknown place"


def _norm(module: nn.Module) -> float:
    parameters = [p.detach() for p in module.parameters()]
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(parameters)))) if parameters else 0.0


def _equal(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> bool:
    return list(expected) == list(actual) and all(torch.equal(value, actual[key]) for key, value in expected.items())
