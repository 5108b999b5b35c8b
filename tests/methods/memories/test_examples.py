"""Examples whose inputs are kept as the source gives them, by every method and learner that keeps some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from attrs import frozen
from harness import (
    HOSTS,
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
from rlcl.errors import Problem, UnsupportedError
from rlcl.learners.supervised.gdumb import GDumb
from rlcl.learners.supervised.icarl import ICarl
from rlcl.methods.a_gem import AGem
from rlcl.methods.der import Der, DerPlusPlus
from rlcl.methods.distill import Distill
from rlcl.methods.gem import Gem
from rlcl.methods.mir import Mir
from rlcl.methods.rehearsal import Rehearsal
from rlcl.networks.mlp import Mlp
from rlcl.seeding import Seeds
from rlcl.streams.permuted import Permuted
from rlcl.streams.stream import Stream
from rlcl.types import BoundaryPolicy, Budget, DataSet


@frozen
class Bytes(DataSet):
    """52 random images of bytes, 13 of each of four classes."""

    def load(self) -> Data:
        x = np.random.default_rng(0).integers(0, 256, (52, 1, 8, 8), dtype=np.uint8)
        y = np.arange(52) % 4
        return Data(x, y, x[:8], y[:8], "bytes")


@frozen
class Rising(DataSet):
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
    held = [learner.methods[0].memory.contents() for learner in (first, second)]
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
    assert torch.float32 == method.memory.contents()["inputs"].dtype
    with pytest.raises(UnsupportedError, match=r"keeps torch.uint8 inputs, and this experience has torch.float32"):
        learn_all(prepared(classifier(Rehearsal(capacity=9, stored="raw")), stream, encoder=Scale()), stream)


def test_a_host_without_raw_inputs_is_refused() -> None:
    host: Any = object()
    assert "the learner provides encoded inputs only; set stored: encoded" in (
        Rehearsal(capacity=9, stored="raw").refuses(host) or ""
    )
    assert Rehearsal(capacity=9).refuses(host) is None


def icarl(*methods: Any, **settings: Any) -> Any:
    return ICarl(network=Mlp(hidden=(16,)), batch_size=8, methods=methods, **settings)


def gdumb(**settings: Any) -> Any:
    return GDumb(network=Mlp(hidden=(16,)), batch_size=8, epochs=2, **settings)


# Every learner that keeps examples, or whose method does, by the settings of its memory.
KEEPERS: Mapping[str, Callable[..., Any]] = {
    "rehearsal": lambda **s: classifier(Rehearsal(batch_size=4, **s)),
    "der": lambda **s: classifier(Der(batch_size=4, **s)),
    "der_plus_plus": lambda **s: classifier(DerPlusPlus(batch_size=4, **s)),
    "der_plus_plus in passes of its own": lambda stored="encoded", **s: icarl(
        DerPlusPlus(batch_size=4, stored=stored, **s), capacity=8, stored=stored
    ),
    "mir": lambda **s: classifier(Mir(batch_size=2, candidates=4, **s)),
    "a_gem": lambda **s: classifier(AGem(batch_size=4, **s)),
    "a_gem of minibatches": lambda **s: classifier(AGem(batch_size=4, fill="minibatches", **s)),
    "distill": lambda **s: classifier(Distill(batch_size=4, **s)),
    "icarl": icarl,
    "gdumb": gdumb,
}
OF_EACH: Mapping[str, Callable[..., Any]] = {
    "a_gem of each experience": lambda **s: classifier(AGem(per_experience=5, batch_size=4, **s)),
    "gem": lambda **s: classifier(Gem(per_experience=5, **s)),
}
ALL = {**{name: (make, {"capacity": 9}) for name, make in KEEPERS.items()}, **{n: (m, {}) for n, m in OF_EACH.items()}}


def keeper(name: str, stored: str, stream: Stream, encoder: Any = None, seed: int = 0) -> Any:
    make, settings = ALL[name]
    return prepared(make(stored=stored, **settings), stream, encoder=encoder or Scale(), seed=seed)


def examples(learner: Any) -> list[Any]:
    """What a learner keeps: one memory, or one of each experience."""
    method = next(iter(getattr(learner, "methods", ())), learner)
    if (stored := getattr(method, "_stored", None)) is not None:
        return [stored.examples]
    return getattr(method, "_memories", None) or [getattr(method, "_exemplars", method)._examples]


def module(learner: Any) -> Any:
    return dict(learner.module.state_dict())


def one_pass() -> Stream:
    return images(budget=Budget(epochs=1))


@pytest.mark.parametrize("name", ALL)
def test_updates_equal_those_with_encoded_inputs_at_a_quarter_of_the_bytes(name: str) -> None:
    stream = one_pass()
    first, second = (keeper(name, stored, stream) for stored in ("encoded", "raw"))
    for learner in (first, second):
        learn_all(learner, stream)
    assert [] == differences(module(first), module(second))
    for encoded, raw in zip(examples(first), examples(second), strict=True):
        codes, pixels = (each.memory.contents()["inputs"] for each in (encoded, raw))
        assert (torch.float32, torch.uint8) == (codes.dtype, pixels.dtype)
        assert codes.nbytes == 4 * pixels.nbytes > 0
        assert torch.equal(codes, second.encoder.encode(pixels))
        assert torch.equal(codes, raw.contents().inputs)


# Bytes of an example but for its input: a label is 8, the outputs of four classes 16.
BESIDES = {"der": 24, "der_plus_plus": 24, "der_plus_plus in passes of its own": 24, "distill": 16}


@pytest.mark.parametrize("name", KEEPERS)
@pytest.mark.parametrize(("stored", "pixels"), [("encoded", 4 * 64), ("raw", 64)])
def test_a_size_in_bytes_is_what_all_of_it_takes_at_most(name: str, stored: str, pixels: int) -> None:
    stream, each = one_pass(), pixels + BESIDES.get(name, 8)
    learner = prepared(KEEPERS[name](capacity_bytes=2000, stored=stored), stream, encoder=Scale())
    learn_all(learner, stream)
    (kept,) = examples(learner)
    assert 2000 // each == len(kept)
    assert each * len(kept) == kept.memory.bytes


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("stored", "past"), [("encoded", (-1.0, 1.0)), ("raw", (-6 / 26**0.5, -4 / 26**0.5))])
def test_past_examples_are_seen_by_the_fit_that_they_are_stored_for(
    name: str, stored: str, past: tuple[float, float]
) -> None:
    # 0 and 2 have mean 1 and variance 1; with 10 and 12, which the second experience begins with, 6 and 26.
    stream = digit_stream(2, data=Rising(), budget=Budget(epochs=1))
    encoder = Standardize(fit_on="running", clip=None, epsilon=1e-12)
    learner = keeper(name, stored, stream, encoder)
    learn_one(learner, stream)
    seen: set[float] = set()

    def note(_: Any, args: tuple[Any, ...]) -> None:
        if args[0].shape[1:] == (1,):  # the inputs: all other layers are wider
            seen.update(args[0].flatten().tolist())

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        learn_one(learner, stream)
    finally:
        handle.remove()
    assert pytest.approx(sorted([*past, 4 / 26**0.5, 6 / 26**0.5])) == sorted(seen)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("updates", [3, 5])
def test_interrupted_with_raw_inputs_it_ends_the_same(name: str, updates: int) -> None:
    stream = one_pass()
    through, stopped, fresh = (keeper(name, "raw", stream, Standardize(fit_on="running"), seed) for seed in (0, 0, 7))
    learn_all(through, stream)
    for _ in zip(range(updates), learning(stopped, stream), strict=False):
        pass
    restore(fresh, snapshot(stopped))
    learn_all(fresh, stream)
    assert [] == differences(snapshot(through), snapshot(fresh))
    assert {torch.uint8} == {each.memory.contents()["inputs"].dtype for each in examples(fresh)}


@pytest.mark.parametrize(
    ("method", "host"),
    [
        (Distill(stored="raw"), "ppo"),
        (Distill(stored="raw"), "sb3_ppo"),
        (Distill(stored="raw"), "avalanche"),
        (Der(capacity=9, stored="raw"), "dqn"),
        (DerPlusPlus(capacity=9, stored="raw"), "avalanche"),
        (AGem(capacity=9, stored="raw"), "avalanche"),
        (Gem(stored="raw"), "avalanche"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_learner_that_gives_encoded_inputs_alone_refuses_raw_ones(method: Any, host: str) -> None:
    with pytest.raises(UnsupportedError, match=r"learner.methods\[0\]: \w+ does not support .*; set stored: encoded"):
        HOSTS[host].prepared(method)


@pytest.mark.parametrize("name", KEEPERS)
def test_a_size_is_said_once(name: str) -> None:
    with pytest.raises(Problem, match=r"expected exactly one of capacity, capacity_bytes.*; got capacity, capacity_b"):
        KEEPERS[name](capacity=9, capacity_bytes=9)
    if name != "distill":
        with pytest.raises(Problem, match=r"expected exactly one of capacity, capacity_bytes.*; got none"):
            KEEPERS[name]()


def test_distill_keeps_a_thousand_where_no_size_is_given() -> None:
    method = Distill()
    prepared(classifier(method), images())
    assert 1000 == method.memory.capacity
