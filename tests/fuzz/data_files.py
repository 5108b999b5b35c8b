"""Files of data, damaged, read by the data sets that read files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.kind import Case, Kind, quiet, refusable
from fuzz.odd import mutated_bytes
from rlcl.experiment import experiment_from

__all__ = ["DataFiles"]

WORDS = (
    "",
    "NA",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "x",
    "é",
    '"',
    '""',
    "0x1",
    "1_0",
    " ",
    "true",
    "1,5",
    "\u0000",
    "9" * 400,
)


class DataFiles(Kind):
    """A valid CSV or Parquet file, array or folder of images with a few bytes or values changed."""

    name = "data_files"

    def prepare(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        self._files = {
            "csv": (_csv(rng), "a.csv", {"type": "csv", "target": "y"}),
            "csv of numbers": (_csv(rng), "a.csv", {"type": "csv", "target": "a", "regression": True}),
            "table": (_table(rng), "a.csv", {"type": "table", "target": "y"}),
            "tsv": (_table(rng).replace(b",", b"\t"), "a.tsv", {"type": "table", "target": "y", "delimiter": "\t"}),
            "parquet": (_parquet(rng, folder), "a.parquet", {"type": "table", "target": "y"}),
            "npz": (_npz(rng, folder), "a.npz", {"type": "npz"}),
            "npy": (_npy(rng, folder), "x_train.npy", {"type": "npy"}),
            "images": (b"", "", {"type": "image_folder"}),
        }
        self._images = {suffix: _image(rng, suffix) for suffix in ("png", "jpg", "gif", "bmp", "webp", "tiff")}
        self._labels = _array(np.tile([0, 1], 20), folder)

    def take(self, case: Case) -> str:
        rng, name = case.rng, case.rng.choice(tuple(self._files))
        content, file, data = self._files[name]
        options: dict[str, Any] = dict(data)
        if name == "images":
            self._write_images(rng, case)
            options |= {"path": "images"} | rng.choice(({}, {"size": [8, 8]}, {"grey": True}, {"storage": "disk"}))
            if options.get("storage") == "disk":
                options["workers"] = 0
        elif name == "npy":
            self._write_arrays(rng, case, content)
            options |= {"path": "."} | rng.choice(({}, {"storage": "disk", "workers": 0}))
        else:
            made, said = _changed(rng, content, name)
            (case.folder / file).write_bytes(made)
            case.tried.append(f"{name}: {said}")
            options["path"] = file
        case.tried.append(repr(options))
        with quiet():
            return refusable(lambda: _read(options))

    def _write_images(self, rng: random.Random, case: Case) -> None:
        damaged = rng.randrange(16)
        for number in range(16):
            folder = case.folder / "images" / ("cat", "dog")[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            suffix = rng.choice(tuple(self._images))
            content = self._images[suffix]
            if number == damaged:
                content, said = mutated_bytes(rng, content)
                case.tried.append(f"image {number}, {suffix}: {said}")
                suffix = rng.choice((suffix, suffix, suffix, "png", "jpg", "txt"))
            (folder / f"{number}.{suffix}").write_bytes(content)

    def _write_arrays(self, rng: random.Random, case: Case, content: bytes) -> None:
        files = {"x_train": content, "y_train": self._labels, "x_test": content, "y_test": self._labels}
        name = rng.choice(tuple(files))
        files[name], said = mutated_bytes(rng, files[name])
        case.tried.append(f"{name}.npy: {said}")
        for each, made in files.items():
            (case.folder / f"{each}.npy").write_bytes(made)


def _read(data: dict[str, Any]) -> str:
    """Makes the stream of a data set, reads all of it, and trains a little."""
    from fuzz.configs import trained_for

    learner = "regressor" if data.get("regression") else "classifier"
    columns = {"type": "columns", "numeric": {"type": "impute"}, "categorical": {"type": "one_hot"}}
    config = {
        "name": "fuzz",
        "stream": {"type": "single", "data": data},
        "encoder": columns if data["type"] == "table" else {"type": "flatten"},
        "learner": {"type": learner, "network": {"type": "mlp", "hidden": [4]}},
        "budget": {"updates": 2},
        "sinks": [],
    }
    trained_for(experiment_from(config), 5.0)
    return "read"


def _changed(rng: random.Random, content: bytes, name: str) -> tuple[bytes, str]:
    """Bytes changed; of a text, half of the time, a cell of it."""
    if name in ("parquet", "npz") or rng.random() < 0.5:
        return mutated_bytes(rng, content)
    delimiter = "\t" if name == "tsv" else ","
    rows = [line.split(delimiter) for line in content.decode().splitlines()]
    said = []
    for _ in range(rng.choice((1, 2, 5))):
        row = rng.randrange(len(rows))
        column = rng.randrange(len(rows[row]))
        word = rng.choice((*WORDS, rows[rng.randrange(len(rows))][0]))
        rows[row][column] = word
        said.append(f"{word!r:.20} in row {row}, column {column}")
        if rng.random() < 0.2:
            rows[row] = rows[row] * 2 if rng.random() < 0.5 else rows[row][:-1] or [""]
            said.append(f"row {row} has {len(rows[row])} columns")
    return "\n".join(delimiter.join(row) for row in rows).encode(), "; ".join(said)


def _csv(rng: np.random.Generator) -> bytes:
    rows = [f"{a:.3f},{b:.3f},{i % 2}" for i, (a, b) in enumerate(rng.normal(size=(40, 2)))]
    return "\n".join(["a,b,y", *rows]).encode()


def _table(rng: np.random.Generator) -> bytes:
    colours = ("red", "green", "", "blue")
    rows = [f"{a:.3f},{colours[i % 4]},{'yes' if i % 2 else 'no'}" for i, a in enumerate(rng.normal(size=40))]
    return "\n".join(["a,colour,y", *rows]).encode()


def _parquet(rng: np.random.Generator, folder: Path) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"a": rng.normal(size=40), "colour": ["red", None, "blue", "green"] * 10, "y": ["yes", "no"] * 20}
    pq.write_table(pa.table(columns), folder / "made.parquet")
    return (folder / "made.parquet").read_bytes()


def _npz(rng: np.random.Generator, folder: Path) -> bytes:
    x, y = rng.normal(size=(40, 3)).astype(np.float32), np.tile([0, 1], 20)
    np.savez(folder / "made.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return (folder / "made.npz").read_bytes()


def _npy(rng: np.random.Generator, folder: Path) -> bytes:
    return _array(rng.normal(size=(40, 3)).astype(np.float32), folder)


def _array(array: np.ndarray[Any, Any], folder: Path) -> bytes:
    np.save(folder / "made.npy", array)
    return (folder / "made.npy").read_bytes()


def _image(rng: np.random.Generator, suffix: str) -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    kind = {"jpg": "JPEG"}.get(suffix, suffix.upper())
    Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(stream, kind)
    return stream.getvalue()
