"""Cells on a Ray cluster of two nodes whose workers and nodes are lost: all end with the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from grids import Silent, wait_for
from ray.cluster_utils import Cluster
from slurm_cluster import until
from undisturbed import Bench, let_go, long_suite, run_folders, same_bits, sessions

from rlcl.errors import ConfigError
from rlcl.launch.launchers.ray_cluster import RayCluster
from rlcl.study.suite_runner import run_suite
from rlcl.tracking.json_files import read_json

SMALL = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without cores, so that its nodes run all cells."""
    made = Cluster(initialize_head=True, head_node_args={**SMALL, "num_cpus": 0})
    yield made
    made.shutdown()


def parents(pid: int) -> list[int]:
    """The process ids from the parent of a process upwards."""
    found = []
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(pid)
    return found


def worker_of(run: Path) -> int:
    """The process id of the Ray worker that runs a cell: the parent of its fork server."""
    return parents(read_json(run / "status.json")["pid"])[1]


def test_a_worker_that_is_killed_repeats_its_cell_from_its_checkpoint(
    cluster: Cluster, tmp_path: Path, bench: Bench
) -> None:
    cluster.add_node(**{k: v for k, v in SMALL.items() if k != "include_dashboard"})
    suite = long_suite(tmp_path)
    (run,) = run_folders(tmp_path, suite)
    process = bench("--launcher", "ray", f"launcher.address={cluster.address}")
    wait_for(run / "events.jsonl", 120)
    os.kill(worker_of(run), signal.SIGKILL)
    let_go(tmp_path)
    printed, _ = process.communicate(timeout=300)
    assert 0 == process.returncode, printed
    assert "1 finished" in printed
    assert 2 == sessions(run)
    assert same_bits(tmp_path, suite)


def test_cells_of_a_node_that_is_removed_go_on_on_another(cluster: Cluster, tmp_path: Path, bench: Bench) -> None:
    options = {k: v for k, v in SMALL.items() if k != "include_dashboard"}
    nodes = [cluster.add_node(**options) for _ in range(2)]
    suite = long_suite(tmp_path, seeds=2)
    runs = run_folders(tmp_path, suite)
    process = bench("--launcher", "ray", f"launcher.address={cluster.address}")
    for run in runs:
        wait_for(run / "events.jsonl", 120)
    assert len({worker_of(run) for run in runs}) == 2
    cluster.remove_node(nodes[0])
    let_go(tmp_path)
    printed, _ = process.communicate(timeout=400)
    assert 0 == process.returncode, printed
    assert "2 finished" in printed
    assert [1, 2] == sorted(map(sessions, runs))
    assert same_bits(tmp_path, suite)


def test_a_node_without_the_folder_returns_its_runs(cluster: Cluster, tmp_path: Path, bench: Bench) -> None:
    """A node in a mount namespace of its own, in which the folder of the runs is empty."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    suite = long_suite(tmp_path, seeds=2)
    let_go(tmp_path)
    (tmp_path / "runs").mkdir()
    ray = f"{sys.executable} -m ray.scripts.scripts start --address={cluster.address} --num-cpus=1 --block"
    mount = f"mount -t tmpfs none {tmp_path / 'runs'} && exec {ray} --object-store-memory=100000000"
    node = subprocess.Popen(["unshare", "--mount", "sh", "-c", mount], stdout=subprocess.DEVNULL)
    try:
        until(lambda: _alive_cpus(cluster.address) == 1, 60)
        process = bench("--launcher", "ray", f"launcher.address={cluster.address}")
        printed, _ = process.communicate(timeout=300)
        assert 0 == process.returncode, printed
        assert "2 finished" in printed
        assert same_bits(tmp_path, suite)
        assert "experience 2/2" in next((tmp_path / "runs/slow/logs").glob("*-seed1.txt")).read_text()
        runs = run_folders(tmp_path, suite)
        assert (runs[0].parent / "tensorboard").is_dir()  # intervals over both seeds
        # A run that was begun here is resumed there.
        for name in ("summary.json",):
            (runs[0] / name).unlink()
        (runs[0] / "status.json").write_text('{"state": "interrupted", "step": 0}')
        process = bench("--launcher", "ray", f"launcher.address={cluster.address}")
        printed, _ = process.communicate(timeout=300)
        assert "resuming " in next((tmp_path / "runs/slow/logs").glob("*-seed0.txt")).read_text(), printed
        assert same_bits(tmp_path, suite)
    finally:
        node.terminate()
        node.wait(30)


def _alive_cpus(address: str) -> float:
    code = "import ray, sys; ray.init(sys.argv[1], logging_level='ERROR'); print(ray.cluster_resources().get('CPU', 0))"
    done = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def test_ctrl_c_saves_checkpoints_and_ends_ray(tmp_path: Path, bench: Bench) -> None:
    suite = long_suite(tmp_path)
    (run,) = run_folders(tmp_path, suite)
    process = bench("--launcher", "ray")
    wait_for(run / "events.jsonl", 120)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert 130 == process.returncode, printed
    assert "interrupted" == read_json(run / "status.json")["state"]
    assert "Traceback" not in printed


def test_an_address_that_does_not_answer_is_one_message() -> None:
    with pytest.raises(ConfigError, match=r"launcher\.address: nothing answers at 127\.0\.0\.1:1 .*ray start --head"):
        RayCluster(address="127.0.0.1:1").capacity(1)
    with pytest.raises(ConfigError, match=r"launcher\.address: auto cannot be used"):
        RayCluster(address="auto").capacity(1)


def test_a_cluster_without_gpu_refuses_cells_that_need_one(tmp_path: Path) -> None:
    suite = long_suite(tmp_path)
    let_go(tmp_path)
    launcher = RayCluster()
    try:
        config = {"name": "x", "device": "cuda", "threads": 1}
        with pytest.raises(ConfigError, match="no node of the Ray cluster has 1 GPU for device: cuda"):
            launcher.start(_job(tmp_path, config))
        grid = run_suite(suite, launcher, Silent(), tmp_path / "runs")
        assert ["finished"] == [state.state for state in grid.states]
    finally:
        launcher.close()


def _job(folder: Path, config: dict[str, object]):  # type: ignore[no-untyped-def]
    from rlcl.types import Job

    return Job(name="x", config=config, seed=0, root=folder, log=folder / "log.txt")
