"""What was asked and answered, and what became known of it later: one SQLite file, written ahead (WAL).

A write is one transaction, so whatever was acknowledged after it outlives a kill of the process.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import define, frozen

from rlcl.deploy.signature import Field, Signature
from rlcl.errors import BundleError
from rlcl.formats import parsed
from rlcl.strict_json import json_text

__all__ = ["Answer", "Feedback", "Log", "Page", "packed", "packed_rows"]

Array = np.ndarray[Any, Any]

# Rows a statement. Each statement gives the interpreter's lock away and has to wait for it again, which under load
# takes longer than the statement.
TOGETHER = 64
SCHEMA = """
create table if not exists bundles (digest text primary key, signature text not null);
create table if not exists requests (
  number integer primary key autoincrement, id text not null unique, time real not null,
  bundle text not null, task_id integer, input blob not null, output blob not null, episode text);
create table if not exists feedback (
  number integer primary key autoincrement, id text not null, time real not null, value text not null);
create index if not exists feedback_id on feedback (id);
create table if not exists meta (key text primary key, value text not null);
"""


@frozen(kw_only=True, eq=False)
class Answer:
    """One row that was asked for, and its answer.

    Args:
        id: names it to the client.
        time: seconds since 1970.
        bundle: digest of the bundle that answered.
        task_id: as the request gave it.
        input, output: the fields of the signature, one after the other, as bytes; see :func:`packed`.
        episode: that an observation is of, where its client says so.
    """

    id: str
    time: float
    bundle: str
    task_id: int | None
    input: bytes
    output: bytes
    episode: str | None = None


@frozen(kw_only=True)
class Feedback:
    """What became known of an answer: its label (a class's name, or numbers), or its reward.

    Args:
        id: of the answer.
        time: when it became known, in seconds since 1970.
        value: a text, a number, or a list of numbers.
    """

    id: str
    time: float
    value: Any


@frozen(kw_only=True, eq=False)
class Page:
    """Consecutive answers of one bundle.

    Args:
        numbers: (B,) int64, grow with time over the whole log.
        times: (B,) float64.
        bundle: digest of the bundle that answered.
        signature: of the bundle that answered.
        task_ids: B of them, or None each.
        inputs: (B, *shape) by name.
        outputs: (B, *shape) by name.
        feedback: B of them, the latest known of each answer, None where there is none yet.
        episodes: B of them, what each observation is of, None where its client does not say.
    """

    numbers: Array
    times: Array
    bundle: str
    signature: Signature
    task_ids: list[int | None]
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    feedback: list[Any]
    episodes: list[str | None]


def packed(fields: Sequence[Field], arrays: Mapping[str, Array], row: int) -> bytes:
    """One row of every field, one after the other."""
    return b"".join(np.ascontiguousarray(arrays[field.name][row], field.dtype).tobytes() for field in fields)


def packed_rows(fields: Sequence[Field], arrays: Mapping[str, Array]) -> list[bytes]:
    """Every row as :func:`packed` gives it, much faster than one by one."""
    parts = [np.ascontiguousarray(arrays[field.name], field.dtype) for field in fields]
    tables = [part.reshape(len(part), -1).view(np.uint8) for part in parts]
    table = tables[0] if len(tables) == 1 else np.concatenate(tables, 1)
    data, width = table.tobytes(), table.shape[1]
    return [data[start : start + width] for start in range(0, len(data), width)]


def _unpacked(fields: Sequence[Field], blobs: Sequence[bytes]) -> dict[str, Array]:
    table = np.frombuffer(b"".join(blobs), np.uint8).reshape(len(blobs), -1)
    made, start = {}, 0
    for field in fields:
        width = int(np.prod(field.shape)) * np.dtype(field.dtype).itemsize
        part = np.ascontiguousarray(table[:, start : start + width])
        made[field.name] = part.view(field.dtype).reshape(len(blobs), *field.shape)
        start += width
    return made


@define(eq=False)
class Log:
    """The log of one deployment; opened by :meth:`open`, by one thread at a time.

    Args:
        connection: to the file.
    """

    connection: sqlite3.Connection

    @classmethod
    def open(cls, path: Path, *, write: bool = False, patience: float = 30) -> Log:
        """
        Args:
            path: of the file.
            write: whether to make it where it is missing, and to add to it.
            patience: seconds to wait for another process that writes, before an error.

        Raises:
            BundleError: it is missing, or no log.
        """
        if not write and not path.is_file():
            raise BundleError(f"{path} is not there: nothing was logged yet; serve the bundle with rlcl serve")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=patience)
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full" if write else "pragma query_only = on")
            log = cls(connection)
            if write:
                connection.executescript(SCHEMA)
                if not log.id:  # asked first, for whoever writes has to wait for others that do
                    connection.execute("insert or ignore into meta values ('id', ?)", (secrets.token_hex(8),))
            connection.execute("select 1 from requests limit 1")
            if not any(row[1] == "episode" for row in connection.execute("pragma table_info(requests)")):
                connection.execute("pragma query_only = off")  # a log of before there were episodes
                connection.execute("alter table requests add column episode text")
                connection.execute(f"pragma query_only = {'off' if write else 'on'}")
        except OSError as error:
            raise BundleError(
                f"{path.parent} cannot be written ({error.strerror or error}); choose another folder with --live"
            ) from error
        except sqlite3.Error as error:
            raise BundleError(f"{path} cannot be opened as a log: {error}; move it away to begin anew") from error
        return log

    def close(self) -> None:
        self.connection.close()

    @property
    def id(self) -> str:
        """Tells the log from one that takes its place, numbered from 1 again; empty where it has none yet."""
        run = self.connection.execute
        if not run("select 1 from sqlite_master where name = 'meta'").fetchone():
            return ""  # of an earlier version, and not written to since
        found = run("select value from meta where key = 'id'").fetchone()
        return "" if found is None else str(found[0])

    def continues(self, id: str) -> bool:
        """Whether numbers that were noted with an id are numbers of this log; of those without one that is assumed."""
        return id in ("", self.id)

    def register(self, digest: str, signature: Signature) -> None:
        """Notes how the answers of a bundle are to be read; before its first."""
        row = (digest, json_text(signature.to_json()))
        self.connection.execute("insert or ignore into bundles values (?, ?)", row)

    def write(self, answers: Sequence[Answer], feedback: Sequence[Feedback]) -> list[bool]:
        """Adds both in one transaction, durable when it returns.

        Returns:
            Whether each feedback's answer is known; of others nothing is kept.
        """
        with self.connection as connection:
            connection.execute("begin immediate")
            for start in range(0, len(answers), TOGETHER):
                some = answers[start : start + TOGETHER]
                connection.execute(
                    "insert into requests (id, time, bundle, task_id, input, output, episode) values "
                    + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * len(some)),
                    [
                        value
                        for a in some
                        for value in (a.id, a.time, a.bundle, a.task_id, a.input, a.output, a.episode)
                    ],
                )
            return [
                connection.execute(
                    "insert into feedback (id, time, value) select ?, ?, ? where exists "
                    "(select 1 from requests where id = ?)",
                    (f.id, f.time, json.dumps(f.value), f.id),
                ).rowcount
                == 1
                for f in feedback
            ]

    def pages(self, after: int = 0, rows: int = 1024, *, fed_after: int | None = None) -> Iterator[Page]:
        """Answers in the order of their numbers, each with its latest feedback.

        Args:
            after: the number behind which to begin.
            rows: of a page, at most.
            fed_after: leaves out what no feedback came for behind this number of a feedback; None for all answers.
        """
        query = (
            "select number, time, bundle, task_id, input, output, episode, "
            "(select value from feedback f where f.id = r.id order by f.number desc limit 1) as value "
            "from requests r where number > ? "
            + ("" if fed_after is None else "and exists (select 1 from feedback f where f.id = r.id and f.number > ?) ")
            + "order by number limit ?"
        )
        fed = () if fed_after is None else (fed_after,)
        while found := self.connection.execute(query, (after, *fed, rows)).fetchall():
            while found:
                bundle = found[0][2]
                size = next((i for i, row in enumerate(found) if row[2] != bundle), len(found))
                yield self._page(bundle, found[:size])
                after, found = found[size - 1][0], found[size:]

    @property
    def last_feedback(self) -> int:
        """The number of the latest feedback, 0 where there is none."""
        (number,) = self.connection.execute("select coalesce(max(number), 0) from feedback").fetchone()
        return int(number)

    def arrived(self, after: int, rows: int) -> tuple[int, list[Page]]:
        """The next so many answers of which something became known for the first time.

        What is in such a block depends on the log alone, not on when it is read; later corrections are in none.

        Args:
            after: number of the feedback behind which to begin.
            rows: of the block; where there are fewer yet, nothing is given.

        Returns:
            The number of the block's last feedback, and its answers, a page a bundle, in the order of their numbers.
        """
        query = (
            "select f.number, r.number, r.time, r.bundle, r.task_id, r.input, r.output, r.episode, f.value "
            "from feedback f join requests r on r.id = f.id where f.number > ? and not exists "
            "(select 1 from feedback e where e.id = f.id and e.number < f.number) order by f.number limit ?"
        )
        found = self.connection.execute(query, (after, rows)).fetchall()
        if len(found) < rows:
            return after, []
        bundles = dict.fromkeys(row[3] for row in found)
        answers = sorted(row[1:] for row in found)
        return found[-1][0], [self._page(b, [row for row in answers if row[2] == b]) for b in bundles]

    def _page(self, bundle: str, rows: list[Any]) -> Page:
        (text,) = self.connection.execute("select signature from bundles where digest = ?", (bundle,)).fetchone()
        try:
            signature = Signature.from_json(parsed(text))
            feedback = [None if row[-1] is None else parsed(row[-1]) for row in rows]
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise BundleError(
                f"the log holds a signature or feedback that cannot be read ({error}); move it away"
            ) from error
        numbers, times, _, task_ids, inputs, outputs, episodes, _ = zip(*rows, strict=True)
        return Page(
            numbers=np.array(numbers, np.int64),
            times=np.array(times),
            bundle=bundle,
            signature=signature,
            task_ids=list(task_ids),
            inputs=_unpacked(signature.inputs, inputs),
            outputs=_unpacked(signature.outputs, outputs),
            feedback=feedback,
            episodes=list(episodes),
        )
