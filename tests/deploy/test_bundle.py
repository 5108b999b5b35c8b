"""The files of a bundle: one changed byte is refused, and nothing leads out of the folder."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest

from rlcl.deploy.bundle import SUMS, Bundle, seal
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.log import Answer, Feedback, RequestLog, pack_row, pack_rows
from rlcl.deploy.signature import Field, Signature
from rlcl.deploy.updating.checks import bundle_experiment
from rlcl.errors import BundleError, Problem
from rlcl.types import TableColumn

NAN = float("nan")
PIXELS = Field(name="input", shape=(2,), dtype="float32", low=0.0, high=16.0)
CLASS = Field(name="class", shape=(), dtype="int64")
ODDS = Field(name="probabilities", shape=(2,), dtype="float32")
SIGNATURE = Signature(kind="classifier", inputs=(PIXELS,), outputs=(CLASS, ODDS), classes=("a", "b"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "digits"
    (path / "more").mkdir(parents=True)
    (path / "manifest.json").write_text('{"format": 1}')
    (path / "signature.json").write_text(json.dumps(SIGNATURE.to_json()))
    (path / "more" / "weights.bin").write_bytes(b"\x01\x02")
    seal(path)
    return path


def test_a_whole_bundle_opens(folder: Path) -> None:
    opened = Bundle.open(folder)
    assert SIGNATURE.to_json() == opened.signature.to_json()
    assert 64 == len(opened.digest)


@pytest.mark.parametrize("name", ["manifest.json", "signature.json", "more/weights.bin"])
def test_one_changed_byte_is_refused_by_its_file(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[0] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name} was changed"):
        Bundle.open(folder)


def test_a_missing_file_and_an_unknown_one_are_refused(folder: Path) -> None:
    (folder / "more" / "extra.py").write_text("")
    with pytest.raises(BundleError, match=r"extra\.py is not listed in SHA256SUMS; remove it"):
        Bundle.open(folder)
    (folder / "more" / "extra.py").unlink()
    (folder / "more" / "weights.bin").unlink()
    with pytest.raises(BundleError, match=r"weights\.bin is missing"):
        Bundle.open(folder)


@pytest.mark.parametrize("name", ["../other.txt", "/etc/hostname"])
def test_a_list_that_leads_out_of_the_folder_is_refused(folder: Path, name: str) -> None:
    with (folder / SUMS).open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(BundleError, match="is outside the bundle"):
        Bundle.open(folder)


def test_a_link_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(BundleError, match="is a link"):
        Bundle.open(folder)


def test_a_format_of_the_future_and_no_bundle_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "manifest.json").write_text('{"format": 3}')
    seal(folder)
    with pytest.raises(
        BundleError, match=r"a bundle of version 3; this rlcl reads version 1 and 2\. Use the rlcl that wrote"
    ):
        Bundle.open(folder)
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.open(tmp_path)


def test_the_experiment_of_a_bundle_of_the_version_before_is_migrated(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"format": 1}')
    (folder / "experiment.yaml").write_text("name: a\ntensorboard: {points: 3}\n")
    seal(folder)
    found = bundle_experiment(Bundle.open(folder), ["name=b"]).data
    assert {"name": "b", "sinks": [{"type": "tensorboard", "points": 3}]} == found


def test_the_part_for_updating_is_checked_when_it_is_asked_for(folder: Path) -> None:
    with pytest.raises(BundleError, match="has no update part"):
        _ = Bundle.open(folder).update
    (folder / "update").mkdir()
    (folder / "update" / "memory.bin").write_bytes(b"\x00")
    seal(folder / "update")
    assert folder / "update" == Bundle.open(folder).update
    (folder / "update" / "memory.bin").write_bytes(b"\x01")
    bundle = Bundle.open(folder)  # serving does not read it
    with pytest.raises(BundleError, match=r"memory\.bin was changed"):
        _ = bundle.update


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1.0, 2.0], [3.0, float("nan")]], r"input\[1\]\[1\]: expected a finite number, got nan"),
        ([[1.0, -1.0]], r"input\[0\]\[1\]: expected at least 0, got -1\.0"),
        ([[1.0, 17.0]], r"input\[0\]\[1\]: expected at most 16, got 17\.0"),
        ([[1.0, 2.0, 3.0]], r"input\[0\]: expected a list of 2, got a list of 3"),
        ([1.0, 2.0], r"input\[0\]: expected a list of 2, got 1\.0"),
        ([[1.0, 2.0], [3.0]], r"input\[1\]: expected a list of 2, got a list of 1"),
        ([[1.0, 2.0], "ab"], r'input\[1\]: expected a list of 2, got "ab"'),
        ([["x", 2.0]], r'input\[0\]\[0\]: expected a number, got "x"'),
        ([["1", 2.0]], r'input\[0\]\[0\]: expected a number, got "1"'),
        ([[1.0, None]], r"input\[0\]\[1\]: expected a number, got null"),
        ([[1.0, 10**400]], r"input\[0\]\[1\]: expected a number, got 1000"),
        ([[1.0, True]], r"input\[0\]\[1\]: expected a number, got true"),
        ([[1.0, {}]], r"input\[0\]\[1\]: expected a number, got an object of 0 keys"),
        (np.ones((1, 3)), r"input: expected the shape \(B, 2\), got \(1, 3\)"),
        (np.array([["a", "b"]]), "input: expected numbers, got <U1"),
        ({"other": [[1.0, 2.0]]}, "input: expected arrays named input; got arrays named other"),
    ],
)
def test_bad_inputs_are_refused_by_their_place(value: object, message: str) -> None:
    with pytest.raises(Problem, match=message):
        SIGNATURE.arrays(value)


@pytest.mark.parametrize(("task_id", "tasks"), [(0, 0), (None, 3), (3, 3), (-1, 3)])
def test_a_task_id_is_given_exactly_where_it_is_taken(task_id: int | None, tasks: int) -> None:
    signature = Signature(kind="classifier", inputs=(PIXELS,), outputs=(CLASS,), tasks=tasks)
    with pytest.raises(Problem, match="task_id: expected"):
        signature.arrays([[1.0, 2.0]], task_id)


def test_whole_numbers_must_be_whole() -> None:
    field = Field(name="input", shape=(), dtype="uint8")
    assert np.array([1, 255], np.uint8).tolist() == field.rows([1, 255.0]).tolist()
    for wrong in (256, -1, 0.5):
        with pytest.raises(Problem, match=r"input\[1\]: expected a value of uint8"):
            field.rows([0, wrong])


@pytest.mark.parametrize("low", [0.0, np.zeros(2), None])
def test_what_is_missing_passes_where_it_may_and_infinity_never(low: object) -> None:
    field = Field(name="input", shape=(2,), dtype="float32", low=low, high=16.0, missing=True)
    for value in ([[None, 3.0]], np.array([[NAN, 3.0]])):
        found = field.rows(value)
        assert (True, 3.0) == (bool(np.isnan(found[0, 0])), found[0, 1])
    assert np.isnan(field.rows([[None, None]])).all()
    for wrong in (float("inf"), 17.0, -float("inf")):
        for first in (None, 1.0):
            with pytest.raises(Problem, match=r"input\[0\]\[1\]: expected"):
                field.rows([[first, wrong]])
    with pytest.raises(Problem, match=r"input\[0\]\[1\]: expected a number"):
        field.rows([[None, "1"]])
    with pytest.raises(Problem, match=r"input\[0\]: expected a list of 2, got null"):
        field.rows([None])
    with pytest.raises(Problem, match=r"input\[0\]\[0\]: expected a finite number, got nan"):
        PIXELS.rows(np.array([[NAN, 3.0]]))


def test_a_field_travels_as_json_and_one_from_before_there_was_missing_is_read() -> None:
    columns = (TableColumn("age"), TableColumn("city", ("Oslo", "Rome")))
    field = Field(name="input", shape=(2,), dtype="float32", missing=True, columns=columns)
    plain = json.loads(json.dumps(field.to_json()))
    assert (True, columns, plain) == (
        (found := Field.from_json(plain)).missing, found.columns, found.to_json()
    )  # fmt: skip
    before = {key: value for key, value in plain.items() if key not in ("missing", "columns")}
    assert (False, ()) == ((found := Field.from_json(before)).missing, found.columns)
    for wrong in ({"missing": 1}, {"columns": plain["columns"][:1]}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Field.from_json({**plain, **wrong})


def test_numbers_too_large_for_the_field_are_refused() -> None:
    field = Field(name="input", shape=(), dtype="float32")
    for sign in ("", "-"):
        with pytest.raises(Problem, match=rf"input\[1\]: expected a finite number, got {sign}1e\+39"):
            field.rows([0.0, float(f"{sign}1e39")])
    for wrong in (300.0, 1e300, float("nan")):
        with pytest.raises(Problem, match=r"input\[0\]: expected a value of uint8"):
            Field(name="input", shape=(), dtype="uint8").rows([wrong])


@pytest.mark.parametrize("high", [0.1, np.array([0.1])])
def test_a_value_at_the_bound_is_within_it(high: object) -> None:
    field = Field(name="input", shape=(1,), dtype="float32", high=high)
    assert [[np.float32(0.1)]] == field.rows([[0.1]]).tolist() == field.rows(np.array([[0.1]], np.float32)).tolist()


def test_rows_are_packed_one_by_one_and_at_once_to_the_same_bytes() -> None:
    arrays = {"class": np.array([3, 4]), "probabilities": np.array([[0.25, 0.75], [1.0, 0.0]])}
    fields = SIGNATURE.outputs
    assert [pack_row(fields, arrays, row) for row in (0, 1)] == pack_rows(fields, arrays)


def answer(id: str, inputs: list[float], label: int) -> Answer:
    arrays = {"input": np.array([inputs]), "class": np.array([label]), "probabilities": np.array([[0.25, 0.75]])}
    return Answer(
        id=id,
        time=1.0,
        bundle="d",
        task_id=None,
        input=pack_row(SIGNATURE.inputs, arrays, 0),
        output=pack_row(SIGNATURE.outputs, arrays, 0),
    )


def test_a_log_gives_back_what_was_written_with_the_latest_feedback(tmp_path: Path) -> None:
    log = RequestLog.open(tmp_path / "log.sqlite", write=True)
    log.register("d", SIGNATURE)
    known = log.write(
        [answer("p", [1.0, 2.0], 0), answer("q", [3.0, 4.0], 1)],
        [Feedback(id="q", time=2.0, value="a"), Feedback(id="z", time=2.0, value="a")],
    )
    log.write([], [Feedback(id="q", time=3.0, value="b")])
    assert [True, False] == known
    (page,) = RequestLog.open(tmp_path / "log.sqlite").pages()
    assert [[1.0, 2.0], [3.0, 4.0]] == page.inputs["input"].tolist()
    assert [0, 1] == page.outputs["class"].tolist()
    assert [[0.25, 0.75], [0.25, 0.75]] == page.outputs["probabilities"].tolist()
    assert [None, "b"] == page.feedback
    pages = list(RequestLog.open(tmp_path / "log.sqlite").pages(rows=1))
    assert [1, 2] == [int(p.numbers[0]) for p in pages]
    (page,) = log.pages(feedback_after=0)
    assert [2] == page.numbers.tolist()


def test_a_log_keeps_its_id_and_another_in_its_place_has_another(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    ids = []
    for _ in range(2):
        log = RequestLog.open(path, write=True)
        ids.append(log.id)
        assert (True, False) == (log.has_id(log.id), log.has_id("another"))
        log.close()
    path.unlink()
    log = RequestLog.open(path, write=True)
    assert (16, ids[0]) == (len(log.id), ids[1])
    assert log.id != ids[0]
    log.connection.execute("drop table meta")
    reader = RequestLog.open(path)
    assert ("", True, False) == (reader.id, reader.has_id(""), reader.has_id(ids[0]))
    log.close()
    reader.close()


def test_the_alias_names_what_answers_and_what_did_before(folder: Path) -> None:
    deployment = Deployment(folder)
    assert folder == deployment.current().path
    deployment.set_alias(["0001", "."])
    assert folder.with_name("digits.live") / "candidates" / "0001" == deployment.bundle_folder(
        deployment.alias_names()[0]
    )
    deployment.alias.write_text('{"current": "../../etc", "before": []}')
    with pytest.raises(BundleError, match="is damaged"):
        deployment.alias_names()


def test_every_line_of_the_audit_names_the_one_before(folder: Path) -> None:
    import hashlib

    deployment = Deployment(folder)
    deployment.audit("promote", {"candidate": "0001"})
    deployment.audit("rollback", {})
    first, second = (deployment.folder / "audit.jsonl").read_bytes().splitlines()
    assert json.loads(first)["before"] is None
    assert hashlib.sha256(first).hexdigest() == json.loads(second)["before"]


def test_a_log_of_before_there_were_episodes_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    log = RequestLog.open(path, write=True)
    log.register("d", SIGNATURE)
    log.write([answer("p", [1.0, 2.0], 0)], [])
    log.connection.execute("alter table requests drop column episode")
    log.close()
    (page,) = RequestLog.open(path).pages()
    assert [None] == page.episodes
    log = RequestLog.open(path, write=True)
    log.write([attrs.evolve(answer("q", [3.0, 4.0], 1), episode="e")], [])
    (page,) = log.pages()
    assert [None, "e"] == page.episodes
    log.close()
