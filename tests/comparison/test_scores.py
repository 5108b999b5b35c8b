"""Runs are sorted into learners and streams; unfair comparisons are refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparable_runs import stream, write_learner, write_seed

from rlcl.comparison.scores import Scores, gather_scores
from rlcl.errors import RunFolderError, UnsupportedError
from rlcl.evaluation.measures import ACCURACY
from rlcl.evaluation.metric_meaning import MetricMeaning
from rlcl.evaluation.metrics import Metric
from rlcl.tracking.runs import find_runs


def gathered(root: Path, metric: str | None = None, by: tuple[str, ...] = ()) -> Scores:
    return gather_scores(find_runs(root), metric, by)


def test_seeds_of_one_learner_are_a_group_under_its_experiment_s_name(tmp_path: Path) -> None:
    write_learner(tmp_path, "ewc", [0.5, 0.7])
    write_learner(tmp_path, "si", [0.6])
    scores = gathered(tmp_path)
    assert (("ewc", "si"), ("single digits",)) == (scores.learners, scores.streams)
    assert {0: 0.5, 1: 0.7} == scores.values("ewc", "single digits")
    assert {0: 0.6} == scores.values("si", "single digits")


def test_learners_of_one_name_are_told_apart_by_what_they_differ_in(tmp_path: Path) -> None:
    for place, (kind, lr) in enumerate([("ewc", 0.1), ("ewc", 0.2), ("si", 0.1)]):
        learner = {"lr": lr, "methods": [{"type": kind}]}
        write_seed(tmp_path, "mine", 0, {"accuracy.average": 0.5}, folder=f"h{place}", learner=learner)
    expected = ("classifier ewc lr=0.1", "classifier ewc lr=0.2", "classifier si")
    assert expected == gathered(tmp_path).learners


def test_the_encoder_belongs_to_the_learner(tmp_path: Path) -> None:
    for place, encoder in enumerate(["scale", "pca"]):
        config = {"encoder": {"type": encoder}}
        write_seed(tmp_path, "mine", 0, {"accuracy.average": 0.5}, folder=f"h{place}", config=config)
    assert ("classifier mine encoder=scale", "classifier mine encoder=pca") == gathered(tmp_path).learners


def test_how_many_environments_a_learner_trains_in_is_its_own_affair(tmp_path: Path) -> None:
    for name, num_envs in {"ppo": 8, "dqn": 1}.items():
        config = {"stream": {"type": "environments", "env": "CartPole-v1", "num_envs": num_envs}}
        write_learner(tmp_path, name, [0.5], config=config)
    assert ("environments CartPole-v1",) == gathered(tmp_path).streams


def test_a_key_may_make_the_learner_whatever_else_differs(tmp_path: Path) -> None:
    for seed, kind in enumerate(["ewc", "ewc", "si"]):
        learner = {"lr": 0.1 * (seed + 1), "methods": [{"type": kind}]}
        write_seed(tmp_path, "mine", seed, {"accuracy.average": 0.5}, folder=f"h{seed}", learner=learner)
    scores = gathered(tmp_path, by=("learner.methods.type",))
    assert ("ewc", "si") == scores.learners
    assert [0, 1] == list(scores.values("ewc", "single digits"))


def test_a_loss_of_memory_is_better_the_lower_it_is(tmp_path: Path) -> None:
    write_seed(tmp_path, "ewc", 0, {"accuracy.average": 0.5, "forgetting.chaudhry": 0.2})
    assert 1 == gathered(tmp_path).sign
    scores = gathered(tmp_path, "forgetting.chaudhry")
    assert -1 == scores.sign
    np.testing.assert_array_equal([[-0.2]], scores.table("ewc"))


def waste(better: str) -> dict[str, Any]:
    """The summary of a run with a metric of the user's own."""
    metric = Metric("waste", lambda _: None, better=better)  # type: ignore[arg-type]
    return {"meaning": {"waste": MetricMeaning.of(metric, "accuracy", ACCURACY).as_json}, "names": ["gone.py:WASTE"]}


def test_a_metric_of_the_user_s_says_by_itself_which_values_are_better(tmp_path: Path) -> None:
    for better, sign in (("higher", 1), ("lower", -1)):
        write_seed(tmp_path / better, "ewc", 0, {"waste": 0.2}, summary=waste(better))
        assert sign == gathered(tmp_path / better, "waste").sign


def test_a_metric_of_which_nothing_says_what_is_better_is_left_out(tmp_path: Path) -> None:
    write_seed(tmp_path, "ewc", 0, {"waste": 0.2}, summary=waste("lower"))
    write_seed(tmp_path, "ewc", 1, {"waste": 0.2}, summary={"names": ["gone.py:WASTE"]})
    scores = gathered(tmp_path, "waste")
    assert {0: 0.2} == scores.values("ewc", "single digits")
    assert "does not record whether higher or lower values of waste are better" in scores.left_out[0][1]


