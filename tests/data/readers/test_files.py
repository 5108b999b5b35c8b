"""Data sets in files of one's own, and torchvision's on small files in their true formats."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from rlcl.data.readers.files import Csv, Npz, held_out_mask
from rlcl.data.readers.images import ImageFolder
from rlcl.data.readers.scikit import BreastCancer, Diabetes, Iris, Wine
from rlcl.data.readers.table import Table
from rlcl.data.readers.torchvision import Cifar10, Cifar100, Emnist, FashionMnist, Kmnist, Svhn
from rlcl.errors import DataError

TABLE = "width,kind,height\n1.5,cat,2\n2,dog,3\n\n3,cat,4\n4,dog,5\n5,cat,6\n6,dog,7\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RLCL_DATA", str(tmp_path))
    return tmp_path


# What is held out.


def test_every_kth_row_of_each_class_is_held_out() -> None:
    labels = [0] * 5 + [1] * 10
    assert [4, 9, 14] == np.flatnonzero(held_out_mask(labels, 0.2)).tolist()


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.75])
def test_the_share_held_out_is_as_asked(fraction: float) -> None:
    assert round(200 * fraction) == held_out_mask(np.arange(200) % 2, fraction).sum()


# CSV.


def test_a_table_is_read_with_its_classes_by_name(root: Path) -> None:
    (root / "pets.csv").write_text(TABLE)
    data = Csv(path="pets.csv", target="kind", test_fraction=0.34).load()
    assert ("cat", "dog") == data.class_names
    assert [[1.5, 2.0], [2.0, 3.0], [3.0, 4.0], [4.0, 5.0]] == data.train_inputs.tolist()
    assert [0, 1, 0, 1] == data.train_labels.tolist()  # type: ignore[union-attr]
    assert [[5.0, 6.0], [6.0, 7.0]] == data.test_inputs.tolist()


def test_classes_that_are_numbers_are_in_their_order(root: Path) -> None:
    (root / "t.csv").write_text("x,y\n" + "".join(f"{i},{y}\n" for i, y in enumerate([10, 9, 2, 10, 9, 2])))
    assert ("2", "9", "10") == Csv(path="t.csv", target="y", test_fraction=0.5).load().class_names


def test_a_table_without_target_is_unlabelled_and_one_with_a_number_a_regression(root: Path) -> None:
    (root / "t.csv").write_text("x;y\n" + "".join(f"{i};{i}.5\n" for i in range(10)))
    assert Csv(path="t.csv", delimiter=";").load().train_labels is None
    data = Csv(path="t.csv", delimiter=";", target="y", regression=True).load()
    assert data.regression
    assert [[4.5], [9.5]] == data.test_labels.tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x,y\n1,a\nb,a\n", r"t.csv:3: column x: expected a number, got 'b'"),
        ("x,y\n1,a\n,a\n", "t.csv:3: column x: expected a number, got an empty cell"),
        ("x,y\n1,a\nnan,a\n", "t.csv:3: column x: expected a finite number, got nan"),
        ("x,y\n1,a\n1\n", "t.csv:3: expected 2 cells, as in the header, got 1"),
        ("x,z\n1,a\n", "no column 'y'; the header has x, z"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_by_line(root: Path, text: str, said: str) -> None:
    (root / "t.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        Csv(path="t.csv", target="y").load()


def test_a_file_that_is_not_there_is_told_with_where_it_was_looked_for(root: Path) -> None:
    with pytest.raises(DataError, match=rf"no data at no.csv; looked for .*no.csv and {root / 'no.csv'}"):
        Csv(path="no.csv").load()


# npz.


def test_arrays_are_read_with_their_own_split(root: Path) -> None:
    arrays = {"x_train": np.eye(3), "y_train": [0, 1, 2], "x_test": np.eye(3)[:2], "y_test": [0, 1]}
    np.savez(root / "a.npz", **arrays)
    data = Npz(path="a.npz").load()
    assert np.eye(3).tolist() == data.train_inputs.tolist()
    assert [0, 1] == data.test_labels.tolist()  # type: ignore[union-attr]


def test_arrays_without_a_split_are_divided_by_class(root: Path) -> None:
    np.savez(root / "a.npz", x=np.arange(20.0).reshape(10, 2), y=np.arange(10) % 2)
    data = Npz(path="a.npz").load()
    assert [0, 1] == data.test_labels.tolist()  # type: ignore[union-attr]


def test_a_pickle_in_an_npz_is_never_loaded(root: Path) -> None:
    np.savez(root / "a.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="is no npz file of plain arrays"):
        Npz(path="a.npz").load()


# Folders of images.


def picture(path: Path, value: int, size: tuple[int, int] = (4, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size[1], size[0]), (value, 0, 255)).save(path)


def test_images_are_read_by_class_and_scaled_to_the_first(root: Path) -> None:
    for kind, value in (("a", 10), ("b", 20)):
        for i in range(5):
            picture(root / "zoo" / kind / f"{i}.png", value + i, (4, 6) if i == 0 else (8, 12))
    data = ImageFolder(path="zoo").load()
    assert (8, 3, 4, 6) == tuple(data.train_inputs.shape)
    assert torch.uint8 == data.train_inputs.dtype
    assert ("a", "b") == data.class_names
    assert [14, 24] == data.test_inputs[:, 0, 0, 0].tolist()
    assert 1 == ImageFolder(path="zoo", grey=True).load().train_inputs.shape[1]
    assert (2, 2) == tuple(ImageFolder(path="zoo", size=(2, 2)).load().train_inputs.shape[2:])


def test_folders_train_and_test_are_the_split(root: Path) -> None:
    for half, value in (("train", 1), ("test", 2)):
        picture(root / "zoo" / half / "a" / "x.png", value)
        picture(root / "zoo" / half / "b" / "x.png", value)
    data = ImageFolder(path="zoo").load()
    assert [1, 1] == data.train_inputs[:, 0, 0, 0].tolist()
    assert [2, 2] == data.test_inputs[:, 0, 0, 0].tolist()


def test_a_broken_image_is_told_by_name(root: Path) -> None:
    for name in "0234":
        picture(root / "zoo" / "a" / f"{name}.png", 1)
    (root / "zoo" / "a" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a/1.png cannot be read as an image"):
        ImageFolder(path="zoo").load()


def test_too_few_rows_to_hold_some_out_are_told_with_the_remedy(root: Path) -> None:
    (root / "sizes.csv").write_text("a,size\n" + "".join(f"{i},{i / 7}\n" for i in range(12)))
    np.savez(root / "few.npz", x=np.ones((4, 2)))
    picture(root / "pair" / "a" / "0.png", 1)
    for data, message in (
        (
            Csv(path="sizes.csv", target="size"),
            r"sizes\.csv: no test rows: .* 12 classes .* regression: true",
        ),
        (Table(path="sizes.csv", target="size"), r"sizes\.csv: .* each of its 12 classes has fewer than 5 rows"),
        (Npz(path="few.npz"), r"few\.npz: no test rows: .* it has fewer than 5 rows"),
        (
            ImageFolder(path="pair"),
            r"pair: no test rows.*; move the class folders into folders train and test, raise test_fraction",
        ),
    ):
        with pytest.raises(DataError, match=message):
            data.load()
    assert 2 == len(Csv(path="sizes.csv", target="size", regression=True).load().test_inputs)


def test_a_class_that_is_only_tested_is_refused(root: Path) -> None:
    picture(root / "zoo" / "train" / "a" / "0.png", 1)
    picture(root / "zoo" / "test" / "b" / "0.png", 1)
    with pytest.raises(DataError, match="classes b are not in the training set"):
        ImageFolder(path="zoo").load()


# scikit-learn's.


@pytest.mark.parametrize(
    ("data_set", "rows", "features", "classes"),
    [(Iris(), 150, 4, 3), (Wine(), 178, 13, 3), (BreastCancer(), 569, 30, 2), (Diabetes(), 442, 10, 0)],
)
def test_a_small_table_is_whole(data_set: Any, rows: int, features: int, classes: int) -> None:
    data = data_set.load()
    assert rows == len(data.train) + len(data.test)
    assert (features,) == data.observation_shape
    assert classes == data.classes
    assert abs(len(data.test) - 0.2 * rows) < 3


# torchvision's.


def idx(path: Path, array: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


IMAGES = (np.arange(20 * 28 * 28) % 251).reshape(20, 28, 28)


@pytest.mark.parametrize(("data_set", "folder"), [(FashionMnist(), "FashionMNIST"), (Kmnist(), "KMNIST")])
def test_the_family_of_mnist_is_read_from_idx_files(data_set: Any, folder: str, root: Path) -> None:
    for half in ("train", "t10k"):
        idx(root / folder / "raw" / f"{half}-images-idx3-ubyte", IMAGES)
        idx(root / folder / "raw" / f"{half}-labels-idx1-ubyte", np.arange(20) % 10)
    data = data_set.load()
    assert IMAGES.tolist() == data.train_inputs[:, 0].tolist()
    assert (np.arange(20) % 10).tolist() == data.test_labels.tolist()


def test_emnist_is_upright_with_letters_from_0(root: Path) -> None:
    for half in ("train", "test"):
        idx(root / "EMNIST" / "raw" / f"emnist-letters-{half}-images-idx3-ubyte", IMAGES)
        idx(root / "EMNIST" / "raw" / f"emnist-letters-{half}-labels-idx1-ubyte", np.arange(20) % 10 + 1)
    data = Emnist(split="letters").load()
    assert IMAGES.transpose(0, 2, 1).tolist() == data.train_inputs[:, 0].tolist()
    assert (np.arange(20) % 10).tolist() == data.train_labels.tolist()  # type: ignore[union-attr]


def test_svhn_is_read_from_its_matrices_with_ten_as_zero(root: Path) -> None:
    images = np.arange(32 * 32 * 3 * 4, dtype=np.int64).reshape(32, 32, 3, 4) % 255
    for half in ("train", "test"):
        savemat(root / f"{half}_32x32.mat", {"X": images.astype(np.uint8), "y": np.array([[1], [10], [2], [1]])})
    data = Svhn().load()
    assert [1, 0, 2, 1] == data.train_labels.tolist()  # type: ignore[union-attr]
    assert images[:, :, 1, 2].tolist() == data.train_inputs[2, 1].tolist()


def cifar(path: Path, labels: str, classes: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (np.arange(4 * 3072) % 256).astype(np.uint8).reshape(4, 3072)
    path.write_bytes(pickle.dumps({"data": pixels, labels: [i % classes for i in range(4)]}, protocol=2))


def test_cifar_is_read_from_its_batches(root: Path) -> None:
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        cifar(root / "cifar-10-batches-py" / name, "labels", 3)
    data = Cifar10().load()
    assert (20, 3, 32, 32) == tuple(data.train_inputs.shape)
    assert [0, 1, 2, 0] == data.test_labels.tolist()  # type: ignore[union-attr]
    assert (np.arange(1024) % 256).tolist() == data.test_inputs[0, 0].flatten().tolist()
    for name in ("train", "test"):
        cifar(root / "cifar-100-python" / name, "fine_labels", 2)
    assert [0, 1, 0, 1] == Cifar100().load().train_labels.tolist()  # type: ignore[union-attr]


class Harmful:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("harmed"),)


def test_a_batch_that_names_anything_but_arrays_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    for name in ("train", "test"):
        cifar(root / "cifar-100-python" / name, "fine_labels", 2)
    (root / "cifar-100-python" / "train").write_bytes(pickle.dumps({"data": Harmful(), "fine_labels": [0]}))
    with pytest.raises(DataError, match="which plain arrays do not"):
        Cifar100().load()
    assert not (root / "harmed").exists()


@pytest.mark.parametrize("data_set", [Svhn(), Cifar10(), Emnist(), FashionMnist()])
def test_what_is_missing_is_told_with_where_to_put_it(data_set: Any, root: Path) -> None:
    with pytest.raises(
        DataError, match=rf"is not complete in {root}.* could not be downloaded .*; copy .* there, or set"
    ):
        data_set.load()


# What a folder of images may hold besides.


def test_hidden_folders_are_no_classes_and_numbers_sort_by_value(root: Path) -> None:
    for name in ("10", "2", ".git", "__pycache__"):
        (root / "pictures" / name).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(np.zeros((3, 3, 3), np.uint8)).save(root / "pictures" / name / f"{number}.png")
    assert ("2", "10") == ImageFolder(path="pictures", test_fraction=0.5).load().class_names


def test_a_class_without_images_is_named(root: Path) -> None:
    for name in ("cat", "dog"):
        (root / "pictures" / name).mkdir(parents=True)
    Image.fromarray(np.zeros((3, 3, 3), np.uint8)).save(root / "pictures" / "cat" / "0.png")
    with pytest.raises(DataError, match=r"no images \(.*\) in dog; add some, or remove the folder"):
        ImageFolder(path="pictures").load()


def test_pixels_of_sixteen_bits_are_refused(root: Path) -> None:
    (root / "pictures" / "cat").mkdir(parents=True)
    Image.fromarray(np.full((3, 3), 60_000, np.uint16)).save(root / "pictures" / "cat" / "0.png")
    message = r"0\.png: expected an image with 8 bits per channel, got mode I;16; convert it"
    with pytest.raises(DataError, match=message):
        ImageFolder(path="pictures").load()


# Broken files.


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x93NUMPY"])
def test_a_broken_npz_is_one_error(root: Path, content: bytes) -> None:
    (root / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz is no npz file of plain arrays"):
        Npz(path="a.npz").load()


def test_an_npz_whose_labels_do_not_fit_is_one_error(root: Path) -> None:
    np.savez(root / "a.npz", x=np.zeros((5, 2)), y=np.zeros(3))
    with pytest.raises(DataError, match=r"expected x \(N, \.\.\.\) and y \(N,\), got x of \(5, 2\), y of \(3,\)"):
        Npz(path="a.npz").load()


def test_numbers_in_another_byte_order_are_read(root: Path) -> None:
    np.savez(root / "a.npz", x=np.arange(20, dtype=">f4").reshape(10, 2), y=np.arange(10, dtype=">i8") % 2)
    assert 4 == len(Npz(path="a.npz", test_fraction=0.6).load().train_inputs)


def test_a_table_that_is_no_utf8_is_one_error(root: Path) -> None:
    (root / "t.csv").write_bytes(b"x,y\n1,\xff\n")
    with pytest.raises(DataError, match=r"t\.csv cannot be read as a table in UTF-8"):
        Csv(path="t.csv", target="y").load()
