"""Clusters for the tests with services; they are started once and stopped at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import SlurmCluster, is_installed
from undisturbed import Bench


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    if not is_installed():
        pytest.skip("Slurm is not installed, or not started by root; apt-get install slurm-wlm munge")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    cluster = SlurmCluster(folder)
    cluster.start()
    with pytest.MonkeyPatch.context() as patch:
        for key, value in cluster.environment.items():
            patch.setenv(key, value)
        yield cluster
        cluster.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    started = Bench(tmp_path)
    yield started
    started.end()


@pytest.fixture
def tracker_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, and stores of the trackers beside it."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Other people's warnings are no errors here."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("default"))
            item.add_marker(pytest.mark.timeout(600))


os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
