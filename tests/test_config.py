"""Experiment configs: what is read, what is refused and how, and what is written back."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import attrs
import gymnasium as gym
import jsonschema
import pytest
from attrs import define, frozen

from rlcl import config, registry
from rlcl.config import build, component, describe, option, options_class, packaged_folder, parse_key_path, structure
from rlcl.errors import ConfigError
from rlcl.experiment import Experiment, dump, experiment_from, load_experiment, schema
from rlcl.objective import Criterion
from rlcl.types import Budget, Network

PARTS = """
from __future__ import annotations
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from attrs import define, field, frozen
from rlcl.config import option
from rlcl.types import DataSet, Encoder, Method, Network, OptimizerFactory
if TYPE_CHECKING:
    from somewhere import Unknown

@frozen(kw_only=True)
class Digits:
    pass

@frozen(kw_only=True)
class Visibility:
    task_ids: Literal["hidden", "visible"] = "hidden"

@frozen(kw_only=True)
class Split:
    \"\"\"Classes, a few at a time.

    Args:
        experiences: how many,
            counted from one.
        nothing, visibility: what the ``protocol`` of :mod:`rlcl.streams` shows.

    Source: none.
    \"\"\"
    data: DataSet = option(factory=Digits)
    experiences: int = option(5, ge=1)
    visibility: Visibility = option(factory=Visibility)

@frozen(kw_only=True)
class Identity:
    pass

@frozen(kw_only=True)
class Standardize:
    clip: float | None = option(None, gt=0)

@define
class Compose:
    encoders: tuple[Encoder, ...] = option(converter=tuple)

@frozen(kw_only=True)
class Mlp:
    hidden: tuple[int, ...] = option((64, 64), ge=1)

@frozen(kw_only=True)
class Linear:
    bias: bool = True

@frozen(kw_only=True)
class Sgd:
    lr: float = option(0.01, gt=0)
    momentum: float = option(0.0, ge=0, lt=1)

@frozen(kw_only=True)
class Adam:
    lr: float = option(1e-3, gt=0)

@define(kw_only=True)
class Rehearsal:
    capacity: int = option(ge=1)
    batch_size: int = option(32, ge=1)
    _memory: Any = field(init=False, default=None)
    def __attrs_post_init__(self):
        if self.batch_size > self.capacity:
            raise ValueError(f"batch_size: expected at most the capacity {self.capacity}, got {self.batch_size}")

@define(kw_only=True)
class Ewc:
    strength: float = option(ge=0)

@define(kw_only=True)
class Classifier:
    network: Network = option(factory=Mlp)
    optimizer: OptimizerFactory = option(factory=lambda: Sgd(momentum=0.9))
    batch_size: int = option(32, ge=1)
    methods: Sequence[Method] = option(())
    _network: Any = field(init=False, default=None)

class Plain:
    def __init__(self, width: int, network: Network | None = None, unknown: Unknown = None, **others: Any):
        if width == 13:
            raise ValueError("13 brings bad luck")
        self.width, self.network, self.others = width, network, others

class Odd:
    def __init__(self, function: Any = math.sin, width: int = 3):
        self.function, self.width = function, width

@dataclass
class Data:
    width: int = 3

@define(kw_only=True)
class Board:
    moments: int = option(10, ge=0)

DATA = {"digits": "MODULE:Digits"}
STREAMS = {"class_incremental": "MODULE:Split"}
ENCODERS = {"identity": "MODULE:Identity", "standardize": "MODULE:Standardize", "compose": "MODULE:Compose"}
NETWORKS = {"mlp": "MODULE:Mlp", "linear": "MODULE:Linear", "odd": "MODULE:Odd"}
OPTIMIZERS = {"sgd": "MODULE:Sgd", "adam": "MODULE:Adam"}
LEARNERS = {"classifier": "MODULE:Classifier", "plain": "MODULE:Plain", "data": "MODULE:Data"}
METHODS = {"rehearsal": "MODULE:Rehearsal", "ewc": "MODULE:Ewc"}
METRICS = {}
PROBES = {}
SINKS = {"tensorboard": "MODULE:Board"}
"""

GOOD = """\
name: split-digits
objective:
  success: ["accuracy.average >= 0.85", "forgetting.chaudhry <= .1"]
seeds: [0, 1]
stream:
  type: class_incremental
  experiences: 5
  visibility: {task_ids: visible}
learner:
  type: classifier
  network: {type: mlp, hidden: [256, 256]}
  optimizer: {type: adam, lr: 1e-3}
  methods: [{type: rehearsal, capacity: 200}]
