"""Suite files: the cells that they make, and what is refused before anything runs."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

import pytest

from rlcl.config import unstructure
from rlcl.errors import ConfigError
from rlcl.experiment import dump, experiment_from
from rlcl.launch.build import make_trainer
from rlcl.registry import entries
from rlcl.study.suite import Suite, load_suite, suites_folder, summarize_suite

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.stem for path in suites_folder().glob("*.yaml"))

BASE = """\
name: small
base:
  stream: {type: class_incremental, data: {type: digits}, experiences: 2}
  learner: {type: classifier, network: {type: mlp, hidden: [16]}, optimizer: {type: adam, lr: 1e-3}}
  budget: {epochs: 1}
"""


def suite(folder: Path, text: str, *changes: str, budget: str | None = None) -> Suite:
    (folder / "small.yaml").write_text(BASE + text)
    return load_suite(folder / "small.yaml", changes, budget)


def refused(folder: Path, text: str, *changes: str, budget: str | None = None) -> list[str]:
    """What is wrong with it, a line each, without the folder."""
    with pytest.raises(ConfigError) as found:
        suite(folder, text, *changes, budget=budget)
    assert 2 == found.value.exit_status
    return [problem.replace(f"{folder}/", "") for problem in found.value.problems]


# The cells.


def test_cells_are_the_product_of_axes_and_seeds(tmp_path: Path) -> None:
    found = suite(
        tmp_path,
        "sweep:\n  learner.batch_size: [8, 16]\n  learner.methods: {none: [], held: [{type: l2}]}\nseeds: 2\n",
    )
    assert "small" == found.name
    assert {"learner.batch_size": ("8", "16"), "learner.methods": ("none", "held")} == found.axes
    names = ["8, none", "8, held", "16, none", "16, held"]
    assert [f"{name}/seed{seed}" for name in names for seed in (0, 1)] == [cell.name for cell in found.cells]
    assert 4 == len({cell.experiment.hash for cell in found.cells})
    last = found.cells[-1]
    assert {"learner.batch_size": "16", "learner.methods": "held"} == last.labels
    assert 16 == last.experiment.learner.options.batch_size
    assert ["l2"] == [method.type for method in last.experiment.learner.options.methods]
    assert f"{last.experiment.hash}/seed1" == last.run


def test_a_cell_is_the_run_that_its_experiment_would_be(tmp_path: Path) -> None:
    from rlcl.experiment import load_experiment

    cells = suite(tmp_path, "sweep: {learner.methods: [[{type: rehearsal, capacity: 50}]]}\n").cells
    (tmp_path / "alone.yaml").write_text("name: alone\n" + "\n".join(line[2:] for line in BASE.splitlines()[2:]))
    alone = load_experiment(tmp_path / "alone.yaml", ["learner.methods=[{type: rehearsal, capacity: 50}]"])
    assert [alone.hash] == [cell.experiment.hash for cell in cells]


def test_a_type_alone_leaves_the_other_keys_as_they_are(tmp_path: Path) -> None:
    cells = suite(tmp_path, "sweep: {stream.type: [class_incremental, task_incremental]}\n").cells
    assert ["class_incremental", "task_incremental"] == [cell.experiment.stream.type for cell in cells]
    assert [2, 2] == [cell.experiment.stream.options.experiences for cell in cells]


def test_a_value_of_another_type_keeps_what_it_has_as_well(tmp_path: Path) -> None:
    text = "sweep: {learner.optimizer: [{type: adam, epsilon: 1e-5}, sgd, {type: sgd, lr: 0.5}]}\n"
    cells = suite(tmp_path, text).cells
    assert ["adam", "sgd", "sgd(lr=0.5)"] == [cell.learner for cell in cells]
    optimizers = [cell.experiment.learner.options.optimizer for cell in cells]
    assert [0.001, 0.001, 0.5] == [optimizer.options.lr for optimizer in optimizers]


@pytest.mark.parametrize("axis", ["stream.type: [single]", "stream: [single]", "s: {a: {stream: {type: single}}}"])
def test_a_setting_that_another_type_lacks_is_refused(axis: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        suite(tmp_path, f"sweep: {{{axis}}}\n")
    told = "small.yaml:6: stream.type: single has no setting experiences, which class_incremental has; "
    (problem,) = caught.value.problems
    assert told in problem


def test_a_budget_may_leave_out_what_another_type_lacks(tmp_path: Path) -> None:
    text = "budgets: {full: {stream: {type: single, experiences: null}}}\n"
    (cell,) = suite(tmp_path, text).cells
    assert ("single", "digits") == (cell.experiment.stream.type, cell.experiment.stream.options.data.type)


def test_an_axis_may_change_several_keys(tmp_path: Path) -> None:
    text = "sweep:\n  length: {short: {budget: {updates: 3}}, long: {budget: {epochs: 9}, validation: 0.1}}\n"
    short, long = suite(tmp_path, text).cells
    assert ("3 updates", 0.0) == (str(short.experiment.budget), short.experiment.validation)
    assert ("9 epochs", 0.1) == (str(long.experiment.budget), long.experiment.validation)


def test_an_axis_may_reach_into_a_list(tmp_path: Path) -> None:
    text = "sweep:\n  learner.methods: [[{type: ewc}]]\n  learner.methods[0].strength: [1, 2]\n"
    cells = suite(tmp_path, text).cells
    assert ["ewc, 1", "ewc, 2"] == [cell.learner for cell in cells]
    assert [1.0, 2.0] == [cell.experiment.learner.options.methods[0].options.strength for cell in cells]


def test_include_and_exclude_match_in_part(tmp_path: Path) -> None:
    sweep = "sweep: {learner.batch_size: [8, 16, 32], validation: [0, 0.1]}\n"
    text = f"{sweep}include: [{{learner.batch_size: [8, 16]}}]\nexclude: [{{learner.batch_size: 8, validation: 0.1}}]\n"
    assert ["8, 0", "16, 0", "16, 0.1"] == [cell.learner for cell in suite(tmp_path, text).cells]


def test_a_budget_includes_some_of_the_cells(tmp_path: Path) -> None:
    axes = "sweep: {validation: [0, 0.1], learner.batch_size: [8, 16]}\n"
    sweep = f"{axes}exclude: [{{validation: 0, learner.batch_size: 8}}]\n"
    budgets = "budgets: {full: {}, smoke: {include: [{validation: 0}, {learner.batch_size: 8}], budget: {epochs: 2}}}\n"
    names = ["0, 16/seed0", "0.1, 8/seed0", "0.1, 16/seed0"]
    assert names == [cell.name for cell in suite(tmp_path, sweep + budgets).cells]
    smoke = suite(tmp_path, sweep + budgets, budget="smoke")
    assert names[:2] == [cell.name for cell in smoke.cells]
    assert 2 == smoke.cells[0].experiment.budget.epochs
    assert 3 == summarize_suite(tmp_path / "small.yaml").cells

    unknown = refused(tmp_path, sweep + "budgets: {smoke: {include: [{validation: 3}]}}\n", budget="smoke")
    (problem,) = unknown
    assert problem.startswith("small.yaml:8: budgets.smoke.include[0].validation: no value '3' of that axis")
    (problem,) = refused(tmp_path, sweep + "budgets: {smoke: {include: all}}\n", budget="smoke")
    assert problem.startswith("small.yaml:8: budgets.smoke.include: expected a list"), problem
    nothing = "budgets: {smoke: {include: [{validation: 0, learner.batch_size: 8}]}}\n"
    (problem,) = refused(tmp_path, sweep + nothing, budget="smoke")
    assert problem.startswith("small.yaml:8: budgets.smoke.include: include and exclude leave no cell")


def test_a_budget_changes_every_cell_and_names_a_folder_of_its_own(tmp_path: Path) -> None:
    text = (
        "sweep: {validation: [0, 0.1]}\nseeds: [4, 7]\nbudgets: {full: {}, smoke: {seeds: 1, budget: {updates: 2}}}\n"
    )
    full, smoke = suite(tmp_path, text), suite(tmp_path, text, budget="smoke")
    assert ("small-full", "small-smoke") == (full.name, smoke.name)
    assert [4, 7, 4, 7] == [cell.seed for cell in full.cells]
    assert [0, 0] == [cell.seed for cell in smoke.cells]
    assert {"2 updates"} == {str(cell.experiment.budget) for cell in smoke.cells}


def test_the_base_may_extend_a_file_beside_the_suite_or_a_shipped_experiment(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("extends: quickstart\nseeds: [5]\nbudget: {updates: 3}\n")
    (tmp_path / "over.yaml").write_text("name: over\nbase: {extends: other.yaml, validation: 0.2}\n")
    (cell,) = load_suite(tmp_path / "over.yaml").cells
    assert ("over", 5, "3 updates") == (cell.experiment.name, cell.seed, str(cell.experiment.budget))
    assert ("rehearsal", 0.2) == (cell.experiment.learner.options.methods[0].type, cell.experiment.validation)


def test_the_command_line_changes_the_suite(tmp_path: Path) -> None:
    found = suite(
        tmp_path, "sweep: {validation: [0, 0.1]}\n", "seeds=3", "base.budget.epochs=7", "sweep.validation=[0]"
    )
    assert [0, 1, 2] == [cell.seed for cell in found.cells]
    assert "7 epochs" == str(found.cells[0].experiment.budget)


# What is refused.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sweep: {learner.optimizr.lr: [1]}", "small.yaml:6: learner.optimizr: unknown key; did you mean optimizer?"),
        ("sweep: {lerner.lr: [1]}", "small.yaml:6: lerner: unknown key; did you mean learner?"),
        ("sweep: {lerner: [ppo]}", "small.yaml:6: sweep.lerner: no key of an experiment; did you mean learner?"),
        (
            "sweep: {length: {a: {budgt: {epochs: 2}}}}",
            "small.yaml:6: sweep.length: not a key of an experiment, and its values contain other keys: "
            "a has budgt; did you mean budget?",
        ),
        (
            "sweep: {learner.methods: [[{type: ewc}], [{type: ewk}]]}",
            "small.yaml:6: learner.methods[0].type: unknown method 'ewk'; did you mean ewc?",
        ),
        (
            "sweep: {learner.methods: [[{type: ewc}]], 'learner.methods[1].strength': [1]}",
            "learner.methods[1]: there is no such item; learner.methods has 1, counted from 0",
        ),
        ("sweep: {validation: []}", "small.yaml:6: sweep.validation: expected at least one value, got none"),
        ("sweep: {validation: 0.1}", "small.yaml:6: sweep.validation: expected a list of values, or values by label"),
        ("sweep: {validation: [0.1, 0.1]}", "the value 0.1 is listed more than once; remove one"),
        (
            "sweep: {validation: {a: 0.1, b: 0.1}}",
            "small.yaml: sweep: b is the same run as a; exclude one of them",
        ),
        ("sweep: {validation: [0]}\nexclude: [{}]", "small.yaml:7: exclude: include and exclude leave no cell"),
        ("seeds: 0", "small.yaml:6: seeds: expected at least one, got none: the grid is empty"),
        ("seeds: [1, 1]", "expected distinct seeds, got 1 more than once"),
        ("seeds: -1", "small.yaml:6: seeds: expected a whole number of at least 0"),
        ("seed: 3", "small.yaml:6: seed: unknown key; did you mean seeds or sweep?"),
        (
            "sweep: {validation: [0]}\nexclude: [{validaton: 0}]",
            "small.yaml:7: exclude[0].validaton: no axis of the sweep; did you mean validation?",
        ),
        (
            "sweep: {validation: [0, 0.1]}\ninclude: [{validation: 0.2}]",
            "small.yaml:7: include[0].validation: no value '0.2' of that axis; did you mean 0.1?",
        ),
    ],
)
def test_a_mistake_is_one_message(tmp_path: Path, text: str, said: str) -> None:
    (problem,) = refused(tmp_path, f"{text}\n")
    assert said in problem


@pytest.mark.parametrize(
    ("text", "budget", "said"),
    [
        ("budgets: {smoke: {}, full: {}}\n", "smok", "budgets: no budget 'smok'; did you mean smoke?"),
        ("", "smoke", "budgets: no budget 'smoke'; this suite has none"),
        ("budgets: {tiny: {}}\n", None, "budgets: no budget is named full; choose one with --budget; allowed: tiny"),
    ],
)
def test_an_unknown_budget_is_told_with_those_there_are(
    tmp_path: Path, text: str, budget: str | None, said: str
) -> None:
    (problem,) = refused(tmp_path, text, budget=budget)
    assert said in problem


def test_the_problems_of_all_cells_are_told_at_once_and_whose_they_are(tmp_path: Path) -> None:
    text = "sweep:\n  learner.batch_size: [0, 8]\n  validation: [0, 2]\n"
    assert [
        "small.yaml:7: learner.batch_size: expected a whole number of at least 1, got 0 (cell 0, 0 and 1 more)",
        "small.yaml:8: validation: expected a number of at least 0 and below 1, got 2.0 (cell 0, 2 and 1 more)",
    ] == refused(tmp_path, text)


def test_a_base_that_extends_nothing_there_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("name: small\nbase:\n  extends: quickstrt\n")
    with pytest.raises(ConfigError, match=r"small.yaml:3: extends: .*did you mean quickstart"):
        load_suite(tmp_path / "small.yaml")


def test_an_unknown_suite_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean split-digits"):
        load_suite("split-digit")


# The suites that ship.


@pytest.mark.parametrize("name", SHIPPED)
def test_every_cell_of_a_shipped_suite_can_be_built(name: str) -> None:
    full, smoke = load_suite(name, budget="full"), load_suite(name, budget="smoke")
    assert full.statement
    assert 10 == len({cell.seed for cell in full.cells})
    tried = {tuple(cell.labels.values()) for cell in smoke.cells}
    if full.extra is None:
        assert tried == {tuple(cell.labels.values()) for cell in full.cells}
    else:  # an environment may be slow; each method is tried all the same
        assert {labels[-1] for labels in tried} == {[*cell.labels.values()][-1] for cell in full.cells}
    for cell in smoke.cells if full.extra is None else ():  # make suites runs those that need an extra
        make_trainer(cell.experiment, cell.seed)
    summary = summarize_suite(name)
    assert (summary.statement, summary.cells) == (full.statement, len(full.cells))
    assert (summary.extra, summary.hours) == (full.extra, full.hours)


def test_the_extras_of_suites_are_those_of_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    needed = {summarize_suite(name).extra for name in SHIPPED} - {None}
    assert needed == {"minigrid", "minatar", "box2d", "mujoco", "metaworld", "atari"}
    assert needed <= extras.keys()


def test_the_suites_of_continual_reinforcement_learning_are_tried_with_their_extras() -> None:
    spec = importlib.util.spec_from_file_location("suite_smoke", ROOT / "benchmarks" / "suite_smoke.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert {name: summarize_suite(name).extra or "" for name in module.SUITES} == module.SUITES
    with_extra = {name for name in SHIPPED if summarize_suite(name).extra}
    assert with_extra <= module.SUITES.keys()


def test_there_is_a_suite_of_each_kind() -> None:
    assert {"split-digits", "classic-control", "cartpole-physics", "unsupervised-digits"} <= set(SHIPPED)


def test_split_digits_has_every_method() -> None:
    of_transitions = {"clear", "selective_replay"}
    assert {"none", *entries("method")} - of_transitions == set(load_suite("split-digits").axes["learner.methods"])
    assert of_transitions <= set(load_suite("cartpole-physics").axes["method"])


def test_classic_control_pairs_each_learner_with_that_of_stable_baselines3() -> None:
    agents = load_suite("classic-control").axes["agent"]
    own = [name for name in agents if "sb3" not in name]
    assert ["ppo", "dqn", "sac", "td3"] == own
    assert {f"{name} of sb3" for name in own} == set(agents) - set(own)


SIMILAR = """
name: similar
base:
  stream: {type: environments, env: CartPole-v1}
  learner: {type: ppo}
  budget: {env_steps: 10}
sweep:
  stream.tasks:
    one: [{kwargs: {a: 1}}]
    true: [{kwargs: {a: true}}]
    real: [{kwargs: {a: 1.0}}]
    text: [{kwargs: {a: "1"}}]
  learner.optimizer.lr: [0.1, 0.2]
seeds: 1
"""


def test_parts_that_cells_share_are_those_of_a_cell_read_alone(tmp_path: Path) -> None:
    """Values that are equal for Python, and differ in type, are different parts."""
    (tmp_path / "similar.yaml").write_text(SIMILAR)
    suite = load_suite(tmp_path / "similar.yaml")
    assert 8 == len(suite.cells)
    for cell in suite.cells:
        alone = experiment_from(unstructure(cell.experiment))
        assert dump(alone) == dump(cell.experiment)
        assert alone.hash == cell.experiment.hash
    first, second = suite.cells[:2]
    assert first.experiment.stream is second.experiment.stream
    kinds = [type(cell.experiment.stream.options.tasks[0].kwargs["a"]) for cell in suite.cells[::2]]
    assert [int, bool, float, str] == kinds
