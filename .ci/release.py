"""Releases: version, changelog, packages tested in a clean environment, and the documentation of the version."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
SITE = DIST / "site"
UNRELEASED = "## Unreleased\n"
REQUIRED = (  # in both packages
    "rlcl/py.typed",
    "rlcl/commands/run.py",
    "rlcl_envs/__init__.py",
    "experiments/quickstart.yaml",
    "LICENSE",
)


def main(
    version: Annotated[str, typer.Argument(help="The new version, for example 0.2.0.")],
    commit: Annotated[bool, typer.Option(help="Commit and tag the release at the end.")] = True,
) -> None:
    """Make a release; nothing is uploaded.

    Writes the version into pyproject.toml and CITATION.cff, dates the changelog section, builds wheel and sdist, lists
    their contents, installs each into a clean environment outside the checkout, runs the quickstart there, builds the
    documentation below dist/site/VERSION, and commits and tags the result. If a step fails, the files are restored.
    """
    new = _checked(version)
    with _restored_on_failure():
        _write_version(new)
        packages = _build(new)
        for package in packages:
            _list_contents(package)
        _try_packages(packages)
        _build_site(new)
    if commit:
        _run("git", "commit", "--quiet", "--all", "--message", f"Release {new}")
        _run("git", "tag", "--annotate", f"v{new}", "--message", f"rlcl {new}")
    print(f"\nrlcl {new} is in {DIST.relative_to(ROOT)}; nothing was uploaded")


def _checked(text: str) -> Version:
    """Return the new version.

    Raises:
        typer.BadParameter: it is no version, is not above the current one, or the checkout is not ready.
    """
    try:
        new = Version(text)
    except InvalidVersion as error:
        raise typer.BadParameter(f"{text!r} is no version; expected for example 0.2.0") from error
    current = Version(re.search(r'^version = "(.+)"', _read("pyproject.toml"), re.MULTILINE)[1])  # type: ignore[index]
    if new <= current:
        raise typer.BadParameter(f"{new} is not above the current version, {current}")
    if subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True).stdout:
        raise typer.BadParameter("the checkout has uncommitted changes; commit them first")
    if not _unreleased().strip():
        raise typer.BadParameter("CHANGELOG.md has nothing below 'Unreleased'; describe the changes there")
    return new


def _unreleased() -> str:
    _, _, rest = _read("CHANGELOG.md").partition(UNRELEASED)
    return re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def _write_version(new: Version) -> None:
    today = datetime.date.today().isoformat()
    _replace("pyproject.toml", r'^version = ".+"', f'version = "{new}"')
    _replace("CITATION.cff", r"^version: .+(\ndate-released: .+)?", f"version: {new}\ndate-released: {today}")
    _replace("CHANGELOG.md", f"^{UNRELEASED}", f"{UNRELEASED}\n## {new} - {today}\n")


def _build(new: Version) -> list[Path]:
    _run(sys.executable, "-m", "build", "--outdir", str(DIST), str(ROOT))
    return [DIST / f"rlcl-{new}-py3-none-any.whl", DIST / f"rlcl-{new}.tar.gz"]


def _list_contents(package: Path) -> None:
    """Print what a package holds, by folder.

    Raises:
        typer.Exit: a required file is missing, or a file of runs, data or caches is in it.
    """
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            sizes = {each.filename: each.file_size for each in wheel.infolist()}
    else:
        with tarfile.open(package) as sdist:
            sizes = {each.name.partition("/")[2]: each.size for each in sdist.getmembers() if each.isfile()}
    print(f"\n{package.name}: {package.stat().st_size:,} bytes, {len(sizes)} files")
    folders: dict[str, list[int]] = {}
    for name, size in sizes.items():
        folders.setdefault("/".join(name.split("/")[:2]) if "/" in name else ".", []).append(size)
    for folder, found in sorted(folders.items()):
        print(f"  {folder:40} {len(found):5} files {sum(found):12,} bytes")
    missing = [each for each in REQUIRED if not any(name.endswith(each) for name in sizes)]
    unwanted = [name for name in sizes if re.search(r"(^|/)(runs|\.venv|__pycache__|dist|site)/", name)]
    if missing or unwanted:
        print(f"{package.name}: missing {missing}, unwanted {unwanted}")
        raise typer.Exit(1)


def _try_packages(packages: list[Path]) -> None:
    """Install each package into a clean environment outside the checkout and run the quickstart from it."""
    with tempfile.TemporaryDirectory(prefix="rlcl-release-") as folder:
        place = Path(folder)
        venv.create(place / "venv", with_pip=True)
        python = str(place / "venv" / "bin" / "python")
        for package in packages:
            print(f"\ninstalling {package.name} into a clean environment", flush=True)
            _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(package), cwd=place)
            _run(python, "-I", "-c", "import rlcl, sys; sys.exit('site-packages' not in rlcl.__file__)", cwd=place)
            _run(str(place / "venv" / "bin" / "rlcl"), "run", "quickstart", "--root", package.suffix, cwd=place)
            _run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "rlcl", cwd=place)


def _build_site(new: Version) -> None:
    """Build the documentation of this version; that of earlier ones stays beside it."""
    _run(sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(SITE / str(new)))
    listed = SITE / "versions.json"
    versions = json.loads(listed.read_text()) if listed.exists() else []
    others = [each for each in versions if each["version"] != str(new)]
    for each in others:
        each["aliases"] = []
    entries = [{"version": str(new), "title": str(new), "aliases": ["latest"]}, *others]
    listed.write_text(json.dumps(entries, indent=2) + "\n")
    shutil.rmtree(SITE / "latest", ignore_errors=True)
    shutil.copytree(SITE / str(new), SITE / "latest")
    (SITE / "index.html").write_text('<!doctype html><meta http-equiv="refresh" content="0; url=latest/">\n')


@contextmanager
def _restored_on_failure() -> Iterator[None]:
    names = ("pyproject.toml", "CITATION.cff", "CHANGELOG.md")
    before = {name: _read(name) for name in names}
    try:
        yield
    except BaseException:
        for name, text in before.items():
            (ROOT / name).write_text(text)
        print("the release failed; pyproject.toml, CITATION.cff and CHANGELOG.md are as they were")
        raise


def _read(name: str) -> str:
    return (ROOT / name).read_text()


def _replace(name: str, pattern: str, text: str) -> None:
    replaced, count = re.subn(pattern, text, _read(name), count=1, flags=re.MULTILINE)
    if count != 1:
        print(f"{name}: nothing matches {pattern}")
        raise typer.Exit(1)
    (ROOT / name).write_text(replaced)


def _run(*command: str, cwd: Path = ROOT) -> None:
    if subprocess.run(command, cwd=cwd, check=False).returncode:
        print(f"failed: {' '.join(command)}")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
