"""What the Dockerfile says is so: its packages are enough, its command and its health check exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from server_harness import classifier, serving

ROOT = Path(__file__).parents[3]
# What other packages import where it is installed, and do without elsewhere.
OPTIONAL = {"opentelemetry", "sniffio", "_distutils_hack"}
TEXT = (ROOT / "Dockerfile").read_text()


def normal(name: str) -> str:
    return re.split(r"[\s;<>=!~(\[]", name)[0].lower().replace("_", "-")


def closed(names: set[str]) -> set[str]:
    """Packages, and all that they need."""
    found, left = set(), set(names)
    while left:
        name = left.pop()
        found.add(name)
        needed = {normal(each) for each in requires(name) or () if "extra ==" not in each}
        left |= {each for each in needed - found if each in INSTALLED}
    return found


INSTALLED = {normal(name) for names in packages_distributions().values() for name in names}


def instruction(name: str) -> list[str]:
    (found,) = re.findall(rf"^\s*{name} (\[.*\])$", TEXT, re.MULTILINE)
    return json.loads(found)  # type: ignore[no-any-return]


def test_serving_imports_nothing_that_the_image_lacks(tmp_path: Path) -> None:
    (listed,) = re.findall(r"pip install --no-cache-dir \\\n(.*?) \\\n", TEXT, re.DOTALL)
    there = closed(set(listed.split())) | {"rlcl"}
    code = (
        "import sys, rlcl.commands, rlcl.deploy.client\n"
        "from rlcl.deploy.deployment import Deployment\n"
        "from rlcl.deploy.serving.server import serve\n"
        "from rlcl.deploy.serving.service import Service\n"
        "from rlcl.deploy.serving.settings import ServerSettings\n"
        "from rlcl.deploy.serving.app import make_app\n"
        f"service = Service(Deployment({str(classifier(tmp_path / 'digits'))!r}), ServerSettings())\n"
        "make_app(service); service.metrics.text(); service.writer.close(9)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    places = packages_distributions()
    loaded = {module: {normal(each) for each in places[module]} for module in done.stdout.split() if module in places}
    lacking = {module for module, packages in loaded.items() if not packages & there}
    assert {"numpy", "onnxruntime", "starlette"} <= set(loaded)
    assert set() == lacking - OPTIONAL


def test_every_copied_file_is_there() -> None:
    copied = [word for line in re.findall(r"^COPY (.*)$", TEXT, re.MULTILINE) for word in line.split()[:-1]]
    assert copied
    assert [] == [name for name in copied if not (ROOT / name).exists()]


def test_the_health_check_and_the_options_work(tmp_path: Path) -> None:
    program, *entry = instruction("ENTRYPOINT")
    assert ["rlcl", "serve", "/bundle"] == [program, *entry[:2]]
    options = [option for option in entry if option.startswith("--")]
    shown = subprocess.run(
        [sys.executable, "-m", "rlcl", "serve", "--help"], check=True, capture_output=True, text=True
    )
    assert [] == [option for option in options if option not in shown.stdout]
    _, flag, code = instruction("CMD")
    with serving(classifier(tmp_path / "digits"), "--live", str(tmp_path / "live"), token="t") as server:
        check = [sys.executable, flag, code.replace("http://127.0.0.1:8000", server.url)]
        assert 0 == subprocess.run(check, check=False).returncode
        assert 0 == server.end()
        assert 1 == subprocess.run(check, check=False, stderr=subprocess.DEVNULL).returncode
    assert (tmp_path / "live" / "log.sqlite").is_file()


@pytest.mark.parametrize("line", ["USER rlcl", "VOLUME /live", "FROM python:3.12-slim"])
def test_it_is_slim_and_without_rights(line: str) -> None:
    assert f"\n{line}\n" in TEXT
