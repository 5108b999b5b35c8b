"""Cells in a real Slurm that are preempted, reach their time limit or lose their node: all end with the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from grids import wait_for
from slurm_cluster import SlurmCluster, until
from undisturbed import Bench, let_go, long_suite, run_folders, same_bits, sessions

from rlcl.tracking.json_files import read_json

LOW = ("--launcher", "slurm", "launcher.partition=low")


def ended(process: subprocess.Popen[str], seconds: float = 300) -> str:
    printed, _ = process.communicate(timeout=seconds)
    assert 0 == process.returncode, printed
    return printed


def test_a_preempted_job_is_requeued_and_resumed(slurm: SlurmCluster, tmp_path: Path, bench: Bench) -> None:
    suite = long_suite(tmp_path)
    (run,) = run_folders(tmp_path, suite)
    process = bench(*LOW)
    wait_for(run / "events.jsonl", 120)
    (job,) = slurm.queue()
    slurm.run("sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")
    until(lambda: "interrupted" == read_json(run / "status.json").get("state"), 60)
    let_go(tmp_path)
    until(lambda: [job] == slurm.queue("PENDING") == slurm.queue(), 60)
    slurm.start_requeued()
    assert "1 finished" in ended(process)
    assert 2 == sessions(run)
    assert same_bits(tmp_path, suite)
    assert not list((tmp_path / "runs" / "slow" / "logs" / "slurm" / "messages").iterdir())


def test_a_job_that_reaches_its_time_limit_saves_and_goes_on(slurm: SlurmCluster, tmp_path: Path, bench: Bench) -> None:
    suite = long_suite(tmp_path)
    (run,) = run_folders(tmp_path, suite)
    process = bench(*LOW, "launcher.minutes=2", "launcher.signal_seconds=60")
    wait_for(run / "events.jsonl", 120)
    until(lambda: "interrupted" == read_json(run / "status.json").get("state"), 120)
    let_go(tmp_path)
    until(lambda: slurm.queue("PENDING"), 60)
    slurm.start_requeued()
    assert "1 finished" in ended(process)
    assert 2 == sessions(run)
    assert same_bits(tmp_path, suite)


def test_a_job_whose_node_fails_is_requeued_and_resumed(slurm: SlurmCluster, tmp_path: Path, bench: Bench) -> None:
    suite = long_suite(tmp_path)
    (run,) = run_folders(tmp_path, suite)
    process = bench(*LOW)
    wait_for(run / "events.jsonl", 120)
    slurm.kill_node()
    until(lambda: "down" in slurm.run("sinfo", "--noheader", "--format=%T"), 120)
    slurm.start_node()
    until(lambda: slurm.queue("PENDING"), 60)
    let_go(tmp_path)
    slurm.start_requeued(45)  # a node does not accept the credential of a job that it has just cleaned up
    assert "1 finished" in ended(process)
    assert sessions(run) >= 2
    assert same_bits(tmp_path, suite)


def test_the_next_call_follows_the_jobs_of_one_that_was_killed(
    slurm: SlurmCluster, tmp_path: Path, bench: Bench
) -> None:
    suite = long_suite(tmp_path, seeds=2)
    runs = run_folders(tmp_path, suite)
    process = bench(*LOW, "launcher.cells=2")
    wait_for(runs[1] / "events.jsonl", 120)
    (job,) = slurm.queue()
    process.kill()
    process.communicate()
    process = bench(*LOW, "launcher.cells=2")
    assert process.stdout is not None
    assert "cells at once" in process.stdout.readline()
    let_go(tmp_path)
    assert "2 finished" in ended(process)
    assert [1, 1] == [*map(sessions, runs)]
    assert [f"{job}_submission.sh"] == [p.name for p in (tmp_path / "runs/slow/logs/slurm").glob("[0-9]*.sh")]


def test_ctrl_c_stops_cells_that_run_and_cells_that_wait(slurm: SlurmCluster, tmp_path: Path, bench: Bench) -> None:
    cpus = os.cpu_count() or 1
    suite = long_suite(tmp_path, seeds=cpus + 1)
    runs = run_folders(tmp_path, suite)
    process = bench(*LOW)
    wait_for(runs[0] / "events.jsonl", 120)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert 130 == process.returncode, printed
    assert "interrupted" == read_json(runs[0] / "status.json")["state"]
    assert not runs[-1].exists()
    until(lambda: not slurm.queue(), 60)


def test_a_partition_that_does_not_exist_is_one_message(slurm: SlurmCluster, tmp_path: Path, bench: Bench) -> None:
    long_suite(tmp_path)
    process = bench("--launcher", "slurm", "launcher.partition=nowhere")
    printed, _ = process.communicate(timeout=120)
    assert 1 == process.returncode
    assert "rlcl: Slurm does not accept the jobs: " in printed
    assert "nvalid partition" in printed
    assert "Traceback" not in printed


@pytest.mark.usefixtures("slurm")
def test_the_script_can_be_read_before(tmp_path: Path, bench: Bench) -> None:
    long_suite(tmp_path, seeds=3)
    options = ["launcher.minutes=7", "launcher.setup=[module load cuda]", "launcher.options={nodelist: node7}"]
    printed = ended(bench(*LOW, *options, "--dry-run"))
    for line in ("array=0-2%3", "partition=low", "time=7", "nodelist=node7", "requeue", "cpus-per-task=1"):
        assert f"\n#SBATCH --{line}\n" in printed
    assert "\nmodule load cuda\n" in printed
    assert not (tmp_path / "runs").exists()
