"""Where a learner stands in a stream, as it begins, advances and ends."""

from __future__ import annotations

import attrs
import pytest

from rlcl.types import Budget, Experience, Position


def experience(index: int, segments: int = 0) -> Experience:
    made = Experience(index, "made up", None, None, Budget(updates=2))  # type: ignore[arg-type]
    return attrs.evolve(made, segments=(made,) * segments)


def test_an_experience_begins_advances_and_ends() -> None:
    position = Position(experience=1, step=10)
    assert position.begin(experience(1))
    position.advance()
    assert Position(experience=1, update=1, step=11, learning=True) == position
    position.advance(4)
    assert Position(experience=1, update=5, step=15, learning=True) == position
    assert position.end(experience(1))
    assert Position(experience=2, step=15) == position


def test_each_segment_ends_and_the_last_one_ends_the_experience() -> None:
    position, whole = Position(), experience(0, segments=2)
    position.begin(whole)
    position.advance()
    assert not position.end(whole)
    assert Position(segment=1, step=1, learning=True) == position
    assert position.end(whole)
    assert Position(experience=1, step=1) == position


def test_one_that_is_resumed_stays_where_it_stands() -> None:
    position = Position(segment=1, update=3, step=7, learning=True)
    assert not position.begin(experience(0, segments=2))
    assert Position(segment=1, update=3, step=7, learning=True) == position


def test_another_experience_is_refused_while_one_is_unfinished() -> None:
    position = Position()
    position.begin(experience(0))
    with pytest.raises(ValueError, match="experience 0 is unfinished; finish it before 1"):
        position.begin(experience(1))


def test_what_has_not_begun_cannot_end() -> None:
    with pytest.raises(ValueError, match=r"experience 3 has not been started; call position.begin\(experience\)"):
        Position(experience=3).end(experience(3))
