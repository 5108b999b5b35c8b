"""Predictions for whole files: NumPy arrays and tables in, NumPy arrays and tables out."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from attrs import frozen

from rlcl.deploy.model import Model
from rlcl.deploy.rows import read_rows
from rlcl.deploy.signature import Field, Misplaced, Signature
from rlcl.errors import BundleError, DataError, Problem

__all__ = ["INPUTS", "OUTPUTS", "Inputs", "check_output", "in_batches", "read_inputs", "write_array", "write_table"]

Array = np.ndarray[Any, Any]
INPUTS, OUTPUTS = (".npy", ".npz", ".csv"), (".npy", ".csv")
MAGIC = {".npy": b"\x93NUMPY", ".npz": b"PK"}


@frozen(eq=False)
class Inputs:
    """Raw inputs out of a file.

    Args:
        file: that they are of, for messages.
        arrays: (N, *shape) by name.
        lines: the line of each row, of a table; empty of arrays.
    """

    file: Path
    arrays: Mapping[str, Array]
    lines: Sequence[int] = ()

    def __len__(self) -> int:
        return max((len(array) for array in self.arrays.values() if array.ndim), default=0)

    def in_file(self, error: Misplaced, start: int) -> Problem:
        """The same with its place in the file, of a batch that begins with row ``start``."""
        if error.name not in self.arrays:
            return Problem(error.message, error.where if error.name == "task_id" else f"{self.file}: {error.where}")
        if not error.place:
            return Problem(error.message, f"{self.file}: {error.name}")
        row, *place = error.place
        if self.lines and error.message.startswith("column "):  # of a table, whose columns have names
            return Problem(error.message, f"{self.file}:{self.lines[row + start]}")
        if self.lines:
            column = int(np.ravel_multi_index(place, self.arrays[error.name].shape[1:])) if place else 0
            return Problem(error.message, f"{self.file}:{self.lines[row + start]}: column {column + 1}")
        return Problem(error.message, f"{self.file}: {error.name}" + "".join(f"[{i}]" for i in (row + start, *place)))


def read_inputs(file: Path, signature: Signature) -> Inputs:
    """Raw inputs; arrays of a ``.npy`` file stay on disk until they are needed.

    Args:
        file: ``.npy`` with the one input; ``.npz`` with an array an input, by name; or ``.csv``, one row an input,
            see :func:`rlcl.deploy.rows.read_rows`. Where the model learned from a table any other text file is one too,
            and so is Parquet.
        signature: what is expected.

    Raises:
        DataError: the file is missing, of another kind, or cannot be read.
    """
    fields = [field.name for field in signature.inputs]
    table = file.suffix == ".csv" or (file.suffix not in MAGIC and bool(signature.inputs[0].columns))
    if file.suffix not in INPUTS and not table:
        raise DataError(f"{file}: expected a file that ends in {', '.join(INPUTS)}")
    if file.suffix != ".npz" and len(fields) > 1:
        raise DataError(f"{file}: the bundle takes {', '.join(fields)}; give a .npz file with an array of each name")
    magic = MAGIC.get(file.suffix, b"")
    try:
        if magic and _begins(file, len(magic)) != magic:
            saver = "numpy.save" if file.suffix == ".npy" else "numpy.savez"
            raise DataError(f"{file} is no {file.suffix} file of NumPy's; write it with {saver}")
        if table:
            lines, rows = read_rows(file, signature.inputs[0])
            return Inputs(file, {fields[0]: rows}, lines)
        found = np.load(file, mmap_mode="r", allow_pickle=False)
        if file.suffix == ".npy":
            return Inputs(file, {fields[0]: found})
        with found as arrays:
            return Inputs(file, {name: arrays[name] for name in arrays.files})
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever a damaged file makes of its reader
        raise DataError(f"{file} is cut off, or holds something else than plain numbers; write it anew") from error


def _begins(file: Path, count: int) -> bytes:
    with file.open("rb") as opened:
        return opened.read(count)


def in_batches(model: Model, inputs: Inputs, batch_size: int, task_id: int | None) -> Iterator[dict[str, Array]]:
    """All outputs by name, a batch at a time.

    Args:
        model: of a bundle.
        inputs: see :func:`read_inputs`.
        batch_size: rows at a time, at least 1.
        task_id: of all rows, where the model tells tasks apart.

    Raises:
        Problem: inputs that the signature refuses, with the place in the file.
        BundleError: the model is a policy that remembers.
    """
    if model.signature.state:
        raise BundleError(
            "what this policy answers depends on what it met before in the episode; call rlcl.deploy.load(...).predict "
            "step by step, with the state that it returns"
        )
    for start in range(0, max(len(inputs), 1), batch_size):
        end = start + batch_size
        part = {name: array[start:end] if array.ndim else array for name, array in inputs.arrays.items()}
        try:
            arrays = model.signature.arrays(part, task_id)
        except Misplaced as error:
            raise inputs.in_file(error, start) from error
        yield model.run(arrays)


def check_output(output: Path | None) -> None:
    """Raises DataError for a file that cannot be written, before anything is computed."""
    if output is None:
        return
    if output.suffix not in OUTPUTS:
        raise DataError(f"--output {output}: expected a file that ends in {' or '.join(OUTPUTS)}")
    if not output.parent.is_dir():
        raise DataError(f"--output {output}: there is no folder {output.parent}")


def write_array(output: Path, name: str, batches: Iterator[dict[str, Array]]) -> int:
    """Writes the output of a name as ``.npy``; the file is there when it is whole. Returns the rows."""
    found = np.concatenate([batch[name] for batch in batches])
    with _whole(output) as file:
        np.save(file, found)
    return len(found)


def write_table(output: Path | IO[str], signature: Signature, batches: Iterator[dict[str, Array]]) -> int:
    """Writes all outputs as CSV, a line of names first, classes by their names. Returns the rows."""
    if not isinstance(output, Path):
        return _written(output, signature, batches)
    with _whole(output) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        return _written(text, signature, batches)


def _written(file: IO[str], signature: Signature, batches: Iterator[dict[str, Array]]) -> int:
    writer, rows = csv.writer(file, lineterminator="\n"), 0
    for batch in batches:
        if not rows:
            writer.writerow([column for field in signature.outputs for column in _columns(field, signature.classes)])
        parts = [_cells(field, batch[field.name], signature.classes) for field in signature.outputs]
        writer.writerows([cell for part in cells for cell in part] for cells in zip(*parts, strict=True))
        rows += len(parts[0])
    return rows


def _columns(field: Field, classes: Sequence[str]) -> list[str]:
    if not field.shape:
        return [field.name]
    places = range(math.prod(field.shape))
    return [f"{field.name}.{classes[i] if field.name == 'probabilities' else i}" for i in places]


def _cells(field: Field, array: Array, classes: Sequence[str]) -> list[list[Any]]:
    if field.name == "class":
        return [[classes[number]] for number in array.tolist()]
    return [[str(value) for value in row] for row in array.reshape(len(array), math.prod(field.shape))]


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
