"""Files of one object a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcl.errors import RunFolderError
from rlcl.tracking.jsonlines import JsonLines, read_lines


def written(path: Path, *rows: dict[str, float], length: int = 0) -> int:
    lines = JsonLines(path, length)
    for row in rows:
        lines.append(row)
    size = lines.length()
    lines.close()
    return size


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    written(path, {"a": 1}, {"a": 0.1, "b": 2**60})
    assert [{"a": 1}, {"a": 0.1, "b": 2**60}] == list(read_lines(path))
    assert ['{"a":1}', '{"a":0.1,"b":1152921504606846976}'] == path.read_text().splitlines()


def test_numbers_come_back_bit_for_bit(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1e-320, -0.0, 1 / 3]
    written(tmp_path / "rows", *({"v": value} for value in values), {"v": float("nan")}, {"v": float("inf")})
    *numbers, nan, infinite = (row["v"] for row in read_lines(tmp_path / "rows"))
    assert [value.hex() for value in values] == [value.hex() for value in numbers]
    assert nan is None  # JSON has neither
    assert infinite is None


def test_the_length_is_what_lies_on_the_disk(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "rows", 0)
    lines.append({"a": 1})
    assert lines.length() == (tmp_path / "rows").stat().st_size == len('{"a":1}\n')
    lines.close()


def test_what_is_not_vouched_for_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    length = written(path, {"a": 1})
    written(path, {"a": 2}, {"a": 3}, length=length)
    written(path, {"a": 4}, length=length)
    assert [{"a": 1}, {"a": 4}] == list(read_lines(path))


def test_a_new_file_starts_empty(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text("left by another run\n")
    written(path, {"a": 1})
    assert [{"a": 1}] == list(read_lines(path))


@pytest.mark.parametrize("torn", ['{"a":2', '{"a":2}', "{", "\x00\x00"])
def test_a_torn_last_line_is_passed_over(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "rows"
    written(path, {"a": 1})
    with path.open("a") as file:
        file.write(torn)
    assert [{"a": 1}] == list(read_lines(path))


def test_rows_before_a_damaged_line_are_read_and_it_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text('{"a":1}\n{"a":\n{"a":3}\n')
    rows = read_lines(tmp_path / "rows")
    assert {"a": 1} == next(rows)
    with pytest.raises(RunFolderError, match="rows:2 is damaged"):
        next(rows)


def test_no_file_has_no_rows(tmp_path: Path) -> None:
    assert [] == list(read_lines(tmp_path / "nothing"))
