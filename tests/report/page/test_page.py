"""The page of real runs: what is on it, what it needs, and what a browser makes of it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from rich.console import Console

from rlcl.errors import RunFolderError
from rlcl.experiment import experiment_from
from rlcl.launch.seeds import run_experiment
from rlcl.report.page import build, parts
from rlcl.report.page.build import make_page
from rlcl.tracking.runs import find_runs

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

DIGITS = {
    "name": "digits",
    "objective": {
        "statement": "Keep <script>alert('old')</script> digits & more.",
        "success": ["accuracy.average >= 0.0", "forgetting.chaudhry <= -1"],
    },
    "seeds": [0, 1, 2],
    "stream": {"type": "class_incremental", "experiences": 5},
    "encoder": {"type": "standardize"},
    "learner": {"type": "classifier", "network": {"type": "mlp", "hidden": [16]}, "batch_size": 128},
    "budget": {"epochs": 1},
    "evaluation": {"every": {"updates": 4}, "probes": ["dead_units"]},
    "event_interval": 1,
}
AUTOENCODER = {
    "name": "code",
    "stream": {"type": "single"},
    "encoder": {"type": "standardize"},
    "learner": {"type": "autoencoder", "code": 3, "batch_size": 128},
    "budget": {"epochs": 1},
    "event_interval": 2,
}
CARTPOLE = {
    "name": "pole",
    "stream": {
        "type": "environments",
        "env": "rlcl_envs/CartPole-v1",
        "vectorization": "native",
        "tasks": [{"name": "as it is"}, {"name": "heavy", "attributes": {"gravity": 40}}],
    },
    "learner": {"type": "ppo", "n_steps": 32, "batch_size": 32, "epochs": 1},
    "budget": {"env_steps": 128},
    "evaluation": {"episodes": 2},
    "event_interval": 32,
}


class Page(HTMLParser):
    """What a test asks of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def every(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def sections(self) -> list[str]:
        return [a["id"] for a in self.every("section")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    plain = {
        **DIGITS,
        "name": "plain",
        "seeds": [0, 1],
        "learner": {**DIGITS["learner"], "methods": [{"type": "l2", "strength": 1.0}]},
    }
    for config in (DIGITS, plain, AUTOENCODER, CARTPOLE):
        run_experiment(experiment_from(config), root, Console(quiet=True))  # type: ignore[arg-type]
    return root


@pytest.fixture(scope="module")
def digits(runs: Path) -> Page:
    return Page(make_page(find_runs(runs / "digits"), "digits"))


@pytest.fixture(scope="module")
def suite(runs: Path) -> Page:
    return Page(make_page(find_runs(runs), "all"))


ONE = ["objective", "R", "over-time", "forgetting", "metrics", "curves", "probes", "cost", "runs", "config"]
SEVERAL = ["objective", "aggregates", "over-time", "forgetting", "R", "cost", "runs", "config"]


def test_every_section_is_there_and_in_the_contents(digits: Page, suite: Page) -> None:
    for page, expected in ((digits, ONE), (suite, SEVERAL)):
        assert expected == page.sections
        assert [f"#{key}" for key in expected] == [a["href"] for a in page.every("a") if a["href"].startswith("#")][1:]


def test_learners_on_one_scale_have_profiles(runs: Path) -> None:
    two = [run for run in find_runs(runs) if run.name.startswith(("digits", "plain"))]
    assert ["objective", "aggregates", "profiles", *SEVERAL[2:]] == Page(make_page(two, "two")).sections


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("code", ["R", "over-time", "metrics", "curves", "cost", "runs", "config"]),
        ("pole", ["R", "over-time", "videos", "forgetting", "metrics", "curves", "cost", "runs", "config"]),
    ],
)
def test_other_kinds_of_learning_have_what_applies_to_them(runs: Path, name: str, expected: list[str]) -> None:
    assert expected == Page(make_page(find_runs(runs / name), name)).sections


