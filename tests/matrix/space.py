"""Factors with their values, what each value needs, and the pairs that are to be covered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import combinations

from attrs import field, frozen

__all__ = ["Chosen", "Combination", "Factor", "Pair", "Space", "pair"]

Chosen = tuple[str, str]  # factor and value
Pair = tuple[Chosen, Chosen]  # in order
Combination = Mapping[str, str]  # value by factor; a factor that does not apply is left out
Needs = Mapping[str, frozenset[str]]  # by deciding factor the values that go


def pair(a: Chosen, b: Chosen) -> Pair:
    """Two values of two factors."""
    return (a, b) if a <= b else (b, a)


@frozen(eq=False)
class Factor:
    """A dimension of the matrix.

    Args:
        name: unique.
        values: the first is the one that is taken where nothing asks for another.
        needs: of a value, where it does not go with all values of the deciding factors.
        paired: with which factors its pairs are to be covered; None for all.
        deciding: whether other values may need some of its values.
    """

    name: str
    values: tuple[str, ...]
    needs: Mapping[str, Needs] = field(factory=dict)
    paired: frozenset[str] | None = None
    deciding: bool = False

    @cached_property
    def depends(self) -> tuple[str, ...]:
        """The factors that some of its values need something of."""
        return tuple(sorted({name for needs in self.needs.values() for name in needs}))


@frozen(eq=False)
class Space:
    """All factors, the deciding ones first."""

    factors: tuple[Factor, ...]
    _applicable: dict[tuple[str | None, ...], tuple[str, ...]] = field(init=False, factory=dict)

    @cached_property
    def by_name(self) -> Mapping[str, Factor]:
        return {factor.name: factor for factor in self.factors}

    def needs(self, chosen: Chosen) -> Needs:
        """What a value needs of the deciding factors, its own value among them."""
        name, value = chosen
        factor = self.by_name[name]
        found = dict(factor.needs.get(value, {}))
        if factor.deciding:
            found[name] = frozenset({value})
        return found

    def merged(self, chosen: Iterable[Chosen]) -> dict[str, frozenset[str]] | None:
        """What several values need together, of all that is needed in turn; None where they exclude each other."""
        found: dict[str, frozenset[str]] = {}
        for one in chosen:
            for name, allowed in self.needs(one).items():
                found[name] = found.get(name, allowed) & allowed
                if not found[name]:
                    return None
        return self._closed(found)

    def _closed(self, found: dict[str, frozenset[str]]) -> dict[str, frozenset[str]] | None:
        """With the needs of deciding values that have become the only ones, or that all that are left share."""
        changed = True
        while changed:
            changed = False
            for name, allowed in list(found.items()):
                fitting = frozenset(v for v in allowed if self._fits((name, v), found))
                if not fitting:
                    return None
                if fitting != allowed:
                    found[name], changed = fitting, True
        return found

    def _fits(self, chosen: Chosen, found: Mapping[str, frozenset[str]]) -> bool:
        needs = self.by_name[chosen[0]].needs.get(chosen[1], {})
        return all(allowed & found.get(name, allowed) for name, allowed in needs.items())

    def applicable(self, factor: Factor, row: Combination) -> tuple[str, ...]:
        """The values that a factor may have beside the deciding values of a combination."""
        names = factor.depends
        if not names:
            return factor.values
        key = (factor.name, *(row.get(name) for name in names))
        if key not in self._applicable:
            goes = [(v, factor.needs.get(v, {})) for v in factor.values]
            self._applicable[key] = tuple(v for v, n in goes if all(row.get(name) in n[name] for name in n))
        return self._applicable[key]

    def completed(self, wanted: Combination, beside: Combination) -> dict[str, str] | None:
        """A whole combination: what is wanted, else what another has, else the first value that applies.

        None where what is wanted does not go together.
        """
        row: dict[str, str] = {}
        for factor in self.factors:
            values = self.applicable(factor, row)
            if factor.name in wanted:
                if wanted[factor.name] not in values:
                    return None
                row[factor.name] = wanted[factor.name]
            elif values:
                before = beside.get(factor.name, "")
                row[factor.name] = before if before in values else values[0]
        return row

    def around(self, wanted: Combination, beside: Combination) -> dict[str, str] | None:
        """As :meth:`completed`, with deciding values changed where what is wanted needs others."""
        needed = self.merged(wanted.items())
        if needed is None:
            return None
        known = dict(wanted)
        for factor in self.factors:
            allowed = needed.get(factor.name)
            if factor.name in known or allowed is None or beside.get(factor.name) in allowed:
                continue
            for value in factor.values:
                if value in allowed and self.merged((*known.items(), (factor.name, value))) is not None:
                    known[factor.name] = value
                    break
        return self.completed(known, beside)

    def pairs(self) -> Iterator[Pair]:
        """All pairs that are to be covered, those that exclude each other by what they need left out."""
        for one, other in combinations(self.factors, 2):
            if one.paired is not None and other.name not in one.paired:
                continue
            if other.paired is not None and one.name not in other.paired:
                continue
            for v in one.values:
                for w in other.values:
                    if self.merged(((one.name, v), (other.name, w))) is not None:
                        yield pair((one.name, v), (other.name, w))

    def covered(self, row: Combination) -> Iterator[Pair]:
        """The pairs of a combination."""
        for a, b in combinations(sorted(row.items()), 2):
            yield pair(a, b)