def test_one_name_for_two_directions_is_refused(tmp_path: Path) -> None:
    for name, better in {"ewc": "higher", "si": "lower"}.items():
        write_seed(tmp_path, name, 0, {"waste": 0.2}, summary=waste(better))
    with pytest.raises(
        UnsupportedError, match=r"higher values of waste are better in .*lower values of waste in .*different names"
    ):
        gathered(tmp_path, "waste")


def test_over_streams_as_many_seeds_count_of_each(tmp_path: Path) -> None:
    write_learner(tmp_path, "ewc", [0.1, 0.2, 0.3])
    write_learner(tmp_path, "ewc", [0.6, 0.7], folder="i", config={"stream": stream("iris")})
    scores = gathered(tmp_path)
    assert ("single digits", "single iris") == scores.common_streams
    np.testing.assert_array_equal([[0.1, 0.6], [0.2, 0.7]], scores.table("ewc"))


def test_over_all_streams_the_learners_that_ran_on_each_are_compared(tmp_path: Path) -> None:
    for name in ("ewc", "si", "packnet"):
        write_learner(tmp_path, name, [0.1])
        if name != "packnet":
            write_learner(tmp_path, name, [0.6], folder="i", config={"stream": stream("iris")})
    assert (("ewc", "si"), ("single digits", "single iris")) == gathered(tmp_path).overall


def test_where_only_one_ran_on_each_it_is_the_streams_that_all_share(tmp_path: Path) -> None:
    write_learner(tmp_path, "ewc", [0.1])
    write_learner(tmp_path, "ewc", [0.6], folder="i", config={"stream": stream("iris")})
    write_learner(tmp_path, "si", [0.2])
    assert (("ewc", "si"), ("single digits",)) == gathered(tmp_path).overall


def test_what_is_not_finished_is_left_out_with_the_reason(tmp_path: Path) -> None:
    write_learner(tmp_path, "ewc", [0.1, 0.2, 0.3, 0.4])
    folder = tmp_path / "ewc" / "h"
    (folder / "seed1" / "summary.json").write_text("{")
    (folder / "seed2" / "status.json").write_text(json.dumps({"state": "failed", "error": "it diverged\nat 3"}))
    (folder / "seed3" / "manifest.json").unlink()
    scores = gathered(tmp_path)
    assert {0: 0.1} == scores.values("ewc", "single digits")
    reasons = {Path(path).name: reason for path, reason in scores.left_out}
    assert "corrupt: summary.json is damaged: it is not JSON" == reasons["seed1"]
    assert "failed: it diverged" == reasons["seed2"]
    assert reasons["seed3"].startswith("corrupt: manifest.json")


def test_without_a_finished_run_there_is_nothing_to_compare(tmp_path: Path) -> None:
    write_learner(tmp_path, "ewc", [0.1])
    (tmp_path / "ewc" / "h" / "seed0" / "status.json").write_text(json.dumps({"state": "running"}))
    with pytest.raises(RunFolderError, match=r"no finished run(.|\n)*seed0: crashed"):
        gathered(tmp_path)


def test_a_metric_that_no_run_has_gets_the_nearest_name(tmp_path: Path) -> None:
    write_learner(tmp_path, "ewc", [0.1])
    with pytest.raises(RunFolderError, match=r"--metric acuracy\.average: none of 1 runs.*did you mean accuracy"):
        gathered(tmp_path, "acuracy.average")


def test_a_metric_that_some_runs_lack_leaves_them_out(tmp_path: Path) -> None:
    write_learner(tmp_path, "ewc", [0.1])
    write_seed(tmp_path, "ewc", 1, {"accuracy.average": 0.2, "backward_transfer": 0.3})
    scores = gathered(tmp_path, "backward_transfer")
    assert {1: 0.3} == scores.values("ewc", "single digits")
    assert ["does not define backward_transfer"] == [reason for _, reason in scores.left_out]


def test_a_metric_that_was_not_reported_is_computed_from_the_records(tmp_path: Path) -> None:
    row = {"run": "r", "seed": 0, "step": 1, "trained_on": 0, "evaluated_on": 0, "metric": "accuracy", "value": 0.25}
    summary = {"names": ["accuracy.average"]}
    write_seed(tmp_path, "ewc", 0, {"accuracy.average": 0.5}, summary=summary, records=[row])
    assert {0: 0.25} == gathered(tmp_path, "accuracy.learning").values("ewc", "single digits")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"config": {"budget": {"epochs": 2}}}, r"budget\.epochs is 1 in .* and 2 in .*--by budget\.epochs"),
        ({"config": {"validation": 0.5}}, r"validation is 0\.0 in .* and 0\.5"),
        ({"config": {"evaluation": {"split": "validation", "on": "all"}}}, r"evaluation\.split is test .* validation"),
        ({"manifest": {"data": "others"}}, "used different data"),
        ({"summary": {"metrics_version": 2}}, "by version 1 of the metrics .* by version 2"),
        (
            {"config": {"stream": stream("iris")}},
            "no stream has runs of two learners: ewc on single digits; si on single",
        ),
        ({"summary": {"measures": ["inertia"], "metrics": {"inertia.average": 1}}}, "measured by .* no common metric"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, other: Any, message: str) -> None:
    write_learner(tmp_path, "ewc", [0.1])
    write_learner(tmp_path, "si", [0.2], **other)
    with pytest.raises(UnsupportedError, match=message):
        gathered(tmp_path)


