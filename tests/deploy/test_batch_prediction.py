"""Whole files in and out, and one clear message a mistake."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import rlcl.deploy
from rlcl.commands import main
from rlcl.deploy.signature import Field
from rlcl.deploy.table_rows import read_rows
from rlcl.errors import DataError
from rlcl.types import TableColumn

Made = Callable[[str], Path]
IMAGES = load_digits().images[:30, None]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["predict", *map(str, arguments)])
    return int(left.value.code or 0)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = {suffix: tmp_path / f"images.{suffix}" for suffix in ("npy", "npz", "csv")}
    np.save(made["npy"], IMAGES)
    np.savez(made["npz"], input=IMAGES)
    header = ",".join(f"pixel {i}" for i in range(64))
    np.savetxt(made["csv"], IMAGES.reshape(30, -1), delimiter=",", header=header, comments="")
    return made


@pytest.mark.parametrize("kind", ["npy", "npz", "csv"])
@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_every_kind_of_file_gives_the_models_classes(
    kind: str, batch_size: int, files: dict[str, Path], bundle: Made, tmp_path: Path
) -> None:
    expected = rlcl.deploy.load(bundle("digits")).outputs(IMAGES)
    assert 0 == run(bundle("digits"), files[kind], "-o", tmp_path / "y.npy", "--batch-size", batch_size)
    assert expected["class"].tolist() == np.load(tmp_path / "y.npy").tolist()
    assert 0 == run(bundle("digits"), files[kind], "-o", tmp_path / "y.csv", "--batch-size", batch_size)
    with (tmp_path / "y.csv").open() as lines:
        head, *rows = csv.reader(lines)
    assert ["class", "probabilities.0", "probabilities.9"] == [head[0], head[1], head[10]]
    assert expected["class"].tolist() == [int(row[0]) for row in rows]
    np.testing.assert_allclose(expected["probabilities"], np.array(rows, float)[:, 1:], rtol=1e-6)


def test_answers_go_to_the_standard_output(
    files: dict[str, Path], bundle: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == run(bundle("digits"), files["npy"])
    assert 31 == len(capsys.readouterr().out.splitlines())


def test_several_inputs_come_by_name(bundle: Made, tmp_path: Path) -> None:
    rows = {"place": [1, 4], "speed": np.zeros((2, 3)), "lamps": [[0, 1], [1, 1]], "dials": [[1, 2], [2, 0]]}
    np.savez(tmp_path / "x.npz", **{name: np.array(value) for name, value in rows.items()})
    assert 0 == run(bundle("puzzle"), tmp_path / "x.npz", "-o", tmp_path / "y.npy")
    expected = rlcl.deploy.load(bundle("puzzle")).outputs(rows)["action"]
    assert expected.tolist() == np.load(tmp_path / "y.npy").tolist()


def test_a_task_is_told_for_the_whole_file(files: dict[str, Path], bundle: Made, tmp_path: Path) -> None:
    assert 0 == run(bundle("permuted"), files["npy"], "-o", tmp_path / "y.npy", "--task-id", 2)
    assert rlcl.deploy.load(bundle("permuted")).predict(IMAGES, 2).tolist() == np.load(tmp_path / "y.npy").tolist()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"1", "expected a file that ends in .npy, .npz, .csv"),
        ("x.npy", None, "cannot be read"),
        ("x.npy", b"no array", "is not an .npy file of NumPy"),
        ("x.csv", b"1,2,3\n", "x.csv:1: expected 64 numbers for the shape (1, 8, 8), got 3"),
        ("x.csv", b"0," * 63 + b"0\n" + b"0," * 63 + b"a\n", "x.csv:2: column 64: expected a number, got 'a'"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    name: str, content: bytes | None, message: str, bundle: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert 0 != run(bundle("digits"), tmp_path / name)
    assert message in capsys.readouterr().err


PEOPLE = "pay,name,city,age\n500,Ann,Rome,30\n500,Bea,?,\n500,Cy,Paris,NA\n"


@pytest.mark.parametrize(
    "content",
    [PEOPLE, "30,Rome,500\n,?,500\nnull,Paris,500\n", "years,town,salary\n30,Rome,500\n,?,500\nnan,Paris,500\n"],
    ids=["by name", "in order", "in order under other names"],
)
def test_a_table_is_read_by_its_columns_texts_and_missing_cells_too(content: str, bundle: Made, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(content)
    assert 0 == run(bundle("people"), tmp_path / "x.csv", "-o", tmp_path / "y.csv")
    model = rlcl.deploy.load(bundle("people"))
    # Rome is 2; a missing city, and one that training did not know, are missing.
    expected = model.outputs([[30, 2, 500], [None, None, 500], [None, None, 500]])
    with (tmp_path / "y.csv").open() as lines:
        _, *rows = csv.reader(lines)
    assert [model.signature.classes[k] for k in expected["class"]] == [row[0] for row in rows]
    np.testing.assert_allclose(expected["probabilities"], np.array([row[1:] for row in rows], float), rtol=1e-6)
    np.savez(tmp_path / "x.npz", input=[[30, 2, 500], [np.nan, np.nan, 500], [np.nan, np.nan, 500]])
    assert 0 == run(bundle("people"), tmp_path / "x.npz", "-o", tmp_path / "y.npy")
    assert expected["class"].tolist() == np.load(tmp_path / "y.npy").tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("age,city,pya\n30,Rome,500\n", "x.csv: no column 'pay'; did you mean pya?"),
        ("age,city,pay,age\n30,Rome,500,3\n", "x.csv: the column 'age' occurs more than once"),
        ("age,city,pay\n30,Rome\n", "x.csv:2: expected 3 cells, got 2"),
        ("age,city,pay\n30,Rome,5\nold,Rome,500\n", "x.csv:3: column age: expected a number, got 'old'"),
        ("age,city,pay\n", "x.csv: no rows; expected 3 values per line"),
        ("30,Rome\n", "x.csv:1: expected 3 numbers for the shape (3,), got 2"),
        ("30,Rome,inf\n", "x.csv:1: column pay: expected a finite number, got inf"),
    ],
)
def test_a_mistake_in_a_table_is_told_by_line_and_column(
    content: str, message: str, bundle: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.csv").write_text(content)
    assert 0 != run(bundle("people"), tmp_path / "x.csv")
    assert message in capsys.readouterr().err


def test_a_column_that_is_called_by_a_number_is_no_line_of_names(tmp_path: Path) -> None:
    field = Field(name="input", shape=(2,), dtype="float32", columns=(TableColumn("1"), TableColumn("2")))
    for content, expected in (("1,5\n3,4\n", [[1, 5], [3, 4]]), ("2,1\n3,4\n", [[4, 3]])):
        (tmp_path / "x.csv").write_text(content)
        assert expected == read_rows(tmp_path / "x.csv", field)[1].tolist()


def test_where_nothing_was_missing_texts_and_empty_cells_are_refused(tmp_path: Path) -> None:
    columns = (TableColumn("age"), TableColumn("city", ("Oslo", "Rome")))
    field = Field(name="input", shape=(2,), dtype="float32", columns=columns)
    for content, message in (
        ("30,Paris\n", r"x\.csv:1: column city: expected Oslo or Rome, got 'Paris'"),
        ("30,\n", r"x\.csv:1: column city: expected Oslo or Rome, got ''"),
        (",Rome\n", r"x\.csv:1: column age: expected a number, got ''"),
    ):
        (tmp_path / "x.csv").write_text(content)
        with pytest.raises(DataError, match=message):
            read_rows(tmp_path / "x.csv", field)


def test_a_wrong_value_is_told_by_its_row_in_the_file(
    bundle: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = IMAGES.copy()
    wrong[23, 0, 3, 4] = np.nan
    np.save(tmp_path / "x.npy", wrong)
    assert 0 != run(bundle("digits"), tmp_path / "x.npy", "-o", tmp_path / "y.csv", "--batch-size", 10)
    told = capsys.readouterr().err
    assert f"rlcl: {tmp_path}/x.npy: input[23][0][3][4]: expected a finite number, got nan\n" == told
    assert ["x.npy"] == [path.name for path in tmp_path.iterdir()]  # no answers to half of the file


def test_a_wrong_value_of_a_table_is_told_by_its_line_and_column(
    files: dict[str, Path], bundle: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = files["csv"].read_text().splitlines()
    lines[24] = ",".join("1e9" if n == 28 else "0" for n in range(64))  # line 25, the first one being names
    lines.insert(3, "")
    files["csv"].write_text("\n".join(lines))
    assert 0 != run(bundle("digits"), files["csv"], "--batch-size", 10)
    assert f"rlcl: {files['csv']}:26: column 29: expected at most 32, got 1000000000.0\n" == capsys.readouterr().err


def test_a_wrong_value_of_several_inputs_is_told_by_file_and_name(
    bundle: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"place": [1, 9], "speed": np.zeros((2, 3)), "lamps": [[0, 1], [1, 1]], "dials": [[1, 2], [2, 0]]}
    np.savez(tmp_path / "x.npz", **{name: np.array(value) for name, value in rows.items()})
    assert 0 != run(bundle("puzzle"), tmp_path / "x.npz", "--batch-size", 1)
    assert f"rlcl: {tmp_path}/x.npz: place[1]: expected at most 4, got 9" in capsys.readouterr().err
    np.savez(tmp_path / "x.npz", place=[1])
    assert 0 != run(bundle("puzzle"), tmp_path / "x.npz")
    assert f"rlcl: {tmp_path}/x.npz: input: expected arrays named dials" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "given"),
    [(("--batch-size", "0"), "'0'"), (("--batch-size", "many"), "'many'"), (("--threads", "-3"), "'-3'")],
)
def test_a_number_that_an_option_refuses_is_shown(
    options: tuple[str, str], given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == run("bundle", "file", *options)
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert options[0] in told
    assert f"got {given}" in told


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digits", ("--task-id", "1"), "task_id: expected none: the model takes no task id, got 1"),
        ("permuted", (), "task_id: expected a whole number from 0 to 2, got None"),
        ("digits", ("-o", "y.txt"), "--output y.txt: expected a file that ends in .npy or .csv"),
        ("digits", ("-o", "no/y.npy"), "--output no/y.npy: the folder no does not exist"),
        ("puzzle", (), "takes dials, lamps, place, speed; pass an .npz file with an array of each name"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    name: str,
    options: tuple[str, ...],
    message: str,
    files: dict[str, Path],
    bundle: Made,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert 0 != run(bundle(name), files["npy"], *options)
    assert message in capsys.readouterr().err


def test_a_policy_that_remembers_takes_no_file(
    bundle: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 4)))
    assert 0 != run(bundle("recurrent"), tmp_path / "x.npy")
    assert "does not support recurrent policies" in capsys.readouterr().err
