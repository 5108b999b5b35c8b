"""Log of requests, answers and feedback in one SQLite file with a write-ahead log (WAL).

A write is one transaction, so acknowledged rows survive the termination of the process.
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
from rlcl.formats import parse_json
from rlcl.strict_json import json_text

__all__ = ["Answer", "AnswerPage", "Feedback", "RequestLog", "pack_row", "pack_rows"]

Array = np.ndarray[Any, Any]

# A statement releases the interpreter lock and acquires it again, which under load takes longer than the statement.
ROWS_PER_STATEMENT = 64
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
    """One row of a request, and its answer.

    Args:
        id: identifier returned to the client.
        time: seconds since 1970.
        bundle: digest of the bundle that computed the answer.
        task_id: task id of the request.
        input, output: concatenated bytes of the signature's fields; see :func:`pack_row`.
        episode: episode of an observation; None if the client did not send it.
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
    """Feedback for an answer: a label (a class name or numbers) or a reward.

    Args:
        id: identifier of the answer.
        time: time of the feedback in seconds since 1970.
        value: a text, a number, or a list of numbers.
    """

    id: str
    time: float
    value: Any


@frozen(kw_only=True, eq=False)
class AnswerPage:
    """Consecutive answers of one bundle.

    Args:
        numbers: (B,) int64, numbers of the answers, ascending over the whole log.
        times: (B,) float64, seconds since 1970.
        bundle: digest of the bundle that computed the answers.
        signature: signature of this bundle.
        task_ids: B task ids, or None.
        inputs: (B, *shape) by name.
        outputs: (B, *shape) by name.
        feedback: latest feedback of each of the B answers; None if there is no feedback yet.
        episodes: episode of each of the B observations; None if the client did not send it.
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


def pack_row(fields: Sequence[Field], arrays: Mapping[str, Array], row: int) -> bytes:
    """Return the concatenated bytes of one row of every field."""
    return b"".join(np.ascontiguousarray(arrays[field.name][row], field.dtype).tobytes() for field in fields)


def pack_rows(fields: Sequence[Field], arrays: Mapping[str, Array]) -> list[bytes]:
    """Return the bytes of all rows in the format of :func:`pack_row`, much faster than row by row."""
    parts = [np.ascontiguousarray(arrays[field.name], field.dtype) for field in fields]
    tables = [part.reshape(len(part), -1).view(np.uint8) for part in parts]
    table = tables[0] if len(tables) == 1 else np.concatenate(tables, 1)
    data, width = table.tobytes(), table.shape[1]
    return [data[start : start + width] for start in range(0, len(data), width)]


def _unpack_rows(fields: Sequence[Field], blobs: Sequence[bytes]) -> dict[str, Array]:
    table = np.frombuffer(b"".join(blobs), np.uint8).reshape(len(blobs), -1)
    arrays, start = {}, 0
    for field in fields:
        width = int(np.prod(field.shape)) * np.dtype(field.dtype).itemsize
        part = np.ascontiguousarray(table[:, start : start + width])
        arrays[field.name] = part.view(field.dtype).reshape(len(blobs), *field.shape)
        start += width
    return arrays


@define(eq=False)
class RequestLog:
    """Log of one deployment; opened by :meth:`open`, and used by one thread at a time.

    Args:
        connection: connection to the SQLite file.
    """

    connection: sqlite3.Connection

    @classmethod
    def open(cls, path: Path, *, write: bool = False, patience: float = 30) -> RequestLog:
        """Open a log.

        Args:
            path: path of the file.
            write: whether to open the log for writing, and to create it if it does not exist.
            patience: maximum seconds to wait for another process that is writing.

        Raises:
            BundleError: the file does not exist or is not a log.
        """
        if not write and not path.is_file():
            raise BundleError(f"{path} does not exist: no requests were logged; serve the bundle with rlcl serve")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=patience)
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full" if write else "pragma query_only = on")
            log = cls(connection)
            if write:
                connection.executescript(SCHEMA)
                if not log.id:  # read first, because writing waits for other writers
                    connection.execute("insert or ignore into meta values ('id', ?)", (secrets.token_hex(8),))
            connection.execute("select 1 from requests limit 1")
            if not any(row[1] == "episode" for row in connection.execute("pragma table_info(requests)")):
                connection.execute("pragma query_only = off")  # a log of an earlier version
                connection.execute("alter table requests add column episode text")
                connection.execute(f"pragma query_only = {'off' if write else 'on'}")
        except OSError as error:
            raise BundleError(
                f"{path.parent} cannot be written ({error.strerror or error}); choose another folder with --live"
            ) from error
        except sqlite3.Error as error:
            raise BundleError(
                f"{path} cannot be opened as a log: {error}; move the file away to start a new log"
            ) from error
        return log

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    @property
    def id(self) -> str:
        """Identifier of this log; a new log at the same path has another one. Empty if the log has none yet."""
        execute = self.connection.execute
        if not execute("select 1 from sqlite_master where name = 'meta'").fetchone():
            return ""  # a log of an earlier version that was not written to since
        row = execute("select value from meta where key = 'id'").fetchone()
        return "" if row is None else str(row[0])

    def has_id(self, id: str) -> bool:
        """Return True if an identifier is that of this log, or empty (from an earlier version, which stored none)."""
        return id in ("", self.id)

    def register(self, digest: str, signature: Signature) -> None:
        """Store the signature of a bundle; required before its first answer is written."""
        row = (digest, json_text(signature.to_json()))
        self.connection.execute("insert or ignore into bundles values (?, ?)", row)

    def write(self, answers: Sequence[Answer], feedback: Sequence[Feedback]) -> list[bool]:
        """Add answers and feedback in one transaction, which is durable when this method returns.

        Returns:
            For each feedback, whether its answer is in the log; feedback for unknown answers is not stored.
        """
        with self.connection as connection:
            connection.execute("begin immediate")
            for start in range(0, len(answers), ROWS_PER_STATEMENT):
                chunk = answers[start : start + ROWS_PER_STATEMENT]
                connection.execute(
                    "insert into requests (id, time, bundle, task_id, input, output, episode) values "
                    + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * len(chunk)),
                    [
                        value
                        for a in chunk
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

    def pages(self, after: int = 0, rows: int = 1024, *, feedback_after: int | None = None) -> Iterator[AnswerPage]:
        """Yield answers in the order of their numbers, each with its latest feedback.

        Args:
            after: answer number after which to start.
            rows: maximum number of rows per page.
            feedback_after: feedback number; only answers with later feedback are yielded. None for all answers.
        """
        query = (
            "select number, time, bundle, task_id, input, output, episode, "
            "(select value from feedback f where f.id = r.id order by f.number desc limit 1) as value "
            "from requests r where number > ? "
            + (
                ""
                if feedback_after is None
                else "and exists (select 1 from feedback f where f.id = r.id and f.number > ?) "
            )
            + "order by number limit ?"
        )
        condition = () if feedback_after is None else (feedback_after,)
        while answers := self.connection.execute(query, (after, *condition, rows)).fetchall():
            while answers:
                bundle = answers[0][2]
                size = next((i for i, row in enumerate(answers) if row[2] != bundle), len(answers))
                yield self._page(bundle, answers[:size])
                after, answers = answers[size - 1][0], answers[size:]

    @property
    def last_feedback(self) -> int:
        """Number of the latest feedback, 0 if there is none."""
        (number,) = self.connection.execute("select coalesce(max(number), 0) from feedback").fetchone()
        return int(number)

    def first_feedback(self, after: int, rows: int) -> tuple[int, list[AnswerPage]]:
        """Return the next block of answers that received their first feedback.

        The content of a block depends only on the log, not on the time of reading; corrections of earlier feedback are
        in no block.

        Args:
            after: feedback number after which to start.
            rows: number of rows of the block; if fewer are available, the block is empty.

        Returns:
            The number of the block's last feedback, and its answers in the order of their numbers, one page per bundle.
        """
        query = (
            "select f.number, r.number, r.time, r.bundle, r.task_id, r.input, r.output, r.episode, f.value "
            "from feedback f join requests r on r.id = f.id where f.number > ? and not exists "
            "(select 1 from feedback e where e.id = f.id and e.number < f.number) order by f.number limit ?"
        )
        block = self.connection.execute(query, (after, rows)).fetchall()
        if len(block) < rows:
            return after, []
        bundles = dict.fromkeys(row[3] for row in block)
        answers = sorted(row[1:] for row in block)
        return block[-1][0], [self._page(b, [row for row in answers if row[2] == b]) for b in bundles]

    def _page(self, bundle: str, rows: list[Any]) -> AnswerPage:
        (text,) = self.connection.execute("select signature from bundles where digest = ?", (bundle,)).fetchone()
        try:
            signature = Signature.from_json(parse_json(text))
            feedback = [None if row[-1] is None else parse_json(row[-1]) for row in rows]
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise BundleError(
                f"the log contains a signature or feedback that cannot be read ({error}); move the file away to start "
                "a new log"
            ) from error
        numbers, times, _, task_ids, inputs, outputs, episodes, _ = zip(*rows, strict=True)
        return AnswerPage(
            numbers=np.array(numbers, np.int64),
            times=np.array(times),
            bundle=bundle,
            signature=signature,
            task_ids=list(task_ids),
            inputs=_unpack_rows(signature.inputs, inputs),
            outputs=_unpack_rows(signature.outputs, outputs),
            feedback=feedback,
            episodes=list(episodes),
        )
