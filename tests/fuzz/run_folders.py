"""Folders of runs and of a suite, damaged here and there, under every command that reads them."""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fuzz.kind import Case, Failed, Kind, command
from fuzz.odd import mutated_bytes, put

__all__ = ["RunFolders"]

EXPERIMENT = """\
name: NAME
seeds: [0, 1]
stream: {type: class_incremental, data: {type: iris}, experiences: 3}
learner: {type: classifier, network: {type: mlp, hidden: [4]}, batch_size: 16}
budget: {updates: 4}
evaluation: {every: {updates: 2}}
objective: {success: ['accuracy.average >= 0.1']}
sinks: []
"""
SUITE = """\
name: suite
base: {extends: good.yaml, seeds: [0], objective: null}
sweep: {learner.batch_size: [8, 16]}
"""
POLICY = """\
name: policy
stream: {type: environments, env: CartPole-v1}
learner: {type: ppo, n_steps: 16, network: {type: mlp, hidden: [4]}}
budget: {env_steps: 32}
evaluation: {episodes: 1, episode_steps: 20}
sinks: []
"""
IMPORTED = (
    "matplotlib.backends.backend_agg",
    "rlcl.commands",
    "rlcl.comparison.tables",
    "rlcl.deploy.exporting.export",
    "rlcl.launch.seeds",
    "rlcl.launch.trained_policy",
    "rlcl.learners.gradient",
    "rlcl.report.figures",
    "rlcl.report.page.build",
    "rlcl.study.grid",
    "onnxscript",
    "torch._dynamo",
)
WRITTEN = (".json", ".jsonl", ".yaml", ".safetensors", ".txt")
COMMANDS: tuple[tuple[int, tuple[str, ...]], ...] = (  # how often, and what
    (6, ("runs", "list")),
    (2, ("runs", "list", "--json")),
    (2, ("runs", "list", "--sort", "accuracy.average")),
    (2, ("runs", "list", "--where", "learner.type=classifier")),
    (2, ("runs", "list", "--columns", "run,seconds,learner.batch_size,error,updated")),
    (6, ("runs", "show", "good")),
    (2, ("runs", "diff", "good", "other")),
    (3, ("runs", "migrate", "runs")),
    (1, ("runs", "rm", "-y", "good")),
    (3, ("report", "good")),
    (3, ("report", "good", "other", "suite")),
    (3, ("compare", "good", "other")),
    (2, ("compare", "suite", "--json")),
    (2, ("compare", "good", "other", "--metric", "forgetting.chaudhry")),
    (4, ("run", "good.yaml", "-q")),
    (1, ("run", "good.yaml", "other.yaml", "-q", "seeds=[0]")),
    (1, ("run", "longer.yaml", "-q", "--continue-from", "good.yaml")),
    (3, ("bench", "suite.yaml", "--dry-run")),
    (2, ("watch", "policy", "--gif", "film.gif", "--episodes", "1", "--steps", "5")),
    (1, ("export", "good/*/seed0", "--to", "bundle")),
)


class RunFolders(Kind):
    """One or two files of some runs changed, cut, removed, or replaced by a folder; then one command."""

    name = "run_folders"

    def prepare(self, folder: Path) -> None:
        for module in IMPORTED:  # once, and not in each process
            importlib.import_module(module)
        self._source = folder / "runs-of-all-kinds"
        if (self._source / "done").exists():
            return
        shutil.rmtree(self._source, ignore_errors=True)
        self._source.mkdir(parents=True)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.chdir(self._source)
                _write_runs()
                status = 0
            finally:
                os._exit(status)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            raise Failed("the runs that are to be damaged could not be made")
        (self._source / "done").touch()

    def take(self, case: Case) -> str:
        rng = case.rng
        shutil.copytree(self._source, case.folder, dirs_exist_ok=True)
        files = sorted(path for path in Path("runs").rglob("*") if path.suffix in WRITTEN)
        wanted = rng.choices(COMMANDS, [often for often, _ in COMMANDS])[0][1]
        likely = [path for path in files if path.parts[1] in wanted or f"{path.parts[1]}.yaml" in wanted]
        for path in rng.choices(likely or files, k=rng.choice((1, 1, 1, 2))):
            if path.exists() and path.is_file():
                case.tried.append(f"{path}: {_damage(rng, path)}")
        case.tried.append(f"rlcl {' '.join(wanted)}")
        seeds = ("seed0",) if "seeds=[0]" in wanted else ("seed0", "seed1")
        altered = _altered_records(self._source, seeds)
        status, _ = command(wanted)
        if wanted[:2] == ("run", "good.yaml") and altered and status == 0 and _altered_records(self._source, seeds):
            raise Failed("records that were altered were taken for those of the finished run")
        return "refused" if status else "passed"


