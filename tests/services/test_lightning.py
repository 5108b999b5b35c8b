"""Modules of Lightning that a callback protects: the weights are those of a loop of one's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from guides import shown_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import rlcl
from rlcl.errors import RlclError
from rlcl.protection.lightning import Protection
from rlcl.types import Method

from lightning.pytorch import LightningModule, Trainer  # isort: skip

X, Y = torch.rand(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
TASKS = [DataLoader(TensorDataset(X[part], Y[part]), batch_size=5) for part in (slice(0, 20), slice(20, 40))]


class Net(LightningModule):
    def __init__(self, fresh: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        self.optimizer, self.fresh = self._made(), fresh

    def _made(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.network.parameters(), 0.1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x)
        return out

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = (batch["x"], batch["y"]) if isinstance(batch, dict) else batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self._made() if self.fresh else self.optimizer


def trainer(folder: Path, protection: Protection, **settings: Any) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    return Trainer(callbacks=[protection], default_root_dir=folder, **{"max_epochs": 2, **quiet, **settings})


def by_hand(*methods: Method, accumulate: int = 1) -> dict[str, Tensor]:
    net = Net()
    guard = rlcl.protect(net, net.optimizer, methods, loss=F.cross_entropy)
    for task in TASKS:
        with guard.experience(task, updates=2 * len(task) // accumulate):
            for _ in range(2):
                net.optimizer.zero_grad()
                for index, (x, y) in enumerate(task):
                    guard.see(x, y)
                    (F.cross_entropy(net(x), y) / accumulate).backward()
                    if (index + 1) % accumulate == 0:
                        net.optimizer.step()
                        net.optimizer.zero_grad()
    return dict(net.network.state_dict())


def methods() -> list[Method]:
    return [rlcl.Rehearsal(capacity=10), rlcl.Ewc(strength=10.0), rlcl.Si(strength=1.0)]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_weights_are_those_of_a_loop_of_ones_own(tmp_path: Path, accumulate: int) -> None:
    net, protection = Net(), Protection(methods(), loss=F.cross_entropy)
    for task in TASKS:
        trainer(tmp_path, protection, enable_checkpointing=False, accumulate_grad_batches=accumulate).fit(net, task)
    assert protection.guard is not None
    assert 2 == protection.guard.experiences
    torch.testing.assert_close(dict(net.network.state_dict()), by_hand(*methods(), accumulate=accumulate))
    free, nothing = Net(), Protection([rlcl.L2Init(strength=0.0)])
    for task in TASKS:
        trainer(tmp_path, nothing, enable_checkpointing=False).fit(free, task)
    assert not torch.equal(free.network[0].weight, net.network[0].weight)


def test_a_checkpoint_continues_the_experience(tmp_path: Path) -> None:
    net, protection = Net(), Protection(methods(), loss=F.cross_entropy)
    trainer(tmp_path, protection, enable_checkpointing=False).fit(net, TASKS[0])
    first = trainer(tmp_path, protection, max_epochs=1, enable_checkpointing=False)
    first.fit(net, TASKS[1])
    first.save_checkpoint(tmp_path / "ended.ckpt")
    resumed, restored = Net(), Protection(methods(), loss=F.cross_entropy)
    trainer(tmp_path, restored, max_epochs=3, enable_checkpointing=False).fit(
        resumed, TASKS[0], ckpt_path=tmp_path / "ended.ckpt"
    )
    assert restored.guard is not None
    assert 3 == restored.guard.experiences
    assert protection.guard is not None
    before = protection.guard.quantities()["ewc/penalty"]
    assert restored.guard.quantities()["ewc/penalty"] != before


def test_minibatches_of_another_form_are_split_by_a_function(tmp_path: Path) -> None:
    rows = [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)]
    net = Net()
    protection = Protection(methods(), loss=F.cross_entropy, minibatch=lambda batch: (batch["x"], batch["y"]))
    trainer(tmp_path, protection, enable_checkpointing=False).fit(net, DataLoader(rows, batch_size=10))  # type: ignore[arg-type]
    assert protection.guard is not None
    assert 10 == protection.guard.quantities()["rehearsal/memory_examples"]


def test_the_guide_keeps_what_it_learned(tmp_path: Path) -> None:
    file = shown_file("protect-a-model.md", "lightning_digits.py", tmp_path)
    # Compiled operators of torchvision may not fit to torch; the import of rlcl comes first.
    code = f"import rlcl.protection.lightning, runpy; runpy.run_path({str(file)!r})"
    printed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert printed.stdout.splitlines()[-1] in ("accuracy 0.9", "accuracy 1.0")


def test_another_optimizer_is_refused(tmp_path: Path) -> None:
    net, protection = Net(fresh=True), Protection(methods(), loss=F.cross_entropy)
    trainer(tmp_path, protection, enable_checkpointing=False).fit(net, TASKS[0])
    with pytest.raises(RlclError, match="configure_optimizers returned another optimizer than in the first fit"):
        trainer(tmp_path, protection, enable_checkpointing=False).fit(net, TASKS[1])
