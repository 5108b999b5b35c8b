"""Pictures and tables as files, and what a run that goes on makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from rlcl.sinks.tensorboard.media_files import MediaFiles
from rlcl.sinks.tensorboard.pictures import sprite


def session(folder: Path, name: str, *steps: int) -> EventAccumulator:
    """One session that shows a picture and a table at some steps, read back."""
    with SummaryWriter(str(folder / name)) as writer:
        shown = MediaFiles(folder / "shown", writer)
        for step in steps:
            shown.picture("episode/00 a/b", sprite(np.zeros((1, 4, 4, 3), np.uint8), 4), step)
            shown.table("R/accuracy", f"| {step} |", step)
    return EventAccumulator(str(folder / name), size_guidance={"images": 0, "tensors": 0}).Reload()


def test_earlier_sessions_are_shown_again_and_what_is_repeated_once(tmp_path: Path) -> None:
    session(tmp_path, "first", 5, 20)
    board = session(tmp_path, "second", 20, 100)
    assert [5, 20, 100] == [image.step for image in board.Images("episode/00 a/b")]
    assert {(4, 4)} == {(image.height, image.width) for image in board.Images("episode/00 a/b")}
    tables = board.Tensors("R/accuracy/text_summary")
    assert [(5, b"| 5 |"), (20, b"| 20 |"), (100, b"| 100 |")] == [
        (table.step, table.tensor_proto.string_val[0]) for table in tables
    ]


def test_a_file_says_what_it_shows(tmp_path: Path) -> None:
    session(tmp_path, "first", 5)
    found = sorted(str(path.relative_to(tmp_path / "shown")) for path in (tmp_path / "shown").glob("*/*"))
    assert ["R%2Faccuracy/000000000005.md", "episode%2F00 a%2Fb/000000000005.png"] == found
