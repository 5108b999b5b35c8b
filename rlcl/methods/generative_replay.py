"""Deep generative replay: generated inputs of past experiences, labelled by the network of the last boundary."""

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
from rlcl.methods.parts.evaluation_mode import evaluation_mode
from rlcl.methods.parts.mixing import Mixing, loss_shares
from rlcl.methods.parts.outputs import OutputsModule
from rlcl.methods.parts.parameters import device_of
from rlcl.networks.check_forward import check_forward
from rlcl.networks.mlp import Mlp
from rlcl.networks.variational_autoencoder import Likelihood, VaeModule, check_range, negative_bound
from rlcl.types import Batch, Experience, Host, Method, NativeHost, Network

__all__ = ["GenerativeReplay"]


@define(kw_only=True, eq=False)
class GenerativeReplay(Method):
    """Loss over the minibatch and over generated inputs, which represent past experiences.

    A variational autoencoder (VAE) trains in parallel to the learner on each minibatch, without augmentation, and on
    the inputs generated for that update. Its losses are mixed as the learner's losses. At a boundary the VAE and
    the network are copied. In the next experience the copied decoder generates inputs from codes of the prior (means
    of the likelihood). The copied network labels them with the most probable class, or with its prediction in
    regression. Learners without labels use the generated inputs only. If task ids are visible, each
    generated input has a past task, sampled uniformly, and a label of that task.

    Args:
        batch_size: inputs generated for each update; 0 disables the method.
        labels: ``hard`` labels, or ``soft``: the mean squared distance of the outputs to the outputs of the copied
            network replaces the loss.
        mixing: combination of the losses: one mean over all examples (``concat``), the ``sum`` of the minibatch's mean
            and the mean over the generated inputs, or ``weighted`` by 1/t and 1 - 1/t in the t-th experience.
        generator: a separate VAE (``own``), or the ``learner`` if it is a ``vae``.
        network: builds the separate VAE's network from input to the code's mean and log variance.
        decoder: builds the separate VAE's network from code to the likelihood's parameters.
        code: width of the separate VAE's code.
        likelihood: of the separate VAE: ``bernoulli`` for inputs in [0, 1], or ``gaussian`` of unit variance.
        lr: learning rate of the separate VAE's optimizer, Adam.

    Source: Shin et al. 2017, Continual learning with deep generative replay, section 3. The VAE and the weights of
    the losses follow van de Ven et al. 2022, Three types of incremental learning, Methods.
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
    _noise_generator: torch.Generator = field(init=False, default=None)
    _outputs: OutputsModule = field(init=False, default=None)
    _vae: VaeModule = field(init=False, default=None)
    _optimizer: Optimizer = field(init=False, default=None)
    _replayed: Tensor | None = field(init=False, default=None)
    _copied_vae: VaeModule | None = field(init=False, default=None)
    _copied_network: dict[str, Tensor] = field(init=False, factory=dict)
    _tasks: list[int] = field(init=False, factory=list)
    _experiences: int = field(init=False, default=0)
    _in_range: bool = field(init=False, default=False)

    requires = frozenset({"batch", "loss", "boundaries", "native", "input_shape"})
    phase = "mix"
    null: ClassVar[Mapping[str, Any] | None] = {"batch_size": 0}
    kinds = frozenset({"categorical", "values", "reconstruction"})

    @property
    def shares(self) -> tuple[float, float] | None:
        """Factors of the minibatch's mean loss and of the generated inputs' mean loss; None for one mean over both."""
        return loss_shares(self.mixing, self._experiences)

    def refuses(self, host: Host) -> str | None:
        """Return the reason why a host is not supported, with the remedy, or None if it is."""
        if self.mixing != "concat" and "shares" not in host.provides:
            return f"mixing: {self.mixing} needs a loss that can be weighted, and this one cannot; set mixing: concat"
        if self.labels != "hard" and "weights" not in host.provides:
            return f"labels: {self.labels} needs example weights, and the learner's loss has none; set labels: hard"
        if self.generator == "learner" and not isinstance(host.modules[host.primary], VaeModule):
            return "generator: learner needs the learner vae; set generator: own"
        return None

    def attach(self, host: Host, rng: np.random.Generator) -> None:
        self._host = cast("NativeHost", host)
        weight_seed, noise_seed = (int(seed) for seed in rng.integers(2**31, size=2))
        self._noise_generator = torch.Generator().manual_seed(noise_seed)
        self._outputs = OutputsModule(host)
        if self.generator == "learner":
            self._vae = cast("VaeModule", host.modules[host.primary])
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(weight_seed)
            self._vae = self._build_vae(self._host.input_shape).to(device_of(host))
        self._optimizer = torch.optim.Adam(self._vae.parameters(), lr=self.lr, fused=True)
        host.optimizers[host.primary].register_step_post_hook(self._update_vae)

    def _build_vae(self, shape: tuple[int, ...]) -> VaeModule:
        features = math.prod(shape)
        encode = check_forward(self.network.build(shape, 2 * self.code, 1), self.network, shape, 2 * self.code)
        decode = check_forward(self.decoder.build((self.code,), features, 1), self.decoder, (self.code,), features)
        return VaeModule(encode, decode, self.code, self.likelihood)

    def begin(self, experience: Experience, updates: int | None) -> None:
        self._experiences += 1

    def end(self, experience: Experience) -> None:
        if not self.batch_size:
            return
        self._copied_vae = _frozen_copy(self._vae)
        module = self._outputs.module
        state = [*module.named_parameters(), *module.named_buffers()]
        self._copied_network = {f"module.{name}": tensor.detach().clone() for name, tensor in state}
        self._tasks = sorted({*self._tasks, *_tasks_of(experience)})

    def extra(self, batch: Batch) -> Batch | None:
        if not self.batch_size or self._copied_vae is None:
            return None
        with torch.no_grad():
            means = self._copied_vae.decode_mean(self._sample_noise(self.batch_size))
        self._replayed = inputs = means.view(self.batch_size, *self._host.input_shape)
        return self._label(inputs, self._sample_tasks(batch), batch)

    def generated(self, count: int, noise: torch.Generator) -> Tensor | None:
        """See :class:`rlcl.types.Generating`; generate inputs with the current state of the separate VAE."""
        if self.generator == "learner":
            return None
        codes = torch.randn(count, self._vae.code, generator=noise).to(device_of(self._host))
        with evaluation_mode(self._vae):
            return self._vae.decode_mean(codes).cpu()

    def _sample_noise(self, rows: int) -> Tensor:
        return torch.randn(rows, self._vae.code, generator=self._noise_generator).to(device_of(self._host))

    def _sample_tasks(self, batch: Batch) -> Tensor | None:
        """Sample past task ids (batch_size,) uniformly; None if task ids are hidden."""
        if batch.task_ids is None:
            return None
        indices = torch.randint(len(self._tasks), (self.batch_size,), generator=self._noise_generator)
        return torch.tensor(self._tasks)[indices].to(batch.task_ids.device)

    def _label(self, inputs: Tensor, ids: Tensor | None, batch: Batch) -> Batch:
        """Label generated inputs with the network of the last boundary, in the form of the minibatch."""
        kind, soft = self._host.kind, self.labels == "soft"
        regression = kind == "values" and batch.targets is not None and batch.targets.is_floating_point()
        supervised = batch.targets is not None and (kind == "categorical" or regression)
        if not supervised and not soft:
            return Batch(inputs, None, ids)
        with evaluation_mode(self._outputs.module):
            outputs: Tensor = functional_call(self._outputs, self._copied_network, (inputs, ids))
        targets = None if not supervised else outputs if regression else outputs.argmax(1)
        if not soft:
            return Batch(inputs, targets, ids)
        ones = inputs.new_ones(len(inputs))
        return Batch(inputs, targets, ids, torch.zeros_like(ones), outputs, ones)

    def _update_vae(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Make one training step of the separate VAE, after the learner's step."""
        batch, replayed, self._replayed = self._host.batch, self._replayed, None
        if not self.batch_size or batch is None:
            return
        check_range(batch.inputs, self.likelihood, "method generative_replay: likelihood", first=not self._in_range)
        self._in_range = True
        x = batch.inputs if replayed is None else torch.cat((batch.inputs, replayed))
        decoded, mean, log_variance = self._vae(x, self._sample_noise(len(x)))
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
            "draws": self._noise_generator.get_state(),
            "vae": dict(self._vae.state_dict()) if own else None,
            "optimizer": self._optimizer.state_dict() if own else None,
            "copied_vae": None if self._copied_vae is None else dict(self._copied_vae.state_dict()),
            "copied_network": dict(self._copied_network),
            "tasks": list(self._tasks),
            "experiences": self._experiences,
            "in_range": self._in_range,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._in_range = state["in_range"]
        self._noise_generator.set_state(state["draws"])
        if self.generator == "own":
            self._vae.load_state_dict(state["vae"])
            self._optimizer.load_state_dict(state["optimizer"])
        self._copied_vae = None
        if state["copied_vae"] is not None:
            self._copied_vae = _frozen_copy(self._vae)
            self._copied_vae.load_state_dict(state["copied_vae"])
        device = device_of(self._host)
        self._copied_network = {name: tensor.to(device) for name, tensor in state["copied_network"].items()}
        self._tasks, self._experiences = list(state["tasks"]), state["experiences"]


def _frozen_copy(vae: VaeModule) -> VaeModule:
    copied = copy.deepcopy(vae)
    copied.eval().requires_grad_(False)
    return copied


def _tasks_of(experience: Experience) -> set[int]:
    """Return the visible task ids of an experience."""
    tasks: set[int] = set()
    for part in experience.parts:
        if part.arrays.task_ids is not None:
            tasks.update(part.arrays.task_ids.tolist())
        elif part.task_id is not None:
            tasks.add(part.task_id)
    return tasks
