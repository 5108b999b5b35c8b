"""Measure the speed of methods, compared with Avalanche's methods and with bare PyTorch loops of the same methods.

Split MNIST, SGD, one thread, no evaluation within training. The time includes boundaries (Fisher information,
memories). There are two sizes: MLP 400-400 with minibatches of 128 over five experiences, whose updates are mostly
matrix products, and MLP 100-100 with minibatches of 10 over two experiences, as in Buzzega et al. 2020. Ours and
Avalanche start from the bytes of MNIST, Avalanche with its own SplitMNIST. "From tensors" passes the encoded float
tensors of the bare loops to Avalanche. Avalanche's GEM needs quadprog; GEM is left out if quadprog is not installed.
The bare loop of rehearsal is in continual.py.

    python benchmarks/speed/methods.py [repetitions]
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from interleaved import measure, ratio, report
from split_mnist import (
    LARGE,
    LR,
    SMALL,
    TRAIN,
    Work,
    avalanche_modules,
    benchmark_of,
    network,
    ours,
    split_mnist,
    theirs,
)
from torch import Tensor, nn

from rlcl.methods.a_gem import AGem
from rlcl.methods.ewc import Ewc
from rlcl.methods.gem import Gem, cone_weights
from rlcl.methods.lwf import Lwf
from rlcl.methods.rehearsal import Rehearsal
from rlcl.methods.si import Si

MEMORY = 256  # examples per experience
AT_LEAST = {"ewc": 4.0, "si": 2.5, "lwf": 2.5, "a_gem": 2.5, "gem": 2.5, "rehearsal": 2.5}
LIMIT = 0.85  # required speed relative to the bare loop


class Bare:
    """A training loop as a researcher would write it by hand, with hooks that methods override."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.module = network(work)
        self.parameters = list(self.module.parameters())
        self.rng = torch.Generator().manual_seed(0)

    def train(self) -> None:
        optimizer = torch.optim.SGD(self.parameters, lr=LR)
        size = self.work.batch
        for x, y in TRAIN[: self.work.experiences]:
            self.begin()
            order = torch.randperm(len(x), generator=self.rng)
            for start in range(0, len(x), size):
                chosen = order[start : start + size]
                a, b = x[chosen], y[chosen]
                optimizer.zero_grad()
                logits = self.module(a)
                loss = F.cross_entropy(logits, b) + self.penalty(a, logits)
                loss.backward()
                self.before_step()
                optimizer.step()
                self.after_step()
            self.end(x, y)

    def begin(self) -> None: ...
    def penalty(self, x: Tensor, logits: Tensor) -> Any:
        return 0.0

    def before_step(self) -> None: ...
    def after_step(self) -> None: ...
    def end(self, x: Tensor, y: Tensor) -> None: ...


class BareEwc(Bare):
    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.pull: list[Tensor] = [torch.zeros_like(p) for p in self.parameters]
        self.anchor: list[Tensor] = [p.detach().clone() for p in self.parameters]

    def before_step(self) -> None:
        with torch.no_grad():
            for p, pull, anchor in zip(self.parameters, self.pull, self.anchor, strict=True):
                assert p.grad is not None
                p.grad += pull * (p - anchor)

    def end(self, x: Tensor, y: Tensor) -> None:
        fisher = [torch.zeros_like(p) for p in self.parameters]
        size = self.work.batch
        starts = range(0, len(x), size)
        for start in starts:
            loss = F.cross_entropy(self.module(x[start : start + size]), y[start : start + size])
            for total, g in zip(fisher, torch.autograd.grad(loss, self.parameters), strict=True):
                total.add_(g.square())
        for i, p in enumerate(self.parameters):
            new = 2 * fisher[i] / len(starts)
            total = self.pull[i] + new
            self.anchor[i] = (self.pull[i] * self.anchor[i] + new * p.detach()) / total.clamp(min=1e-30)
            self.pull[i] = total


class BareSi(Bare):
    def begin(self) -> None:
        if not hasattr(self, "omega"):
            self.omega = [torch.zeros_like(p) for p in self.parameters]
        self.path = [torch.zeros_like(p) for p in self.parameters]
        self.start = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def before_step(self) -> None:
        self.old = [p.clone() for p in self.parameters]
        self.own = [p.grad.clone() for p in self.parameters if p.grad is not None]
        for p, omega, start in zip(self.parameters, self.omega, self.start, strict=True):
            assert p.grad is not None
            p.grad += 2 * omega * (p - start)

    @torch.no_grad()
    def after_step(self) -> None:
        for p, path, own, old in zip(self.parameters, self.path, self.own, self.old, strict=True):
            path.sub_(own * (p - old))

    @torch.no_grad()
    def end(self, x: Tensor, y: Tensor) -> None:
        for p, path, omega, start in zip(self.parameters, self.path, self.omega, self.start, strict=True):
            omega.add_(path / ((p - start).square() + 0.1))