def test_nothing_is_fetched_and_nothing_is_executed(digits: Page, suite: Page) -> None:
    for page in (digits, suite):
        assert [] == page.every("script") + page.every("img") + page.every("iframe")
        assert all(a["href"].startswith(("#", "data:")) for a in page.every("a") + page.every("link"))
        assert "url(" not in page.text
        assert "http://" not in page.text
        assert len(page.text) < 400_000


def test_what_people_wrote_is_text(digits: Page) -> None:
    assert "Keep &lt;script&gt;alert(&#39;old&#39;)&lt;/script&gt; digits &amp; more." in digits.text


def test_the_objective_is_judged(digits: Page) -> None:
    assert "objective not met" in digits.text
    assert "✓ met" in digits.text
    assert "✗ not met" in digits.text


def test_the_data_of_every_figure_can_be_taken(digits: Page, suite: Page) -> None:
    for page in (digits, suite):
        links = [a for a in page.every("a") if "download" in a]
        assert 2 * len(page.every("figure")) == len(links)
        assert all(a["aria-label"] for a in links)
        for table, content in zip(links[::2], links[1::2], strict=True):
            found = json.loads(unquote(content["href"].partition(",")[2]))
            lines = unquote(table["href"].partition(",")[2]).splitlines()
            assert len(found["rows"]) + 1 == len(lines)
            assert all(len(found["columns"]) == len(row) for row in found["rows"])


def test_the_heatmap_holds_r(runs: Path, digits: Page) -> None:
    seeds = find_runs(runs / "digits")
    expected = sum(run.summary["R"][4][0] for run in seeds) / len(seeds)
    (link,) = [a["href"] for a in digits.every("a") if a.get("download") == "R-accuracy.json"]
    rows = json.loads(unquote(link.partition(",")[2]))["rows"]
    (found,) = [row for row in rows if row[:2] == ["after digits 8-9", "digits 0-1"]]
    assert expected == pytest.approx(found[2], abs=1e-6)
    assert 3 == found[4]


def test_it_can_be_used_without_eyes_or_mouse(digits: Page, suite: Page) -> None:
    for page in (digits, suite):
        assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in page.tags}
        levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
        assert 1 == levels.count(1)
        assert all(b - a <= 1 for a, b in pairwise(levels))
        drawings = page.every("svg")
        assert all(a.get("aria-label") or a.get("aria-hidden") for a in drawings)
        assert all(a.get("tabindex") == "0" and a["aria-label"] for a in page.every("div") if a.get("role") == "region")
        ids = [a["id"] for _, a in page.tags if "id" in a]
        assert len(ids) == len(set(ids))
        assert "en" == page.every("html")[0]["lang"]


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_letters_stand_out_in_light_and_dark() -> None:
    style = (Path(build.__file__).parent / "page.css").read_text()
    themes = [dict(re.findall(r"--([\w-]+): (#\w{6});", text)) for text in re.findall(r":root \{(.*?)\}", style, re.S)]
    assert 2 == len(themes)
    for place, theme in enumerate(themes):
        letters = ("ink", "soft", "link", "good", "bad", "open", *(f"c{i}" for i in range(6)))
        weak = {name: contrast(theme[name], theme["page"]) for name in letters}
        assert {} == {name: value for name, value in weak.items() if value < 4.5}
        assert contrast(theme["soft"], theme["raised"]) >= 4.5
        page = "#" + "".join(f"{c:02x}" for c in parts.PAGE[place])
        full = " ".join(map(str, parts.FULL[place]))
        assert theme["page"] == page
        assert f"--heat-color: {full};" in style


@pytest.mark.parametrize("share", [0, 0.25, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 1])
def test_numbers_stand_out_on_every_colour_of_the_heatmap(share: float) -> None:
    for theme, word in enumerate(("light", "dark")):
        (ink,) = re.findall(rf"{word}-(white|black)", parts.heat_cell("", share).kind)
        mixed = [p + share * (f - p) for f, p in zip(parts.FULL[theme], parts.PAGE[theme], strict=True)]
        ground = "#" + "".join(f"{round(c):02x}" for c in mixed)
        assert contrast({"white": "#ffffff", "black": "#000000"}[ink], ground) > 4.4


