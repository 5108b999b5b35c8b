"""Batch prediction: predictions for files of NumPy arrays and tables."""

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
from rlcl.deploy.signature import Field, InvalidInput, Signature
from rlcl.deploy.table_rows import read_rows
from rlcl.errors import BundleError, DataError, Problem

__all__ = [
    "INPUT_SUFFIXES",
    "OUTPUT_SUFFIXES",
    "FileInputs",
    "check_output_file",
    "predict_batches",
    "read_inputs",
    "write_array",
    "write_table",
]

Array = np.ndarray[Any, Any]
INPUT_SUFFIXES, OUTPUT_SUFFIXES = (".npy", ".npz", ".csv"), (".npy", ".csv")
MAGIC = {".npy": b"\x93NUMPY", ".npz": b"PK"}


@frozen(eq=False)
class FileInputs:
    """Raw inputs from a file.

    Args:
        file: path of the file, for messages.
        arrays: (N, *shape) by name.
        lines: line number of each row of a table; empty for arrays.
    """

    file: Path
    arrays: Mapping[str, Array]
    lines: Sequence[int] = ()

    def __len__(self) -> int:
        return max((len(array) for array in self.arrays.values() if array.ndim), default=0)

    def locate(self, error: InvalidInput, start: int) -> Problem:
        """Return the error of a batch that starts at row ``start``, with its position in the file."""
        if error.name not in self.arrays:
            return Problem(error.message, error.where if error.name == "task_id" else f"{self.file}: {error.where}")
        if not error.index:
            return Problem(error.message, f"{self.file}: {error.name}")
        row, *index = error.index
        if self.lines and error.message.startswith("column "):  # the message names the column of the table
            return Problem(error.message, f"{self.file}:{self.lines[row + start]}")
        if self.lines:
            column = int(np.ravel_multi_index(index, self.arrays[error.name].shape[1:])) if index else 0
            return Problem(error.message, f"{self.file}:{self.lines[row + start]}: column {column + 1}")
        return Problem(error.message, f"{self.file}: {error.name}" + "".join(f"[{i}]" for i in (row + start, *index)))


def read_inputs(file: Path, signature: Signature) -> FileInputs:
    """Read raw inputs from a file; arrays of a ``.npy`` file are read from disk on demand.

    Args:
        file: ``.npy`` with the only input; ``.npz`` with one array per input, by name; or ``.csv`` with one input per
            row, see :func:`rlcl.deploy.table_rows.read_rows`. For a model that was trained on a table, also any other
            text file, and Parquet.
        signature: signature of the model.

    Raises:
        DataError: the file does not exist, has another format, or cannot be read.
    """
    fields = [field.name for field in signature.inputs]
    table = file.suffix == ".csv" or (file.suffix not in MAGIC and bool(signature.inputs[0].columns))
    if file.suffix not in INPUT_SUFFIXES and not table:
        raise DataError(f"{file}: expected a file that ends in {', '.join(INPUT_SUFFIXES)}")
    if file.suffix != ".npz" and len(fields) > 1:
        raise DataError(f"{file}: the bundle takes {', '.join(fields)}; pass an .npz file with an array of each name")
    magic = MAGIC.get(file.suffix, b"")
    try:
        if magic and _first_bytes(file, len(magic)) != magic:
            function = "numpy.save" if file.suffix == ".npy" else "numpy.savez"
            raise DataError(f"{file} is not an {file.suffix} file of NumPy; write it with {function}")
        if table:
            lines, rows = read_rows(file, signature.inputs[0])
            return FileInputs(file, {fields[0]: rows}, lines)
        loaded = np.load(file, mmap_mode="r", allow_pickle=False)
        if file.suffix == ".npy":
            return FileInputs(file, {fields[0]: loaded})
        with loaded as arrays:
            return FileInputs(file, {name: arrays[name] for name in arrays.files})
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can raise any exception in its reader
        raise DataError(f"{file} is truncated or contains other data than numbers; write the file again") from error


def _first_bytes(file: Path, count: int) -> bytes:
    with file.open("rb") as opened:
        return opened.read(count)


def predict_batches(
    model: Model, inputs: FileInputs, batch_size: int, task_id: int | None
) -> Iterator[dict[str, Array]]:
    """Yield all outputs by name, batch by batch.

    Args:
        model: model of a bundle.
        inputs: inputs, see :func:`read_inputs`.
        batch_size: number of rows per batch, at least 1.
        task_id: task id of all rows, if the model takes one.

    Raises:
        Problem: an input violates the signature; the error names its position in the file.
        BundleError: the model is a recurrent policy.
    """
    if model.signature.state:
        raise BundleError(
            "rlcl predict does not support recurrent policies, whose actions depend on earlier observations of the "
            "episode; call rlcl.deploy.load(...).predict step by step with the returned state"
        )
    for start in range(0, max(len(inputs), 1), batch_size):
        end = start + batch_size
        batch = {name: array[start:end] if array.ndim else array for name, array in inputs.arrays.items()}
        try:
            arrays = model.signature.arrays(batch, task_id)
        except InvalidInput as error:
            raise inputs.locate(error, start) from error
        yield model.run(arrays)


def check_output_file(output: Path | None) -> None:
    """Check before any computation that an output file can be written.

    Raises:
        DataError: the suffix is not supported, or the folder does not exist.
    """
    if output is None:
        return
    if output.suffix not in OUTPUT_SUFFIXES:
        raise DataError(f"--output {output}: expected a file that ends in {' or '.join(OUTPUT_SUFFIXES)}")
    if not output.parent.is_dir():
        raise DataError(f"--output {output}: the folder {output.parent} does not exist; create it")


def write_array(output: Path, name: str, batches: Iterator[dict[str, Array]]) -> int:
    """Write one output as ``.npy``, and return the number of rows; the file appears when it is complete."""
    rows = np.concatenate([batch[name] for batch in batches])
    with _atomic_file(output) as file:
        np.save(file, rows)
    return len(rows)


def write_table(output: Path | IO[str], signature: Signature, batches: Iterator[dict[str, Array]]) -> int:
    """Write all outputs as CSV with a header and class names, and return the number of rows."""
    if not isinstance(output, Path):
        return _write_rows(output, signature, batches)
    with _atomic_file(output) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        return _write_rows(text, signature, batches)


def _write_rows(file: IO[str], signature: Signature, batches: Iterator[dict[str, Array]]) -> int:
    writer, rows = csv.writer(file, lineterminator="\n"), 0
    for batch in batches:
        if not rows:
            writer.writerow([column for field in signature.outputs for column in _header(field, signature.classes)])
        parts = [_cells(field, batch[field.name], signature.classes) for field in signature.outputs]
        writer.writerows([cell for part in cells for cell in part] for cells in zip(*parts, strict=True))
        rows += len(parts[0])
    return rows


def _header(field: Field, classes: Sequence[str]) -> list[str]:
    if not field.shape:
        return [field.name]
    indices = range(math.prod(field.shape))
    return [f"{field.name}.{classes[i] if field.name == 'probabilities' else i}" for i in indices]


def _cells(field: Field, array: Array, classes: Sequence[str]) -> list[list[Any]]:
    if field.name == "class":
        return [[classes[number]] for number in array.tolist()]
    return [[str(value) for value in row] for row in array.reshape(len(array), math.prod(field.shape))]


@contextmanager
def _atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that gets its final name when it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
