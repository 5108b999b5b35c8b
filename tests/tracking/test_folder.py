"""The folder of a run: locked, readable after a crash, and clear about a disk that cannot be written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from rlcl.errors import RunFolderError
from rlcl.tracking.folder import RunFolder, disk_errors, read_records, write_atomically
from rlcl.tracking.json_files import read_json
from rlcl.types import Boundary, Event, Record

ROOT = Path(__file__).parents[2]
RECORDS = tuple(Record("run", 0, 10 * i, i, j, "accuracy", 0.1 * i + j) for i in range(3) for j in range(2))


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Another process, with the package of this one."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "envs")])}
    command = [sys.executable, "-c", f"import sys\n{code}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def filled(path: Path) -> dict[str, int]:
    """A folder with records and one event; returns the lengths after the first four records."""
    folder = RunFolder(path)
    folder.open({})
    for record in RECORDS[:4]:
        folder.write(record)
    folder.write(Event(5, {"loss": 0.5}))
    lengths = folder.lengths()
    for record in RECORDS[4:]:
        folder.write(record)
    folder.close()
    return lengths


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    filled(tmp_path)
    assert read_records(tmp_path) == RECORDS


def test_records_are_readable_after_a_torn_last_line(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    assert RECORDS[:-1] == read_records(tmp_path)


def test_a_folder_goes_on_after_what_a_checkpoint_vouches_for(tmp_path: Path) -> None:
    lengths = filled(tmp_path)
    folder = RunFolder(tmp_path)
    folder.open(lengths)
    folder.write(RECORDS[5])
    folder.write(Boundary(0, 0))
    assert (*RECORDS[:4], RECORDS[5]) == folder.records()
    folder.close()


def test_a_boundary_makes_what_was_written_readable(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.open({})
    folder.write(RECORDS[0])
    folder.write(Boundary(0, -1))
    assert RECORDS[:1] == read_records(tmp_path)
    folder.close()


def test_an_event_is_a_row_of_its_values_with_its_step(tmp_path: Path) -> None:
    filled(tmp_path)
    row = read_json(tmp_path / "events.jsonl")
    assert {"step": 5, "loss": 0.5} == {key: value for key, value in row.items() if key != "time"}


def test_files_shorter_than_a_checkpoint_says_are_told_of(tmp_path: Path) -> None:
    lengths = filled(tmp_path)
    (tmp_path / "records.jsonl").write_bytes(b"")
    folder = RunFolder(tmp_path)
    with pytest.raises(RunFolderError, match=r"records.jsonl is shorter than at its checkpoint"):
        folder.open(lengths)
    folder.close()


def test_no_run_has_no_records_and_no_status(tmp_path: Path) -> None:
    assert () == read_records(tmp_path)
    folder = RunFolder(tmp_path)
    assert {} == folder.status()
    folder.close()


def test_a_status_says_who_wrote_it_and_how_far_it_is(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_status("running", step=3)
    folder.close()
    status = folder.status()
    assert ("running", 3, os.getpid()) == (status["state"], status["step"], status["pid"])


def test_a_damaged_status_is_none(tmp_path: Path) -> None:
    for text in ("", "{", "[1]", "\x00"):
        (tmp_path / "status.json").write_text(text)
        assert {} == read_json(tmp_path / "status.json")


# One process at a time.

OPEN = """
from pathlib import Path
from rlcl.errors import RunFolderError
from rlcl.tracking.folder import RunFolder
try:
    RunFolder(Path(sys.argv[1])).close()
except RunFolderError as error:
    print(error)
    sys.exit(3)
"""


def test_a_second_process_is_refused_while_the_first_one_works(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_status("running")
    second = python(OPEN, tmp_path)
    folder.close()
    assert (3, "") == (second.returncode, second.stderr)
    assert f"another process ({os.getpid()}) works on {tmp_path}; wait for it" in second.stdout
    assert 0 == python(OPEN, tmp_path).returncode


def test_a_second_folder_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(RunFolderError, match="another process"):
        RunFolder(tmp_path)
    folder.close()
    RunFolder(tmp_path).close()


def test_a_killed_process_leaves_no_lock_and_readable_records(tmp_path: Path) -> None:
    code = """