def _altered_records(source: Path, seeds: Sequence[str]) -> bool:
    """Whether records of the first run are others than those that it wrote, though its summary still stands by them."""
    for seed in seeds:
        found = [next(iter(root.glob(f"runs/good/*/{seed}")), None) for root in (Path(), source)]
        if None in found:
            continue
        ours, theirs = found
        assert ours is not None
        assert theirs is not None
        whole = all(_same(ours / name, theirs / name) for name in ("status.json", "summary.json"))
        if whole and not _same(ours / "records.jsonl", theirs / "records.jsonl"):
            return True
    return False


def _same(a: Path, b: Path) -> bool:
    return a.is_file() and a.read_bytes() == b.read_bytes()


def _damage(rng: random.Random, path: Path) -> str:
    how = rng.random()
    if how < 0.06:
        path.unlink()
        return "removed"
    if how < 0.12:
        path.unlink()
        path.mkdir()
        return "replaced by a folder"
    if how < 0.14:
        path.unlink()
        path.symlink_to(path.name)
        return "replaced by a link to itself"
    if how < 0.18:
        folder = path.parent
        shutil.rmtree(folder)
        folder.write_text("x")
        return "its folder replaced by a file"
    with suppress(ValueError):  # what is damaged already may be no JSON
        if path.suffix == ".json" and how < 0.75:
            return _damage_json(rng, path)
        if path.suffix == ".jsonl" and how < 0.6:
            return _damage_line(rng, path)
    made, said = mutated_bytes(rng, path.read_bytes())
    path.write_bytes(made)
    return said


def _damage_json(rng: random.Random, path: Path) -> str:
    if rng.random() < 0.1:
        made = rng.choice(
            ("[" * 10_000, "[" * 10_000 + "]" * 10_000, '{"a":' * 5000 + "1" + "}" * 5000, "[]", "null", "1")
        )
        path.write_text(made)
        return f"{made[:12]}..."
    content, said = put(rng, json.loads(path.read_text()))
    path.write_text(json.dumps(content, skipkeys=True))
    return said


def _damage_line(rng: random.Random, path: Path) -> str:
    lines = path.read_text().splitlines()
    if not lines:
        return "nothing"
    at = rng.randrange(len(lines))
    if rng.random() < 0.2:
        lines[at] = rng.choice(("", "[]", "1", "null", "{}", "[" * 10_000, '"x"', "{", "\x00"))
        said: Any = "replaced"
    else:
        content, said = put(rng, json.loads(lines[at]))
        lines[at] = json.dumps(content, skipkeys=True)
    path.write_text("\n".join(lines) + "\n")
    return f"line {at + 1}: {said}"


def _write_runs() -> None:
    for name in ("good", "other"):
        Path(f"{name}.yaml").write_text(EXPERIMENT.replace("NAME", name))
    text = Path("other.yaml").read_text()
    Path("other.yaml").write_text(text.replace("hidden: [4]", "hidden: [5]"))
    Path("longer.yaml").write_text(Path("good.yaml").read_text().replace("updates: 4}", "updates: 6}"))
    Path("suite.yaml").write_text(SUITE)
    Path("policy.yaml").write_text(POLICY)
    for arguments in (("run", "good.yaml", "other.yaml", "policy.yaml", "-q"),):
        status, said = command(arguments)
        if status:
            raise Failed(f"rlcl {' '.join(arguments)}: {said}")
    _write_suite()
    for state, run in (("running", "other/*/seed1"), ("interrupted", "suite/*/seed0")):
        for path in Path("runs").glob(f"{run}/status.json"):
            path.write_text(json.dumps({**json.loads(path.read_text()), "state": state}))
            break


def _write_suite() -> None:
    """As ``rlcl bench`` does, but in this process."""
    from rich.console import Console

    from rlcl.launch.seeds import run_seed
    from rlcl.study.grid import Grid
    from rlcl.study.suite import load_suite

    suite = load_suite("suite.yaml")
    for cell in suite.cells:
        run_seed(cell.experiment, cell.seed, Path("runs"), Console(quiet=True))
    with Grid(suite, Path("runs")).session():
        pass