budget: {epochs: 5}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with one good file, and registries of the classes above."""
    name = f"parts_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(PARTS.replace("MODULE", name))
    (tmp_path / "own.py").write_text(PARTS)
    (tmp_path / "good.yaml").write_text(GOOD)
    # The classes above have settings and nothing else: what a protocol asks for has a test of its own.
    monkeypatch.setattr("rlcl.config.protocols._members", lambda kind: set())
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    tables = {k: f"{name}:{reference.rpartition(':')[2]}" for k, reference in registry.KINDS.items()}
    monkeypatch.setattr(registry, "KINDS", tables)
    registry.entries.cache_clear()
    yield tmp_path
    registry.entries.cache_clear()


def load(text: str, *overrides: str, name: str = "x.yaml") -> Experiment:
    Path(name).write_text(text)
    return load_experiment(name, overrides)


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, *overrides)
    return list(caught.value.problems)


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


# --- settings in plain Python -------------------------------------------------------------------


@define(kw_only=True)
class Example:
    capacity: int = option(5, ge=1)
    hidden: tuple[int, ...] = option((8,), ge=1)
    rate: float = option(0.5, gt=0, le=1)
    limit: int | None = option(None, ge=1)
    mode: Literal["first", "last"] = option("first")
    scale: Literal["auto"] | float = option("auto", ge=0)
    size: int | tuple[int, ...] = option(1, ge=1)
    colour: str = option("red", choices=["red", "blue"])
    label: str = option("a1", pattern=(r"[a-z]\d", "a letter and a digit"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"capacity": 0}, "capacity: expected a whole number of at least 1, got 0"),
        ({"capacity": 1.5}, "capacity: expected a whole number of at least 1, got 1.5"),
        ({"capacity": True}, "capacity: expected a whole number of at least 1, got True"),
        ({"capacity": None}, "capacity: expected a whole number of at least 1, got null"),
        ({"hidden": (8, 0)}, "hidden[1]: expected a whole number of at least 1, got 0"),
        ({"rate": math.nan}, "rate: expected a number above 0 and of at most 1, got nan"),
        ({"limit": 0}, "limit: expected a whole number of at least 1 or null, got 0"),
        ({"mode": "lst"}, "mode: expected one of first, last, got 'lst'; did you mean last?"),
        ({"scale": -1.0}, "scale: expected auto or a number of at least 0, got -1.0"),
        ({"size": (0,)}, "size[0]: expected a whole number of at least 1, got 0"),
        ({"colour": "green"}, "colour: expected one of red, blue, got 'green'"),
        ({"label": "ab"}, "label: expected a letter and a digit, got 'ab'"),
    ],
)
def test_a_rule_refuses_in_plain_python(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Example(**settings)
    assert message == str(caught.value)


@pytest.mark.parametrize(
    "settings", [{"rate": 1}, {"limit": None}, {"scale": 2.0}, {"size": (1, 2)}, {"hidden": ()}, {"colour": "blue"}]
)
def test_a_rule_allows_in_plain_python(settings: dict[str, Any]) -> None:
    Example(**settings)


def test_a_name_that_does_not_resolve_is_anything_and_loses_no_other() -> None:
    cls = registry.find("learner", "plain")
    hints = {setting.name: setting.hint for setting in config.settings(cls)}
    assert {"width": int, "network": Network | None, "unknown": Any} == {k: hints[k] for k in list(hints)[:3]}


# --- strict reading -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "value", "made"),
    [
        (int, 3, 3),
        (int, 1e5, 100_000),
        (float, 1, 1.0),
        (float, 0.5, 0.5),
        (bool, False, False),
        (str, "no", "no"),
        (int | None, None, None),
        (int | tuple[int, ...], [1, 2], (1, 2)),
        (int | float, 2, 2),
        (float | str | None, "auto", "auto"),
        (Literal["auto"] | float, "auto", "auto"),
        (list[int], [1], [1]),
        (tuple[int, str], [1, "a"], (1, "a")),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (dict[int, float], {10: 1}, {10: 1.0}),
        (dict[str, Any], {"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
        (Any, [1, "a"], [1, "a"]),
        (Budget | Literal["experience"], {"epochs": 2}, Budget(epochs=2)),
        (Budget | Literal["experience"], "experience", "experience"),
    ],
)
def test_reads(hint: Any, value: Any, made: Any) -> None:
    found = structure(value, hint)
    assert made == found and type(made) is type(found)


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, True, "expected a whole number, got True"),
        (int, 1.5, "expected a whole number, got 1.5"),
        (int, "1", "expected a whole number, got '1'"),
        (int, None, "expected a whole number, got null"),
        (float, math.nan, "expected a number, got nan"),
        (float, "1e-3", "expected a number, got '1e-3'"),
        (bool, 1, "expected true or false, got 1"),
        (bool, "no", "expected true or false, got 'no'"),
        (str, 5, "expected a text, got 5"),
        (tuple[int, ...], 5, "expected a list, each item a whole number, got 5"),
        (tuple[int, ...], "12", "expected a list, each item a whole number, got '12'"),
        (tuple[int, ...], [1, "a"], "[1]: expected a whole number, got 'a'"),
        (tuple[int, int], [1], "expected a list of 2, got one of 1"),
        (Literal[1, 2], True, "expected one of 1, 2, got True"),
        (int | tuple[int, ...], "x", "expected a whole number or a list, each item a whole number, got 'x'"),
        (dict[str, int], {"a": "x"}, "a: expected a whole number, got 'x'"),
        (Budget, {}, "expected exactly one of epochs, updates, samples, env_steps, episodes; got none"),
        (Budget, {"epochs": 0}, "epochs: expected a whole number of at least 1, got 0"),
        (Budget, {"epoch": 1}, "epoch: unknown key; did you mean epochs?"),
    ],
)
def test_refuses(hint: Any, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        structure(value, hint)
    assert (message,) == caught.value.problems


# --- components ---------------------------------------------------------------------------------


def test_a_component_is_built_with_those_within_it() -> None:
    learner = build(load(GOOD).learner)
    assert (
        type(learner).__name__,
        learner.network.hidden,
        learner.optimizer.lr,
        learner.methods[0].capacity,
    ) == ("Classifier", (256, 256), 1e-3, 200)


def test_a_name_alone_is_a_component_without_options() -> None:
    assert component("network", {"type": "mlp"}) == component("network", "mlp")


def test_a_list_of_encoders_is_applied_in_order() -> None:
    encoder = load(GOOD + "encoder: [standardize, {type: standardize, clip: 2}]\n").encoder
    assert encoder.type == "compose"
    assert [part.clip for part in build(encoder).encoders] == [None, 2.0]


def test_options_alone_change_the_default_component() -> None:
    optimizer = load(changed("{type: adam, lr: 1e-3}", "{lr: 0.5}")).learner.options.optimizer
    assert (optimizer.type, optimizer.options.lr, optimizer.options.momentum) == ("sgd", 0.5, 0.9)


def test_a_plain_class_takes_its_parameters_and_any_others() -> None:
    made = build(component("learner", {"type": "plain", "width": 3, "network": "mlp", "more": [1]}))
    assert (made.width, type(made.network).__name__, made.others) == (3, "Mlp", {"more": [1]})


def test_a_class_in_a_file_is_found_beside_the_config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "deep").mkdir()
    (folder / "own.py").rename(folder / "deep" / "net.py")
    (folder / "deep" / "x.yaml").write_text(changed("{type: mlp,", "{type: 'net.py:Mlp',"))
    experiment = load_experiment("deep/x.yaml")
    monkeypatch.chdir("/")
    again = load(dump(experiment), name=str(folder / "resolved.yaml"))
    assert build(again.learner).network.hidden == (256, 256)
    assert experiment == again


def test_the_folder_of_a_file_is_not_in_the_hash(folder: Path) -> None:
    (folder / "deep").mkdir()
    for place in (folder, folder / "deep"):
        (place / "net.py").write_text(PARTS)
        (place / "x.yaml").write_text(changed("{type: mlp,", "{type: 'net.py:Mlp',"))
    (folder / "net.py").unlink()
    deep = load_experiment("deep/x.yaml").hash
    (folder / "net.py").write_text(PARTS)
    assert deep == load_experiment("x.yaml").hash


def test_an_instance_is_described_by_its_fields() -> None:
    mlp = registry.find("network", "mlp")
    assert component("network", {"type": "mlp", "hidden": [3]}) == describe(mlp(hidden=(3,)), "network")


def test_an_instance_without_a_name_is_not_described() -> None:
    @frozen
    class Local:
        width: int = 3

    assert describe(Local(), "network") is None
    assert describe(object(), "network") is None


def test_runtime_state_is_no_setting() -> None:
    fields = [field.name for field in attrs.fields(options_class(registry.find("learner", "classifier")))]
    assert fields == ["network", "optimizer", "batch_size", "methods"]


def test_constructors_are_reported_all_with_their_key_path() -> None:
    text = changed(
        "[{type: rehearsal, capacity: 200}]", "[{type: rehearsal, capacity: 8}, {type: rehearsal, capacity: 9}]"
    )
    with pytest.raises(ConfigError) as caught:
        build(load(text).learner)
    assert caught.value.problems == (
        "learner.methods[0].batch_size: expected at most the capacity 8, got 32",
        "learner.methods[1].batch_size: expected at most the capacity 9, got 32",
    )


def test_a_constructor_that_names_no_setting_is_reported_at_the_component() -> None:
    with pytest.raises(ConfigError, match=r"^learner: 13 brings bad luck$"):
        build(component("learner", {"type": "plain", "width": 13}))


def test_a_component_can_be_pickled() -> None:
    experiment = load(GOOD)
    assert experiment == pickle.loads(pickle.dumps(experiment))


# --- the resolved config ------------------------------------------------------------------------


def test_every_default_is_written_out() -> None:
    resolved = config.unstructure(load(changed("  optimizer: {type: adam, lr: 1e-3}\n", "")))
    assert resolved["learner"]["optimizer"] == {"type": "sgd", "lr": 0.01, "momentum": 0.9}
    assert resolved["encoder"] == {"type": "identity"}
    assert resolved["stream"]["data"] == {"type": "digits"}


@pytest.mark.parametrize("more", ["", "encoder: [identity, {type: standardize, clip: .inf}]\n", "validation: 1e-05\n"])
def test_what_is_dumped_reads_as_an_equal_experiment(more: str) -> None:
    experiment = load(GOOD + more)
    assert experiment == load(dump(experiment))
    assert experiment == experiment_from(config.unstructure(experiment))
    assert experiment.hash == load(dump(experiment)).hash


def test_a_default_that_a_config_cannot_express_is_left_out() -> None:
    odd = component("network", "odd")
    assert config.unstructure(odd) == {"type": "odd", "width": 3}
    assert math.sin is build(odd).function


# --- files --------------------------------------------------------------------------------------


def test_a_file_extends_another(folder: Path) -> None:
    (folder / "base").mkdir()
    (folder / "base" / "b.yaml").write_text("extends: ../good.yaml\nseeds: [7]\nlearner: {batch_size: 16}\n")
    experiment = load(
        "extends: base/b.yaml\nname: other\nlearner: {network: {type: linear, hidden: null}, optimizer: {lr: 0.5}}\n"
    )
    learner = build(experiment.learner)
    assert (experiment.name, experiment.seeds, learner.batch_size, learner.optimizer.lr) == ("other", (7,), 16, 0.5)
    assert (type(learner.network).__name__, type(learner.optimizer).__name__) == ("Linear", "Adam")


def extending(patch: str) -> str:
    """A file that extends the good one, with one line more."""
    return f"extends: good.yaml\n{patch}\n"


SGD = [
    (extending("learner: {optimizer: {type: sgd}}"), ()),
    (extending("learner: {optimizer: sgd}"), ()),
    (GOOD, ["learner.optimizer.type=sgd"]),
    (GOOD, ["learner.optimizer=sgd"]),
    (GOOD, ["learner.optimizer={type: sgd}"]),
    (GOOD, ["learner={optimizer: {type: sgd}}"]),
]


@pytest.mark.parametrize(("text", "overrides"), SGD)
def test_another_type_keeps_the_settings_that_it_has(text: str, overrides: list[str]) -> None:
    optimizer = load(text, *overrides).learner.options.optimizer
    assert ("sgd", 1e-3) == (optimizer.type, optimizer.options.lr)


LACKING = (
    "learner.network.type: linear has no setting hidden, which mlp has; write "
    "{type: linear, hidden: null} to remove it, or {extends: null, type: linear} to remove all settings of mlp"
)


@pytest.mark.parametrize(
    ("place", "text", "overrides"),
    [
        ("x.yaml:2", extending("learner: {network: {type: linear}}"), ()),
        ("x.yaml:2", extending("learner: {network: linear}"), ()),
        ("command line", GOOD, ["learner.network.type=linear"]),
        ("command line", GOOD, ["learner.network=linear"]),
        ("command line", GOOD, ["learner={network: linear}"]),
    ],
)
def test_another_type_refuses_the_settings_that_it_lacks(place: str, text: str, overrides: list[str]) -> None:
    assert [f"{place}: {LACKING}"] == problems(text, *overrides)


def test_lacking_settings_of_a_component_are_one_message_and_a_typing_error_is_another() -> None:
    base = changed("{type: mlp, hidden: [256, 256]}", "{type: odd, function: 1.0, width: 3}")
    Path("odd.yaml").write_text(base)
    found = problems("extends: odd.yaml\nlearner: {network: {type: linear, bais: true}}\n")
    assert "x.yaml:2: learner.network.bais: unknown key; did you mean bias?" == found[0]
    assert found[1].startswith("x.yaml:2: learner.network.type: linear has no setting function, width, which odd has")
    assert 2 == len(found)


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        (extending("learner: {network: {type: linear, hidden: null}}"), ()),
        (extending("learner: {network: {extends: null, type: linear}}"), ()),
        (extending("learner: {network: {type: linear}}"), ["learner.network.hidden=null"]),
        (GOOD, ["learner.network={extends: null, type: linear}"]),
        (GOOD, ["learner.network.type=linear", "learner.network.hidden=null"]),
        (GOOD, ["learner.network.hidden=null", "learner.network.type=linear"]),
    ],
)
def test_what_is_null_or_not_taken_over_is_left_out(text: str, overrides: list[str]) -> None:
    assert component("network", "linear") == load(text, *overrides).learner.options.network


def test_a_list_of_methods_is_replaced_and_one_of_them_changes_its_type() -> None:
    methods = load(extending("learner: {methods: [{type: ewc, strength: 2}]}")).learner.options.methods
    assert (component("method", {"type": "ewc", "strength": 2}),) == methods
    (told,) = problems(GOOD, "learner.methods[0].type=ewc", "learner.methods[0].strength=2")
    assert told.startswith("command line: learner.methods[0].type: ewc has no setting capacity, ")


def test_null_is_no_way_to_misspell_a_key() -> None:
    assert ["x.yaml:2: learner.network.hiden: unknown key; did you mean hidden?"] == problems(
        extending("learner: {network: {hiden: null}}")
    )


def test_another_unit_replaces_the_budget() -> None:
    assert Budget(updates=3) == load("extends: good.yaml\nbudget: {updates: 3}\n").budget


def test_a_circle_is_refused() -> None:
    Path("a.yaml").write_text("extends: b.yaml\n")
    Path("b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ConfigError, match=r"a file cannot extend itself: a.yaml extends b.yaml extends a.yaml"):
        load_experiment("a.yaml")


def test_a_fault_is_reported_in_the_file_that_has_it() -> None:
    Path("b.yaml").write_text(changed("experiences: 5", "experiences: 0"))
    expected = "b.yaml:7: stream.experiences: expected a whole number of at least 1, got 0"
    assert [
        expected,
    ] == problems("extends: b.yaml\nname: other\n")


def test_an_anchor_is_followed() -> None:
    text = changed(
        "[{type: rehearsal, capacity: 200}]", "[&r {type: rehearsal, capacity: 200}, {<<: *r, capacity: 64}]"
    )
    assert [method.options.capacity for method in load(text).learner.options.methods] == [200, 64]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.yaml: empty; expected at least name, stream, learner and budget"),
        ("- 1\n", "x.yaml: expected a mapping at the top, got list"),
        ("name: a\nname: b\n", "x.yaml:2: duplicate key 'name'"),
        ("name: [a\n", "x.yaml:2: not valid YAML: expected ',' or ']'"),
        ("name: a\n--- \nname: b\n", "x.yaml"),
        ("name: !!python/object:os.system {}\n", "x.yaml:1: name: the YAML tag"),
        (f"name: {'[' * 50}{']' * 50}\n", "x.yaml: name[0][0]: deeper than 40 levels"),
        ("extends: nothing.yaml\n", "x.yaml:1: extends: nothing.yaml: no such file"),
        ("extends: [good.yaml]\n", "x.yaml:1: extends: expected the path of one file"),
    ],
)
def test_a_file_that_cannot_be_read(text: str, message: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith(message), found[0]


def test_a_missing_file_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^godd.yaml: no such file; did you mean good.yaml"):
        load_experiment("godd.yaml")


def test_a_bare_name_is_a_shipped_experiment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "shipped" / "continual").mkdir(parents=True)
    (folder / "good.yaml").rename(folder / "shipped" / "continual" / "digits.yaml")
    monkeypatch.setattr("rlcl.config.files.shipped_experiments", lambda: folder / "shipped")
    assert load_experiment("continual/digits").name == "split-digits"
    with pytest.raises(ConfigError, match="did you mean continual/digits"):
        load_experiment("continual/digit")


# --- overrides ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["learner.methods[0].capacity", "learner.methods.0.capacity"])
def test_an_override_sets_one_value(path: str) -> None:
    assert load(GOOD, f"{path}=64").learner.options.methods[0].options.capacity == 64


def test_overriding_the_type_leaves_out_what_is_set_to_null() -> None:
    experiment = load(GOOD, "learner.network.bias=false", "learner.network.type=linear", "learner.network.hidden=null")
    assert component("network", {"type": "linear", "bias": False}) == experiment.learner.options.network


def test_an_override_of_what_the_file_leaves_out() -> None:
    experiment = load(changed("  network: {type: mlp, hidden: [256, 256]}\n", ""), "learner.network.hidden=[3]")
    assert experiment.learner.options.network.options.hidden == (3,)


def test_an_override_of_another_unit_replaces_the_budget() -> None:
    assert Budget(updates=10) == load(GOOD, "budget.updates=10").budget


@pytest.mark.parametrize("override", ["evaluation.every={updates: 15}", "evaluation={every: {updates: 15}}"])
def test_an_interval_replaces_the_word_that_the_file_says(override: str) -> None:
    assert 15 == load(GOOD, "evaluation.every=experience", override).evaluation.every.updates


def test_a_word_replaces_an_interval() -> None:
    assert "end" == load(GOOD, "evaluation.every={updates: 15}", "evaluation.every=end").evaluation.every


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds", "command line: 'seeds': expected key.path=value"),
        ("learner..x=1", "command line: 'learner..x' is not a key path"),
        ("learner.methods[3].x=1", "command line: learner.methods[3]: there is no such item; learner.methods has 1"),
        ("seeds.a=1", "command line: seeds.a: there is no such item"),
        ("learner.batch_sise=1", "command line: learner.batch_sise: unknown key; did you mean batch_size?"),
        ("learner.optimzer.lr=1", "command line: learner.optimzer: unknown key; did you mean optimizer?"),
        ("bugdet.epochs=1", "command line: bugdet: unknown key; did you mean budget?"),
        ("learner.batch_size=0", "command line: learner.batch_size: expected a whole number of at least 1, got 0"),
        ("budget.epochs.x=0", "command line: budget.epochs.x: budget.epochs is 5, which has no keys"),
        ("learner.batch_size=[", "command line: learner.batch_size: not valid YAML"),
        ("learner.network.type=mpl", "command line: learner.network.type: unknown network 'mpl'; did you mean mlp?"),
    ],
)
def test_an_override_that_is_refused(override: str, message: str) -> None:
    found = problems(GOOD, override)
    assert len(found) == 1
    assert found[0].startswith(message), found[0]


# --- messages -----------------------------------------------------------------------------------

TEN = """\
name: "../escape"
objective: {success: ["accuracy >= 0.9", "accuracy is great"]}
stream:
  type: class_incremental
  experiences: five
  visibility: {task_ids: visble}
