"""Code in the documents runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rlcl.commands import main
from rlcl.experiment import load_experiment
from rlcl.launch.seeds import run_experiment
from rlcl.registry import entries

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HOW_TO = ROOT / "docs" / "how-to"
TUTORIALS = ROOT / "docs" / "tutorials"
GUIDES = sorted(
    (path for folder in (HOW_TO, TUTORIALS) for path in folder.glob("*.md") if "```console" in path.read_text()),
    key=lambda path: path.name,
)
NUMBER = re.compile(r"-?\d+\.\d+")
NEAR = 0.05  # other machines round otherwise, and training carries it on


def blocks(path: Path) -> list[tuple[str, str, str]]:
    """(language, title, text) of every fenced block."""
    return BLOCK.findall(path.read_text())


def same_line(expected: str, actual: str) -> bool:
    """Whether a line is as shown: ``...`` stands for anything, and fractions may differ a little."""
    parts = [NUMBER.sub("#", re.escape(part).replace(r"\.", ".").replace(r"\-", "-")) for part in expected.split("...")]
    found = re.fullmatch(".*".join(parts).replace("#", f"({NUMBER.pattern})"), actual)
    shown = NUMBER.findall(expected)
    return found is not None and all(
        abs(float(a) - float(b)) <= NEAR for a, b in zip(shown, found.groups(), strict=True)
    )


AVALANCHE = [text for _, _, text in blocks(HOW_TO / "use-avalanche.md") if "SplitMNIST" not in text]


def as_shown(expected: list[str], actual: list[str]) -> bool:
    """Whether the lines are those shown, a line ``...`` standing for any number of them."""
    if not expected:
        return not actual
    if expected[0] == "...":
        return any(as_shown(expected[1:], actual[skipped:]) for skipped in range(len(actual) + 1))
    return bool(actual) and same_line(expected[0], actual[0]) and as_shown(expected[1:], actual[1:])


def test_what_is_shown_is_compared() -> None:
    assert as_shown(["a", "...", "x 0.91 of ..."], ["a", "b", "c", "x 0.93 of 7"])
    assert not as_shown(["x 0.91"], ["x 0.99"])
    assert not as_shown(["x 12"], ["x 13"])
    assert not as_shown(["a"], ["a", "b"])
    assert not as_shown(["a", "..."], ["b"])


def call(command: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that a command prints; those of rlcl run in this process, which saves its start."""
    program, *arguments = shlex.split(command)
    if program == "rlcl":
        for name in [name for name in sys.modules if name.startswith("rlcl_file_")]:
            del sys.modules[name]  # as a new process would, read the user's files anew
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main(arguments)
        printed = "".join(capsys.readouterr())
    else:
        assert program == "python"
        done = subprocess.run([sys.executable, *arguments], check=False, capture_output=True, text=True)
        printed = done.stdout + done.stderr
    return [line.rstrip() for line in printed.splitlines()]


