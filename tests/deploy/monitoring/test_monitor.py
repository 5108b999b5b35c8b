"""The command line and what it writes: windows in parts and at once, late feedback, alarms, errors, the page."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from bundle_by_hand import answers, ask, draw, make_bundle, right, tell

from rlcl.commands import main
from rlcl.deploy.bundle import Bundle
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.log import RequestLog
from rlcl.deploy.model import Model
from rlcl.deploy.monitoring.log_monitor import LogMonitor, read_lines
from rlcl.deploy.monitoring.monitor import MonitorSettings
from rlcl.deploy.monitoring.page import make_page
from rlcl.deploy.monitoring.reference import ReferenceSample
from rlcl.errors import BundleError

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WINDOW = ["--window", "100"]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "coins")


@pytest.fixture
def deployment(bundle: Bundle) -> Deployment:
    return Deployment(bundle.path)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["monitor", *arguments])
    return int(left.value.code or 0)


def look(deployment: Deployment, window: int = 100) -> list[dict[str, Any]]:
    monitor = LogMonitor(deployment, MonitorSettings(window=window))
    try:
        return monitor.read_new()
    finally:
        monitor.close()


def traffic(rows: int = 400, shifted: int = 400, seed: int = 1) -> np.ndarray:
    x = draw(np.random.default_rng(seed), rows)
    x[shifted:, 0] += 1.5
    return x


def kinds(lines: list[dict[str, Any]], line: str) -> list[dict[str, Any]]:
    return [each for each in lines if each["line"] == line]


def test_without_drift_it_leaves_with_0_and_with_drift_with_3(
    bundle: Bundle, deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(deployment, bundle, traffic(430))
    assert 0 == run(str(bundle.path), *WINDOW)
    assert "4 windows" in capsys.readouterr().out
    moved = traffic(170, 0)
    ask(deployment, bundle, moved, first=431)
    assert 3 == run(str(bundle.path), *WINDOW)
    told = capsys.readouterr().out
    assert "alarm: inputs, requests 401 to 500: input[0]" in told
    assert 0 == run(str(bundle.path), *WINDOW)
    assert "nothing new" in capsys.readouterr().out
    lines = read_lines(deployment)
    assert [[1, 100], [101, 200], [201, 300], [301, 400], [401, 500], [501, 600]] == [
        each["requests"] for each in kinds(lines, "window")
    ]
    (alarm,) = [each for each in lines if each["line"] == "alarm" and each["kind"] == "inputs"]
    assert ("input[0]", [401, 500], [401.0, 500.0]) == (alarm["what"], alarm["requests"], alarm["times"])
    assert alarm["threshold"] == pytest.approx(0.01 / 30 / 3 / 3)  # window 5, three kinds, three features
    assert alarm["p"] <= alarm["threshold"]
    window = kinds(lines, "window")[4]
    x = np.concatenate([traffic(430), moved])[400:500, 0]
    held_out = ReferenceSample.read(bundle).inputs["input"][:, 0]
    gap = max(abs((held_out <= v).mean() - (x <= v).mean()) for v in np.concatenate([held_out, x]))
    assert gap == pytest.approx(window["inputs"]["statistic"])


@pytest.mark.parametrize("cuts", [(170,), (99, 100, 101, 250, 399, 420)])
def test_in_parts_the_lines_are_those_of_at_once(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    x = traffic(450, 250)
    wrong = (np.arange(450) > 200).astype(int)
    found = []
    for name, ends in (("whole", (450,)), ("parts", (*cuts, 450))):
        bundle = make_bundle(tmp_path / name)
        deployment, start = Deployment(bundle.path), 0
        for end in ends:
            ask(deployment, bundle, x[start:end], first=start + 1)
            tell(deployment, right(x[start:end], wrong[start:end], first=start + 1))
            look(deployment)
            start = end
        found.append(read_lines(deployment))
    whole, parts = found
    for line in ("window", "feedback", "alarm"):
        named = [sorted(json.dumps(each) for each in kinds(lines, line)) for lines in (whole, parts)]
        assert named[0] == named[1]
        assert named[0]
    for line in ("window", "feedback"):
        assert kinds(whole, line) == kinds(parts, line)


def test_one_monitor_goes_on_as_several_do(bundle: Bundle, deployment: Deployment) -> None:
    monitor = LogMonitor(deployment, MonitorSettings(window=100))
    ask(deployment, bundle, traffic(150))
    assert 1 == len(kinds(monitor.read_new(), "window"))
    ask(deployment, bundle, traffic(150), first=151)
    assert [[101, 200], [201, 300]] == [each["requests"] for each in monitor.read_new()]
    monitor.close()


def test_what_a_killed_monitor_wrote_beyond_its_state_is_cut_off(bundle: Bundle, deployment: Deployment) -> None:
    ask(deployment, bundle, traffic(100))
    look(deployment)
    with deployment.drift.open("a") as file:
        file.write('{"line": "window", "window": 2, "req')
    ask(deployment, bundle, traffic(100), first=101)
    look(deployment)
    assert [1, 2] == [each["window"] for each in read_lines(deployment)]


def test_a_log_that_took_anothers_place_is_read_from_its_beginning(
    bundle: Bundle, deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    x = traffic(250)
    ask(deployment, bundle, x)
    tell(deployment, right(x)[:100])
    look(deployment)
    deployment.log.rename(deployment.folder / "old.sqlite")
    ask(deployment, bundle, x[:150])
    tell(deployment, right(x)[:100])
    assert 0 == run(str(bundle.path), *WINDOW)
    assert "the log was replaced since the last call" in capsys.readouterr().out
    lines = read_lines(deployment)
    windows, feedback = ([each["requests"] for each in kinds(lines, kind)] for kind in ("window", "feedback"))
    assert [[1, 100], [101, 200], [1, 100]] == windows
    assert [1, 2, 3] == [each["window"] for each in kinds(lines, "window")]
    assert [[1, 100], [1, 100]] == feedback
    assert ["window", "window", "feedback", "log", "window", "feedback"] == [each["line"] for each in lines]
    assert [] == look(deployment)
    assert "300 requests in 3 windows" in make_page(deployment)


def test_a_log_without_an_id_goes_on_when_it_is_given_one(bundle: Bundle, deployment: Deployment) -> None:
    ask(deployment, bundle, traffic(150))
    with sqlite3.connect(deployment.log) as connection:
        connection.execute("drop table meta")
    connection.close()
    assert [[1, 100]] == [each["requests"] for each in look(deployment)]
    ask(deployment, bundle, traffic(60), first=151)
    assert [[101, 200]] == [each["requests"] for each in look(deployment)]


def test_a_window_of_a_log_that_is_gone_is_not_drawn_from_another(bundle: Bundle, deployment: Deployment) -> None:
    x = traffic(100, 0)
    ask(deployment, bundle, x)
    look(deployment)
    assert ">Old and new distributions</h3>" in make_page(deployment)
    deployment.log.unlink()
    ask(deployment, bundle, x, first=2)
    assert ">Old and new distributions</h3>" not in make_page(deployment)


def test_late_feedback_is_taken_when_it_comes_in_the_order_of_its_requests(
    bundle: Bundle, deployment: Deployment
) -> None:
    x = traffic(300)
    ask(deployment, bundle, x)
    labels = right(x)
    tell(deployment, labels[200:])
    assert [[201, 300]] == [each["requests"] for each in kinds(look(deployment), "feedback")]
    tell(deployment, labels[:60][::-1])
    assert [] == look(deployment)
    tell(deployment, [(labels[0][0], "c"), *labels[60:100]])  # a correction is no news
    (line,) = look(deployment)
    assert ([1, 100], 100, 0.0) == (line["requests"], line["answers"], line["loss"])
    assert line["held_out"] == pytest.approx(0.05)


def test_a_block_is_in_the_order_of_its_requests(bundle: Bundle, deployment: Deployment) -> None:
    x = traffic(5)
    ask(deployment, bundle, x)
    tell(deployment, [right(x)[row] for row in (3, 0, 2)])
    log = RequestLog.open(deployment.log)
    last, (page,) = log.first_feedback(0, 3)
    assert (3, [1, 3, 4]) == (last, page.numbers.tolist())
    assert (0, []) == log.first_feedback(0, 4)
    log.close()


def test_worse_answers_are_found_and_better_ones_are_no_alarm(bundle: Bundle, deployment: Deployment) -> None:
    x = traffic(700, 700)
    ask(deployment, bundle, x)
    wrong = (np.random.default_rng(0).random(700) < np.where(np.arange(700) < 400, 0.0, 0.5)).astype(int)
    tell(deployment, right(x, wrong))
    assert 3 == run(str(bundle.path), *WINDOW, "-q")
    alarms = [each for each in read_lines(deployment) if each["line"] == "alarm"]
    assert ["performance"] == [each["kind"] for each in alarms]
    assert 500 == alarms[0]["requests"][1]
    assert alarms[0]["before"] < 0.1 < alarms[0]["after"]


def test_feedback_that_says_nothing_is_left_out(bundle: Bundle, deployment: Deployment) -> None:
    x = traffic(100)
    ask(deployment, bundle, x)
    tell(deployment, [(id, None if n % 2 else label) for n, (id, label) in enumerate(right(x))])
    (line,) = kinds(look(deployment), "feedback")
    assert (50, 50) == (line["answers"], line["left_out"])


def test_an_alarm_runs_the_command_without_a_shell(bundle: Bundle, deployment: Deployment, tmp_path: Path) -> None:
    ask(deployment, bundle, traffic(100, 0))
    told = tmp_path / "told of $(touch hacked).json"
    script = tmp_path / "tell.py"
    script.write_text(
        "import json, os, sys\n"
        "with open(sys.argv[1], 'a') as file:\n"
        "    file.write(json.dumps({k: v for k, v in os.environ.items() if k.startswith('RLCL_ALARM_')}) + '\\n')\n"
        "sys.exit(5)\n"
    )
    assert 3 == run(str(bundle.path), *WINDOW, "--on-alarm", f"{sys.executable} {script} '{told}'")
    first = json.loads(told.read_text().splitlines()[0])
    assert ("inputs", "input[0]", "1", "100") == tuple(first[f"RLCL_ALARM_{k}"] for k in ("KIND", "WHAT", "FROM", "TO"))
    assert float(first["RLCL_ALARM_P"]) <= float(first["RLCL_ALARM_THRESHOLD"])
    alarms = kinds(read_lines(deployment), "alarm")
    assert len(alarms) == len(told.read_text().splitlines())


def test_a_command_that_fails_is_a_warning(
    bundle: Bundle, deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(deployment, bundle, traffic(100, 0))
    assert 3 == run(str(bundle.path), *WINDOW, "--on-alarm", "/no/such/command")
    assert "rlcl: warning: --on-alarm: /no/such/command cannot be started" in capsys.readouterr().err
    assert 2 == run(str(bundle.path), *WINDOW, "--on-alarm", "echo 'open")
    assert '--on-alarm "echo \'open": No closing quotation' in capsys.readouterr().err


def test_a_folder_of_its_own_is_watched(bundle: Bundle, tmp_path: Path) -> None:
    beside = Deployment(bundle.path, tmp_path / "beside")
    ask(beside, bundle, traffic(100, 0))
    assert 3 == run(str(bundle.path), *WINDOW, "-q", "--live", str(tmp_path / "beside"))
    assert read_lines(beside)
    assert not Deployment(bundle.path).folder.exists()


def test_nothing_logged_yet_is_no_drift_and_no_error(
    bundle: Bundle, deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == run(str(bundle.path))
    assert "nothing was logged yet" in capsys.readouterr().out
    RequestLog.open(deployment.log, write=True).close()
    assert 0 == run(str(bundle.path))
    assert "nothing new" in capsys.readouterr().out


def test_a_log_that_is_none_is_one_clear_error(
    bundle: Bundle, deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment.folder.mkdir()
    deployment.log.write_bytes(b"no database at all" * 100)
    assert 1 == run(str(bundle.path))
    told = capsys.readouterr().err
    assert "cannot be opened as a log" in told
    assert "Traceback" not in told


def test_a_log_that_breaks_in_the_middle_is_one_clear_error(bundle: Bundle, deployment: Deployment) -> None:
    ask(deployment, bundle, traffic(1000, 1000))
    with sqlite3.connect(deployment.log) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()
    data = bytearray(deployment.log.read_bytes())
    data[-4096 * 4 :] = b"\xff" * 4096 * 4
    deployment.log.write_bytes(data)
    with pytest.raises(BundleError, match=r"is damaged: .*; move it away to start over"):
        look(deployment)


STATE = (
    '{"format": 1, "settings": {"window": 100}, "bytes": 0, "feedback": 0, "after": 0, "windows": 0, "alarmed": {}, '
)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": 2}', '{"format": 1, "settings": {}, "bytes": 0}', "[" * 100_000 + "]" * 100_000,
             STATE + '"watches": 5}', STATE + '"watches": {"d": {"losses": [], "range": [], "seeded": true}}}',
             STATE.replace('"after": 0', '"after": 1e999') + '"watches": {}}']
)  # fmt: skip
def test_a_damaged_state_is_one_clear_error(bundle: Bundle, deployment: Deployment, text: str) -> None:
    ask(deployment, bundle, traffic(100))
    look(deployment)
    (deployment.folder / "monitor.json").write_text(text)
    with pytest.raises(BundleError, match=r"monitor\.json is damaged .*; move it and drift\.jsonl away to start over"):
        look(deployment)


def test_other_settings_and_another_monitor_are_refused(bundle: Bundle, deployment: Deployment) -> None:
    ask(deployment, bundle, traffic(100))
    look(deployment)
    with pytest.raises(BundleError, match=r"was written with window 100, alpha 0\.01"):
        look(deployment, window=200)
    first = LogMonitor(deployment, MonitorSettings(window=100))
    with pytest.raises(BundleError, match=r"another monitor .* is running"):
        look(deployment)
    first.close()
    look(deployment)


def test_a_bundle_without_a_reference_is_one_clear_error(bundle: Bundle) -> None:
    from rlcl.deploy.bundle import seal

    (bundle.path / "reference.safetensors").unlink()
    seal(bundle.path)
    with pytest.raises(BundleError, match=r"reference\.safetensors cannot be read .*; export the run again"):
        look(Deployment(bundle.path))


def test_another_bundle_begins_a_window_of_its_own(bundle: Bundle, deployment: Deployment) -> None:
    candidate = make_bundle(deployment.candidates / "0001", rows=500)
    gone = attrs.evolve(candidate, path=bundle.path)
    ask(deployment, bundle, traffic(150))
    ask(deployment, candidate, traffic(120), first=151)
    assert candidate.digest != bundle.digest
    assert [[1, 100], [151, 250]] == [each["requests"] for each in look(deployment)]
    shutil.rmtree(candidate.path)
    ask(deployment, bundle, traffic(30), first=271)
    assert gone.digest == bundle.digest
    ask(deployment, bundle, traffic(90), first=301)
    (line,) = look(deployment)
    assert [271, 370] == line["requests"]


def test_a_bundle_that_is_gone_is_passed_over(bundle: Bundle, deployment: Deployment) -> None:
    candidate = make_bundle(deployment.candidates / "0001", rows=500)
    ask(deployment, candidate, traffic(200, 0))
    tell(deployment, right(traffic(200, 0)))
    shutil.rmtree(candidate.path)
    lines = look(deployment)
    assert [1, 2] == [each["window"] for each in kinds(lines, "window")]
    assert not any("inputs" in each for each in lines)
    assert [None, None] == [each["held_out"] for each in kinds(lines, "feedback")]
    assert "No window" not in make_page(deployment)


def test_the_encoder_is_asked_where_the_graph_gives_it(tmp_path: Path) -> None:
    with_it, without = (Model(make_bundle(tmp_path / str(e), encoded=e)) for e in (True, False))
    x = draw(np.random.default_rng(0), 4)
    assert (2 * x).tolist() == with_it.encoded({"input": x}).tolist()  # type: ignore[union-attr]
    assert without.encoded({"input": x}) is None
    assert ["class", "probabilities"] == list(with_it.run({"input": x}))
    assert answers(x)["class"].tolist() == with_it.predict(x).tolist()
    reference = ReferenceSample.read(without.bundle)
    tables = reference.comparison_tables({"input": x}, answers(x))
    assert tables["inputs"].tolist() == tables["encoded"].tolist()


def test_watch_goes_on_until_it_is_stopped(
    bundle: Bundle, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = iter([lambda: ask(deployment, bundle, traffic(100, 0)), lambda: None])

    def sleep(seconds: float) -> None:
        assert 7.0 == seconds
        try:
            next(moments)()
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("time.sleep", sleep)
    assert 130 == run(str(bundle.path), *WINDOW, "--watch", "7")
    told = capsys.readouterr().out
    assert 1 == told.count("nothing was logged yet")
    assert 1 == told.count("alarm: inputs")


def test_the_page_shows_everything_in_one_file(bundle: Bundle, deployment: Deployment, tmp_path: Path) -> None:
    x = traffic(600, 400)
    ask(deployment, bundle, x)
    wrong = (np.random.default_rng(0).random(600) < np.where(np.arange(600) < 400, 0.0, 0.5)).astype(int)
    tell(deployment, right(x, wrong))
    file = tmp_path / "drift.html"
    assert 3 == run(str(bundle.path), *WINDOW, "--report", str(file), "-q")
    text = file.read_text()
    for title in ("Start of drift", "Evidence of drift", "Accuracy over time", "Old and new distributions"):
        assert f">{title}</h3>" in text
    assert "input[0]: 0." in text
    assert "rlcl monitor" in text
    assert "http" not in text.replace("http://www.w3.org", "")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_draws_the_page(
    bundle: Bundle, deployment: Deployment, tmp_path: Path, request: pytest.FixtureRequest, theme: str
) -> None:
    assert CHROMIUM is not None
    x = traffic(3000, 2000)
    ask(deployment, bundle, x)
    wrong = (np.random.default_rng(0).random(3000) < np.where(np.arange(3000) < 2500, 0.05, 0.4)).astype(int)
    tell(deployment, right(x, wrong))
    look(deployment)
    file = tmp_path / "drift.html"
    file.write_text(make_page(deployment))
    picture = request.config.cache.mkdir("screenshots") / f"monitor-{theme}.png"
    fixed = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--hide-scrollbars"]
    dark = ["--blink-settings=preferredColorScheme=0"] if theme == "dark" else []
    options = [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,2300", f"--screenshot={picture}", *dark]
    command = [CHROMIUM, *fixed, *options, file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert [] == [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert picture.stat().st_size > 50_000


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"line": "window"}',
        '{"line": "alarm", "requests": [1, 2], "times": "x"}',
        '{"line": "window", "requests": [1, 2], "times": [0, 0], "inputs": 3}',
        '{"line": "feedback", "requests": 5}',
    ],
)
def test_a_line_of_another_form_is_one_error(deployment: Deployment, line: str) -> None:
    deployment.folder.mkdir(exist_ok=True)
    deployment.drift.write_text(line + "\n")
    with pytest.raises(BundleError, match=r"drift\.jsonl:1: "):
        read_lines(deployment)


def test_windows_whose_requests_resemble_each_other_are_undecided(
    bundle: Bundle, deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = np.linspace(0, 0.1, 100, dtype=np.float32)[:, None]
    ask(deployment, bundle, traffic(1)[np.zeros(100, int)] + slow)
    run(str(bundle.path), *WINDOW)
    (line,) = kinds(read_lines(deployment), "window")
    assert 0 < line["inputs"]["undecided"]
    assert "undecided: up to" in capsys.readouterr().out
