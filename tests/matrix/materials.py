"""The files that components read: tables, arrays, images, MNIST in its true format, pretrained weights, a run."""

from __future__ import annotations

import csv
import struct
from pathlib import Path

import numpy as np

__all__ = ["write_materials"]

IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
TRAINED = """
name: trained
stream: {type: single, data: {type: digits}}
encoder: {type: scale}
learner: {type: autoencoder, network: {type: mlp, hidden: [8]}, decoder: {type: mlp, hidden: [8]}, code: 3}
budget: {updates: 3}
"""


def write_materials(folder: Path) -> None:
    """Writes all files but those that need torch; those are written by :func:`write_trained`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    _write_tables(folder, rng)
    _write_arrays(folder, rng)
    _write_pictures(folder / "pictures", rng)
    for name in ("MNIST", "FashionMNIST", "KMNIST"):
        _write_idx(folder / name / "raw", rng)
    (folder / "trained.yaml").write_text(TRAINED)


def write_trained(folder: Path) -> None:
    """Writes a run for the encoder ``trained`` and weights for ``backbone``."""
    import torch

    from rlcl.commands import main
    from rlcl.networks.torchvision import torchvision_model

    torch.manual_seed(0)
    torch.save(torchvision_model("resnet18", "")().state_dict(), folder / "resnet18.pth")
    try:
        main(["run", str(folder / "trained.yaml"), "--root", str(folder / "runs"), "--quiet"])
    except SystemExit as ended:  # as any command ends
        if ended.code:
            raise RuntimeError("the run for the encoder trained failed") from ended


def _write_tables(folder: Path, rng: np.random.Generator) -> None:
    """Numbers, texts and missing cells; the same whole; and numbers alone, with a target and without."""
    count = 90
    kinds = np.array(["one", "two", "three", "four"])[np.arange(count) % 4]
    numbers = rng.normal(size=(count, 3)).round(3)
    colours = np.array(["red", "green", "blue"])[rng.integers(3, size=count)]
    for name, gaps in (("table", True), ("whole", False)):
        rows = [["weight", "height", "colour", "kind"]]
        for i in range(count):
            height = "" if gaps and i % 7 == 0 else numbers[i, 1]
            colour = "" if gaps and i % 11 == 0 else colours[i]
            rows.append([numbers[i, 0], height, colour, kinds[i]])
        _write_csv(folder / f"{name}.csv", rows)
    _write_csv(
        folder / "plain.csv", [["a", "b", "c", "kind"], *([*row, kinds[i]] for i, row in enumerate(numbers.tolist()))]
    )
    _write_csv(folder / "unlabelled.csv", [["a", "b", "c"], *numbers.tolist()])


def _write_csv(path: Path, rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _write_arrays(folder: Path, rng: np.random.Generator) -> None:
    """Colour images of 36 x 36 in one file, vectors in a folder of files."""
    labels = np.arange(60) % 4
    images = rng.integers(256, size=(60, 3, 36, 36), dtype=np.uint8)
    np.savez(folder / "images.npz", x=images, y=labels)
    (folder / "arrays").mkdir(exist_ok=True)
    for split, count in (("train", 60), ("test", 20)):
        np.save(folder / "arrays" / f"x_{split}.npy", rng.normal(size=(count, 5)).astype(np.float32))
        np.save(folder / "arrays" / f"y_{split}.npy", labels[:count])


def _write_pictures(folder: Path, rng: np.random.Generator) -> None:
    from PIL import Image

    for kind in range(4):
        (folder / f"kind {kind}").mkdir(parents=True, exist_ok=True)
        for index in range(12):
            pixels = rng.integers(256, size=(16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"kind {kind}" / f"{index}.png")


def _write_idx(folder: Path, rng: np.random.Generator) -> None:
    """The first bytes say the type, the number of axes and their lengths; http://yann.lecun.com/exdb/mnist."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in zip(IDX, (60, 60, 20, 20), strict=True):
        shape = (count, 28, 28) if "images" in name else (count,)
        array = rng.integers(256, size=shape, dtype=np.uint8) if "images" in name else np.arange(count) % 10
        head = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
        (folder / name).write_bytes(head + array.astype(np.uint8).tobytes())