learner:
  type: classifier
  network: {type: mlpp}
  optimizer: {type: adam, lrr: 1e-3}
  batch_size: 0
  methods:
    - {type: rehearsal}
    - {type: ewc, strength: 1, lambda: 5}
budget: {epochs: 5, updates: 3}
"""


def test_ten_mistakes_give_ten_messages() -> None:
    assert problems(TEN) == [
        "x.yaml:1: name: expected a folder name of letters, digits, '-', '_' and '.', got '../escape'",
        (
            "x.yaml:2: objective.success[1]: expected a comparison such as accuracy.average >= 0.85 or "
            "accuracy[2] >= 0.8 (interval), got 'accuracy is great'"
        ),
        "x.yaml:5: stream.experiences: expected a whole number of at least 1, got 'five'",
        "x.yaml:6: stream.visibility.task_ids: expected one of hidden, visible, got 'visble'; did you mean visible?",
        (
            "x.yaml:9: learner.network.type: unknown network 'mlpp'; did you mean mlp? "
            "(or package.module:Class, or file.py:Class)"
        ),
        "x.yaml:10: learner.optimizer.lrr: unknown key; did you mean lr?",
        "x.yaml:11: learner.batch_size: expected a whole number of at least 1, got 0",
        "x.yaml:13: learner.methods[0].capacity: missing; required: a whole number of at least 1",
        "x.yaml:14: learner.methods[1].lambda: unknown key; did you mean strength?",
        "x.yaml:15: budget: expected exactly one of epochs, updates, samples, env_steps, episodes; got epochs, updates",
    ]


def test_what_is_missing_at_the_top_is_reported_at_the_file() -> None:
    found = problems("name: a\n")
    assert [line for line in found if "stream" in line] == ["x.yaml: stream: missing; required: a stream"]
    assert len(found) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            changed("type: rehearsal,", "type: replay,"),
            "x.yaml:13: learner.methods[0].type: unknown method 'replay'; did you mean rehearsal?",
        ),
        (
            changed("capacity:", "buffer_size:"),
            "x.yaml:13: learner.methods[0].buffer_size: unknown key; did you mean capacity?",
        ),
        (
            changed("type: classifier\n", "batch_size: 1\n"),
            "x.yaml:9: learner.type: missing; required: the name of a learner (classifier, data, plain)",
        ),
        (changed("{type: adam, lr: 1e-3}", "5"), "x.yaml:12: learner.optimizer: expected an optimizer, got 5"),
        (changed("seeds: [0, 1]", "seeds: [1, 1]"), "x.yaml:4: seeds: expected distinct seeds, got 1 more than once"),
        (changed("seeds: [0, 1]", "seeds: []"), "x.yaml:4: seeds: expected at least one seed, got none"),
        (changed("seeds: [0, 1]", "seeds: [-1]"), "x.yaml:4: seeds[0]: expected a whole number of at least 0, got -1"),
        (GOOD + "validation: 1.0\n", "x.yaml:15: validation: expected a number of at least 0 and below 1, got 1.0"),
        (GOOD + "device: gpu\n", "x.yaml:15: device: expected cpu, cuda, cuda:N or auto, got 'gpu'"),
        (
            GOOD + "encoder: [identity, {type: standardize, clip: 0}]\n",
            "x.yaml:15: encoder[1].clip: expected a number above 0 or null, got 0.0",
        ),
        (GOOD + "encoder: {type: 'missing.module:Class'}\n", "x.yaml:15: encoder.type: no module named 'missing'"),
        (GOOD + "encoder: {type: 'own.py:Clas'}\n", "x.yaml:15: encoder.type: "),
    ],
)
def test_a_message_says_where_what_and_the_remedy(text: str, message: str) -> None:
    assert message in "\n".join(problems(text))


# --- the experiment -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "overrides"), [(GOOD + "tensorboard: {moments: 0}\n", ()), (GOOD, ("tensorboard.moments=0",))]
)
def test_settings_of_tensorboard_where_they_once_stood_name_the_sink(text: str, overrides: tuple[str, ...]) -> None:
    (problem,) = problems(text, *overrides)
    assert problem.endswith(
        "tensorboard: unknown key; write its settings as those of a sink, sinks: [{type: tensorboard, ...}]"
    )


def test_sinks_are_tensorboard_by_default_and_any_list_of_components() -> None:
    assert ["tensorboard"] == [sink.type for sink in load(GOOD).sinks]
    assert () == load(GOOD, "sinks=[]").sinks
    (sink,) = load(GOOD, "sinks=[{type: tensorboard, moments: 3}]").sinks
    assert 3 == sink.options.moments


@pytest.mark.parametrize(
    "more",
    [
        "name=other",
        "seeds=[5]",
        "objective.statement=why",
        "event_interval=7",
        "checkpoint_minutes=1",
        "sinks=[]",
        "sinks=[{type: tensorboard, moments: 0}]",
    ],
)
def test_the_hash_is_not_over_what_leaves_the_records_alone(more: str) -> None:
    assert load(GOOD).hash == load(GOOD, more).hash


@pytest.mark.parametrize(
    "more", ["learner.batch_size=8", "budget.epochs=1", "validation=0.1", "threads=2", "boundary.memory=reset"]
)
def test_the_hash_is_over_what_decides_the_records(more: str) -> None:
    assert load(GOOD).hash != load(GOOD, more).hash


def test_the_hash_is_over_the_resolved_config() -> None:
    assert load(GOOD).hash == load(GOOD, "learner.batch_size=32", "learner.optimizer.lr=0.001").hash
    assert len(load(GOOD).hash) == 12


@frozen(kw_only=True)
class Before:
    lr: float = option(0.1)
    network: Network | None = option(None)


@frozen(kw_only=True)
class After:
    lr: float = option(0.2)
    network: Network | None = option(None)
    added: tuple[int, ...] = option((1, 2))


def hashes_of(cls: type, monkeypatch: pytest.MonkeyPatch, *learners: Any) -> list[str]:
    """Hashes of experiments whose learner ``changing`` is a class."""
    find = registry.find

    def found(kind: str, name: str, relative_to: Path | None = None) -> Any:
        return cls if name == "changing" else find(kind, name, relative_to)

    with monkeypatch.context() as patched:
        patched.setattr(registry, "find", found)
        base = {"name": "x", "stream": "class_incremental", "budget": {"epochs": 1}}
        return [experiment_from({**base, "learner": learner}).hash for learner in learners]


SAID = {"type": "changing", "lr": 0.3}
FIRST, SECOND = {"type": "changing", "lr": 0.1}, {"type": "changing", "lr": 0.2}


def test_a_new_setting_changes_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    nested = {**SAID, "network": {"type": "mlp", "hidden": [3]}}
    before = hashes_of(Before, monkeypatch, SAID, nested)
    assert before == hashes_of(After, monkeypatch, SAID, nested)
    assert before[:1] != hashes_of(After, monkeypatch, {**SAID, "added": [3]})


def test_a_changed_default_with_an_entry_changes_the_hashes_of_those_that_use_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rlcl.config.defaults.CHANGED_DEFAULTS", {"learner/changing/lr": 0.1})
    before = hashes_of(Before, monkeypatch, "changing", FIRST, SECOND, SAID, "classifier")
    after = hashes_of(After, monkeypatch, "changing", FIRST, SECOND, SAID, "classifier")
    assert before[1:] == after[1:]
    assert before[0] == after[1]  # the first default is the same experiment as ever
    assert after[0] == after[2]  # and who leaves it out now means the second


def test_a_default_that_is_written_out_is_not_in_the_hash() -> None:
    written = [
        "learner.network.bias=true",
        "evaluation={every: experience, metrics: [accuracy.average]}",
        "boundary.memory=keep",
        "validation=0.0",
        "encoder=identity",
    ]
    text = GOOD.replace("  network: {type: mlp, hidden: [256, 256]}\n", "  network: linear\n")
    assert load(text).hash == load(text, *written).hash


def test_the_order_of_keys_is_not_in_the_hash() -> None:
    assert load(GOOD).hash == load("\n".join(reversed(blocks(GOOD)))).hash


def blocks(text: str) -> list[str]:
    """The top-level keys of a file, each with what is indented below it."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith(" "):
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return found


