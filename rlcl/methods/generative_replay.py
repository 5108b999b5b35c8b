"""Deep generative replay: a generator makes up old inputs, and the network of the last boundary labels them."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from attrs import define, field
from torch import Tensor
from torch.func import functional_call
from torch.optim import Optimizer

from rlcl.config import option
from rlcl.methods.parts.mixing import Mixing, shares_of
from rlcl.methods.parts.modes import evaluating
from rlcl.methods.parts.outputs import OutputsModule
from rlcl.methods.parts.parameters import device_of
from rlcl.networks.mlp import Mlp
from rlcl.networks.tried import tried
from rlcl.networks.variational import Likelihood, VaeModule, check_range, negative_bound
from rlcl.types import Batch, Experience, Host, Method, NativeHost, Network

__all__ = ["GenerativeReplay"]


@define(kw_only=True, eq=False)
class GenerativeReplay(Method):
    """Minimises the loss over the minibatch and over generated inputs, which stand for the experiences before.

    A variational autoencoder learns beside the learner: from each minibatch, as it was before any
    augmentation, and from what was generated for it, its losses mixed as the learner's. At a boundary both are
    copied. In the next experience the copied decoder generates inputs from codes of the prior (means of its
    likelihood), and the copied network labels them: its most probable class, or what it predicts in regression.
    Learners without labels learn from the generated inputs alone. Where task ids are shown, each generated
    input is given one of the past tasks', each as likely, and labelled within that task.

    Args:
        batch_size: inputs generated for each update; 0 equals no method.
        labels: ``hard``, or ``soft``: instead of the loss, the mean squared distance of the outputs to the
            copied network's.
        mixing: how the losses mix: one mean over all examples (``concat``), the ``sum`` of the minibatch's mean
            and that of the generated, or ``weighted`` by 1/t and 1 - 1/t in the t-th experience.
        generator: a VAE of its ``own``, or the ``learner``, where that is a ``vae``.
        network: builds the own generator's network from input to the code's mean and log variance.
        decoder: builds its network from code to the likelihood's parameters.
        code: width of its code.
        likelihood: its ``bernoulli`` for inputs in [0, 1], or ``gaussian`` of unit variance.
        lr: its learning rate, of Adam.

    Source: Shin et al. 2017, Continual learning with deep generative replay, section 3; the VAE and the losses'
    weights are van de Ven et al. 2022, Three types of incremental learning, Methods.
    """

    batch_size: int = option(32, ge=0)
    labels: Literal["hard", "soft"] = option("hard")
    mixing: Mixing = option("weighted")
    generator: Literal["own", "learner"] = option("own")
    network: Network = option(factory=Mlp)
    decoder: Network = option(factory=Mlp)
    code: int = option(20, ge=1)
    likelihood: Likelihood = option("bernoulli")
    lr: float = option(1e-3, gt=0)
    _host: NativeHost = field(init=False, default=None)
    _draws: torch.Generator = field(init=False, default=None)
    _outputs: OutputsModule = field(init=False, default=None)
    _vae: VaeModule = field(init=False, default=None)
    _optimizer: Optimizer = field(init=False, default=None)
    _replayed: Tensor | None = field(init=False, default=None)
    _copied_vae: VaeModule | None = field(init=False, default=None)
    _copied_network: dict[str, Tensor] = field(init=False, factory=dict)
    _tasks: list[int] = field(init=False, factory=list)
    _experiences: int = field(init=False, default=0)
    _in_range: bool = field(init=False, default=False)

    requires = frozenset({"batch", "loss", "boundaries", "native"})
    phase = "mix"
    null: ClassVar[Mapping[str, Any] | None] = {"batch_size": 0}
    kinds = frozenset({"categorical", "values", "reconstruction"})

    @property
    def shares(self) -> tuple[float, float] | None:
        """Factors of the minibatch's mean loss and of the generated inputs'; None for one mean over both."""
        return shares_of(self.mixing, self._experiences)

    def refuses(self, host: Host) -> str | None:
        """Why it cannot serve a host, with the remedy."""
        for name, value, remedy in (("mixing", self.mixing, "concat"), ("labels", self.labels, "hard")):
            if value != remedy and "weights" not in host.provides:
                return f"its {name}: {value} weighs examples, which the learner's loss cannot; use {name}: {remedy}"
        if self.generator == "learner" and not isinstance(host.modules[host.primary], VaeModule):
            return "its generator: learner needs the learner vae; use generator: own"
        return None

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = cast("NativeHost", host)
        weights, draws = (int(seed) for seed in rng.integers(2**31, size=2))
        self._draws = torch.Generator().manual_seed(draws)
        self._outputs = OutputsModule(host)
        if self.generator == "learner":
            self._vae = cast("VaeModule", host.modules[host.primary])
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(weights)
            self._vae = self._built(self._host.input_shape).to(device_of(host))
        self._optimizer = torch.optim.Adam(self._vae.parameters(), lr=self.lr, fused=True)
        host.optimizers[host.primary].register_step_post_hook(self._learn)

    def _built(self, shape: tuple[int, ...]) -> VaeModule:
        features = math.prod(shape)
        encode = tried(self.network.build(shape, 2 * self.code, 1), self.network, shape, 2 * self.code)
        decode = tried(self.decoder.build((self.code,), features, 1), self.decoder, (self.code,), features)
        return VaeModule(encode, decode, self.code, self.likelihood)

    def begin(self, experience: Experience, updates: int | None) -> None:
        self._experiences += 1

    def end(self, experience: Experience) -> None:
        if not self.batch_size:
            return
        self._copied_vae = _frozen(self._vae)
        module = self._outputs.module
        state = [*module.named_parameters(), *module.named_buffers()]
        self._copied_network = {f"module.{name}": tensor.detach().clone() for name, tensor in state}
        self._tasks = sorted({*self._tasks, *_tasks_of(experience)})

    def extra(self, batch: Batch) -> Batch | None:
        if not self.batch_size or self._copied_vae is None:
            return None
        with torch.no_grad():
            made = self._copied_vae.generated(self._noise(self.batch_size))
        self._replayed = inputs = made.view(self.batch_size, *self._host.input_shape)
        return self._labelled(inputs, self._drawn_tasks(batch), batch)

    def generated(self, count: int, noise: torch.Generator) -> Tensor | None:
        """See :class:`rlcl.types.Generating`; of its own generator as it is now."""
        if self.generator == "learner":
            return None
        codes = torch.randn(count, self._vae.code, generator=noise).to(device_of(self._host))
        with evaluating(self._vae):
            return self._vae.generated(codes).cpu()

    def _noise(self, rows: int) -> Tensor:
        return torch.randn(rows, self._vae.code, generator=self._draws).to(device_of(self._host))

    def _drawn_tasks(self, batch: Batch) -> Tensor | None:
        """(batch_size,) past task ids, each as likely; None where they are hidden."""
        if batch.task_ids is None:
            return None
        chosen = torch.randint(len(self._tasks), (self.batch_size,), generator=self._draws)
        return torch.tensor(self._tasks)[chosen].to(batch.task_ids.device)

    def _labelled(self, inputs: Tensor, ids: Tensor | None, batch: Batch) -> Batch:
        """Generated inputs with what the network of the last boundary says of them, in the form of the minibatch."""
        kind, soft = self._host.kind, self.labels == "soft"
        regression = kind == "values" and batch.targets is not None and batch.targets.is_floating_point()
        read = batch.targets is not None and (kind == "categorical" or regression)
        if not read and not soft:
            return Batch(inputs, None, ids)  # what an unsupervised learner would not look at
        with evaluating(self._outputs.module):
            outputs: Tensor = functional_call(self._outputs, self._copied_network, (inputs, ids))
        targets = None if not read else outputs if regression else outputs.argmax(1)
        if not soft:
            return Batch(inputs, targets, ids)
        ones = inputs.new_ones(len(inputs))
        return Batch(inputs, targets, ids, torch.zeros_like(ones), outputs, ones)

    def _learn(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """One step of the own generator, after that of the learner."""
        batch, replayed, self._replayed = self._host.batch, self._replayed, None
        if not self.batch_size or batch is None:
            return
        if not self._in_range:  # once
            check_range(batch.inputs, self.likelihood, "method generative_replay: likelihood")
            self._in_range = True
        x = batch.inputs if replayed is None else torch.cat((batch.inputs, replayed))
        decoded, mean, log_variance = self._vae(x, self._noise(len(x)))
        bounds = negative_bound(decoded, mean, log_variance, x, self.likelihood)
        loss, own, shares = bounds.mean(), len(batch.inputs), self.shares
        if replayed is not None and shares is not None:
            loss = shares[0] * bounds[:own].mean() + shares[1] * bounds[own:].mean()
        self._optimizer.zero_grad()
        torch.autograd.backward([loss])
        self._optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        own = self.generator == "own"
        return {
            "draws": self._draws.get_state(),
            "vae": dict(self._vae.state_dict()) if own else None,
            "optimizer": self._optimizer.state_dict() if own else None,
            "copied_vae": None if self._copied_vae is None else dict(self._copied_vae.state_dict()),
            "copied_network": dict(self._copied_network),
            "tasks": list(self._tasks),
            "experiences": self._experiences,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws.set_state(state["draws"])
        if self.generator == "own":
            self._vae.load_state_dict(state["vae"])
            self._optimizer.load_state_dict(state["optimizer"])
        self._copied_vae = None
        if state["copied_vae"] is not None:
            self._copied_vae = _frozen(self._vae)
            self._copied_vae.load_state_dict(state["copied_vae"])
        device = device_of(self._host)
        self._copied_network = {name: tensor.to(device) for name, tensor in state["copied_network"].items()}
        self._tasks, self._experiences = list(state["tasks"]), state["experiences"]


def _frozen(vae: VaeModule) -> VaeModule:
    copied = copy.deepcopy(vae)
    copied.eval().requires_grad_(False)
    return copied


def _tasks_of(experience: Experience) -> set[int]:
    """The task ids that an experience shows."""
    found: set[int] = set()
    for part in experience.parts:
        if part.arrays.task_ids is not None:
            found.update(part.arrays.task_ids.tolist())
        elif part.task_id is not None:
            found.add(part.task_id)
    return found