import os, signal
from pathlib import Path
from rlcl.tracking.folder import RunFolder
from rlcl.types import Boundary, Record
folder = RunFolder(Path(sys.argv[1]))
folder.open({})
folder.write(Record("run", 0, 1, 0, 0, "accuracy", 0.5))
folder.write(Boundary(1, 0))
folder.write(Record("run", 0, 2, 1, 0, "accuracy", 0.25))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert -9 == python(code, tmp_path).returncode
    folder = RunFolder(tmp_path)
    assert (Record("run", 0, 1, 0, 0, "accuracy", 0.5),) == folder.records()
    folder.close()


# Disks that cannot be written.


def test_a_folder_below_a_file_is_a_run_folder_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunFolderError, match=rf"cannot write to {path}: .*choose another folder with --root"):
            RunFolder(path)


FULL = """
import resource
from pathlib import Path
from rlcl.errors import RunFolderError
from rlcl.tracking.folder import RunFolder, disk_errors
from rlcl.types import Boundary, Record
path = Path(sys.argv[1])
folder = RunFolder(path)
folder.open({})
folder.write_json("status.json", {"state": "running"})
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # the kernel refuses larger files, as a full disk does
try:
    with disk_errors(path):
        for step in range(100):
            folder.write(Record("run", 0, step, 0, 0, "accuracy", 0.5))
            folder.write(Boundary(step, 0))
except RunFolderError as error:
    print(error)
try:
    folder.write_json("status.json", {"state": "x" * 3000})
except RunFolderError as error:
    print(error)
try:
    folder.close()
except RunFolderError as error:
    print(error)
    sys.exit(3)
"""


def test_a_full_disk_is_a_run_folder_error_and_leaves_what_was_written(tmp_path: Path) -> None:
    done = python(FULL, tmp_path)
    assert (3, "") == (done.returncode, done.stderr)
    assert 3 == done.stdout.count(f"cannot write to {tmp_path}: File too large; free space")
    steps = [record.step for record in read_records(tmp_path)]
    assert list(range(len(steps))) == steps
    assert 10 < len(steps) < 100
    assert {"state": "running"} == read_json(tmp_path / "status.json")
    assert ["costs.jsonl", "events.jsonl", "records.jsonl", "status.json"] == sorted(p.name for p in tmp_path.iterdir())


READ_ONLY = """
import os
from pathlib import Path
from rlcl.errors import RunFolderError
from rlcl.tracking.folder import RunFolder
if os.getuid() == 0:
    os.setuid(65534)  # nobody: root may write anywhere
try:
    RunFolder(Path(sys.argv[1]) / "run")
except RunFolderError as error:
    print(error)
    sys.exit(3)
"""


def test_a_read_only_folder_is_a_run_folder_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = python(READ_ONLY, tmp_path)
    tmp_path.chmod(0o700)
    assert (3, "") == (done.returncode, done.stderr)
    assert f"cannot write to {tmp_path / 'run'}: Permission denied; free space or choose" in done.stdout
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_an_error_of_the_disk_becomes_one_that_says_what_to_do(number: int) -> None:
    with (
        pytest.raises(RunFolderError, match=rf"cannot write to runs: {os.strerror(number)}; free space"),
        disk_errors(Path("runs")),
    ):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "gone"), ConnectionError("lost"), ValueError("other")])
def test_other_errors_are_not_the_disks(error: Exception) -> None:
    with pytest.raises(type(error), match=r"gone|lost|other"), disk_errors(Path("runs")):
        raise error


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def half(self: Path, text: str) -> None:
        with self.open("w") as file:
            file.write(text[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", half)
        with pytest.raises(OSError, match="No space"):
            write_atomically(path, "new")
    assert "old" == path.read_text()
    assert ["file"] == [p.name for p in tmp_path.iterdir()]
    write_atomically(path, "new")
    assert "new" == path.read_text()


def test_every_field_of_a_record_is_written(tmp_path: Path) -> None:
    filled(tmp_path)
    row: dict[str, Any] = read_json(tmp_path / "nothing") or attrs.asdict(read_records(tmp_path)[0])
    assert [field.name for field in attrs.fields(Record)] == list(row)
