"""Records that were cut or altered are known by their length and digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlcl.errors import RunFolderError
from rlcl.tracking.checksum import Checksum
from rlcl.tracking.folder import RunFolder, read_costs, read_records
from rlcl.tracking.json_files import read_json
from rlcl.tracking.runs import StoredRun
from rlcl.types import Record

RECORDS = tuple(Record("run", 0, i, i, 0, "accuracy", 0.1 * i) for i in range(4))
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing


def finished(path: Path) -> Path:
    """A run's folder with records and the stamp of them in its summary."""
    folder = RunFolder(path)
    folder.open({})
    for record in RECORDS:
        folder.write(record)
    folder.lengths()
    summary = {"metrics": {}, "measures": ["accuracy"], "experiences": ["a"], "records": folder.checksum().as_json}
    folder.write_json("summary.json", summary)
    folder.write_status("finished")
    folder.close()
    return path


def altered(path: Path) -> None:
    file = path / "records.jsonl"
    file.write_bytes(file.read_bytes().replace(b"0.1", b"0.9"))


def cut(path: Path) -> None:
    file = path / "records.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))


def longer(path: Path) -> None:
    with (path / "records.jsonl").open("a") as file:
        file.write(file.name)


def replaced(path: Path) -> None:
    (path / "records.jsonl").unlink()
    (path / "records.jsonl").mkdir()


def test_the_stamp_of_nothing() -> None:
    assert Checksum(0, EMPTY) == Checksum.of(b"")
    assert Checksum(0, EMPTY) == Checksum.of_file(Path("no such file"))


def test_what_was_written_has_the_stamp_of_its_file(tmp_path: Path) -> None:
    finished(tmp_path)
    content = (tmp_path / "records.jsonl").read_bytes()
    assert Checksum.of(content) == Checksum.in_summary(read_json(tmp_path / "summary.json"))
    assert Checksum.of(content[:10]) == Checksum.of_file(tmp_path / "records.jsonl", 10)


def test_records_that_are_whole_are_read(tmp_path: Path) -> None:
    assert RECORDS == read_records(finished(tmp_path))
    assert "finished" == StoredRun(tmp_path, "a").state


@pytest.mark.parametrize("damage", [altered, cut, longer, replaced])
def test_other_records_are_refused_with_the_file_and_the_remedy(tmp_path: Path, damage: object) -> None:
    finished(tmp_path)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(
        RunFolderError, match=r"records.jsonl was truncated or modified .*rlcl runs rm and run it again"
    ):
        read_records(tmp_path)
    assert "corrupt" == StoredRun(tmp_path, "a").state
    assert "records.jsonl was truncated or modified" in StoredRun(tmp_path, "a").fault


def test_a_run_from_before_there_were_stamps_is_read_as_it_is(tmp_path: Path) -> None:
    finished(tmp_path)
    summary = read_json(tmp_path / "summary.json")
    del summary["records"]
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    cut(tmp_path)
    assert RECORDS[:2] == read_records(tmp_path)
    assert "finished" == StoredRun(tmp_path, "a").state


@pytest.mark.parametrize("damage", [altered, cut])
def test_a_checkpoint_does_not_go_on_with_other_records_and_changes_nothing(tmp_path: Path, damage: object) -> None:
    finished(tmp_path)
    file = tmp_path / "records.jsonl"
    whole = file.read_bytes()
    kept = len(whole) - 10  # the checkpoint is older than the last record
    damage(tmp_path)  # type: ignore[operator]
    before = file.read_bytes()
    folder = RunFolder(tmp_path)
    with pytest.raises(RunFolderError, match=r"shorter than at its checkpoint|truncated or modified"):
        folder.open({"records": min(kept, len(before))}, Checksum.of(whole[:kept]))
    folder.close()
    assert before == file.read_bytes()
    assert (tmp_path / "summary.json").exists()


def test_the_stamp_goes_on_after_what_a_checkpoint_vouches_for(tmp_path: Path) -> None:
    finished(tmp_path)
    whole = (tmp_path / "records.jsonl").read_bytes()
    kept = len(whole.splitlines(keepends=True)[0])
    folder = RunFolder(tmp_path)
    folder.open({"records": kept}, Checksum.of(whole[:kept]))
    for record in RECORDS[1:]:
        folder.write(record)
    folder.lengths()
    assert Checksum.of(whole) == folder.checksum()
    folder.close()
    assert not (tmp_path / "summary.json").exists()  # it was of other records


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[]", "not an object"),
        ("[" * 10_000, "not JSON"),
        ("{}", "evaluated_on is missing"),
        ('{"run":"r","seed":0,"step":"x","trained_on":0,"evaluated_on":0,"metric":"a","value":0.5}', "step is 'x'"),
        ('{"run":"r","seed":0,"step":1,"trained_on":0,"evaluated_on":0,"metric":"a","value":"x"}', "value is 'x'"),
        (
            '{"run":"r","seed":0,"step":1,"trained_on":0,"evaluated_on":0,"metric":"a","value":1,"b":1}',
            "'b' is unknown",
        ),
    ],
    ids=range(6),
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "records.jsonl").write_text(f"{line}\n")
    with pytest.raises(RunFolderError, match=rf"records.jsonl:1 is damaged: .*{said}.*rlcl runs rm"):
        read_records(tmp_path)


@pytest.mark.parametrize(("line", "said"), [
    ('{"trained_on":0,"step":4,"seconds":1.5,"cpu_seconds":1}', None),
    ('{"trained_on":0,"step":4,"seconds":"1.5","cpu_seconds":1}', "seconds is '1.5'"),
    ('{"trained_on":0,"step":4,"seconds":1.5}', "cpu_seconds is missing"),
    ('{"trained_on":null,"step":4,"seconds":1.5,"cpu_seconds":1}', "trained_on is None"),
])  # fmt: skip
def test_damaged_times_are_named(tmp_path: Path, line: str, said: str | None) -> None:
    (tmp_path / "costs.jsonl").write_text(f"{line}\n")
    if said is None:
        assert [{"trained_on": 0, "step": 4, "seconds": 1.5, "cpu_seconds": 1}] == read_costs(tmp_path)
        return
    with pytest.raises(RunFolderError, match=rf"costs.jsonl:1 is damaged: {said}.*rlcl runs rm"):
        read_costs(tmp_path)


def test_a_lock_that_is_a_link_to_itself_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "lock.json").symlink_to("lock.json")
    with pytest.raises(
        RunFolderError, match=r"lock.json cannot be used as a lock: Too many levels of symbolic links; remove it"
    ):
        RunFolder(tmp_path)
