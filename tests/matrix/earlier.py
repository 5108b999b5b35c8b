"""The covering of the last whole matrix, kept in the repository, from which the next one begins."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from matrix.covering import Covering
from matrix.space import Chosen, Combination, Pair, Space, pair

__all__ = ["FILE", "Earlier", "read_earlier", "write_earlier"]

FILE = Path(__file__).with_name("covering.json.gz")


@frozen
class Earlier:
    """An earlier covering.

    Args:
        rows: its combinations, with the values that are not the first ones.
        refused: a combination of each pair that was refused.
    """

    rows: Sequence[Combination] = ()
    refused: Mapping[Pair, Combination] = {}


def read_earlier(path: Path = FILE) -> Earlier:
    """The kept covering; an empty one if there is none."""
    if not path.exists():
        return Earlier()
    content = json.loads(gzip.decompress(path.read_bytes()))
    refused = {pair(_chosen(each[:2]), _chosen(each[2:4])): each[4] for each in content["refused"]}
    return Earlier(content["rows"], refused)


def _chosen(values: Sequence[str]) -> Chosen:
    return (values[0], values[1])


def write_earlier(covering: Covering, path: Path = FILE) -> None:
    """Keeps a covering that is complete."""
    space = covering.space
    refused = [
        [*each[0], *each[1], _short(why.row, space)] for each, why in sorted(covering.refused.items()) if why.contexts
    ]
    content = {"rows": [_short(row, space) for row in covering.rows], "refused": refused}
    path.write_bytes(gzip.compress(json.dumps(content, separators=(",", ":")).encode(), mtime=0))


def _short(row: Combination, space: Space) -> Combination:
    """A combination without the values that completing it adds by itself."""
    kept = {name: value for name, value in row.items() if value != space.by_name[name].values[0]}
    return kept if space.around(kept, {}) == dict(row) else dict(row)
