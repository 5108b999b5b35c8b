"""Code in the documents runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rlcl.experiment import load_experiment
from rlcl.launch.local import run_experiment

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HOW_TO = ROOT / "docs" / "how-to" / "add-a-component.md"


def blocks(path: Path) -> list[tuple[str, str, str]]:
    """(language, title, text) of every fenced block."""
    return BLOCK.findall(path.read_text())


AVALANCHE = [text for _, _, text in blocks(ROOT / "docs" / "how-to" / "use-avalanche.md") if "SplitMNIST" not in text]
COMPONENTS = [title for language, title, _ in blocks(HOW_TO) if language == "yaml"]


@pytest.mark.parametrize("title", COMPONENTS)
def test_an_experiment_of_the_how_to_runs(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _, name, text in blocks(HOW_TO):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    (finished,) = run_experiment(load_experiment(tmp_path / title), tmp_path / "runs")
    assert finished.outcome.metrics
    if title == "worst.yaml":
        assert {"accuracy.average", "worst_experience"} == set(finished.outcome.metrics)


@pytest.mark.parametrize("text", AVALANCHE)
def test_an_experiment_with_avalanche_runs(text: str, tmp_path: Path) -> None:
    stream = "" if text.startswith("stream") else "stream: {type: class_incremental, experiences: 2}\n"
    (tmp_path / "config.yaml").write_text(f"name: documented\n{stream}{text}budget: {{epochs: 1}}\n")
    (finished,) = run_experiment(load_experiment(tmp_path / "config.yaml"), tmp_path / "runs")
    assert finished.outcome.metrics


def test_every_file_of_the_how_to_is_used() -> None:
    assert {Path(title).stem for title in COMPONENTS} == {Path(name).stem for _, name, _ in blocks(HOW_TO)}


@pytest.mark.parametrize("document", ["README.md", "docs/how-to/read-a-run.md"])
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


def test_the_learner_of_the_readme_runs_from_a_config(tmp_path: Path) -> None:
    text = [text for language, _, text in blocks(ROOT / "README.md") if language == "python"][1]
    (tmp_path / "majority.py").write_text(text)
    config = tmp_path / "majority.yaml"
    config.write_text(
        "name: majority\nstream: {type: class_incremental}\n"
        'learner: {type: "majority.py:Majority", forget: 0.5}\nbudget: {epochs: 1}\n'
    )
    (finished,) = run_experiment(load_experiment(config), tmp_path / "runs")
    assert 0 <= finished.outcome.metrics["accuracy.average"] <= 1


@pytest.mark.parametrize("text", [text for language, _, text in blocks(ROOT / "README.md") if language == "yaml"])
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
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            if not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert [] == broken


def test_every_component_is_in_the_readme() -> None:
    from rlcl.registry import entries

    text = (ROOT / "README.md").read_text()
    kinds = ("data", "stream", "network", "learner", "method", "measure")
    missing = [entry for kind in kinds for entry in entries(kind) if f"`{entry}`" not in text]
    assert [] == missing
