"""Which runs belong together, what they are called, and what becomes of those that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

from rlcl.report.page.groups import grouped, labels
from run_folders import write_run

from rlcl.tracking.runs import find_runs


def config(name: str, learner: str = "ppo", methods: tuple[str, ...] = (), lr: float = 0.1) -> dict[str, object]:
    return {"name": name, "learner": {"type": learner, "lr": lr, "methods": [{"type": m} for m in methods]}}


def test_names_that_differ_are_the_labels() -> None:
    assert ("a", "b") == labels([config("a"), config("b", "dqn")])


def test_of_one_name_the_labels_are_what_differs() -> None:
    assert ("ppo, ewc", "ppo, no method", "dqn, no method") == labels(
        [config("s", methods=("ewc",)), config("s"), config("s", "dqn")]
    )
    assert ("learner.lr 0.1", "learner.lr 0.2") == labels([config("s"), config("s", lr=0.2)])
    assert ("s: learner.lr 0.1", "s: learner.lr 0.2", "t") == labels([config("s"), config("s", lr=0.2), config("t")])
    assert ("#1", "#2") == labels([config("s"), config("s")])


def test_seeds_that_cannot_be_read_are_kept_with_the_reason(tmp_path: Path) -> None:
    for seed in range(5):
        path = write_run(tmp_path, f"a/1/seed{seed}", {"return.average": float(seed)})
        record = {
            "run": "",
            "seed": seed,
            "step": 1,
            "trained_on": 0,
            "evaluated_on": 0,
            "metric": "return",
            "value": 1,
        }
        (path / "records.jsonl").write_text(json.dumps(record) + "\n")
    (tmp_path / "a/1/seed1/records.jsonl").write_text("no JSON\n")
    (tmp_path / "a/1/seed2/records.jsonl").write_text('{"step": 1}\n')
    (tmp_path / "a/1/seed3/status.json").write_text("{")
    (tmp_path / "a/1/seed4/status.json").write_text('{"state": "failed", "step": 7, "error": "NaN"}')
    (group,) = grouped(find_runs(tmp_path))
    assert [0] == [seed.run.seed for seed in group.seeds]
    reasons = {other.run.seed: other.reason for other in group.others}
    assert "is damaged" in reasons[1]
    assert "missing" in reasons[2]
    assert "status.json is damaged: it is no JSON" == reasons[3]
    assert "failed at step 7: NaN" == reasons[4]


def test_where_no_seed_has_finished_all_that_can_be_read_are_shown(tmp_path: Path) -> None:
    write_run(tmp_path, "a/1/seed0", None, state="running")
    (group,) = grouped(find_runs(tmp_path))
    assert ([0], False) == ([seed.run.seed for seed in group.seeds], group.finished)
