"""Rehearsal of inputs as the source gives them."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
import torch
from attrs import frozen
from harness import (
    autoencoder,
    classifier,
    differences,
    digit_stream,
    learn_all,
    learn_one,
    learning,
    prepared,
    restore,
    snapshot,
)

from rlcl.data.sources import Data
from rlcl.encoders.compose import Compose
from rlcl.encoders.flatten import Flatten
from rlcl.encoders.scale import Scale
from rlcl.encoders.standardize import Standardize
from rlcl.errors import UnsupportedError
from rlcl.methods.rehearsal import Rehearsal
from rlcl.seeding import Seeds
from rlcl.streams.permuted import Permuted
from rlcl.streams.stream import Stream
from rlcl.types import BoundaryPolicy, Budget


@frozen
class Bytes:
    """52 random images of bytes, 13 of each of four classes."""

    def load(self) -> Data:
        x = np.random.default_rng(0).integers(0, 256, (52, 1, 8, 8), dtype=np.uint8)
        y = np.arange(52) % 4
        return Data(x, y, x[:8], y[:8], "bytes")


@frozen
class Rising:
    """Class k has the inputs 10 k and 10 k + 2."""

    def load(self) -> Data:
        x = np.array([[0], [2], [10], [12]], np.float32)
        return Data(x, [0, 0, 1, 1], x, [0, 0, 1, 1], "rising")


def images(**settings: Any) -> Stream:
    return digit_stream(2, data=Bytes(), **settings)


SETTINGS: dict[str, dict[str, Any]] = {
    "reservoir": {"capacity": 9},
    "experience": {"capacity": 9, "fill": "experience"},
    "class_balanced": {"capacity": 9, "memory": "class_balanced"},
    "ring": {"per_class": 3, "memory": "ring"},
    "herding": {"capacity": 9, "memory": "herding", "fill": "experience"},
    "gss": {"capacity": 9, "memory": "gss", "compared": 3},
    "sum": {"capacity": 9, "mixing": "sum"},
}


def learned(stored: Any, settings: dict[str, Any], encoder: Any, stream: Stream, make: Any = classifier) -> Any:
    method = Rehearsal(batch_size=4, stored=stored, **settings)
    learner = prepared(make(method), stream, encoder=encoder())
    learn_all(learner, stream)
    return learner


@pytest.mark.parametrize("encoder", [Scale, Standardize, lambda: Compose((Scale(), Flatten()))])
@pytest.mark.parametrize("name", SETTINGS)
def test_weights_equal_those_with_encoded_inputs_bit_for_bit(name: str, encoder: Any) -> None:
    first, second = (learned(stored, SETTINGS[name], encoder, images()) for stored in ("encoded", "raw"))
    assert [] == differences(snapshot(first)["learner"]["module"], snapshot(second)["learner"]["module"])
    held = [learner.methods[0].memory.held() for learner in (first, second)]
    assert (torch.float32, torch.uint8) == (held[0]["inputs"].dtype, held[1]["inputs"].dtype)
    assert torch.equal(held[0]["inputs"], second.encoder.encode(held[1]["inputs"]))
    assert torch.equal(held[0]["targets"], held[1]["targets"])


def test_it_serves_learners_without_targets_and_hidden_boundaries() -> None:
    stream = images(boundaries="hidden")
    first, second = (learned(s, {"capacity": 9}, Scale, stream, autoencoder) for s in ("encoded", "raw"))
    assert [] == differences(snapshot(first)["learner"]["module"], snapshot(second)["learner"]["module"])


def test_a_transformed_source_gives_what_it_is_transformed_to() -> None:
    stream = Permuted(data=Bytes(), experiences=2).make(Seeds(0), Budget(epochs=1))
    first, second = (learned(stored, {"capacity": 30}, Scale, stream) for stored in ("encoded", "raw"))
    assert [] == differences(snapshot(first)["learner"]["module"], snapshot(second)["learner"]["module"])


@pytest.mark.parametrize(("stored", "each"), [("encoded", 4 * 64 + 8), ("raw", 64 + 8)])
def test_bytes_stay_bytes_and_a_size_in_bytes_holds_more_of_them(stored: Any, each: int) -> None:
    learner = learned(stored, {"capacity_bytes": 1000}, Scale, images())
    memory = learner.methods[0].memory
    assert 1000 // each == len(memory)
    assert each * len(memory) == memory.bytes <= 1000


@pytest.mark.parametrize(("stored", "mean"), [("encoded", 1.0), ("raw", 6.0)])
def test_what_is_drawn_is_seen_by_the_present_fit(stored: Any, mean: float) -> None:
    # The running mean is 1 after the first experience, and 6 when the second begins.
    stream = digit_stream(2, data=Rising(), budget=Budget(epochs=2))
    method = Rehearsal(capacity=2, batch_size=2, stored=stored, fill="experience")
    encoder = Standardize(fit_on="running", clip=None, epsilon=1e-12)
    learner = prepared(classifier(method), stream, encoder=encoder)
    learn_one(learner, stream)
    next(learning(learner, stream))
    joined = learner._attached.extra(learner.batch)
    expected = sorted((value - mean) * (1.0 if mean == 1 else float(encoder._scale)) for value in (0, 2))
    assert pytest.approx(expected) == sorted(joined.inputs[2:].flatten().tolist())


@pytest.mark.parametrize("name", ["reservoir", "ring", "gss", "experience"])
@pytest.mark.parametrize("updates", [3, 6, 8])
def test_interrupted_it_ends_the_same(name: str, updates: int) -> None:
    stream = images()

    def new(seed: int = 0) -> Any:
        method = Rehearsal(batch_size=4, stored="raw", **SETTINGS[name])
        return prepared(classifier(method), stream, encoder=Standardize(fit_on="running"), seed=seed)

    through = new()
    learn_all(through, stream)
    expected = snapshot(through)
    stopped = new()
    for _ in zip(range(updates), learning(stopped, stream), strict=False):
        pass
    state = snapshot(stopped)
    fresh = new(7)
    restore(fresh, state)
    learn_all(fresh, stream)
    assert [] == differences(expected, snapshot(fresh))


def test_a_memory_that_is_emptied_takes_inputs_of_another_type() -> None:
    stream = images()
    second = stream[1]
    changed = attrs.evolve(second, train=second.train.transformed(torch.Tensor.float))  # type: ignore[union-attr]
    stream = attrs.evolve(stream, experiences=(stream[0], changed))
    method = Rehearsal(capacity=9, stored="raw")
    learn_all(prepared(classifier(method), stream, encoder=Scale(), boundary=BoundaryPolicy(memory="reset")), stream)
    assert torch.float32 == method.memory.held()["inputs"].dtype
    with pytest.raises(UnsupportedError, match=r"keeps torch.uint8 inputs, and this experience has torch.float32"):
        learn_all(prepared(classifier(Rehearsal(capacity=9, stored="raw")), stream, encoder=Scale()), stream)


def test_a_host_without_raw_inputs_is_refused() -> None:
    host: Any = object()
    assert "the learner gives encoded ones alone; set stored: encoded" in (
        Rehearsal(capacity=9, stored="raw").refuses(host) or ""
    )
    assert Rehearsal(capacity=9).refuses(host) is None
