"""``make matrix``: draws the combinations, takes each end to end, and says what failed."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from attrs import asdict, define, field
from ruamel.yaml import YAML

from matrix.asking import Asker, write_yaml
from matrix.covering import Covering
from matrix.drawing import ask_new, drawn
from matrix.earlier import Earlier, read_earlier, write_earlier
from matrix.factors import Matrix, NeedsSettings
from matrix.forking import preload
from matrix.kept import ANSWERING, ROOT, TAKING, Kept, fingerprint, key_of
from matrix.materials import write_materials, write_trained
from matrix.results import Failure, summary, write_results
from matrix.running import Job, taken
from matrix.shrinking import shrunk, sign
from matrix.space import Combination
from matrix.taking import Taken

RESULTS = ROOT / "benchmarks" / "results" / "matrix.json"
SAMPLE = Path(__file__).with_name("sample.yaml")
COMPONENTS = ("stream", "learner", "source", "wrapper", "outer", "encoder", "network", "method")
BLOCK = 200  # questions between two lines of progress
COMMAND = "PYTHONPATH=tests python -m matrix"


@define
class Session:
    """One matrix, and the folder where it keeps what it has done.

    Args:
        folder: of materials, drawn combinations and results so far.
        workers: processes at once.
        fresh: whether to forget what has passed.
    """

    folder: Path
    workers: int
    fresh: bool
    matrix: Matrix = field(init=False)
    materials: Path = field(init=False)
    code: str = field(init=False, factory=lambda: fingerprint(ANSWERING))
    began: float = field(init=False, factory=time.monotonic)

    def __attrs_post_init__(self) -> None:
        say(f"importing; what is done is kept in {self.folder}")
        preload()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.materials = self.folder / "materials"
        self._write_materials()
        os.environ["RLCL_DATA"] = str(self.materials)
        from rlcl.experiment import schema

        self.matrix = Matrix(schema())
        if self.fresh:
            for path in self.folder.glob("*.json*"):
                path.unlink()

    def _write_materials(self) -> None:
        done = self.materials / "complete"
        if done.exists():
            return
        shutil.rmtree(self.materials, ignore_errors=True)
        write_materials(self.materials)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                write_trained(self.materials)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        if os.waitpid(pid, 0)[1]:
            raise RuntimeError("the materials that need a network could not be written; see above")
        done.touch()

    def drawn(self, seed: int, only: Mapping[str, Sequence[str]], most: int) -> dict[str, Any]:
        """The covering set; what was asked under the same code is not asked again.

        What other code answered is likely still true: it is confirmed of all that counts in the end, and what is
        missing then is drawn as long as an answer has changed.
        """
        path = self.folder / f"drawn-{self.code}-{key_of({'seed': seed, 'only': only, 'most': most})[:8]}.json"
        if path.exists():
            return cast(dict[str, Any], json.loads(path.read_text()))
        asker, answers = Asker(self.workers), self._kept("answers")
        checks = Kept(self.folder / f"checks-{self.code}.jsonl")
        whole = not only and not most
        try:
            earlier = read_earlier() if whole else Earlier()
            covering = drawn(self.matrix.only(only), asker, answers, self.materials, seed, most, say, earlier)
            while True:
                rows: Sequence[Combination] = covering.rows
                changed, refused = self._changed(rows, asker, answers), []
                if not changed:
                    refused = self._checked(covering.refused, asker, checks)
                    rows = [each["row"] for each in refused]
                    changed = self._changed(rows, asker, answers) + self._allowed_again(rows, covering, answers)
                if not changed:
                    break
                say(f"{changed} answers have changed; drawing what is missing now")
                covering.revise(rows)
        finally:
            asker.close()
        if whole:
            write_earlier(covering)
        content = {
            "rows": covering.rows,
            "pairs": len(covering.wanted),
            "covered": covering.covered,
            "refused": len(covering.refused),
            "asked": len(covering.known),
            "unclear": refused,
            "never": [f"{name} {value}: {why}" for (name, value), why in covering.hopeless.items()],
            "seconds": round(time.monotonic() - self.began),
        }
        path.write_text(json.dumps(content))
        return content

    def _kept(self, name: str) -> Kept:
        path = self.folder / f"{name}-{self.code}.jsonl"
        others = set(self.folder.glob(f"{name}-*.jsonl")) - {path}
        return Kept(path, sorted(others, key=lambda other: other.stat().st_mtime))

    def _changed(self, rows: Sequence[Combination], asker: Asker, answers: Kept) -> int:
        return ask_new([self.matrix.config(row, self.materials) for row in rows], asker, answers)

    def _allowed_again(self, rows: Sequence[Combination], covering: Covering, answers: Kept) -> int:
        """How many combinations of pairs that an earlier matrix refused are allowed now."""
        configs = [(row, self.matrix.config(row, self.materials)) for row in rows]
        return sum(
            frozenset(row.items()) not in covering.known and not answers.found[key_of(config)]["refused"]
            for row, config in configs
        )

    def _checked(self, refused: Mapping[Any, Any], asker: Asker, kept: Kept) -> list[dict[str, Any]]:
        """Refused pairs, one by one, whose refusal by ``rlcl check`` is no clear message."""
        tried = [(pair, refusal) for pair, refusal in refused.items() if refusal.contexts]
        configs = {key_of(config): config for config in (self.matrix.config(r.row, self.materials) for _, r in tried)}
        new = [key for key in configs if key not in kept.found]
        say(
            f"asking rlcl check about {len(tried)} refused pairs in {len(configs)} combinations, {len(new)} of them new"
        )
        for start in range(0, len(new), BLOCK):
            block = new[start : start + BLOCK]
            for key, answer in zip(block, asker.ask("check", [configs[key] for key in block]), strict=True):
                kept.add(key, asdict(answer))
            say(f"{min(start + BLOCK, len(new))} of {len(new)} asked")
        found = []
        for pair, refusal in tried:
            answer = kept.found[key_of(self.matrix.config(refusal.row, self.materials))]
            if answer["allowed"] or not answer["clear"]:
                found.append({"pair": sorted(map(list, pair)), "row": refusal.row, "text": answer["message"]})
        return found

    def sample(self) -> list[Combination]:
        """The combinations of ``sample.yaml``, completed.

        Raises:
            ValueError: its values do not go together.
        """
        rows = []
        for wanted in YAML(typ="safe", pure=True).load(SAMPLE.read_text()):
            row = self.matrix.space.around(wanted, {})
            if row is None:
                raise ValueError(f"{SAMPLE}: these do not go together: {wanted}")
            rows.append(row)
        return rows

    def take(self, rows: Sequence[Combination]) -> list[tuple[Combination, Taken]]:
        """Takes combinations, those left out that have passed on the same code."""
        kept = Kept(self.folder / f"taken-{fingerprint(TAKING)}.jsonl")
        configs = {}  # rows that differ only in what the settings do not say are one combination
        by_key = {}
        for row in rows:
            config = self.matrix.config(row, self.materials)
            configs[key_of(config)], by_key[key_of(config)] = config, row
        jobs = [
            Job(key, config)
            for key, config in configs.items()
            if kept.found.get(key, {"failure": "not yet"})["failure"]
        ]
        say(f"{len(by_key)} combinations, of which {len(by_key) - len(jobs)} have passed before")
        for count, (job, found) in enumerate(taken(jobs, self.workers, self.folder / "work"), 1):
            kept.add(job.key, {**found.to_json(), "row": by_key[job.key]})
            told = f"FAILED at {found.stage}: {' '.join(sign(found))}" if found.failure else "passed"
            say(f"{count}/{len(jobs)} {told} ({found.seconds:.0f} s) {_named(by_key[job.key])}")
        return [(row, _of(kept.found[key])) for key, row in by_key.items()]

    def failures(self, found: Sequence[tuple[Combination, Taken]]) -> list[Failure]:
        """Failures by what they share, each with the smallest combination."""
        groups: dict[tuple[str, str, str], list[tuple[Combination, Taken]]] = {}
        for row, each in found:
            if each.failure:
                groups.setdefault(sign(each), []).append((row, each))
        return [self._failure(signed, group) for signed, group in groups.items()]

    def _failure(self, signed: tuple[str, str, str], group: Sequence[tuple[Combination, Taken]]) -> Failure:
        row, one = min(group, key=lambda each: len([v for v in each[0].values() if v not in ("default", "none")]))
        say(f"looking for the smallest combination of: {' '.join(signed)}")

        def fails(made: Combination) -> bool:
            job = Job("shrinking", self.matrix.config(made, self.materials), ("run", one.stage))
            ((_, again),) = taken([job], 1, self.folder / "work")
            return sign(again) == signed

        smallest = shrunk(row, self.matrix.space, fails, COMPONENTS)
        config = self.matrix.config(smallest, self.materials)
        (self.folder / "failures").mkdir(exist_ok=True)
        file = write_yaml(config, self.folder / "failures" / f"{key_of({'sign': signed})[:8]}.yaml")
        repeat = f"{COMMAND} --repeat {file}"
        return Failure(signed, one.stage, len(group), one.text, str(file), repeat, self.matrix.config(smallest, Path()))


def main(
    sample: Annotated[int, typer.Option(min=0, help="Only so many combinations, drawn by the seed; 0 for all.")] = 0,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    only: Annotated[
        list[str] | None, typer.Option(metavar="FACTOR=VALUE", help="Only with this value, for example learner=ppo.")
    ] = None,
    fixed_sample: Annotated[bool, typer.Option("--fixed-sample", help="The sample that make test takes.")] = False,
    repeat: Annotated[Path | None, typer.Option(help="Take the combination of one YAML file, and show all.")] = None,
    factors: Annotated[bool, typer.Option("--factors", help="List factors and values, and end.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Repeat what has passed on the same code.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes at once.")] = 2,
    folder: Annotated[Path, typer.Option(help="Of what is kept from one call to the next.")] = ROOT / ".matrix",
    output: Annotated[
        Path | None, typer.Option(help="A JSON file of the results; of a whole matrix by default.")
    ] = None,
) -> None:
    """Run pairs of components and options end to end through the command line.

    Draws combinations so that every pair of values (a stream and a method, an encoder and a clipped gradient, ...)
    is in one that rlcl check allows, or is refused by it with one message. Each combination is run, killed, resumed
    and compared bit for bit, reported, compared, exported and asked for predictions, at a tiny budget.

    Interrupted, it goes on where it stopped; what has passed on the same code is not repeated.
    """
    try:
        session = Session(folder.resolve(), workers, fresh)
        wanted = _wanted(only or [])
        session.matrix.only(wanted)
    except (NeedsSettings, ValueError) as error:
        say(str(error))
        raise typer.Exit(2) from error
    if factors:
        for factor in session.matrix.space.factors:
            say(f"{factor.name}: {', '.join(factor.values)}")
        return
    if repeat is not None:
        raise typer.Exit(_repeated(session, repeat))
    if fixed_sample:
        found = session.take(session.sample())
        if output is not None:
            output.write_text(json.dumps([{"row": row, **each.to_json()} for row, each in found]))
        raise typer.Exit(int(any(each.failure for _, each in found)))
    raise typer.Exit(_whole(session, seed, wanted, sample, output))


def _whole(
    session: Session,
    seed: int,
    only: Mapping[str, Sequence[str]],
    sample: int,
    output: Path | None,
) -> int:
    content = session.drawn(seed, only, sample)
    rows = content["rows"]
    found = session.take(rows)
    failures = session.failures(found)
    counts = _counts(session, content, found)
    whole = not sample and not only
    if output is not None or whole:
        write_results(output or RESULTS, f"make matrix ({' '.join(sys.argv[1:]) or 'all'})", counts, failures)
    say("\n" + summary(counts, failures))
    return int(bool(failures or content["unclear"] or (content["never"] and whole)))


def _counts(session: Session, content: Mapping[str, Any], found: Sequence[tuple[Combination, Taken]]) -> dict[str, Any]:
    factors = session.matrix.space.factors
    exports = Counter("made" if each.exported == "yes" else "refused" for _, each in found if each.exported)
    return {
        "factors": len(factors),
        "values": sum(len(factor.values) for factor in factors),
        "pairs": content["pairs"],
        "pairs_covered": content["covered"],
        "pairs_refused": content["refused"],
        "refusals_without_a_clear_message": content["unclear"],
        "values_never_allowed": content["never"],
        "combinations_drawn": len(content["rows"]),
        "combinations_run": len(found),
        "combinations_failed": sum(bool(each.failure) for _, each in found),
        "caught_in_the_middle": sum(each.killed for _, each in found),
        "diverged": sum(each.diverged for _, each in found),
        "bundles": dict(exports),
        "minutes_of_drawing": round(content["seconds"] / 60, 1),
        "minutes_of_running": round(sum(each.seconds for _, each in found) / session.workers / 60, 1),
    }


def _repeated(session: Session, path: Path) -> int:
    config = YAML(typ="safe", pure=True).load(path.read_text())
    ((_, found),) = taken([Job("repeated", config)], 1, session.folder / "work")
    say(found.text)
    say(f"{found.failure} at {found.stage}" if found.failure else f"passed; bundle: {found.exported}")
    return int(bool(found.failure))


def _wanted(only: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in only:
        name, _, value = each.partition("=")
        found.setdefault(name, []).append(value)
    return found


def _of(kept: Mapping[str, Any]) -> Taken:
    return Taken(**{key: value for key, value in kept.items() if key not in ("key", "row")})


def _named(row: Combination) -> str:
    return ", ".join(row[name] for name in COMPONENTS if row.get(name, "none") != "none")


def say(text: str) -> None:
    """Prints a line at once; a pipe would keep it."""
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    typer.run(main)
