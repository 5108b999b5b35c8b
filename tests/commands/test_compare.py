"""``rlcl compare``, as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from comparable_runs import stream, write_learner, write_seed

from rlcl.commands import main


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, output, errors."""
    with pytest.raises(SystemExit) as ended:
        main(["compare", "--replications", "500", *(str(a) for a in arguments)])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    write_learner(folder, "ewc", [0.8, 0.9, 0.85, 0.9, 0.88])
    write_learner(folder, "naive", [0.3, 0.4, 0.3, 0.35, 0.36])
    return folder


def test_a_verdict_stands_under_the_table(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, root)
    assert 0 == status
    assert "single digits: accuracy.average, higher is better" in out
    assert "ewc is better than naive by 0.524" in out
    assert "left out" not in out
    assert "caveat" not in out


def test_a_corrupt_run_is_listed_and_the_others_go_on(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "ewc" / "h" / "seed0" / "summary.json").write_text("{")
    status, out, _ = call(capsys, root)
    assert 0 == status
    assert "ewc/h/seed0: corrupt: summary.json is damaged" in out
    assert "ewc is better than naive" in out
    assert "tests use only the seeds that both learners have, for ewc and naive on single digits" in out


def test_names_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, hidden in enumerate(["[8]", "[16]"]):
        learner = {"network": {"hidden": hidden}}
        write_seed(tmp_path, "mine", 0, {"accuracy.average": 0.5}, folder=f"h{place}", learner=learner)
    out = call(capsys, tmp_path)[1]
    assert 2 == out.count("hidden=[16]")  # in the table and in the verdict


def test_many_verdicts_are_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in range(12):
        write_learner(tmp_path, f"m{place:02}", [0.05 * place, 0.05 * place + 0.01, 0.05 * place - 0.01])
    out = call(capsys, tmp_path)[1]
    below = out.partition("comparisons (p with Holm's correction; level 0.05)")[2]
    assert 11 == below.count("m11")
    assert "55 more comparisons" in out


def test_the_same_call_prints_the_same(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, root, "--json") == call(capsys, root, "--json")


def test_json_is_all_there_is_to_read(root: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = call(capsys, root, "--json", "--export", tmp_path / "t.csv", "--table", "runs")
    content = json.loads(out)
    assert {"single digits": "accuracy.average"} == content["metric"]
    assert ["ewc", "naive"] == [row["learner"] for row in content["learners"]]
    assert content["comparisons"][0]["distinguishable"]
    assert 11 == len((tmp_path / "t.csv").read_text().splitlines())


def test_two_streams_of_another_unit_take_a_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"ppo": 400.0, "dqn": 100.0}.items():
        for env, shift in {"CartPole-v1": 0, "Acrobot-v1": -500}.items():
            for seed in range(3):
                metrics = {"return.average": value + shift + 10 * seed}
                config = {"stream": {"type": "environments", "env": env}}
                summary = {"measures": ["return"]}
                write_seed(tmp_path, name, seed, metrics, folder=env, config=config, summary=summary)
    out = call(capsys, tmp_path)[1]
    assert "only the order within each stream is compared" in out
    assert "optimality gap" not in out
    scales = ("--scale", "CartPole=0:500", "--scale", "*Acrobot*=-500:0")
    out = call(capsys, tmp_path, *scales)[1]
    assert "over 2 streams, values scaled to 0 and 1 per stream" in out
    assert "in the IQM of return.average" in out
    assert "--scale: no scale for" in call(capsys, tmp_path, *scales[:2])[2]


def test_three_streams_without_a_common_one_are_compared_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, data in {"a": "digits", "b": "digits", "c": "iris", "d": "iris"}.items():
        write_learner(tmp_path, name, [0.1, 0.2], config={"stream": stream(data)})
    status, out, _ = call(capsys, tmp_path)
    assert 0 == status
    assert "single digits: a and b are not distinguishable" in out
    assert "not every learner has runs on single digits, single iris" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "acuracy.average"], "did you mean accuracy.average?"),
        (["--by", "learner.typ"], "did you mean learner.type"),
        (["--baseline", "ewk"], "did you mean ewc?"),
        (["--test", "z"], "--test z: unknown value; allowed: ranks, t"),
        (["--aggregate", "iqn"], "did you mean iqm?"),
        (["--table", "runz"], "did you mean runs?"),
        (["--export", "t.xls"], "expected a file that ends in .csv, .parquet, .tex, .md"),
        (["--export", "t.csv", "--table", "aggregates"], "this table has no rows"),
        (["--scale", "single=1:0"], "LOW below HIGH"),
        (["--scale", "iris=0:1"], "no stream matches iris"),
    ],
)
def test_a_mistake_is_one_clear_message(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    status, _, errors = call(capsys, root, *arguments)
    assert status in (1, 2)
    assert message in errors
    assert 1 == len(errors.splitlines())


def test_comparing_and_sorting_runs_imports_no_torch(root: Path) -> None:
    code = (
        "import sys; from rlcl.commands import main\n"
        f"ROOT, METRIC = {str(root)!r}, 'accuracy.average'\n"
        "LIST = ['runs', 'list', '--root', ROOT, '--sort', METRIC]\n"
        "for told in (['compare', ROOT, '--replications', '100'], LIST):\n"
        "    try: main(told)\n"
        "    except SystemExit: pass\n"
        "assert 'torch' not in sys.modules, 'torch'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
