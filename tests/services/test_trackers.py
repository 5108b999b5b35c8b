"""Trackers: what they contain after a run, an interruption, a kill, and a server that ends in the middle."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlcl.experiment import load_experiment
from rlcl.launch.seeds import run_experiment
from rlcl.sinks.trackers.tracker import FILE
from rlcl.tracking.folder import read_events, read_records
from rlcl.types import Record

EXPERIMENT = """
name: digits
stream: {{type: class_incremental, data: {{type: digits}}, experiences: 3}}
encoder: scale
learner: {{type: classifier, network: {{type: mlp, hidden: [8]}}, batch_size: 16}}
budget: {{epochs: {epochs}}}
event_interval: 1
checkpoint_minutes: 0.001
sinks: [{{type: {sink}, seconds: 0.1}}]
"""
CLI = [sys.executable, "-m", "rlcl"]
SINKS = pytest.mark.parametrize("sink", ["mlflow", "wandb", "trackio"])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A tracking server of MLflow on this machine: its address and process."""
    pytest.importorskip("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", f"{tmp_path}/files"]
    process = subprocess.Popen([*command, *stores], stderr=subprocess.DEVNULL, start_new_session=True, cwd=tmp_path)
    address = f"http://127.0.0.1:{port}"
    for _ in range(300):
        with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=1):
            break
        time.sleep(0.2)
    yield address, process
    end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def written(folder: Path, sink: str, epochs: int = 2) -> Path:
    file = folder / "digits.yaml"
    file.write_text(EXPERIMENT.format(sink=sink, epochs=epochs))
    return file


def stopped(folder: Path, sink: str, signum: int) -> Path:
    """The file of a run to whose processes a signal was sent after some values."""
    file = written(folder, sink, epochs=40)
    process = subprocess.Popen([*CLI, "run", file.name], cwd=folder, start_new_session=True)
    _wait_for(folder, 30)
    os.killpg(process.pid, signum)
    process.wait()
    return file