class BareLwf(Bare):
    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.teacher: nn.Module | None = None
        self.classes: list[int] = []

    def penalty(self, x: Tensor, logits: Tensor) -> Any:
        if self.teacher is None:
            return 0.0
        with torch.no_grad():
            q = (self.teacher(x)[:, self.classes] / 2).softmax(1)
        return -(q * (logits[:, self.classes] / 2).log_softmax(1)).sum(1).mean()

    def end(self, x: Tensor, y: Tensor) -> None:
        self.teacher = network(self.work)
        self.teacher.load_state_dict(self.module.state_dict())
        self.classes = sorted({*self.classes, *y.unique().tolist()})


class BareGem(Bare):
    """GEM, or with ``average`` A-GEM, whose single reference gradient is that of a batch from all memories."""

    def __init__(self, work: Work, average: bool) -> None:
        super().__init__(work)
        self.average = average
        self.memories: Any = []

    def reference(self, x: Tensor, y: Tensor) -> Tensor:
        loss = F.cross_entropy(self.module(x), y)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, self.parameters)])

    def before_step(self) -> None:
        if not self.memories:
            return
        gradient = torch.cat([p.grad.flatten() for p in self.parameters if p.grad is not None])
        if self.average:
            x, y = (torch.cat(columns) for columns in zip(*self.memories, strict=True))
            drawn = torch.randperm(len(x), generator=self.rng)[: self.work.batch]
            reference = self.reference(x[drawn], y[drawn])
            product = gradient.dot(reference)
            if product >= 0:
                return
            gradient -= product / reference.dot(reference) * reference
        else:
            references = torch.stack([self.reference(*memory) for memory in self.memories])
            products = references @ gradient
            if not (products < 0).any():
                return
            gram = (references @ references.T).double().numpy()
            weights = cone_weights(gram, products.double().numpy(), 0.5)
            gradient += torch.from_numpy(weights).float() @ references
        start = 0
        for p in self.parameters:
            assert p.grad is not None
            p.grad.copy_(gradient[start : start + p.numel()].view_as(p))
            start += p.numel()

    def end(self, x: Tensor, y: Tensor) -> None:
        kept = torch.randperm(len(x), generator=self.rng)[:MEMORY]
        self.memories.append((x[kept], y[kept]))


Contestant = tuple[Any, tuple[str, dict[str, Any]], Any]


def contestants(work: Work) -> dict[str, Contestant]:
    """Return by method: ours, Avalanche's strategy with its options, and the bare loop."""
    batch, memories = work.batch, work.experiences * MEMORY
    return {
        "ewc": (
            lambda: Ewc(strength=2.0, fisher="batch", batch_size=batch, samples=None),
            ("EWC", {"ewc_lambda": 1.0}),
            lambda: BareEwc(work),
        ),
        "si": (lambda: Si(strength=1.0), ("SynapticIntelligence", {"si_lambda": 1.0}), lambda: BareSi(work)),
        "lwf": (lambda: Lwf(strength=1.0), ("LwF", {"alpha": 1.0, "temperature": 2.0}), lambda: BareLwf(work)),
        "a_gem": (
            lambda: AGem(capacity=memories, batch_size=batch),
            ("AGEM", {"patterns_per_exp": MEMORY, "sample_size": batch}),
            lambda: BareGem(work, average=True),
        ),
        "gem": (
            lambda: Gem(per_experience=MEMORY),
            ("GEM", {"patterns_per_exp": MEMORY, "memory_strength": 0.5}),
            lambda: BareGem(work, average=False),
        ),
        "rehearsal": (
            lambda: Rehearsal(capacity=500, batch_size=batch),
            ("Replay", {"mem_size": 500}),
            None,  # in continual.py
        ),
    }


PEERS = (("theirs", "Avalanche"), ("from tensors", "Avalanche from tensors"), ("bare", "bare loop"))
WORKS = {"MLP 400-400": LARGE, "MLP 100-100": SMALL}


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    torch.set_num_threads(1)
    np.seterr(all="ignore")
    avalanche = avalanche_modules()
    own, tensors = split_mnist(avalanche), benchmark_of(avalanche)
    rows: dict[str, Any] = {}
    targets: dict[str, float | None] = {}
    for size, work in WORKS.items():
        for name, (method, (strategy, options), bare) in contestants(work).items():
            if name == "gem" and importlib.util.find_spec("quadprog") is None:
                print("gem is left out: Avalanche's needs quadprog (pip install quadprog)")
                continue
            runs = {
                "ours": lambda make=method, w=work: ours(make(), work=w),
                "theirs": lambda s=strategy, o=options, w=work: theirs(avalanche, own, s, w, **o),
                "from tensors": lambda s=strategy, o=options, w=work: theirs(avalanche, tensors, s, w, **o),
            }
            if bare is not None:
                runs["bare"] = lambda make=bare: make().train()
            seconds = measure(runs, n)
            for peer, words in PEERS:
                if peer in seconds:
                    rows[f"{name}, {size}, {words}"] = ratio(seconds, "ours", peer)
                    targets[f"{name}, {size}, {words}"] = {"theirs": AT_LEAST[name], "bare": LIMIT}.get(peer)
            print(name, size, {peer: round(float(np.median(s)), 2) for peer, s in seconds.items()}, flush=True)
    report("speed_methods", rows, targets, f"python benchmarks/speed/methods.py {n}")


if __name__ == "__main__":
    main()
