"""Any strategy of Avalanche, under the same trainer, encoders, methods and records."""

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
from rlcl.data.avalanche_import import quietly
from rlcl.data.sources import LabelledArrays
from rlcl.errors import CheckpointError, DivergenceError, RlclError, UnsupportedError
from rlcl.learners.avalanche.alternation import alternating
from rlcl.learners.boundary import EncoderFitting
from rlcl.learners.ledger import trainable
from rlcl.learners.minibatches import ROWS_AT_ONCE
from rlcl.learners.needs import check_kind
from rlcl.learners.optimizers import Sgd
from rlcl.methods.attach import Attached, attach
from rlcl.networks.mlp import Mlp
from rlcl.registry import name_of
from rlcl.seeding import Seeds, preserved_global_state, seed_globals
from rlcl.state import cloned, tensor_bytes
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
    from rlcl.learners.avalanche.experiences import Encoded
    from rlcl.learners.avalanche.host import AvalancheHost
    from rlcl.learners.avalanche.strategy import Watch

__all__ = ["Avalanche"]


@define(kw_only=True, eq=False)
class Avalanche(Exportable):
    """Runs a strategy of Avalanche without touching it.

    Its own ``train`` runs on each experience, in a thread that alternates with the trainer, so that an
    experience ends with the weights of a plain script. Predictions are those of its own evaluation;
    a task that a model has no head for yet is left out of R. It resumes at the boundaries of
    experiences, by repeating those before: strategies keep arbitrary Python objects, which only a
    pickle could save (docs/decisions/0009).

    Inputs are encoded when their experience is learned and kept to the end of the run, for memories
    refer to them. Steps are the strategy's own updates; :meth:`steps` tells those over the
    experience's own data, and a strategy that joins others to them (``Cumulative``) takes more.

    Args:
        strategy: a class of ``avalanche.training`` by name.
        options: the strategy's own keyword arguments, checked by name. ``{type: NAME, ...}`` makes a
            model, layer, memory or scheduler where one is asked for.
        plugins: of ``avalanche.training.plugins``: ``{type: EWCPlugin, ewc_lambda: 1}``.
        network: builds the torch module; ``{type: avalanche, model: MTSimpleMLP}`` where heads follow tasks.
        optimizer: builds the torch optimizer, kept through all experiences.
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
    host: AvalancheHost = field(init=False, default=None)  # what methods see
    _setup: Setup = field(init=False, default=None)
    _seeds: Seeds = field(init=False, default=None)
    _unused: tuple[tuple[Method, ...], dict[str, Any]] = field(
        init=False, default=None
    )  # methods and encoder, as given
    _fitting: EncoderFitting = field(init=False, default=None)
    _strategy: Any = field(init=False, default=None)
    _watch: Watch = field(init=False, default=None)
    _data: list[Encoded] = field(init=False, factory=list)
    _benchmark: Any = field(init=False, default=None)
    _attached: Attached = field(init=False, default=None)
    _lived: int = field(init=False, default=0)  # experiences that the present strategy has learned
    _loaded: dict[str, Any] | None = field(init=False, default=None)  # a state that it has not come to yet
    _restored: bool = field(init=False, default=False)  # whether it predicts with that state's weights meanwhile

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
        """The strategy's model; growing heads replace some of its parameters."""
        module: nn.Module = self._strategy.model
        return module

    def prepare(self, setup: Setup) -> None:
        from rlcl.learners.avalanche.prediction import is_multitask
        from rlcl.learners.avalanche.strategy import find_strategy

        check_kind("avalanche", self.needs, setup.spec.kind)
        if setup.stream.visibility.boundaries == "hidden":
            raise UnsupportedError(
                "learner avalanche trains on one experience after the other, and this stream hides where they end; set "
                "stream.visibility.boundaries: announced"
            )
        joint = issubclass(find_strategy(self.strategy), find_strategy("JointTraining"))
        if joint and len(setup.stream) > 1:
            raise UnsupportedError(
                f"learner.strategy: {self.strategy} trains once, on everything; use stream: {{type: joint, of: ...}}, "
                "or the strategy Cumulative"
            )
        for experience in setup.stream:
            self.steps(experience)  # a budget in another unit is refused before training
        self._setup, self._seeds, self._fitting = setup, setup.seeds, EncoderFitting.of(setup)
        self._unused = (copy.deepcopy(self.methods), cloned(setup.encoder.state_dict()))
        self._build()
        tasks = max(len(set(data.tasks.tolist())) for data in self._data)
        if self.batch_size < tasks:
            raise UnsupportedError(
                f"learner.batch_size: got {self.batch_size}, and Avalanche divides minibatches among the tasks of an "
                f"experience, of which this stream shows up to {tasks}; set it to {tasks} or more, or hide task ids"
            )
        visibility = setup.stream.visibility
        if is_multitask(self.module) and visibility.in_training != visibility.at_evaluation:
            raise UnsupportedError(
                f"network {name_of('network', self.network)} chooses a head by the task id, which this stream shows "
                "half the time; set stream.visibility.task_ids: visible"
            )

    def _build(self) -> None:
        """A strategy that has learned nothing, with everything around it."""
        from rlcl.learners.avalanche.experiences import benchmark
        from rlcl.learners.avalanche.host import AvalancheHost
        from rlcl.learners.avalanche.strategy import Ingredients, Watch, build_module, build_strategy, find_strategy

        setup, spec = self._setup, self._setup.spec
        shape = setup.encoder.shape(spec.observation_shape)
        ingredients = Ingredients(self.optimizer, self.batch_size, spec.classes, setup.device)
        with preserved_global_state(), quietly():
            seed_globals(self._seeds.child("strategy"))
            torch.manual_seed(self._seeds.child("weights").integer())  # those of learner classifier
            cls = find_strategy(self.strategy)
            module = build_module(cls, self.options, self.network, shape, spec.classes)
            self._strategy = build_strategy(self.strategy, self.options, self.plugins, module, ingredients)
        self._watch = Watch()
        self._strategy.plugins.insert(0, self._watch)
        self._strategy.model.to(setup.device)
        self._data, self._benchmark = benchmark(setup.stream)
        self._lived = 0
        self.host = AvalancheHost(
            self.name, self._strategy, spec, setup.stream.visibility, lambda: self._data[self._lived]
        )
        self._attached = attach(self.methods, self.host, self._seeds.child("methods"))

    def refuses(self, key: str) -> str | None:
        """See :class:`rlcl.types.BoundaryLearner`."""
        if key == "optimizer" and self._strategy.optimizer is None:
            return "it has none"
        reasons = {
            "memory": "its strategy and plugins have memories of their own, which cannot be emptied from outside",
            "exploration": "it does not explore",
        }
        return reasons.get(key)

    def costs(self) -> Costs:
        """See :class:`rlcl.types.Spending`; its samples are those of its minibatches, its memories' among them."""
        return Costs(
            parameters=trainable([self.module]),
            memory_bytes=tensor_bytes(self._attached.state_dict()),
            updates=self.position.step,
            samples=self._watch.seen,
        )

    def steps(self, experience: Experience) -> int:
        """How many updates an experience's budget comes to over its own data."""
        budget = experience.budget
        if budget.epochs is None:
            raise UnsupportedError(f"budget.{budget.unit}: strategies of Avalanche count epochs; write {{epochs: N}}")
        assert isinstance(experience.train, LabelledArrays)
        return budget.epochs * math.ceil(len(experience.train) / self.batch_size)

    def learn(self, experience: Experience) -> Iterator[Event | None]:
        position = self.position
        if not position.begin(experience):
            raise ValueError(f"experience {experience.index} is unfinished; it is resumed at its start")
        self._live(experience.index)
        watch, first, interval = self._watch, position.step - self._watch.updates, self._setup.event_interval
        started, reported = time.perf_counter(), position.step
        with closing(self._updates(experience)) as updates:
            for finished in updates:
                position.advance(first + watch.updates - position.step)
                event = None
                if position.step // interval != reported // interval or finished:
                    event = self._event(watch.samples / max(time.perf_counter() - started, 1e-9), experience)
                    started, reported = time.perf_counter(), position.step
                if finished:
                    position.end(experience)
                yield event

    def _updates(self, experience: Experience) -> Generator[bool, None, None]:
        """Trains on an experience; yields after every update, whether it was the last one."""
        strategy, watch, place = self._strategy, self._watch, self._lived
        seed_globals(self._seeds.child(f"experience {place}"))
        assert isinstance(experience.train, LabelledArrays)
        x, _ = experience.train.read()
        if self._fitting.due(experience):
            self.encoder.fit(x)
        if place and self._setup.boundary.optimizer == "reset":
            strategy.optimizer.state.clear()
        self._data[place].inputs = torch.cat([self.encoder.encode(part) for part in torch.split(x, ROWS_AT_ONCE)])
        strategy.train_epochs = experience.budget.epochs

        def run(hand_over: Any) -> None:
            quiet = ExitStack()

            def turn() -> None:
                quiet.close()  # the caller's turn has the process's own warning filters
                hand_over()
                quiet.enter_context(quietly())

            # Methods begin once the model has its heads.
            watch.begun, watch.hand_over = lambda: self._attached.begin(experience, None), turn
            with quiet:
                quiet.enter_context(quietly())
                strategy.train(self._benchmark.train_stream[place], eval_streams=[])

        try:
            for _ in alternating(run):
                yield False
        except RlclError:
            raise
        except Exception as error:  # what a strategy makes of a network or options that do not go with it
            told = f"{type(error).__name__}: {error}" if str(error) else f"{type(error).__name__} at {_line_of(error)}"
            raise UnsupportedError(f"learner {self.name} failed in experience {place}: {told}") from error
        self._attached.end(experience)
        self._lived += 1
        yield True

    def _event(self, rate: float, experience: Experience) -> Event:
        values = {"loss": self._watch.mean_loss()}
        for optimizer in self.host.optimizers.values():
            values["lr"] = float(optimizer.param_groups[0]["lr"])
        gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
        if gradients:
            values["gradient_norm"] = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
        for what, value in (("loss", values["loss"]), ("norm of the weights", _norm(self.module))):
            if not math.isfinite(value):
                raise DivergenceError(
                    f"the {what} of learner {self.name} is {value} by update {self.position.step}, in experience "
                    f"{experience.index} ({experience.name}); lower learner.optimizer.lr or the strategy's "
                    "strength, or standardize the data"
                )
        return Event(self.position.step, {**values, "samples_per_second": rate})

    def _live(self, experiences: int) -> None:
        """Learns the first experiences of the stream, as far as the present strategy has not lived them.

        Raises:
            CheckpointError: it comes to other weights than those that were loaded.
        """
        if self._lived > experiences:
            raise ValueError(f"experience {experiences} was learned before; a strategy learns a stream in its order")
        if self._lived < experiences and self._loaded is not None:
            self._begin_anew()
        while self._lived < experiences:
            for _ in self._updates(self._setup.stream[self._lived]):
                pass
        self._watch.mean_loss()
        loaded, self._loaded = self._loaded, None
        if loaded is not None and not _equal(loaded["module"], self.module.state_dict()):
            raise CheckpointError(
                f"learner {self.name} was resumed by repeating {experiences} experiences, and came to other weights "
                "than the checkpoint's: versions, threads or the device have changed; remove the run with rlcl runs rm"
            )

    def _begin_anew(self) -> None:
        methods, encoder = self._unused
        self.methods = copy.deepcopy(methods)
        self.encoder.load_state_dict(cloned(encoder))
        self._build()

    def graph(self, tasks: int) -> Graph:
        """See :class:`rlcl.types.Exportable`."""
        raise UnsupportedError(
            "its strategy predicts by code of its own, plugins and all, which no graph holds; use a learner of rlcl"
        )

    def predict(self, x: Any, task_id: int | None = None, state: Any = None) -> tuple[Tensor, None]:
        """(B,) int64 classes for raw inputs (B, *observation), as the strategy's own evaluation gives them.

        Raises:
            UnseenTaskError: the model has no head for the task yet.
        """
        from rlcl.learners.avalanche.prediction import predict

        if self._loaded is not None and not self._restored:
            with preserved_global_state():
                self._live(self.position.experience)
        tensor = x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))
        batches = []
        for part in torch.split(tensor, ROWS_AT_ONCE):
            batches.append((self.encoder.encode(part), torch.full((len(part),), task_id or 0)))
        stream = self._benchmark.train_stream
        met = next((e for e in stream if task_id in e.task_labels), stream[max(self._lived - 1, 0)])
        with ExitStack() as stack:
            for method in self._attached.predicting:
                stack.enter_context(method.predicting(task_id))
            return predict(self._strategy, met, batches), None

    def state_dict(self) -> dict[str, Any]:
        """The state at a boundary.

        Raises:
            ValueError: an experience is unfinished.
            DivergenceError: a weight is not finite.
        """
        if self.position.learning:
            raise ValueError("learner avalanche can be saved at the boundaries of experiences alone")
        if self._loaded is not None:
            loaded: dict[str, Any] = cloned(self._loaded)
            return loaded
        if not math.isfinite(_norm(self.module)):
            raise DivergenceError(
                f"a weight of learner {self.name} is not finite by update {self.position.step}; lower "
                "learner.optimizer.lr or the strategy's strength"
            )
        state: dict[str, Any] = cloned(
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
        """Takes over position, encoder and weights; the experiences before are repeated when learning goes on."""
        self._loaded = loaded = cloned(state)
        self.position = Position(**loaded["position"])
        self._seeds = Seeds(loaded["seeds"]["seed"], tuple(loaded["seeds"]["path"]))
        self._begin_anew()
        self._restored = self._restore_weights(loaded["module"])
        self.encoder.load_state_dict(cloned(loaded["encoder"]))

    def _restore_weights(self, weights: Mapping[str, Tensor]) -> bool:
        """Gives the model the heads that it had, and fills it; whether that is all that predictions depend on."""
        from rlcl.learners.avalanche.prediction import adapt, weights_suffice

        with preserved_global_state():
            adapt(self.module, self._benchmark.train_stream[: self.position.experience])
        try:
            self.module.load_state_dict(dict(weights))
        except RuntimeError:  # it keeps more than its layers say (class means)
            return False
        return weights_suffice(self._strategy)


def _line_of(error: Exception) -> str:
    """The line of code at which an error without a message was raised."""
    return traceback.extract_tb(error.__traceback__)[-1].line or "an unknown place"


def _norm(module: nn.Module) -> float:
    parameters = [p.detach() for p in module.parameters()]
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(parameters)))) if parameters else 0.0


def _equal(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor]) -> bool:
    return list(expected) == list(actual) and all(torch.equal(value, actual[key]) for key, value in expected.items())
