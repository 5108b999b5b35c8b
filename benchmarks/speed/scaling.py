"""Measure whether the time and the peak memory of an experience grow with the number of earlier experiences.

Permuted MNIST, MLP 100-100, batch 128, one epoch of 6,000 images per experience, one thread. The time of an experience
is that of training on it. It excludes evaluation, whose time grows with the number of evaluated experiences. Each run
is a separate process, so that the peak memory is that of the run.

    python benchmarks/speed/scaling.py
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from attrs import frozen
from interleaved import RESULTS

from rlcl.data.readers.torchvision import Mnist
from rlcl.data.sources import Data
from rlcl.encoders.scale import Scale
from rlcl.evaluation.plan import Plan
from rlcl.learners.optimizers import Sgd
from rlcl.learners.supervised.classifier import Classifier
from rlcl.methods.ewc import Ewc
from rlcl.methods.rehearsal import Rehearsal
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds
from rlcl.streams.permuted import Permuted
from rlcl.training.trainer import Trainer
from rlcl.types import Budget, Method

METHODS: Mapping[str, Callable[[], tuple[Method, ...]]] = {
    "naive": tuple,
    "rehearsal 500": lambda: (Rehearsal(capacity=500, batch_size=128),),
    "ewc": lambda: (Ewc(strength=1.0, samples=500),),
}
COUNTS = (5, 50)


@frozen
class FewMnist:
    """A tenth of the training images of MNIST."""

    def load(self) -> Data:
        data = Mnist().load()
        return Data(data.train_inputs[:6000], data.train_labels[:6000], data.test_inputs, data.test_labels, "mnist")


def learn(method: str, experiences: int) -> dict[str, object]:
    """Train, and return the seconds of each experience and the peak memory of the process in MiB."""
    torch.set_num_threads(1)
    stream = Permuted(data=FewMnist(), experiences=experiences).make(Seeds(0), Budget(epochs=1))
    learner = Classifier(
        network=Mlp(hidden=(100, 100)), optimizer=Sgd(lr=0.1), batch_size=128, methods=METHODS[method]()
    )
    trainer = Trainer(learner, stream, Plan(every="end", before=False), encoder=Scale(maximum=255.0))
    seconds = []
    for experience in trainer._experiences:
        started = time.process_time()
        for _ in learner.learn(experience):
            pass
        seconds.append(time.process_time() - started)
    return {"seconds": seconds, "mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    if len(sys.argv) == 3:
        print(json.dumps(learn(sys.argv[1], int(sys.argv[2]))))
        return
    rows = {}
    print(f"{'method':16} {'last ten beside first ten':>26} {'slope an experience':>20} {'MiB, 5':>8} {'MiB, 50':>8}")
    for method in METHODS:
        found = {}
        for count in COUNTS:
            done = subprocess.run(
                [sys.executable, __file__, method, str(count)], capture_output=True, text=True, check=True
            )
            found[count] = json.loads(done.stdout)
        seconds = np.array(found[50]["seconds"])
        ratio = float(np.median(seconds[-10:]) / np.median(seconds[1:11]))  # the first experience warms up
        slope = float(np.polyfit(np.arange(1, 50), seconds[1:] / np.median(seconds[1:]), 1)[0])
        rows[method] = {
            "last_ten_beside_first_ten": ratio,
            "slope": slope,
            "mebibytes": {count: found[count]["mebibytes"] for count in COUNTS},
            "seconds": [round(s, 4) for s in seconds],
        }
        sizes = [found[count]["mebibytes"] for count in COUNTS]
        print(f"{method:16} {ratio:26.3f} {slope:20.2%} {sizes[0]:8.0f} {sizes[1]:8.0f}")
    content = {"command": "python benchmarks/speed/scaling.py", "torch": torch.__version__, "rows": rows}
    (RESULTS / "speed_scaling.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
