"""Folders of images: splits, what is left out, what cannot be decoded, and how cameras were held."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlcl.data.readers.images import ImageFolder
from rlcl.errors import DataError


def fill(folder: Path, images: int = 5, classes: str = "ab") -> Path:
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(images):
            pixels = np.full((4, 6, 3), 100 * place + number, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def load(folder: Path) -> tuple[int, int, tuple[str, ...]]:
    data = ImageFolder(path=str(folder)).load()
    return len(data.train_inputs), len(data.test_inputs), tuple(data.class_names)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Train", "Test"),
        ("TRAIN", "VAL"),
        ("train", "val"),
        ("training", "validation"),
        ("train", "valid"),
    ],
)
def test_folders_of_a_split_are_one_in_any_case(tmp_path: Path, train: str, test: str) -> None:
    fill(tmp_path / train)
    fill(tmp_path / test, 2)
    assert (10, 4, ("a", "b")) == load(tmp_path)


def test_of_three_parts_the_one_for_validation_is_left_out_with_a_warning(tmp_path: Path) -> None:
    for name, count in (("train", 5), ("val", 3), ("test", 2)):
        fill(tmp_path / name, count)
    with pytest.warns(UserWarning, match="the folders val are ignored"):
        assert (10, 4, ("a", "b")) == load(tmp_path)


@pytest.mark.parametrize("names", [["train"], ["val", "test"], ["train", "Train", "test"], ["train", "val", "valid"]])
def test_a_split_that_is_none_is_refused_and_not_taken_for_classes(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        fill(tmp_path / name)
    with pytest.raises(DataError, match=r"look like a split; expected one of train, training and one of test"):
        load(tmp_path)


def test_flat_folders_of_a_split_are_no_classes(tmp_path: Path) -> None:
    fill(tmp_path, classes=["train", "val"])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="expected one folder per class, found none"):
        load(tmp_path)


@pytest.mark.parametrize("names", [["invalid", "valid"], ["car", "train"]])
def test_a_class_may_be_called_like_a_part_of_a_split(tmp_path: Path, names: list[str]) -> None:
    fill(tmp_path, classes=names)  # type: ignore[arg-type]
    assert (8, 2, tuple(names)) == load(tmp_path)


def test_files_that_are_left_out_are_counted(tmp_path: Path) -> None:
    fill(tmp_path)
    for name in ("a/notes.txt", "a/one.tif", "b/two.tif", "a/.DS_Store", "b/Thumbs.db"):
        (tmp_path / name).write_bytes(b"")
    with pytest.warns(UserWarning, match=r"3 files are ignored because their suffix is none of .*: 2 \.tif, 1 \.txt"):
        assert (8, 2, ("a", "b")) == load(tmp_path)


def test_images_in_no_classs_folder_are_counted(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "a" / "0.png").rename(tmp_path / "0.png")
    with pytest.warns(UserWarning, match="1 images are ignored because no class folder has them"):
        load(tmp_path)


def test_pictures_are_turned_as_the_camera_was_held(tmp_path: Path) -> None:
    fill(tmp_path)
    turned = Image.Exif()
    turned[0x112] = 6  # to be seen turned by a quarter clockwise
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0, 0] = 255
    for file in tmp_path.glob("*/*.png"):
        Image.fromarray(pixels).save(file, exif=turned)
    data = ImageFolder(path=str(tmp_path)).load()
    assert (3, 6, 4) == tuple(data.train_inputs.shape[1:])
    image = np.asarray(data.train_inputs[0])
    assert (255, 0) == (image[0, 0, 3], image[0, 0, 0])


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(60), "cut", "damaged", "bomb"], ids=str
)
def test_what_cannot_be_decoded_is_one_error_with_the_files_name(tmp_path: Path, content: bytes | str) -> None:
    fill(tmp_path)
    file = tmp_path / "a" / "3.png"
    if content == "bomb":
        Image.new("1", (20_000, 20_000)).save(file)
    elif isinstance(content, str):
        Image.fromarray(np.random.default_rng(0).integers(256, size=(40, 60, 3), dtype=np.uint8)).save(file)
        whole = file.read_bytes()
        file.write_bytes(whole[:200] if content == "cut" else whole[:60] + bytes(40) + whole[100:])
    else:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"a/3\.png cannot be read as an image: .*; remove or replace it"):
        load(tmp_path)
