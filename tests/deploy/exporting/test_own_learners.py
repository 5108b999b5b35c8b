"""A learner of a user's own is exported, asked, served and updated by what it says itself, or refused by its reason."""

from __future__ import annotations

import ast
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rlcl.deploy
from rlcl.commands import main
from rlcl.deploy.exporting.graphs import array_graph, check_outputs, policy_graph
from rlcl.errors import Problem, UnsupportedError
from rlcl.registry import entries, find
from rlcl.streams.stream import Stream
from rlcl.types import Exportable, Graph, StreamSpec

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
from server_harness import serving

PACKAGE = Path(rlcl.deploy.__file__).parent
# One derives from the loop for losses; the other has nothing but the members of the protocol, and no methods.
OWN = '''
import attrs
import torch
import torch.nn.functional as F

from rlcl.learners.gradient import GradientLearner
from rlcl.learners.inference_graphs import classifier_graph
from rlcl.types import Event, Graph, Learner, Position


class Hinge(GradientLearner):
    kind, measures, needs = "categorical", ("accuracy",), frozenset({"labelled"})

    def build_module(self, setup, shape):
        return self.network.build(shape, setup.spec.classes, 1)

    def outputs(self, x, task_ids=None):
        return self.module(x)

    def loss(self, batch):
        return F.multi_margin_loss(self.outputs(batch.inputs), batch.targets)

    def predict(self, x, task_id=None, state=None):
        with self.predicting(task_id):
            return torch.cat([self.outputs(part).argmax(1) for part, _ in self.chunks(x, task_id)]).cpu(), None

    def graph(self, tasks):
        return classifier_graph(self)


class Means(Learner):
    """Sums of each class; the nearest mean is predicted."""

    measures, resumable_within = ("accuracy",), False

    def __init__(self):
        self.position = Position()

    def prepare(self, setup):
        self.encoder, classes = setup.encoder, setup.spec.classes
        self.sums = torch.zeros(classes, 64, dtype=torch.float64)
        self.counts = torch.zeros(classes, 1, dtype=torch.float64)

    def learn(self, experience):
        x, y = experience.train.read()
        self.encoder.fit(x)
        self.sums.index_add_(0, y, self.encoded(x))
        self.counts.index_add_(0, y, torch.ones(len(y), 1, dtype=torch.float64))
        self.position = Position(experience=experience.index + 1, step=self.position.step + 1)
        yield Event(self.position.step, {"samples": float(self.counts.sum())})

    def encoded(self, x):
        return self.encoder.encode(torch.as_tensor(x)).flatten(1).double()

    def means(self):
        return torch.where(self.counts > 0, self.sums / self.counts.clamp(min=1), torch.inf)

    def predict(self, x, task_id=None, state=None):
        return (self.encoded(x)[:, None] - self.means()).square().sum(2).argmin(1), None

    def state_dict(self):
        state = {"sums": self.sums, "counts": self.counts, "encoder": self.encoder.state_dict()}
        return {**state, "position": attrs.asdict(self.position)}

    def load_state_dict(self, state):
        self.sums, self.counts, self.position = state["sums"], state["counts"], Position(**state["position"])
        self.encoder.load_state_dict(state["encoder"])

    def graph(self, tasks):
        return Graph(kind="classifier", module=Nearest(self))

    grows = True

    def grown(self, state):
        more = len(self.sums) - len(state["sums"])
        return {**state, **{key: F.pad(state[key], (0, 0, 0, more)) for key in ("sums", "counts")}}


class Nearest(torch.nn.Module):
    def __init__(self, learner):
        super().__init__()
        self.learner = learner
        self.register_buffer("means", learner.means())

    def forward(self, x):
        distances = (self.learner.encoded(x)[:, None] - self.means).square().sum(2)
        return distances.argmin(1), (-distances).softmax(1).float()
'''
STREAM = "stream: {type: class_incremental, data: {type: digits}, experiences: 2}\nencoder: {type: scale}\n"
HINGE = (
    "learner: {type: 'FOLDER/own.py:Hinge', network: {type: mlp, hidden: [32]}, optimizer: {type: adam, lr: 0.01}}\n"
)
TEXTS = {
    "Hinge": f"{HINGE}budget: {{updates: 30}}",
    "Means": "learner: {type: 'FOLDER/own.py:Means'}\nbudget: {epochs: 1}",
}


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    printed = "".join(capsys.readouterr())
    assert not ended.value.code, printed
    return printed