def write_two_measures(root: Path) -> None:
    """The second measure of one learner is the first of the other; backward_transfer is of the first."""
    inertia = {"inertia.average": 1.0, "linear_probe.average": 0.4, "backward_transfer": 0.3}
    inertia["linear_probe.backward_transfer"] = 0.1
    write_seed(root, "a", 0, inertia, summary={"measures": ["inertia", "linear_probe"]})
    probe = {"linear_probe.average": 0.5, "backward_transfer": 0.2}
    write_seed(root, "b", 0, probe, summary={"measures": ["linear_probe"]})


def test_learners_of_other_measures_are_told_what_they_share(tmp_path: Path) -> None:
    write_two_measures(tmp_path)
    for metric in (None, "backward_transfer"):
        with pytest.raises(UnsupportedError, match=r"with --metric: linear_probe\.average$"):
            gathered(tmp_path, metric)
    assert ("a", "b") == gathered(tmp_path, "linear_probe.average").learners


def test_a_metric_of_a_named_measure_is_found_where_that_is_the_first(tmp_path: Path) -> None:
    write_two_measures(tmp_path)
    scores = gathered(tmp_path, "linear_probe.backward_transfer")
    assert [0.1, 0.2] == [scores.values(name, "single digits")[0] for name in scores.learners]


def test_what_by_names_may_differ(tmp_path: Path) -> None:
    for epochs in (1, 2):
        config = {"budget": {"epochs": epochs, "updates": None}}
        write_learner(tmp_path, "ewc", [0.1], folder=f"h{epochs}", config=config)
    assert ("1", "2") == gathered(tmp_path, by=("budget.epochs",)).learners


def test_how_often_is_evaluated_matters_to_metrics_that_see_it(tmp_path: Path) -> None:
    every = {"every": {"updates": 5}, "on": "all", "split": "test", "episodes": 20, "episode_steps": 100}
    for name, config in {"ewc": {}, "si": {"evaluation": every}}.items():
        write_seed(tmp_path, name, 0, {"accuracy.average": 0.5, "accuracy.min": 0.1}, config=config)
    assert ("ewc", "si") == gathered(tmp_path).learners
    with pytest.raises(UnsupportedError, match=r"evaluation\.every"):
        gathered(tmp_path, "accuracy.min")


def test_a_seed_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for folder in ("h", "i"):
        write_learner(tmp_path, "ewc", [0.1], folder=folder)
    with pytest.raises(UnsupportedError, match=r"seed 0 of ewc on single digits has two runs: .*h/seed0 and .*i/seed0"):
        gathered(tmp_path)


def test_a_folder_that_is_named_twice_is_one(tmp_path: Path) -> None:
    write_learner(tmp_path, "ewc", [0.1])
    assert 1 == len(gather_scores([*find_runs(tmp_path), *find_runs(tmp_path / "ewc")]).run_scores)


def test_other_versions_of_the_code_are_remarked(tmp_path: Path) -> None:
    write_learner(tmp_path, "ewc", [0.1])
    write_learner(tmp_path, "si", [0.1], manifest={"git": {"revision": "b"}})
    assert "the runs have 2 different revisions of the code" in gathered(tmp_path).caveats[0]


SWEEP = {"stream.data": {"small": {"type": "iris"}, "large": {"type": "digits"}}, "algorithm": {"a": {}, "b": {}}}


def write_suite(root: Path, **labels: dict[str, str]) -> None:
    cells = [{"run": f"{folder}/seed0", "labels": each} for folder, each in labels.items()]
    (root / "suite.json").write_text(json.dumps({"cells": cells, "definition": {"sweep": SWEEP}}))


def test_a_suite_s_labels_name_its_learners_and_streams(tmp_path: Path) -> None:
    # Learner b is set otherwise on the large stream, and is b all the same.
    made = {"h1": ("iris", 0.1), "h2": ("digits", 0.1), "h3": ("iris", 0.2), "h4": ("digits", 0.3)}
    for folder, (data, lr) in made.items():
        write_learner(tmp_path, "s", [0.5], folder=folder, learner={"lr": lr}, config={"stream": stream(data)})
    write_learner(tmp_path, "s", [0.5], folder="old", learner={"lr": 9})
    pairs = [("small", "a"), ("large", "a"), ("small", "b"), ("large", "b")]
    labels = [dict(zip(SWEEP, pair, strict=True)) for pair in pairs]
    write_suite(tmp_path / "s", **dict(zip(made, labels, strict=True)))
    scores = gathered(tmp_path)
    assert (("a", "b"), ("small", "large")) == (scores.learners, scores.streams)
    assert [("old", "no longer a cell of its suite")] == [(Path(p).parent.name, why) for p, why in scores.left_out]
