"""Runs the budget ``smoke`` of suites, each in an environment with its extra, and examines their environments.

    python benchmarks/suite_smoke.py [SUITE ...]

Makes ``.venv-suites/EXTRA`` once for each extra, on top of the environment of this interpreter, runs ``rlcl bench SUITE
--budget smoke`` in it, examines every environment of the suite as ``rlcl doctor`` does, and writes
benchmarks/results/suites.json. Without names, all suites of continual reinforcement learning are run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "suites.json"
VENVS = ROOT / ".venv-suites"
SUITES = {  # with the extra that each needs; rlcl list suites shows them
    "cartpole-physics": "",
    "classic-drift": "",
    "gym-control-offsets": "",
    "minigrid-sequence": "minigrid",
    "minatar": "minatar",
    "lunarlander-wind": "box2d",
    "mujoco-friction": "mujoco",
    "slippery-ant": "mujoco",
    "atari-modes": "atari",
    "continual-world-v3": "metaworld",
}
STEPS = 1000  # of each examination
EXAMINE = "--examine"


def python_for(extra: str) -> Path:
    """The interpreter of an environment with an extra, which is made where it is missing."""
    folder = VENVS / (extra or "none")
    python = folder / "bin" / "python"
    done = folder / ".installed"
    if not done.exists():
        say(f"making {folder.relative_to(ROOT)} (once; a few minutes)")
        venv.create(folder, with_pip=True)
        (site,) = folder.glob("lib/python*/site-packages")  # sees the packages of the interpreter that runs this
        (site / "base.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        wanted = f"rlcl[{extra}]" if extra else "rlcl"
        subprocess.run([python, "-m", "pip", "install", "--quiet", wanted], check=True)
        done.touch()
    return python


def smoke(suite: str, python: Path, root: Path) -> dict[str, Any]:
    """Runs the smoke budget of a suite; its cells and their states."""
    began = time.monotonic()
    command = [python, "-m", "rlcl", "bench", suite, "--budget", "smoke", "--root", str(root)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=headless())
    lines = done.stdout.splitlines()
    if done.returncode:
        say(done.stdout + done.stderr)
    return {
        "status": done.returncode,
        "result": next((line for line in reversed(lines) if "finished" in line or "failed" in line), "").split(";")[0],
        "seconds": round(time.monotonic() - began),
    }


def headless() -> dict[str, str]:
    """The environment of a process without a screen."""
    return {**os.environ, "SDL_VIDEODRIVER": "dummy", "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}


def examined(suite: str, python: Path) -> list[dict[str, Any]]:
    """What the doctor says of the environments of a suite, in a process with its extra."""
    done = subprocess.run(
        [python, __file__, EXAMINE, suite], check=False, capture_output=True, text=True, env=headless(), cwd=ROOT
    )
    if done.returncode:
        say(done.stderr)
        return []
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def examine(suite: str) -> None:
    """Examines each different environment of a suite, and prints what was found as one line of JSON."""
    from rlcl.data.environments.environment import Environment
    from rlcl.doctor.examine import examine as examination_of
    from rlcl.launch.build import make_stream
    from rlcl.study.suite import load_suite

    found: dict[str, Any] = {}
    for cell in load_suite(suite, budget="smoke").cells:
        for experience in make_stream(cell.experiment, 0):
            source = experience.train
            assert isinstance(source, Environment)
            if source.recipe not in found:
                found[source.recipe] = {**examination_of(source, STEPS).to_json(), "task": experience.name}
    print(json.dumps(list(found.values())))


def main(names: Sequence[str]) -> int:
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    worst = 0
    for suite in names or SUITES:
        python = python_for(SUITES[suite])
        with tempfile.TemporaryDirectory() as folder:
            ran = smoke(suite, python, Path(folder))
        environments = examined(suite, python)
        say(f"{suite}: {ran['result']} in {ran['seconds']} s, {len(environments)} environments examined")
        for each in environments:
            bad = [f for f in each["findings"] if f["severity"] in ("warning", "error")]
            for finding in bad:
                say(f"  {each['task']}: {finding['severity']}: {finding['check']}: {finding['text']}")
        results[suite] = {"extra": SUITES[suite], "smoke": ran, "environments": environments}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        worst = max(worst, int(ran["status"] != 0))
    return worst


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == [EXAMINE]:
        examine(sys.argv[2])
    else:
        raise SystemExit(main(sys.argv[1:]))
