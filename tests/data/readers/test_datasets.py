"""Data sets by name: their sizes, their fixed splits, and what is said where they are not there."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from harness import write_mnist

from rlcl.data.readers.scikit import Digits
from rlcl.data.readers.torchvision import IDX_FILES, Mnist
from rlcl.data.root import data_root
from rlcl.data.torchvision_import import torchvision_datasets
from rlcl.errors import DataError

REAL = Path(os.environ.get("RLCL_DATA") or Path(__file__).parents[3].parent / "shared" / "data")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root, with nothing to download from."""
    monkeypatch.setenv("RLCL_DATA", str(tmp_path))
    monkeypatch.setattr(torchvision_datasets().MNIST, "mirrors", ["http://127.0.0.1:9/"])  # the discard port: refused
    return tmp_path


def test_digits_are_1797_images_of_8_by_8() -> None:
    data = Digits().load()
    assert (1442, 1, 8, 8) == tuple(data.train_inputs.shape)
    assert (355, 1, 8, 8) == tuple(data.test_inputs.shape)
    assert (torch.float32, torch.int64) == (data.train_inputs.dtype, data.train_labels.dtype)
    assert (0.0, 16.0) == (float(data.train_inputs.min()), float(data.train_inputs.max()))
    assert (10, tuple("0123456789"), (1, 8, 8)) == (data.classes, data.names, data.observation_shape)


def test_digits_test_set_is_every_fifth_image_of_each_class() -> None:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    data = Digits().load()
    for digit in range(10):
        expected = x[y == digit][4::5].astype(np.float32).reshape(-1, 1, 8, 8)
        assert np.array_equal(expected, data.test_inputs[data.test_labels == digit].numpy())


def test_digits_splits_together_are_all_images_once() -> None:
    from sklearn.datasets import load_digits

    data = Digits().load()
    both = torch.cat([data.train_inputs, data.test_inputs]).flatten(1).numpy()
    expected = load_digits().data.astype(np.float32)
    assert np.array_equal(expected[np.lexsort(expected.T)], both[np.lexsort(both.T)])


def test_digits_are_always_split_alike() -> None:
    first, second = Digits().load(), Digits().load()
    assert torch.equal(first.test_inputs, second.test_inputs)
    assert torch.equal(first.train_labels, second.train_labels)


def test_mnist_reads_the_idx_files_in_the_data_root(root: Path) -> None:
    written = write_mnist(root)
    data = Mnist().load()
    assert (20, 1, 28, 28) == tuple(data.train_inputs.shape)
    assert torch.uint8 == data.train_inputs.dtype
    for name, actual in zip(
        IDX_FILES,
        (data.train_inputs[:, 0], data.train_labels, data.test_inputs[:, 0], data.test_labels),
        strict=True,
    ):
        assert np.array_equal(written[name], actual.numpy())


@pytest.mark.skipif(not all((REAL / "MNIST" / "raw" / n).is_file() for n in IDX_FILES), reason="MNIST is not here")
def test_the_real_mnist_has_60000_and_10000_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLCL_DATA", str(REAL))
    data = Mnist().load()
    assert ((60_000, 1, 28, 28), (10_000, 1, 28, 28)) == (tuple(data.train_inputs.shape), tuple(data.test_inputs.shape))
    assert [5, 0, 4, 1, 9] == data.train_labels[:5].tolist()
    assert [7, 2, 1, 0, 4] == data.test_labels[:5].tolist()
    assert [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949] == data.train_labels.bincount().tolist()


def test_missing_data_names_the_folder_and_the_files(root: Path) -> None:
    with pytest.raises(DataError) as caught:
        Mnist().load()
    message = str(caught.value)
    assert f"data 'mnist' is not complete in {root / 'MNIST' / 'raw'} ($RLCL_DATA)" in message
    assert all(name in message for name in IDX_FILES)
    assert "set RLCL_DATA" in message


def test_one_missing_file_is_missing_data(root: Path) -> None:
    write_mnist(root)
    (root / "MNIST" / "raw" / IDX_FILES[2]).unlink()
    with pytest.raises(DataError, match="is not complete"):
        Mnist().load()


def test_a_failed_download_leaves_no_file(root: Path) -> None:
    with pytest.raises(DataError):
        Mnist().load()
    assert [] == [path for path in root.rglob("*") if path.is_file()]


class Broken(http.server.BaseHTTPRequestHandler):
    """Sends half of what it announces."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2000")
        self.end_headers()
        self.wfile.write(b"x" * 1000)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def broken_mirror() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def test_a_broken_download_leaves_nothing_that_is_taken_for_data(
    root: Path, broken_mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision_datasets().MNIST, "mirrors", [broken_mirror])
    for _ in range(2):  # the second attempt finds the first one's leavings
        with pytest.raises(DataError, match="could not be downloaded"):
            Mnist().load()
    assert not any((root / "MNIST" / "raw" / name).exists() for name in IDX_FILES)


@pytest.mark.parametrize("name", IDX_FILES)
@pytest.mark.parametrize("kept", [0, 100])
def test_a_file_that_is_cut_short_is_named_as_damaged(root: Path, name: str, kept: int) -> None:
    write_mnist(root)
    path = root / "MNIST" / "raw" / name
    path.write_bytes(path.read_bytes()[: min(kept, 20)])
    with pytest.raises(DataError, match=r"data 'mnist'.* damaged"):
        Mnist().load()


def test_a_data_root_that_is_a_file_is_an_error_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RLCL_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match=str(tmp_path / "file")):
        Mnist().load()


def test_the_data_root_is_the_variable_else_the_folder_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLCL_DATA", "/somewhere")
    assert Path("/somewhere") == data_root()
    monkeypatch.setenv("RLCL_DATA", "")
    assert Path("data") == data_root()