def run(file: Path, *changes: str) -> str:
    done = subprocess.run(
        [*CLI, "run", file.name, *changes], cwd=file.parent, check=True, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def run_of(folder: Path) -> Path:
    (found,) = (folder / "runs" / "digits").glob("*/seed0")
    return found


def in_mlflow(uri: str, run_folder: Path) -> Counter[tuple[str, int]]:
    """How often each metric has a value at each step."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    (saved,) = json.loads((run_folder / FILE).read_text()).values()
    tracked = client.get_run(saved["run"])
    histories = [client.get_metric_history(saved["run"], name) for name in tracked.data.metrics]
    return Counter((point.key, point.step) for history in histories for point in history)


def in_wandb(run_folder: Path) -> Counter[tuple[str, int]]:
    """The same from the files of all sessions, which ``wandb sync`` would upload."""
    from wandb.proto import wandb_internal_pb2

    found: Counter[tuple[str, int]] = Counter()
    for path in run_folder.glob("wandb/offline-run-*/*.wandb"):
        for data in log_records(path.read_bytes()[7:], offset=7):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "history":
                items = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
                step = items.pop("step", None)
                found.update((name, step) for name in items if step is not None and not name.startswith("_"))
    return found


def log_records(content: bytes, offset: int) -> Iterator[bytes]:
    """Records of a log in LevelDB's format: blocks of 32 KiB with pieces that begin with checksum, length and type."""
    at, joined = 0, b""
    while at + 7 <= len(content):
        left = 32768 - (at + offset) % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        if not kind:
            return
        joined += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or its last piece
            yield joined
            joined = b""


def in_trackio(run_folder: Path) -> Counter[tuple[str, int]]:
    (saved,) = json.loads((run_folder / FILE).read_text()).values()
    # In another process: Trackio reads TRACKIO_DIR once, at its import.
    code = (
        "import json, sys; from trackio.sqlite_storage import SQLiteStorage; "
        "print(json.dumps(SQLiteStorage.get_logs('rlcl', sys.argv[1])))"
    )
    printed = subprocess.run([sys.executable, "-c", code, saved["run"]], check=True, capture_output=True, text=True)
    rows = json.loads(printed.stdout)
    return Counter((name, row["step"]) for row in rows for name in row if name not in ("step", "timestamp"))


def expected(run_folder: Path) -> set[tuple[str, int]]:
    """Metrics and steps in the run's own files."""
    found = set()
    for row in read_events(run_folder):
        step = row.pop("step")
        found |= {(f"train/{name}", step) for name in row if name != "time"}
    names = json.loads((run_folder / "summary.json").read_text())["experiences"]
    return found | {(_name(record, names), record.step) for record in read_records(run_folder)}


def _name(record: Record, names: list[str]) -> str:
    if record.metric != "accuracy":
        return f"learner/{record.metric}"
    return f"accuracy/{record.evaluated_on:02d} {names[record.evaluated_on]}"


def tracked(sink: str, run_folder: Path) -> Counter[tuple[str, int]]:
    uri = os.environ["MLFLOW_TRACKING_URI"]
    found = {"mlflow": lambda: in_mlflow(uri, run_folder), "wandb": lambda: in_wandb(run_folder)}
    counts = found.get(sink, lambda: in_trackio(run_folder))()
    return Counter({key: n for key, n in counts.items() if key[0].startswith(("train/", "accuracy/", "learner/"))})


@SINKS
def test_a_tracker_has_each_value_of_a_run_once(sink: str, tracker_folder: Path) -> None:
    pytest.importorskip(sink)
    run(written(tracker_folder, sink))
    folder = run_of(tracker_folder)
    assert tracked(sink, folder) == Counter(expected(folder))


def test_wandb_has_the_runs_of_one_process_in_two_folders(
    tracker_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook: the service of wandb stays in the folder of the first run."""
    pytest.importorskip("wandb")
    other = tmp_path / "other"
    other.mkdir()
    for folder in (tracker_folder, other):
        monkeypatch.chdir(folder)
        run_experiment(load_experiment(written(folder, "wandb").name), "runs", Console(quiet=True))
        assert tracked("wandb", run_of(folder)) == Counter(expected(run_of(folder)))


@SINKS
def test_an_interrupted_run_continues_the_run_of_the_tracker(sink: str, tracker_folder: Path) -> None:
    pytest.importorskip(sink)
    file = stopped(tracker_folder, sink, signal.SIGINT)
    sent = json.loads((run_of(tracker_folder) / FILE).read_text())
    run(file)
    folder = run_of(tracker_folder)
    resumed = json.loads((folder / FILE).read_text())
    assert [each["run"] for each in sent.values()] == [each["run"] for each in resumed.values()]
    assert tracked(sink, folder) == Counter(expected(folder))


@SINKS
def test_a_killed_run_continues_the_run_of_the_tracker(sink: str, tracker_folder: Path) -> None:
    pytest.importorskip(sink)
    run(stopped(tracker_folder, sink, signal.SIGKILL))
    folder = run_of(tracker_folder)
    found = tracked(sink, folder)
    if sink == "mlflow":  # it stores a batch at once; the others lose what their own buffers held
        assert set(found) == expected(folder)
        assert max(found.values()) <= 2  # the last batch may have been sent twice
    assert set(found) <= expected(folder)


def _wait_for(folder: Path, records: int) -> None:
    """Wait until a run has sent some values."""
    for _ in range(600):
        for path in (folder / "runs").glob(f"digits/*/seed0/{FILE}"):
            with suppress(ValueError):
                (saved,) = json.loads(path.read_text()).values()
                if saved["events"] >= records:
                    return
        time.sleep(0.1)
    raise AssertionError("the run has sent nothing")


def test_mlflow_has_settings_results_tables_and_files(
    server: tuple[str, subprocess.Popen[bytes]], tracker_folder: Path
) -> None:
    from mlflow import MlflowClient

    address, _ = server
    printed = run(written(tracker_folder, "mlflow"), f"sinks=[{{type: mlflow, seconds: 0.1, uri: {address!r}}}]")
    assert address in printed
    folder = run_of(tracker_folder)
    client = MlflowClient(address)
    (saved,) = json.loads((folder / FILE).read_text()).values()
    one = client.get_run(saved["run"])
    assert one.info.status == "FINISHED"
    assert one.data.params["learner.network.hidden"] == "[8]"
    assert one.data.tags["rlcl.seed"] == "0"
    metrics = json.loads((folder / "summary.json").read_text())["metrics"]
    assert one.data.metrics["metrics/accuracy.average"] == pytest.approx(metrics["accuracy.average"])
    assert {"config.yaml", "records.jsonl", "summary.json", "R"} <= {
        f.path for f in client.list_artifacts(saved["run"])
    }
    table = json.loads(Path(client.download_artifacts(saved["run"], "R/accuracy.json")).read_text())
    assert ["after", "digits 0-2", "digits 3-6", "digits 7-9"] == table["columns"]
    R = json.loads((folder / "summary.json").read_text())["R"]
    assert [row[1:] for row in table["data"]] == [pytest.approx(row) for row in R]


def test_a_server_that_ends_in_the_middle_ends_no_run_and_is_repaired(
    server: tuple[str, subprocess.Popen[bytes]], tracker_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    address, process = server
    file = written(tracker_folder, "mlflow", epochs=40)
    running = subprocess.Popen(
        [*CLI, "run", file.name, f"sinks=[{{type: mlflow, seconds: 0.1, uri: {address!r}}}]"],
        cwd=file.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    _wait_for(tracker_folder, 30)
    end(process)
    printed, _ = running.communicate()
    assert running.returncode == 0
    assert 1 == printed.count("sink mlflow stopped")
    folder = run_of(tracker_folder)
    store = f"sqlite:///{tracker_folder.parent}/another.db"
    send: Any = ["runs", "send", "digits", "--to", f"{{type: mlflow, uri: '{store}'}}"]
    subprocess.run([*CLI, *send], cwd=tracker_folder, check=True)
    saved = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({name: each for name, each in saved.items() if store in name}))
    found = in_mlflow(store, folder)
    assert expected(folder) <= set(found)
    assert 1 == max(found.values())


def test_a_server_that_does_not_answer_is_named_once(tracker_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    printed = run(written(tracker_folder, "mlflow"), "sinks=[{type: mlflow, uri: 'http://127.0.0.1:9'}]")
    assert 1 == printed.count("sink mlflow stopped")
    assert (run_of(tracker_folder) / "summary.json").is_file()
