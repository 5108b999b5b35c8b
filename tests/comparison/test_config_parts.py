"""What of a config is the learner, and what the stream."""

from __future__ import annotations

from pathlib import Path

from comparable_runs import stream, write_seed

from rlcl.comparison.config_parts import short_names, split_config
from rlcl.tracking.runs import StoredRun


def test_an_option_that_is_off_is_as_one_that_was_not_there_yet(tmp_path: Path) -> None:
    before = write_seed(tmp_path, "a", 0, {})
    off = write_seed(tmp_path, "a", 1, {}, learner={"ema": None}, config={"stream": stream(expect=None)})
    on = write_seed(tmp_path, "a", 2, {}, learner={"ema": 0.9})
    first, second, third = (split_config(StoredRun(path, path.name), within=False) for path in (before, off, on))
    assert first == second
    assert first.stream_key == third.stream_key
    assert first.learner_key != third.learner_key


def test_a_class_in_a_file_is_named_without_the_folder() -> None:
    parts = [{"stream.env": "/home/me/a/ferry.py:Ferry"}, {"stream.env": "/home/me/b/boat.py:Boat"}]
    assert ["ferry.py:Ferry", "boat.py:Boat"] == short_names(parts, ["stream.env"])
    twins = [{"stream.env": f"/home/me/{folder}/ferry.py:Ferry"} for folder in "ab"]
    assert len({*short_names(twins, ["stream.env"])}) == 2
