"""Which runs belong together, what they are called, and what becomes of those that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

from comparable_runs import stream, write_learner, write_seed

from rlcl.comparison.groups import SeedGroup, group_runs
from rlcl.comparison.scores import gather_scores
from rlcl.tracking.runs import find_runs

RECORD = {"run": "", "seed": 0, "step": 1, "trained_on": 0, "evaluated_on": 0, "metric": "accuracy", "value": 1.0}
ACCURACY = {"accuracy.average": 0.5}


def labels(root: Path) -> list[str]:
    return [group.label for group in group_runs(find_runs(root))]


def test_names_that_differ_are_the_labels(tmp_path: Path) -> None:
    write_learner(tmp_path, "a", [0.5])
    write_learner(tmp_path, "b", [0.5])
    assert ["a", "b"] == labels(tmp_path)


def test_learners_are_called_as_they_are_in_a_comparison(tmp_path: Path) -> None:
    for place, (kind, lr) in enumerate([("ewc", 0.1), ("ewc", 0.2), ("si", 0.1)]):
        learner = {"lr": lr, "methods": [{"type": kind}]}
        write_seed(tmp_path, "mine", 0, ACCURACY, folder=f"h{place}", learner=learner)
    assert list(gather_scores(find_runs(tmp_path)).learners) == labels(tmp_path)
    assert "classifier ewc lr=0.1" == labels(tmp_path)[0]


def test_streams_are_named_where_they_differ(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for data in ("digits", "iris"):
            write_learner(tmp_path, name, [0.5], folder=data, config={"stream": stream(data)})
    assert ["a, single digits", "a, single iris", "b, single digits", "b, single iris"] == labels(tmp_path)
    assert ["single digits", "single iris"] == labels(tmp_path / "a")


def test_the_same_learner_and_stream_by_another_setting_has_another_label(tmp_path: Path) -> None:
    for folder, epochs in {"h": 1, "i": 2}.items():
        config = {"budget": {"epochs": epochs}}
        write_learner(tmp_path, "a", [0.5], folder=folder, config=config)
    assert ["a epochs=1", "a epochs=2"] == labels(tmp_path)
    write_learner(tmp_path, "a", [0.5], folder="j", config={"budget": {"epochs": 2}})  # in nothing at all
    assert ["a epochs=1", "a epochs=2 i", "a epochs=2 j"] == labels(tmp_path)


def one(root: Path) -> SeedGroup:
    (group,) = group_runs(find_runs(root))
    return group


def test_seeds_that_cannot_be_read_are_kept_with_the_reason(tmp_path: Path) -> None:
    for seed in range(6):
        write_seed(tmp_path, "a", seed, ACCURACY, records=[RECORD])
    folder = tmp_path / "a" / "h"
    (folder / "seed1/records.jsonl").write_text("no JSON\n")
    (folder / "seed2/records.jsonl").write_text('{"step": 1}\n')
    (folder / "seed3/status.json").write_text("{")
    (folder / "seed4/status.json").write_text('{"state": "failed", "step": 7, "error": "NaN"}')
    (folder / "seed5/manifest.json").unlink()
    group = one(tmp_path)
    assert [0] == [seed.run.seed for seed in group.seeds]
    reasons = {other.run.seed: other.reason for other in group.excluded}
    assert "is damaged" in reasons[1]
    assert "missing" in reasons[2]
    assert "corrupt: status.json is damaged: it is not JSON" == reasons[3]
    assert "failed: NaN" == reasons[4]
    assert "corrupt: manifest.json contains no hash of the data" == reasons[5]


def test_a_metric_is_of_all_seeds_that_can_be_compared_whatever_their_records(tmp_path: Path) -> None:
    write_learner(tmp_path, "a", [0.2, 0.6], records=[RECORD])
    (tmp_path / "a/h/seed1/records.jsonl").write_text("no JSON\n")
    summary = one(tmp_path).summaries["accuracy.average"]
    assert (0.4, 2) == (summary.mean, summary.seeds)


def test_where_no_seed_has_finished_all_that_can_be_read_are_shown(tmp_path: Path) -> None:
    path = write_seed(tmp_path, "a", 0, ACCURACY, records=[RECORD])
    (path / "status.json").write_text(json.dumps({"state": "running", "step": 1}))
    group = one(tmp_path)
    assert ([0], False) == ([seed.run.seed for seed in group.seeds], group.finished)


def test_names_of_experiments_tell_apart_what_learners_and_streams_do_not(tmp_path: Path) -> None:
    for name, epochs in {"short": 1, "long": 2}.items():
        learner = {"methods": []}
        write_learner(tmp_path, name, [0.5], learner=learner, config={"budget": {"epochs": epochs}})
    assert ["long", "short"] == labels(tmp_path)
