"""Combinations cover every pair that is allowed, whatever is refused, and a new component joins by being registered."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import pytest

from matrix.covering import Covering
from matrix.earlier import read_earlier, write_earlier
from matrix.factors import Matrix, NeedsSettings
from matrix.shrinking import shrunk
from matrix.space import Combination, Factor, Pair, Space, pair
from rlcl.experiment import schema

LETTERS = tuple("abcde")
SPACE = Space(
    (
        Factor("kind", ("arrays", "worlds", "both"), deciding=True),
        Factor("x", LETTERS, {letter: {"kind": frozenset({"arrays", "both"})} for letter in LETTERS}),
        Factor("y", LETTERS, {letter: {"kind": frozenset({"worlds", "both"})} for letter in LETTERS}),
        Factor("z", LETTERS),
        Factor("w", ("no", "yes")),
    )
)
REFUSED: tuple[Combination, ...] = (
    {"x": "a", "z": "a"},
    {"x": "b", "y": "c"},
    {"kind": "worlds", "w": "yes"},
    {"x": "c", "z": "d", "w": "yes"},
)


def judged(rows: Sequence[Combination]) -> list[str]:
    return [next((str(r) for r in REFUSED if r.items() <= row.items()), "") for row in rows]


def drawn(seed: int = 0, most: int = 0) -> Covering:
    homes = {value: [{"kind": value, "z": z} for z in LETTERS] for value in ("arrays", "worlds", "both")}
    covering = Covering(SPACE, judged, homes, "kind", random.Random(seed), lambda _: None)
    covering.draw(most)
    return covering


def resumed(space: Space, judge: Any, before: Covering) -> tuple[Covering, int]:
    """A covering that begins with another one, and how many combinations it asked about."""
    asked = [0]

    def counting(rows: Sequence[Combination]) -> list[str]:
        asked[0] += len(rows)
        return judge(rows)  # type: ignore[no-any-return]

    homes = {value: [{"kind": value, "z": z} for z in LETTERS] for value in ("arrays", "worlds", "both")}
    covering = Covering(space, counting, homes, "kind", random.Random(9), lambda _: None)
    covering.resume(before.rows, {each: why.row for each, why in before.refused.items()})
    covering.draw()
    return covering, asked[0]


def test_an_earlier_covering_is_asked_about_and_kept() -> None:
    before = drawn()
    again, asked = resumed(SPACE, judged, before)
    assert [*before.rows] == again.rows
    assert before.refused.keys() == again.refused.keys()
    assert asked <= len(before.rows) + 20
    assert before.covered == again.covered


def test_what_is_new_is_added_to_an_earlier_covering() -> None:
    wider = Space(tuple(attrs.evolve(f, values=(*f.values, "new")) if f.name == "z" else f for f in SPACE.factors))
    before = drawn()
    again, _ = resumed(wider, judged, before)
    assert len(again.rows) > len(before.rows)
    assert all(again._together(each) for each in wider.pairs() if ("z", "new") in each)


def test_a_combination_that_is_refused_now_is_replaced_and_one_that_is_gone_is_left_out() -> None:
    before = drawn()

    def stricter(rows: Sequence[Combination]) -> list[str]:
        return [
            message or ("e" if row["z"] == "e" and row["w"] == "yes" else "")
            for row, message in zip(rows, judged(rows), strict=True)
        ]

    again, _ = resumed(SPACE, stricter, before)
    assert not any(row["z"] == "e" and row["w"] == "yes" for row in again.rows)
    assert pair(("z", "e"), ("w", "yes")) in again.refused
    smaller = Space(tuple(attrs.evolve(f, values=f.values[:-1]) if f.name == "z" else f for f in SPACE.factors))
    fewer, _ = resumed(smaller, judged, before)
    assert not any(row["z"] == "e" for row in fewer.rows)


def test_a_value_that_was_refused_everywhere_is_tried_again() -> None:
    def without_e(rows: Sequence[Combination]) -> list[str]:
        return [m or ("e" if row["z"] == "e" else "") for row, m in zip(rows, judged(rows), strict=True)]

    before, _ = resumed(SPACE, without_e, drawn())
    assert ("z", "e") in before.hopeless
    again, _ = resumed(SPACE, judged, before)
    assert ("z", "e") not in again.hopeless
    assert allowed_pairs() == {each for row in again.rows for each in SPACE.covered(row)}


def test_a_covering_is_written_and_read(tmp_path: Path) -> None:
    before, path = drawn(), tmp_path / "covering.json.gz"
    write_earlier(before, path)
    earlier = read_earlier(path)
    assert [SPACE.around(row, {}) for row in earlier.rows] == before.rows
    assert earlier.refused.keys() == {each for each, why in before.refused.items() if why.contexts}
    assert all(SPACE.around(row, {}) == before.refused[each].row for each, row in earlier.refused.items())
    assert read_earlier(tmp_path / "none").rows == ()


def allowed_pairs() -> set[Pair]:
    """By trying all combinations there are."""
    found: set[Pair] = set()
    for kind in SPACE.by_name["kind"].values:
        for values in product(LETTERS, LETTERS, LETTERS, ("no", "yes")):
            row = SPACE.around({"kind": kind}, dict(zip("xyzw", values, strict=True)))
            assert row is not None
            if not judged([row])[0]:
                found |= set(SPACE.covered(row))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_every_allowed_pair_is_covered_and_every_other_refused(seed: int) -> None:
    covering = drawn(seed)
    covered = {each for row in covering.rows for each in SPACE.covered(row)}
    assert allowed_pairs() == covered
    assert covering.wanted - allowed_pairs() == covering.refused.keys()
    assert not any(judged(covering.rows))


def test_what_no_drawing_reached_is_joined_to_few_combinations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Covering, "_cover", lambda *_: None)
    covering = drawn()
    covered = {each for row in covering.rows for each in SPACE.covered(row)}
    assert allowed_pairs() == covered
    assert not any(judged(covering.rows))
    assert len(covering.rows) <= 3 * len(LETTERS) ** 2
    monkeypatch.setattr(Covering, "_joined", lambda _, picked: picked)
    assert len(covering.rows) < len(drawn().rows)


@pytest.mark.parametrize("seed", range(5))
def test_if_the_judge_changes_its_mind_what_is_missing_is_drawn(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (*REFUSED[1:], {"x": "d", "z": "b"})  # one refusal less, and one more
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules[__name__], "REFUSED", before)
        covering = drawn(seed)
    revisions = 0
    while revisions < 99:
        rows = [*covering.rows, *(refusal.row for refusal in covering.refused.values() if refusal.contexts)]
        known = [covering.known[frozenset(row.items())] for row in rows]
        if known == judged(rows):
            break
        covering.revise(rows)
        revisions += 1
    assert 0 < revisions < 99
    allowed = allowed_pairs()
    assert covering.wanted - covering.refused.keys() == allowed
    assert {each for row in covering.rows for each in SPACE.covered(row)} == allowed
    assert not any(judged(covering.rows))


def test_few_combinations_are_enough() -> None:
    assert len(drawn().rows) <= 2 * len(LETTERS) ** 2


def test_a_sample_ends_early() -> None:
    assert 4 == len(drawn(most=4).rows)


def test_values_that_need_another_exclude_what_does_not_have_it() -> None:
    assert pair(("kind", "worlds"), ("x", "a")) not in set(SPACE.pairs())
    assert pair(("x", "a"), ("y", "a")) in set(SPACE.pairs())
    assert {"kind": "both", "x": "a", "y": "b", "z": "c", "w": "no"} == SPACE.around(
        {"x": "a", "y": "b"}, {"kind": "arrays", "z": "c"}
    )


def test_a_failing_combination_is_reduced_to_what_fails() -> None:
    row = {"kind": "both", "x": "c", "y": "d", "z": "e", "w": "yes"}
    smallest = shrunk(row, SPACE, lambda made: {"x": "c", "w": "yes"}.items() <= made.items(), ("kind",))
    assert {"kind": "arrays", "x": "c", "z": "a", "w": "yes"} == smallest


def described(**changes: Any) -> dict[str, Any]:
    found = schema()
    found["$defs"] = {**found["$defs"], **changes}
    return found


def test_a_registered_component_is_in_the_matrix() -> None:
    method = {"properties": {"type": {"const": "fresh"}, "mode": {"enum": ["one", "two"], "default": "one"}}}
    matrix = Matrix(described(**{"method.fresh": method}))
    assert "fresh" in matrix.space.by_name["method"].values
    assert ("default", "two") == matrix.space.by_name["method fresh.mode"].values


def test_one_that_needs_settings_without_an_entry_is_told() -> None:
    method = {"properties": {"type": {"const": "fresh"}, "rate": {"type": "number"}}, "required": ["rate"]}
    with pytest.raises(NeedsSettings, match=r"add them to MINIMAL in tests/matrix/minimal.py: method.fresh: rate"):
        Matrix(described(**{"method.fresh": method}))


def test_components_of_a_kind_that_no_factor_takes_are_told() -> None:
    with pytest.raises(NeedsSettings, match=r"no factor takes components of the kinds mystery"):
        Matrix(described(**{"mystery.fresh": {"properties": {"type": {"const": "fresh"}}}}))