def test_damaged_runs_are_named_and_the_others_shown(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "digits", tmp_path / "digits")
    (seed,) = (tmp_path / "digits").glob("*/seed1")
    (seed / "summary.json").write_text("{")
    (other,) = (tmp_path / "digits").glob("*/seed2")
    (other / "events.jsonl").write_text('{"step": 1}\nno JSON\n')
    text = make_page(find_runs(tmp_path), "digits")
    assert "1 run is left out" in text
    assert "summary.json is damaged" in text
    assert "over 2 seeds" in text
    assert "Without seed 2, whose events are absent or damaged." in text


def test_a_run_that_has_not_finished_shows_what_there_is(runs: Path, tmp_path: Path) -> None:
    (seed,) = (runs / "digits").glob("*/seed0")
    copy = tmp_path / "digits" / "x" / "seed0"
    shutil.copytree(seed, copy)
    (copy / "summary.json").unlink()
    (copy / "status.json").write_text('{"state": "interrupted", "step": 9}')
    text = make_page(find_runs(tmp_path), "digits")
    assert "No seed of digits has finished" in text
    assert "objective undecided" in text
    assert "after experience 5" in text


def test_nothing_to_report_is_one_error_with_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "seed0").mkdir(parents=True)
    with pytest.raises(RunFolderError, match=r"none of 1 runs has a record\n.*no status\.json"):
        make_page(find_runs(tmp_path), "a")


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    fixed = ("--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--hide-scrollbars")
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [CHROMIUM, *fixed, profile, *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@needs_chromium
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_draws_it_without_complaint(
    digits: Page, suite: Page, tmp_path: Path, request: pytest.FixtureRequest, theme: str
) -> None:
    kept = request.config.cache.mkdir("screenshots")
    for name, page in (("experiment", digits), ("suite", suite)):
        file, picture = tmp_path / f"{name}.html", kept / f"report-{name}-{theme}.png"
        file.write_text(page.text)
        dark = ["--blink-settings=preferredColorScheme=0"] if theme == "dark" else []
        done = browse(file, "--window-size=1280,3000", f"--screenshot={picture}", *dark)
        assert [] == [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert picture.stat().st_size > 50_000


MEASURE = """
<iframe id="f" style="width: 390px; height: 800px; border: 0"></iframe><script>
const f = document.getElementById("f");
f.onload = () => {
  const d = f.contentDocument, root = d.documentElement;
  document.body.dataset.overflow = root.scrollWidth - root.clientWidth;
  document.body.dataset.smallest = Math.min(...[...d.querySelectorAll(".panel svg text")].map(
    (t) => t.getBoundingClientRect().height));
};
f.srcdoc = new TextDecoder().decode(Uint8Array.from(atob("PAGE"), (c) => c.charCodeAt(0)));
</script>
"""


@needs_chromium
def test_a_phone_shows_all_of_its_width(digits: Page, suite: Page, tmp_path: Path) -> None:
    for page in (digits, suite):
        file = tmp_path / "phone.html"
        file.write_text(MEASURE.replace("PAGE", base64.b64encode(page.text.encode()).decode()))
        done = browse(file, "--dump-dom", "--virtual-time-budget=5000")
        (overflow,) = re.findall(r'data-overflow="(-?\d+)"', done.stdout)
        (smallest,) = re.findall(r'data-smallest="([\d.]+)"', done.stdout)
        assert 0 == int(overflow)
        assert float(smallest) > 9  # CSS pixels


@needs_chromium
def test_it_prints(digits: Page, tmp_path: Path) -> None:
    file, printed = tmp_path / "digits.html", tmp_path / "digits.pdf"
    file.write_text(digits.text)
    browse(file, f"--print-to-pdf={printed}", "--no-pdf-header-footer")
    content = printed.read_bytes()
    assert content.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 8