def test_criteria_are_parsed() -> None:
    objective = load(GOOD).objective
    assert objective is not None
    assert (
        Criterion("accuracy.average", ">=", 0.85),
        Criterion("forgetting.chaudhry", "<=", 0.1),
    ) == objective.criteria
    assert [objective.criteria[0].is_met(value) for value in (0.9, 0.85, 0.8)] == [True, True, False]


def test_key_paths() -> None:
    assert parse_key_path("learner.methods[0].capacity") == ("learner", "methods", 0, "capacity")
    assert config.key_path(parse_key_path("learner.methods.0.capacity")) == "learner.methods[0].capacity"


# --- the JSON schema ----------------------------------------------------------------------------


def test_the_schema_accepts_a_good_file_and_its_resolved_form() -> None:
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    for text in (GOOD, dump(load(GOOD))):
        Path("y.yaml").write_text(text)
        jsonschema.validate(config.read_document("y.yaml").data, made)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("experiences: 5", "experiences: 0"),
        ("type: rehearsal,", "type: rehearsl,"),
        ("lr: 1e-3", "lrr: 1e-3"),
        ("name: split-digits", "nam: split-digits"),
        ("{task_ids: visible}", "{task_ids: visble}"),
        ("accuracy.average >= 0.85", "accuracy is great"),
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(old: str, new: str) -> None:
    problems(changed(old, new))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config.read_document("x.yaml").data, schema())