@pytest.mark.parametrize("name", TEXTS)
def test_it_is_exported_predicted_with_served_and_updated(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    Path("own.yaml").write_text(f"name: own\n{STREAM}{TEXTS[name].replace('FOLDER', str(tmp_path))}\n")
    told(capsys, "run", "own.yaml", "-q")
    assert "0 ties" in told(capsys, "export", "own")
    model = rlcl.deploy.load("bundles/own")
    assert ("classifier", 10) == (model.signature.kind, len(model.signature.classes))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 17, (40, 1, 8, 8)).astype(np.float32)
    np.save("images.npy", images)
    told(capsys, "predict", "bundles/own", "images.npy", "-o", "classes.npy")
    assert model.predict(images).tolist() == np.load("classes.npy").tolist()
    with serving(tmp_path / "bundles/own") as server:
        body = json.dumps({"inputs": images[:3].tolist()}).encode()
        request = urllib.request.Request(f"{server.url}/predict", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert model.predict(images[:3]).tolist() == json.load(answer)["class"]
    # An eleventh class: black above, bright below.
    stripes = np.zeros((60, 1, 8, 8), np.float32)
    stripes[:, :, 4:] = 16
    stripes += rng.uniform(0, 0.5, stripes.shape).astype(np.float32)
    np.savez("new.npz", x=stripes, y=["stripes"] * 60)
    printed = told(capsys, "update", "bundles/own", "--from", "new.npz", "--forgetting", "0.9", "--slower", "9")
    assert "new class stripes" in printed
    candidate = rlcl.deploy.load("bundles/own.live/candidates/0001")
    assert (*model.signature.classes, "stripes") == candidate.signature.classes
    assert (candidate.predict(stripes) == 10).mean() > 0.9


class Plain:
    """Has nothing to say."""


class Silent(Exportable):
    """Says nothing."""


class Says(Exportable):
    """Gives whatever it is told to."""

    def __init__(self, graph: Graph) -> None:
        self.made = graph

    def graph(self, tasks: int) -> Graph:
        return self.made


class Gives(torch.nn.Module):
    """Gives the same whatever it is asked."""

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found

    def forward(self, x: torch.Tensor) -> Any:
        return self.found


STREAMLESS = Stream((), StreamSpec(kind="labelled", observation_shape=(2,)))
ROW = torch.zeros(3, 2)


@pytest.mark.parametrize("learner", [Plain(), Silent()], ids=["plain", "silent"])
def test_one_that_says_nothing_is_refused_by_its_name_with_the_remedy(learner: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"^learner .*(Plain|Silent) cannot be exported: .*write its method"):
        array_graph(learner, STREAMLESS)


def test_a_policy_acts_and_nothing_else_does() -> None:
    policy = Says(Graph(kind="policy", module=Gives((ROW,))))
    with pytest.raises(UnsupportedError, match="its graph is of the kind policy, but it was trained on arrays"):
        array_graph(policy, STREAMLESS)
    with pytest.raises(
        UnsupportedError, match="its graph is of the kind regressor, but it was trained in environments"
    ):
        policy_graph(Says(Graph(kind="regressor", module=Gives((ROW,)))), None)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (ROW, r"must return a tuple of 2 \(class, probabilities\); it returned a Tensor"),
        ((ROW[:, 0],), "it returned a tuple of 1"),
        (
            (ROW[:, 0], ROW[:2]),
            r"must return one entry of probabilities per row; it returned the shape \(2, 2\) for 3 rows",
        ),
    ],
    ids=["tensor", "one", "rows"],
)
def test_other_outputs_than_those_of_its_kind_are_refused(found: Any, reason: str) -> None:
    learner = Says(Graph(kind="classifier", module=Gives(found)))
    with pytest.raises(UnsupportedError, match=reason):
        check_outputs(learner, array_graph(learner, STREAMLESS), [ROW])


def test_a_graph_is_of_a_kind_that_there_is() -> None:
    with pytest.raises(
        Problem, match="kind of a graph: expected one of classifier, regressor, autoencoder, policy, got 'oracle'"
    ):
        Graph(kind="oracle", module=Gives(None))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", entries("learner"))
def test_every_built_in_learner_says_what_its_graph_is_or_why_there_is_none(name: str) -> None:
    learner = find("learner", name)
    assert Exportable in learner.__mro__
    assert learner.graph is not Exportable.graph


def test_exporting_knows_no_learner_encoder_or_network() -> None:
    known = {"rlcl.learners", "rlcl.encoders", "rlcl.networks"}
    found = {
        f"{path.name}: {node.module}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and ".".join(node.module.split(".")[:2]) in known
    }
    assert set() == found