def changed(text: str, diff: str) -> str:
    """A file's text with the lines that begin with - replaced by those with +, wherever they are indented."""
    old = "\n".join(line[1:] for line in diff.splitlines() if line.startswith("-"))
    new = "\n".join(line[1:] for line in diff.splitlines() if line.startswith("+"))
    assert text.count(old) == 1, f"{text.count(old)} places for {old!r}"
    return text.replace(old, new)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_a_guide_prints_what_it_shows(
    guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {title: text for language, title, text in blocks(guide) if title and language != "diff"}
    diffs: dict[str, str] = {}
    ran: set[str] = set()
    for language, title, text in blocks(guide):
        if language == "diff":
            diffs[title] = changed(files[title], text)
        if language != "console":
            continue
        for name, content in {**files, **diffs}.items():
            (tmp_path / name).write_text(content)
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
            printed = call(command, capsys)
            assert as_shown(shown.splitlines(), printed), f"$ {command}\n" + "\n".join(printed)
            ran.update(shlex.split(command) if not diffs else [])
        diffs = {}
    assert {name for name in files if name.endswith(".yaml")} <= ran, "an experiment that nobody runs"


def test_a_package_gives_a_component_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {title: text for _, title, text in blocks(HOW_TO / "add-a-component.md") if title}
    project = tomllib.loads(files["pyproject.toml"])["project"]
    (tmp_path / "log_scale.py").write_text(files["log_scale.py"])
    installed = tmp_path / "my_encoders-0.1.0.dist-info"  # what pip makes of it
    installed.mkdir()
    (installed / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    ((group, points),) = project["entry-points"].items()
    lines = [f"{name} = {place}" for name, place in points.items()]
    (installed / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
    monkeypatch.syspath_prepend(str(tmp_path))
    entries.cache_clear()
    try:
        printed = call("rlcl list encoder", capsys)
        experiment = load_experiment("quickstart", ["encoder=log_scale"])
    finally:
        entries.cache_clear()
    assert any(line.startswith("log_scale ") and line.endswith("my-encoders 0.1.0") for line in printed)
    assert experiment.encoder.type == "log_scale"


@pytest.mark.parametrize("text", AVALANCHE)
def test_an_experiment_with_avalanche_runs(text: str, tmp_path: Path) -> None:
    stream = "" if text.startswith("stream") else "stream: {type: class_incremental, experiences: 2}\n"
    (tmp_path / "config.yaml").write_text(f"name: documented\n{stream}{text}budget: {{epochs: 1}}\n")
    (finished,) = run_experiment(load_experiment(tmp_path / "config.yaml"), tmp_path / "runs")
    assert finished.outcome.metrics


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "docs/how-to/compare-learners.md",
        "docs/how-to/read-a-run.md",
        "docs/how-to/run-a-grid.md",
        "docs/how-to/state-an-objective.md",
    ],
)
def test_python_in_a_document_runs(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = [text for language, _, text in blocks(ROOT / document) if language == "python"]
    assert found
    for text in found:
        exec(compile(text, document, "exec"), {"__name__": "document"})  # noqa: S102


def test_the_python_of_the_readme_equals_the_quickstart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = next(text for language, _, text in blocks(ROOT / "README.md") if language == "python")
    assert len([line for line in text.splitlines() if line.strip()]) < 15
    exec(compile(text, "README.md", "exec"), {})  # noqa: S102
    printed = float(capsys.readouterr().out.split()[-1])
    (finished,) = run_experiment(load_experiment("quickstart", ["seeds=[0]"]), tmp_path)
    assert finished.outcome.metrics["accuracy.average"] == printed


def test_the_minimal_learner_runs_from_a_config(tmp_path: Path) -> None:
    guide = ROOT / "docs" / "how-to" / "add-a-learner.md"
    (text,) = (text for _, _, text in blocks(guide) if "class Majority(Learner)" in text)
    (tmp_path / "majority.py").write_text(text)
    config = tmp_path / "majority.yaml"
    config.write_text(
        "name: majority\nstream: {type: class_incremental}\n"
        'learner: {type: "majority.py:Majority", forget: 0.5}\nbudget: {epochs: 1}\n'
    )
    (finished,) = run_experiment(load_experiment(config), tmp_path / "runs")
    assert 0 <= finished.outcome.metrics["accuracy.average"] <= 1


@pytest.mark.parametrize(
    "text",
    [
        text
        for document in ("README.md", "docs/reference/training.md", "docs/reference/reinforcement.md")
        for language, _, text in blocks(ROOT / document)
        if language == "yaml"
    ],
)
def test_yaml_of_the_readme_is_an_experiment(text: str, tmp_path: Path) -> None:
    if "name:" not in text:
        pytest.skip("a fragment")
    path = tmp_path / "readme.yaml"
    path.write_text(text)
    experiment = load_experiment(path)
    if experiment.budget.unit == "epochs":
        (finished,) = run_experiment(experiment, tmp_path / "runs")
        assert finished.outcome.metrics["accuracy.average"] > 0.9


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", BLOCK.sub("", path.read_text())):
            if not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert [] == broken


def test_every_component_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    kinds = ("data", "stream", "network", "learner", "method", "measure", "probe")
    missing = [entry for kind in kinds for entry in entries(kind) if f"`{entry}`" not in text]
    assert [] == missing


def test_yaml_of_encoding_is_an_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = []
    for number, (_, _, text) in enumerate(blocks(ROOT / "docs" / "how-to" / "encode-inputs.md")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        experiment = load_experiment(path)
        if experiment.name in ("normalised", "code", "upon-code"):  # the others need data that must be fetched
            run_experiment(experiment)
            ran.append(experiment.name)
    assert ["normalised", "code", "upon-code"] == ran
