"""``make fuzz``: takes cases of each kind for a while, and says which failed and how to repeat them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import typer

from fuzz.configs import Configs
from fuzz.data_files import DataFiles
from fuzz.http_requests import Requests
from fuzz.kind import Kind
from fuzz.pool import Outcome, outcomes, take
from fuzz.run_folders import RunFolders
from fuzz.worlds import Worlds

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "robustness_fuzz.json"
KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (Configs, RunFolders, DataFiles, Worlds, Requests)}
SAMPLE = {"configs": 40, "run_folders": 12, "data_files": 40, "environments": 60, "requests": 300}
COMMAND = "make fuzz"
SHOWN = 12  # failures


def main(
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help=f"One of {', '.join(KINDS)}; may be repeated. All by default."),
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, help="For each kind; 0 for no end but --cases.")] = 2,
    cases: Annotated[int, typer.Option(min=0, help="Of each kind at most; 0 for no end but --minutes.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the first case; the next ones have the next numbers.")] = 0,
    repeat: Annotated[
        list[int] | None, typer.Option(metavar="SEED", help="Take this case of one --kind again, and show all.")
    ] = None,
    fixed_sample: Annotated[bool, typer.Option("--fixed-sample", help="The sample that make test takes.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes at once.")] = 2,
    folder: Annotated[Path, typer.Option(help="Where cases work and failures are kept.")] = ROOT / ".fuzz",
    output: Annotated[Path | None, typer.Option(help="A JSON file of the counts.")] = None,
) -> None:
    """Try what a user, a disk or a client may send: no case may end in a traceback.

    Each case is drawn from its kind and seed. It fails if it ends in anything but success or one of rlcl's own errors,
    if a process dies, or if it does not end. What failed is kept with all that it tried, and its seed repeats it:

        make fuzz ARGS='--kind configs --repeat 1234'

    The exit status is 1 if a case failed.
    """
    chosen = kind or list(SAMPLE if fixed_sample else KINDS)
    unknown = [name for name in chosen if name not in KINDS]
    if unknown or (repeat and len(chosen) != 1):
        say(f"--kind: expected {'one' if repeat else 'some'} of {', '.join(KINDS)}, got {', '.join(chosen)}")
        raise typer.Exit(2)
    if not minutes and not cases and not repeat:
        say("--minutes 0: give --cases, or it never ends")
        raise typer.Exit(2)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _settle()
    if repeat:
        raise typer.Exit(_repeated(KINDS[chosen[0]](), repeat, folder))
    rows: dict[str, Any] = {}
    for name in chosen:
        most = SAMPLE.get(name, 0) if fixed_sample else cases
        rows[name] = _row(KINDS[name](), seed, 0 if fixed_sample else minutes, most, workers, folder)
    if output is not None:
        content = {"command": f"{COMMAND} ARGS='{' '.join(sys.argv[1:])}'", "kinds": rows}
        output.write_text(json.dumps(content, indent=2) + "\n")
    raise typer.Exit(int(any(row["failed"] for row in rows.values())))


def _settle() -> None:
    """Computes as make test does: on one thread, away from the caller's data."""
    import torch

    os.environ.pop("RLCL_TOKEN", None)
    torch.set_num_threads(1)


def _row(kind: Kind, seed: int, minutes: float, cases: int, workers: int, folder: Path) -> dict[str, Any]:
    """Takes the cases of a kind; what came of them."""
    began, words, failed = time.monotonic(), Counter[str](), list[Outcome]()
    until = began + 60 * minutes if minutes else float("inf")
    here = Path.cwd()
    kind.prepare(folder)
    try:
        for done, outcome in enumerate(outcomes(kind, _seeds(seed, until, cases), workers, folder), 1):
            words[outcome.word] += 1
            kind.watch(done, cases)
            if outcome.failed:
                failed.append(outcome)
                _keep(kind, outcome, folder)
        told = kind.told()
    finally:
        os.chdir(here)
        kind.close()
    row = {
        "cases": sum(words.values()),
        "seeds": [seed, seed + sum(words.values()) - 1],
        "outcomes": dict(sorted(words.items())),
        "failed": len(failed),
        "minutes": round((time.monotonic() - began) / 60, 1),
        **told,
    }
    say(f"{kind.name}: {json.dumps(row)}")
    _show(kind, failed, folder)
    return row


def _seeds(first: int, until: float, cases: int) -> Iterator[int]:
    for seed in count(first):
        if time.monotonic() > until or (cases and seed - first >= cases):
            return
        yield seed


def _keep(kind: Kind, outcome: Outcome, folder: Path) -> None:
    (folder / "failures").mkdir(exist_ok=True)
    (folder / "failures" / f"{kind.name}-{outcome.seed}.txt").write_text(f"{outcome.word}\n{outcome.text}\n")


def _show(kind: Kind, failed: Sequence[Outcome], folder: Path) -> None:
    """The failures by their last line, each with the seed of one."""
    groups: dict[str, list[Outcome]] = {}
    for each in failed:
        groups.setdefault((each.text.splitlines() or [each.word])[-1][:160], []).append(each)
    for said, group in sorted(groups.items(), key=lambda item: -len(item[1]))[:SHOWN]:
        say(f"  {len(group)} x {group[0].word}: {said}")
        say(f"    {COMMAND} ARGS='--kind {kind.name} --repeat {group[0].seed}'")
    if failed:
        say(f"  all of them: {folder / 'failures'}")


def _repeated(kind: Kind, seeds: Sequence[int], folder: Path) -> int:
    kind.prepare(folder)
    try:
        found = [take(kind, seed, folder / "repeated") for seed in seeds]
    finally:
        kind.close()
    for outcome in found:
        say(f"{kind.name} {outcome.seed}: {outcome.word}\n{outcome.text}")
    return int(any(outcome.failed for outcome in found))


def say(text: str) -> None:
    """Prints a line at once; a pipe would keep it."""
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    typer.run(main)
