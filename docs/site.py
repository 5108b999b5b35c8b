"""MkDocs hook: files of the repository that the pages link to become files of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<=\]\()(?P<target>[^)#:\s]+)(?=[)#])")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
FOLDER = "repository"


def on_files(files: Files, config: Any) -> Files:
    """Add every linked file outside docs/ to the site, below ``repository/``, with the files that those link to."""
    waiting = [ROOT / "docs" / file.src_uri for file in files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        for target in _targets(page):
            uri = _site_uri(target)
            if uri is None or files.get_file_from_path(uri) is not None:
                continue
            files.append(File.generated(config, uri, abs_src_path=str(target)))
            if target.suffix == ".md":
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite links that leave docs/."""
    here = Path(page.file.src_uri)
    source = ROOT / (here.relative_to(FOLDER) if here.parts[0] == FOLDER else Path("docs") / here)

    def rewritten(found: re.Match[str]) -> str:
        target = (source.parent / found["target"]).resolve()
        if not target.is_relative_to(ROOT):
            return found["target"]
        uri = _site_uri(target) or target.relative_to(ROOT / "docs").as_posix()
        return "/".join([*[".."] * (len(here.parts) - 1), uri])

    return LINK.sub(rewritten, markdown)


def _targets(page: Path) -> list[Path]:
    text = FENCE.sub("", page.read_text())
    targets = [(page.parent / found["target"]).resolve() for found in LINK.finditer(text)]
    return [target for target in targets if target.is_file() and target.is_relative_to(ROOT)]


def _site_uri(target: Path) -> str | None:
    """Return the place of a file of the repository in the site, or None if it is below docs/."""
    if target.is_relative_to(ROOT / "docs"):
        return None
    return f"{FOLDER}/{target.relative_to(ROOT).as_posix()}"
