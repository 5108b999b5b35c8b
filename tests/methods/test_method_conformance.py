"""Every registered method, on every host that can serve it."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from harness import (
    HOSTS,
    acting_learners,
    cartpoles,
    classifier,
    differences,
    digit_stream,
    learn_all,
    learn_one,
    learner_host,
    learning,
    of_learner,
    prepared,
    restore,
    sb3,
    snapshot,
    weights,
    without_methods,
    without_rates,
)
from method_settings import METHODS, method

from rlcl.errors import UnsupportedError
from rlcl.methods.attach import PHASES
from rlcl.registry import find, name_of
from rlcl.types import Method, MixingMethod

# Quantities that each method logs; the others log none.
QUANTITIES: dict[str, set[str]] = {
    **{key: {"penalty"} for key in ("ewc", "si", "rwalk", "mas", "l2", "l2_init", "lwf")},
    **{
        key: {"memory_examples"}
        for key in ("rehearsal", "der", "der_plus_plus", "mir", "distill", "cloning", "clear", "selective_replay")
    },
    **{key: {"memory_examples", "projections"} for key in ("a_gem", "gem")},
    **{key: {"replaced_units"} for key in ("redo", "continual_backprop")},
    "packnet": {"free_weights"},
}


# Methods whose hosts have all that is required, and a network that they do not support.
UNSUPPORTED_NETWORKS = {
    (name, host)
    for name in ("continual_backprop", "redo", "reset")
    for host in ("ppo_recurrent", "ppo_recurrent_continuous")
}


def served(name: str, host: str) -> bool:
    used, case = method(name), HOSTS[host]
    if (name, host) in UNSUPPORTED_NETWORKS:
        return False
    kinds = getattr(used, "kinds", None)
    return used.requires <= case.provides and (kinds is None or case.kind in kinds)


PAIRS = [(name, host) for name in METHODS for host in HOSTS]
SERVED = [pair for pair in PAIRS if served(*pair)]
REFUSED = [pair for pair in PAIRS if not served(*pair)]
RESUMABLE = [(name, host) for name, host in SERVED if "native" in HOSTS[host].provides or host.startswith("own ")]
# Digits are decoded by first learning what they have in common: no gradient is against the memory's yet.
AGREEING = {("a_gem", "autoencoder"), ("gem", "autoencoder")}
WITH_NULL = [(name, host) for name, host in SERVED if find("method", name).null is not None]
WITH_MEMORY = [(name, host) for name, host in SERVED if find("method", name).memory is not Method.memory]


@cache
def plain(host: str) -> tuple[dict[str, Any], list[Any]]:
    """State and events of a run without any method."""
    case = HOSTS[host]
    learner = case.prepared()
    events = learn_all(learner, case.stream())
    return snapshot(learner), without_rates(events)


@cache
def run_with(name: str, host: str) -> tuple[dict[str, Any], list[Any]]:
    """State and events of an uninterrupted run with one method."""
    case = HOSTS[host]
    learner = case.prepared(method(name))
    events = learn_all(learner, case.stream())
    return snapshot(learner), without_rates(events)


def with_method(name: str, host: str) -> dict[str, Any]:
    """State of an uninterrupted run with one method."""
    return run_with(name, host)[0]


@pytest.mark.parametrize("host", HOSTS)
def test_the_table_of_hosts_says_what_they_show(host: str) -> None:
    learner = HOSTS[host].prepared()
    shown = learner if hasattr(learner, "provides") else learner_host(learner)
    assert (HOSTS[host].kind, HOSTS[host].provides) == (shown.kind, shown.provides)


def test_every_learner_that_acts_is_a_host() -> None:
    hosts = {name_of("learner", case.make()) for case in HOSTS.values()}
    assert acting_learners() - hosts == set()


def test_every_method_is_served_by_some_host() -> None:
    assert sorted({name for name, _ in SERVED}) == METHODS


@pytest.mark.parametrize("name", METHODS)
def test_its_phase_is_known(name: str) -> None:
    assert find("method", name).phase in PHASES


@pytest.mark.parametrize(("name", "host"), WITH_NULL)
def test_null_settings_leave_training_as_it_is(name: str, host: str) -> None:
    case = HOSTS[host]
    learner = case.prepared(method(name, **find("method", name).null))
    events = learn_all(learner, case.stream())
    state, expected_events = plain(host)
    actual = snapshot(learner)
    assert differences(without_methods(state["learner"]), without_methods(actual["learner"])) == []
    assert differences(state["globals"], actual["globals"]) == []
    assert expected_events == of_learner(events)


@pytest.mark.parametrize(("name", "host"), [pair for pair in SERVED if pair not in AGREEING])
def test_other_settings_change_the_weights(name: str, host: str) -> None:
    expected, actual = plain(host)[0]["learner"], with_method(name, host)["learner"]
    assert differences(_weights(expected), _weights(actual)) != []


@pytest.mark.parametrize(("name", "host"), SERVED)
def test_its_quantities_are_logged_in_every_event(name: str, host: str) -> None:
    events = [values for _, values in run_with(name, host)[1]]
    logged = [{k: v for k, v in values.items() if "/" in k} for values in events]
    expected = {f"{name}/{quantity}" for quantity in QUANTITIES.get(name, set())}
    assert [set(values) for values in logged] == [expected] * len(events)
    positive = {key for key in expected if (name, host) not in AGREEING or not key.endswith("projections")}
    assert {key: value for key, value in logged[-1].items() if key in positive and value <= 0} == {}


@pytest.mark.parametrize(("name", "host"), SERVED)
def test_weights_stay_finite(name: str, host: str) -> None:
    assert all(bool(w.isfinite().all()) for w in _tensors(_weights(with_method(name, host)["learner"])))


@pytest.mark.parametrize(("name", "host"), SERVED)
def test_it_can_be_repeated(name: str, host: str) -> None:
    case = HOSTS[host]
    learner = case.prepared(method(name))
    learn_all(learner, case.stream())
    assert differences(with_method(name, host), snapshot(learner)) == []


@pytest.mark.parametrize(("name", "host"), SERVED)
def test_resumed_at_a_boundary_it_ends_the_same(name: str, host: str) -> None:
    case = HOSTS[host]
    first = case.prepared(method(name))
    learn_one(first, case.stream())
    state = snapshot(first)
    fresh = case.prepared(method(name), seed=5)
    restore(fresh, state)
    learn_one(fresh, case.stream())
    assert differences(with_method(name, host), snapshot(fresh)) == []


@pytest.mark.parametrize("updates", [1, 5, 9])
@pytest.mark.parametrize(("name", "host"), RESUMABLE)
def test_resumed_within_an_experience_it_ends_the_same(name: str, host: str, updates: int) -> None:
    case = HOSTS[host]
    first = case.prepared(method(name))
    for count, _ in enumerate(learning(first, case.stream()), 1):
        if count == updates:
            break
    state = snapshot(first)
    fresh = case.prepared(method(name), seed=5)
    restore(fresh, state)
    learn_all(fresh, case.stream())
    assert differences(with_method(name, host), snapshot(fresh)) == []


@pytest.mark.parametrize(("name", "host"), WITH_MEMORY)
def test_its_memory_is_filled_within_its_capacity(name: str, host: str) -> None:
    case, used = HOSTS[host], method(name)
    learner = case.prepared(used)
    learn_one(learner, case.stream())
    assert min(used.memory.seen, used.memory.capacity) == len(used.memory)
    assert used.memory.seen > used.memory.capacity


@pytest.mark.parametrize(("name", "host"), WITH_MEMORY)
def test_its_memory_is_read(name: str, host: str) -> None:
    case, used = HOSTS[host], method(name)
    learner = case.prepared(used)
    learn_one(learner, case.stream())
    for column in used.memory.state_dict()["columns"].values():
        column.zero_()
    learn_one(learner, case.stream())
    assert differences(_weights(with_method(name, host)["learner"]), _weights(learner.state_dict())) != []


@pytest.mark.parametrize(("name", "host"), SERVED)
def test_loading_its_state_leaves_the_saved_one_alone(name: str, host: str) -> None:
    case = HOSTS[host]
    first = case.prepared(method(name))
    learn_one(first, case.stream())
    state = snapshot(first)
    kept = snapshot(first)
    restore(first, state)
    learn_one(first, case.stream())
    assert differences(kept, state) == []


@pytest.mark.parametrize(("name", "host"), REFUSED)
def test_a_host_that_cannot_serve_it_refuses_by_name(name: str, host: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"learner.methods\[0\]: {name} does not support learner .+: it "):
        HOSTS[host].prepared(method(name))


@pytest.mark.parametrize("name", [n for n in METHODS if "boundaries" in method(n).requires])
def test_hidden_boundaries_refuse_what_needs_them(name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{name} does not support .*this stream hides where an experience ends"):
        prepared(classifier(method(name)), digit_stream(boundaries="hidden"))


def test_sb3_refuses_rehearsal_because_its_network_is_not_native() -> None:
    with pytest.raises(UnsupportedError, match=r"rehearsal does not support learner sb3 \(PPO\): it needs .*native"):
        prepared(sb3("PPO", method("rehearsal")), cartpoles(32))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_named_twice_is_refused(name: str) -> None:
    host = next(host for n, host in SERVED if n == name)
    with pytest.raises(UnsupportedError, match=rf"learner.methods\[1\]: {name} is listed twice"):
        HOSTS[host].prepared(method(name), method(name))


@pytest.mark.parametrize("host", HOSTS)
def test_methods_stack_in_the_order_of_their_phases_however_they_are_listed(host: str) -> None:
    names = [name for name, h in SERVED if h == host]
    names.sort(key=lambda n: PHASES.index(find("method", n).phase))

    def after(order: list[str]) -> dict[str, Any]:
        learner = HOSTS[host].prepared(*(method(name) for name in order))
        phases = [PHASES.index(m.phase) for m in learner._attached.methods]
        assert sorted(phases) == phases
        learn_all(learner, HOSTS[host].stream())
        return weights(learner)

    by_phase = after(names)
    shuffled = sorted(names, key=lambda n: (-PHASES.index(find("method", n).phase), names.index(n)))
    assert differences(by_phase, after(shuffled)) == []


@pytest.mark.parametrize("name", METHODS)
def test_mixing_methods_are_of_the_phase_mix(name: str) -> None:
    used = method(name)
    assert isinstance(used, MixingMethod) <= (used.phase == "mix")


def _weights(state: dict[str, Any]) -> Any:
    if "model" in state:
        return state["model"]["parameters"]
    return state.get("modules") or state["module"]


def _tensors(tree: Any) -> list[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return [tree]
    if isinstance(tree, dict | list | tuple):
        return [t for value in (tree.values() if isinstance(tree, dict) else tree) for t in _tensors(value)]
    return []
