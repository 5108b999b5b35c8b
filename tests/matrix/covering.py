"""Draws combinations until every pair of values is in one that is allowed, or is refused wherever it was tried.

Greedy, one combination at a time, as AETG does it (Cohen et al. 1997, The AETG system: an approach to testing based
on combinatorial design). What is allowed is not known beforehand: each combination is put to a judge, and from a
refusal the few values that it is due to are found by halving, and from then on kept apart.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from heapq import heapify, heappop, heappush
from itertools import islice, zip_longest

from attrs import define, field, frozen

from matrix.space import Chosen, Combination, Factor, Pair, Space, pair

__all__ = ["Covering", "Refusal"]

Judge = Callable[[Sequence[Combination]], Sequence[str]]  # why each is refused, "" where it is allowed
Report = Callable[[str], None]
Picked = tuple[dict[str, str], frozenset[Pair]]  # a combination, and the pairs that it is there for
HOMES = 3  # allowed combinations of each value to start from
CONTEXTS = 6  # allowed combinations that a pair is tried in before it counts as refused
BLOCK = 12  # pairs that are asked about at once
DRAWS = 4  # attempts at a combination around one pair
CANDIDATES = 4  # drawn for each, of which the one that covers most is taken
ROUNDS = 12  # in which two combinations each are tried to be made one


@frozen
class Refusal:
    """A pair that was refused wherever it was tried.

    Args:
        row: one of the combinations.
        message: why.
        contexts: in how many it was tried.
    """

    row: Combination
    message: str
    contexts: int


@define
class Covering:
    """The combinations so far, and what is known of the rest.

    Args:
        space: factors and values.
        judge: says what is allowed.
        homes: combinations to begin with, by the value that they are for; tried in order.
        anchor: the factor whose every value has homes of its own.
        rng: for ties.
        report: told of progress.
    """

    space: Space
    judge: Judge
    homes: Mapping[str, Sequence[Combination]]
    anchor: str
    rng: random.Random
    report: Report = print
    rows: list[dict[str, str]] = field(init=False, factory=list)
    refused: dict[Pair, Refusal] = field(init=False, factory=dict)
    hopeless: dict[Chosen, str] = field(init=False, factory=dict)  # values that were allowed nowhere
    wanted: set[Pair] = field(init=False, factory=set)
    known: dict[frozenset[Chosen], str] = field(init=False, factory=dict)  # what each combination came to
    _complete: bool = field(init=False, default=False)  # whether every pair was to be covered or refused
    _most: int = field(init=False, default=0)
    _open: set[Pair] = field(init=False, factory=set)
    _near: dict[Chosen, set[Chosen]] = field(init=False)
    _allowed: list[dict[str, str]] = field(init=False, factory=list)
    _apart: dict[Chosen, list[frozenset[Chosen]]] = field(init=False)
    _with: dict[Chosen, list[dict[str, str]]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._near, self._apart, self._with = defaultdict(set), defaultdict(list), defaultdict(list)
        for each in self.space.pairs():
            self.wanted.add(each)
            self._mark_open(each)

    def draw(self, most: int = 0) -> None:
        """Draws until every pair is covered or refused.

        Args:
            most: combinations after which it ends early, which are those that cover most; 0 for no end.
        """
        if not self._with:
            self._find_homes()
        self._try_each_value([f for f in self.space.factors if f.deciding or not most], 1 if most else HOMES)
        self._cover(most)
        self._complete, self._most = not most, most
        if self._complete:
            self._try_what_is_left()

    def resume(self, rows: Sequence[Combination], refused: Mapping[Pair, Combination]) -> None:
        """Begins with an earlier covering, before :meth:`draw`.

        Args:
            rows: its combinations, of which those that are allowed still are taken.
            refused: a combination of each pair that was refused; whoever calls asks about these again.
        """
        self._find_homes()
        found = [row for each in rows if (row := self._restored(each)) is not None]
        for start in range(0, len(found), 20 * BLOCK):
            for row, message in zip(block := found[start : start + 20 * BLOCK], self._ask(block), strict=True):
                if not message:
                    self._take(row)
            self.report(f"{min(start + 20 * BLOCK, len(found))} of {len(found)} earlier combinations asked about")
        for each, combination in refused.items():
            row = self._restored(combination)
            if each in self._open and row is not None and set(each) <= row.items():
                self.refused[each] = Refusal(row, "refused before", CONTEXTS)
        for chosen in {chosen for each in self.refused for chosen in each}:
            if not self._with[chosen]:
                self.hopeless[chosen] = "refused before"

    def _restored(self, row: Combination) -> dict[str, str] | None:
        """A combination of an earlier space, completed; None where its values are not there or do not go together."""
        known = {n: v for n, v in row.items() if n in self.space.by_name and v in self.space.by_name[n].values}
        return self.space.around(known, {})

    @property
    def covered(self) -> int:
        """How many of the wanted pairs are in a combination."""
        return len(self.wanted) - len(self._open)

    # Asking.

    def _ask(self, rows: Sequence[dict[str, str]]) -> list[str]:
        new = [row for row in rows if frozenset(row.items()) not in self.known]
        new = list({frozenset(row.items()): row for row in new}.values())
        for row, message in zip(new, self.judge(new), strict=True):
            self.known[frozenset(row.items())] = message
            if not message:
                self._allowed.append(row)
                for chosen in row.items():
                    self._with[chosen].append(row)
        return [self.known[frozenset(row.items())] for row in rows]

    def _is_refused(self, row: dict[str, str]) -> bool:
        return bool(self._ask([row])[0])

    def _mark_open(self, each: Pair) -> None:
        a, b = each
        self._open.add(each)
        self._near[a].add(b)
        self._near[b].add(a)

    def _take(self, row: dict[str, str]) -> int:
        """Adds a combination; gives how many pairs it is the first to cover."""
        new = [each for each in self.space.covered(row) if each in self._open]
        for each in new:
            a, b = each
            self._open.discard(each)
            self._near[a].discard(b)
            self._near[b].discard(a)
        if new:
            self.rows.append(row)
        return len(new)

    # What to start from.

    def _find_homes(self) -> None:
        for value, candidates in self.homes.items():
            found = 0
            for candidate in candidates:
                row = self.space.around(candidate, {})
                if row is not None and not self._is_refused(row):
                    found += 1
                if found == HOMES:
                    break
            if not found:
                row = self.space.around(candidates[0], {})
                self.hopeless[self.anchor, value] = self._ask([row])[0] if row else "needs what is not there"
            self.report(f"{self.anchor} {value}: {found or 'no'} combinations to start from")

    def _try_each_value(self, factors: Sequence[Factor], homes: int) -> None:
        """Each value in the homes of each value of the anchor, until it is allowed in one."""
        for place in range(homes):
            asked = []
            for value in self.homes:
                home = self._with[self.anchor, value][place : place + 1]
                for factor in factors if home else ():
                    for v in factor.values:
                        chosen = (factor.name, v)
                        if factor.name == self.anchor or self._together(((self.anchor, value), chosen)):
                            continue
                        if pair((self.anchor, value), chosen) in self.refused:
                            continue
                        row = self.space.around({self.anchor: value, factor.name: v}, home[0])
                        if row is not None:
                            asked.append(row)
            self.report(f"asking about {len(asked)} single changes")
            self._ask(asked)
        for factor in factors:
            for v in factor.values:
                if not self._with[factor.name, v]:
                    self._look_for((factor.name, v))
        for value in self.homes:
            for factor in factors:
                for v in factor.values:
                    both = pair((self.anchor, value), (factor.name, v))
                    if both in self._open and not self._together(both):
                        self._keep_apart(frozenset(both))

    def _look_for(self, chosen: Chosen) -> None:
        """A value that no home takes: with the values that others are allowed with, those first that it needs."""
        needed = self.space.merged([chosen]) or {}
        rows = self.rng.sample(self._allowed, len(self._allowed))
        rows.sort(key=lambda row: sum(row.get(name) not in values for name, values in needed.items()))
        for row in rows[:40]:
            made = self.space.around(dict([chosen]), row)
            if made is not None and not self._is_refused(made):
                self.hopeless.pop(chosen, None)
                self.refused = {each: why for each, why in self.refused.items() if chosen not in each}
                return
        self.hopeless[chosen] = next((self.known[k] for k in self.known if chosen in k and self.known[k]), "")

    def _together(self, chosen: Iterable[Chosen]) -> list[dict[str, str]]:
        """Allowed combinations that have all of some values."""
        first, *others = sorted(chosen, key=lambda each: len(self._with[each]))
        return [row for row in self._with[first] if all(row.get(name) == value for name, value in others)]

    # Drawing.

    def _cover(self, most: int) -> None:
        seeds = sorted(self._open - self.refused.keys())  # the order of a set of texts differs from process to process
        self.rng.shuffle(seeds)
        tries: dict[Pair, int] = defaultdict(int)
        while seeds and not (most and len(self.rows) >= most):
            seed = seeds.pop()
            if seed not in self._open or self._is_apart(seed):
                continue
            candidates = [row for _ in range(CANDIDATES) if (row := self._drawn(seed)) is not None]
            if not candidates:
                continue
            row = max(candidates, key=lambda each: sum(p in self._open for p in self.space.covered(each)))
            if not self._is_refused(row):
                new = self._take(row)
                if len(self.rows) % 25 == 0:
                    self.report(f"{len(self.rows)} combinations, the last with {new} pairs; {len(self._open)} are open")
                continue
            self._learn(row)
            tries[seed] += 1
            if tries[seed] < DRAWS:
                seeds.append(seed)

    def _drawn(self, seed: Pair) -> dict[str, str] | None:
        """A combination around a pair that covers as many open pairs as go, one factor after the other."""
        row = dict(seed)
        deciding = [f for f in self.space.factors if f.deciding]
        others = [f for f in self.space.factors if not f.deciding]
        self.rng.shuffle(deciding)
        self.rng.shuffle(others)
        for factor in (*deciding, *others):
            if factor.name in row:
                continue
            values = self._values(factor, row)
            fitting = [v for v in values if not self._is_apart(row.items(), (factor.name, v))]
            if (values or factor.name == self.anchor) and not fitting:
                return None
            if fitting:
                row[factor.name] = self._best(factor, fitting, row)
        return {f.name: row[f.name] for f in self.space.factors if f.name in row}

    def _values(self, factor: Factor, row: Mapping[str, str]) -> list[str]:
        if not factor.deciding:
            return list(self.space.applicable(factor, row))
        return [v for v in factor.values if self.space.merged((*row.items(), (factor.name, v))) is not None]

    def _best(self, factor: Factor, values: Sequence[str], row: Mapping[str, str]) -> str:
        scores = [len(self._near[factor.name, v].intersection(row.items())) for v in values]
        # Values that few open pairs are left of come second, so that all are used up at about the same time.
        rest = [len(self._near[factor.name, v]) for v in values]
        return max(zip(scores, rest, (self.rng.random() for _ in values), values, strict=True))[-1]

    # Learning from refusals.

    def _keep_apart(self, values: frozenset[Chosen]) -> None:
        for each in values:
            self._apart[each].append(values)

    def _is_apart(self, row: Iterable[Chosen], new: Chosen | None = None) -> bool:
        """Whether some values are known not to go together; with ``new``, whether it adds such a case."""
        present = set(row) | ({new} if new else set())
        return any(known <= present for each in ([new] if new else present) for known in self._apart[each])

    def _learn(self, row: dict[str, str]) -> None:
        """Finds what a refusal is due to: the few values that no allowed combination has together."""
        guilty: frozenset[Chosen] = frozenset()
        for _ in range(4):
            beside = self._nearest(row, guilty)
            if beside is None:
                break
            found = self._due(row, beside, guilty)
            if found is None or not found - guilty:
                return
            guilty |= found
            if not self._together(guilty):
                break
        if guilty:
            self._keep_apart(guilty)

    def _nearest(self, row: Mapping[str, str], guilty: frozenset[Chosen]) -> dict[str, str] | None:
        rows = self._together(guilty) if guilty else self._with[self.anchor, row[self.anchor]] or self._allowed
        shared = row.items()
        return max(rows, key=lambda r: len(shared & r.items()), default=None)

    def _due(self, row: dict[str, str], beside: dict[str, str], guilty: frozenset[Chosen]) -> frozenset[Chosen] | None:
        """The values of a refused combination which, put into an allowed one, have it refused; by halving."""
        order = [chosen for chosen in row.items() if beside.get(chosen[0]) != chosen[1]]
        self.rng.shuffle(order)
        found: list[Chosen] = []
        while len(found) < 4:
            if (made := self._put(found, beside, row)) is not None and self._is_refused(made):
                return frozenset(found)
            low, high = 0, len(order)  # with the first `low` it is allowed, with the first `high` refused
            while high - low > 1:
                middle = (low + high) // 2
                made = self._put([*found, *order[:middle]], beside, row)
                if made is not None and self._is_refused(made):
                    high = middle
                else:
                    low = middle
            if not high:
                return None
            found.append(order[high - 1])
            order = order[: high - 1]
        return frozenset(found)

    def _put(self, values: Iterable[Chosen], beside: dict[str, str], row: Mapping[str, str]) -> dict[str, str] | None:
        """Some values of a combination in another one, which gives all else but what they need."""
        wanted = dict(values)
        needed = self.space.merged(wanted.items())
        if needed is None:
            return None
        for name, allowed in needed.items():
            if name not in wanted and beside.get(name) not in allowed and row.get(name) in allowed:
                wanted[name] = row[name]
        return self.space.around(wanted, beside)

    # Pairs that no drawing reached.

    def revise(self, rows: Sequence[Combination]) -> None:
        """Draws what is missing if the judge has changed its mind about some combinations.

        Args:
            rows: combinations of :attr:`rows` or :attr:`refused` that the judge is asked about again.
        """
        for row, message in zip(rows, self.judge(rows), strict=True):
            self.known[frozenset(row.items())] = message
        self._allowed = [dict(sorted(key)) for key, message in self.known.items() if not message]
        self._allowed = [{f.name: row[f.name] for f in self.space.factors if f.name in row} for row in self._allowed]
        self._allowed.sort(key=lambda row: sorted(row.items()))
        allowed_before = [chosen for chosen, with_it in self._with.items() if with_it]
        self._with.clear()
        for row in self._allowed:
            for chosen in row.items():
                self._with[chosen].append(row)
        self.rows = [row for row in self.rows if not self.known[frozenset(row.items())]]
        self.refused = {
            each: why for each, why in self.refused.items() if self.known.get(frozenset(why.row.items()), why.message)
        }
        covered = {each for row in self.rows for each in self.space.covered(row)}
        for each in self.wanted - covered - self._open:
            self._mark_open(each)
        lost = {chosen: "it was allowed before" for chosen in allowed_before if not self._with[chosen]}
        self.hopeless = {chosen: why for chosen, why in self.hopeless.items() if not self._with[chosen]} | lost
        if self._complete:
            self._try_what_is_left()
        else:
            self._cover(self._most)

    def _try_what_is_left(self) -> None:
        left = sorted(
            self._open - self.refused.keys(), key=lambda each: (all(name != self.anchor for name, _ in each), each)
        )
        self.report(f"{len(left)} pairs are left, to be tried in up to {CONTEXTS} combinations each")
        for start in range(0, len(left), BLOCK):
            self._try([each for each in left[start : start + BLOCK] if not self._together(each)])
            if start % (50 * BLOCK) == 0 and start:
                self.report(f"{start} of {len(left)} tried, {len(self.refused)} refused")
        self.refused = {each: why for each, why in self.refused.items() if not self._together(each)}
        for row, _ in self._joined(few(self._open, self._allowed, self.space)):
            self._take(row)

    def _try(self, pairs: Sequence[Pair]) -> None:
        """Asks about one combination of each pair at a time, for all of them at once, until it is allowed."""
        waiting = [(each, islice(self._contexts(each), 1 if self._is_implied(each) else CONTEXTS)) for each in pairs]
        for each in pairs:
            self.refused[each] = Refusal(dict(each), "no combination has both", 0)
        while waiting:
            rows = [next(contexts, None) for _, contexts in waiting]
            self._ask([row for row in rows if row is not None])
            further = []
            for (each, contexts), row in zip(waiting, rows, strict=True):
                if row is not None and self._is_refused(row):
                    self.refused[each] = Refusal(row, self._ask([row])[0], self.refused[each].contexts + 1)
                    further.append((each, contexts))
                elif row is not None:
                    del self.refused[each]
            waiting = further

    def _is_implied(self, each: Pair) -> bool:
        """Whether each value of the anchor that a pair may have was refused with something that the pair needs."""
        needed = self.space.merged(each)
        if needed is None:
            return True
        certain = {*each, *((name, v) for name, values in needed.items() if len(values) == 1 for v in values)}
        anchors = needed.get(self.anchor, self.space.by_name[self.anchor].values)
        return all(any(pair((self.anchor, v), c) in self.refused for c in certain) for v in anchors)

    def _contexts(self, each: Pair) -> Iterator[dict[str, str]]:
        """A few combinations with both values: allowed ones of the one, with the other put in."""
        seen: set[frozenset[Chosen]] = set()
        pools = [self.rng.sample(rows, min(CONTEXTS, len(rows))) for rows in (self._with[chosen] for chosen in each)]
        for beside in (row for rows in zip_longest(*pools) for row in rows if row is not None):
            row = self.space.around(dict(each), beside)
            if row is not None and frozenset(row.items()) not in seen and len(seen) < CONTEXTS:
                seen.add(frozenset(row.items()))
                yield row

    def _joined(self, picked: Sequence[Picked]) -> Sequence[Picked]:
        """Fewer combinations that cover the same pairs: two made one, wherever that is allowed."""
        found = list(picked)
        for _ in range(ROUNDS):
            self.rng.shuffle(found)
            found.sort(key=lambda each: each[0][self.anchor])
            couples = list(zip(found[::2], found[1::2], strict=False))
            made = [self._both(*couple) for couple in couples]
            self._ask([row for row in made if row is not None])
            single = found[2 * len(couples) :]
            found = list(single)
            for row, (one, other) in zip(made, couples, strict=True):
                joined = row is not None and not self._is_refused(row)
                found += [(row, one[1] | other[1])] if joined and row is not None else [one, other]
            self.report(f"{len(picked)} combinations for what was left, joined to {len(found)}")
        return found

    def _both(self, one: Picked, other: Picked) -> dict[str, str] | None:
        """One combination with the pairs of two; None where they exclude each other."""
        values = sorted({chosen for each in one[1] for chosen in each})
        row = self._put(values, other[0], one[0])
        if row is None or self._is_apart(row.items()):
            return None
        return row if one[1] | other[1] <= set(self.space.covered(row)) else None


def few(wanted: Set[Pair], rows: Sequence[dict[str, str]], space: Space) -> list[Picked]:
    """Few of some combinations that cover what they can of some pairs, each with those that it is there for.

    Greedy: always the one that covers most of what is left (Chvatal 1979).
    """
    covers = [frozenset(each for each in space.covered(row) if each in wanted) for row in rows]
    queue = [(-len(covered), place) for place, covered in enumerate(covers) if covered]
    heapify(queue)
    left, found = set(wanted), []
    while queue:
        count, place = heappop(queue)
        new = covers[place] & left
        if new and len(new) < -count:  # counted before others were taken
            heappush(queue, (-len(new), place))
        elif new:
            left -= new
            found.append((rows[place], new))
    return found