def test_the_schema_allows_components_from_elsewhere_and_partial_defaults() -> None:
    text = changed("{type: mlp, hidden: [256, 256]}", "{type: 'own.py:Mlp', hidden: [3]}").replace("type: adam, ", "")
    load(text)
    jsonschema.validate(config.read_document("x.yaml").data, schema())


def test_the_schema_describes_settings_as_the_docstring_does() -> None:
    made = schema()["$defs"]["stream.class_incremental"]["properties"]
    assert made["experiences"]["description"] == "how many, counted from one."
    assert made["visibility"]["description"] == "what the protocol of rlcl.streams shows."
    assert "description" not in made["data"]


def test_descriptions_of_bases_and_constructors_are_found() -> None:
    class Base:
        """A base.

        Args:
            width: of the base.
            depth (int): layers.
        """

    class Own(Base):
        def __init__(self, width: int, depth: int, **more: int) -> None:
            """Make one.

            Args:
                width: of its own: the one that counts.
                **more: anything else.

            Raises:
                depth: no setting.
            """

    wanted = {"width": "of its own: the one that counts.", "depth": "layers.", "more": "anything else."}
    assert wanted == config.descriptions(Own)


def test_a_component_without_the_members_of_its_kind_is_refused(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.undo()
    (folder / "empty.py").write_text("class Empty:\n    def fit(self, x): pass\n")
    told = "lacks encode, load_state_dict, shape, state_dict, which every encoder has; derive .* rlcl.types.Encoder"
    with pytest.raises(ConfigError, match=told):
        build(component("encoder", f"{folder / 'empty.py'}:Empty"))


def test_a_function_that_does_not_take_the_arguments_of_its_kind_is_refused(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.undo()
    (folder / "older.py").write_text(DERIVED.replace("encode(self, x, task_id=None)", "encode(self, x)"))
    told = r"Half: encode must take the arguments \(x, task_id=None\); see rlcl\.types\.Encoder"
    with pytest.raises(ConfigError, match=told):
        build(component("encoder", f"{folder / 'older.py'}:Half"))


DERIVED = """
from attrs import define, frozen
from rlcl.data.sources import Data
from rlcl.types import DataSet, Encoder

class Half(Encoder):
    def shape(self, observation_shape): return observation_shape
    def fit(self, x): pass
    def encode(self, x, task_id=None): return x / 2
    def state_dict(self): return {}
    def load_state_dict(self, state): pass

@define
class Part(Encoder):
    factor: float = 2.0
    def fit(self, x): pass

class Bare:
    def load(self): return Data([[0.0], [1.0]], [0, 1], [[0.0]], [0])
"""


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    monkeypatch.undo()
    (folder / "derived.py").write_text(DERIVED)
    return f"{folder / 'derived.py'}"


def test_what_a_protocol_has_a_default_for_is_not_asked_of_a_class_that_derives_from_it(derived: str) -> None:
    half = build(component("encoder", f"{derived}:Half"))
    assert (3,) == half.space(gym.spaces.Box(0, 1, (3,))).shape
    assert () == config.settings(type(half))  # of a protocol's own constructor there are none


def test_a_class_that_derives_from_its_protocol_and_leaves_something_out_is_refused(derived: str) -> None:
    with pytest.raises(
        ConfigError, match="Part lacks encode, load_state_dict, shape, state_dict, which every encoder has"
    ):
        build(component("encoder", f"{derived}:Part"))


def test_a_default_that_a_class_lacks_is_to_be_derived(derived: str) -> None:
    told = "Bare lacks expect, which every data has; derive the class from rlcl.types.DataSet, which has a default"
    with pytest.raises(ConfigError, match=told):
        build(component("data", f"{derived}:Bare"))


def test_what_is_shipped_is_found_beside_a_folder_of_the_same_name_of_another_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "rlcl"
    for folder in (package / "experiments", tmp_path / "site-packages" / "experiments"):
        folder.mkdir(parents=True)
    monkeypatch.setattr("rlcl.__file__", str(package / "__init__.py"))
    assert package / "experiments" == packaged_folder("experiments")
    assert tmp_path / "site-packages" / "benchmarks" / "suites" == packaged_folder("suites", "benchmarks/suites")
