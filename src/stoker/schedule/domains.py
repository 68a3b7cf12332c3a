"""Where in the network a gang goes, and which devices of a node belong together.

Domains of a level (leaf, pod...) hold those of the levels before it. A gang goes to one domain of the closest
level that holds all of it: among several the one whose nodes lose least of their worth, then the one with fewest
nodes that would do (best fit: large domains stay whole for large gangs). Where no domain of the level that is
preferred holds it, it takes the fewest of them, the largest first and the last one as small as will do, within the
closest domain that holds all. Kueue's topology-aware scheduling and Slurm's topology plugins do so too, but do not
weigh the nodes.

A gang that asks for nothing is treated so as long as that costs nothing: its nodes lose no more than anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stoker.schedule.layout import Bools, Floats, Ints
from stoker.schedule.levels import UNKNOWN, Levels
from stoker.topology import BETWEEN_NODES, WITHIN_NODE, Level, Topology

_NEVER = -np.inf
TOLERATES_DEGRADED = "degraded"  # among the tolerations of a job that such devices are good enough for


def choose(score: Floats, rows: Ints, count: int, wish: Topology, levels: Levels) -> Ints | None:
    """The `count` of `rows` that a gang takes, neighbours in the network side by side; None where it has no place.

    `score` is minus the loss of worth of each of `rows`, -inf where one node's part does not fit.
    """
    if count == 1:
        at = int(score.argmax()) if len(score) else 0
        return rows[at : at + 1] if len(score) and score[at] > _NEVER else None
    able = np.flatnonzero(score > _NEVER)
    if len(able) < count:
        return None
    if not levels.domains and wish.required not in BETWEEN_NODES:
        return np.sort(rows[_highest(able, score, count)])
    chosen = _chosen(score[able], rows[able], count, wish, levels)
    return None if chosen is None else levels.order(chosen)


def _chosen(score: Floats, rows: Ints, count: int, wish: Topology, levels: Levels) -> Ints | None:
    """As `choose`, of rows on which it fits."""
    required = levels.told(wish.required)
    if wish.required in BETWEEN_NODES and required is None:
        return None
    if wish.spread:
        held = _within(score, rows, count, required, levels)
        return None if held is None else _spread(score[held], rows[held], count, levels.told(wish.spread), levels)
    asked = wish.required in BETWEEN_NODES or wish.preferred in BETWEEN_NODES
    edge = None if asked else float(np.partition(score, len(score) - count)[len(score) - count])
    fine = _finest(wish, levels)
    for level, ids in _outward(rows, required, levels):
        able = _holding(score, ids, count, edge)
        if not len(able):
            continue
        if fine is None or _reaches(level, fine):
            return _best_of(score, rows, ids, able, count, edge)
        return _fewest(score, rows, ids, able, count, _each(levels.domains[fine][rows]), edge)
    return None


def _outward(rows: Ints, required: Level | None, levels: Levels) -> Iterator[tuple[Level | None, Ints]]:
    """The levels at which all of it may be held, the closest first, each with the domains of `rows`."""
    for level, ids in levels.domains.items():
        yield level, ids[rows]
        if level is required:
            return
    yield None, np.zeros(len(rows), dtype=np.int64)


def _finest(wish: Topology, levels: Levels) -> Level | None:
    """The level of which as few domains as possible are taken; None when nothing is known of any."""
    wanted = wish.preferred if wish.preferred in BETWEEN_NODES else None
    for level in levels.domains:
        if wanted is None or _reaches(wanted, level):
            return level
    return None


def _reaches(level: Level | None, other: Level) -> bool:
    """Whether `level` is as close as `other`, or closer; None is the whole pool."""
    return level is not None and BETWEEN_NODES.index(level) <= BETWEEN_NODES.index(other)


def _within(score: Floats, rows: Ints, count: int, required: Level | None, levels: Levels) -> Ints | None:
    """Positions of the nodes of the one domain that a gang which spreads out stays in."""
    if required is None:
        return np.arange(len(rows))
    ids = levels.domains[required][rows]
    able = _holding(score, ids, count, None)
    if not len(able):
        return None
    roomiest = able[np.bincount(ids[ids >= 0])[able].argmax()]
    return np.flatnonzero(ids == roomiest)


def _spread(score: Floats, rows: Ints, count: int, level: Level | None, levels: Levels) -> Ints:
    """The best node of every domain first, then the second ones."""
    turn, order = _turns(score, _each(levels.domains[level][rows]) if level else np.arange(len(rows)))
    return rows[order[np.lexsort((order, -score[order], turn))[:count]]]


def _holding(score: Floats, ids: Ints, count: int, edge: float | None) -> Ints:
    """The domains that hold all of it.

    With `edge`, the lowest score of the best nodes of all, only those that lose no more than these: they have all
    nodes above it, and enough at it.
    """
    known = ids >= 0
    sizes = np.bincount(ids[known])
    if edge is None:
        return np.flatnonzero(sizes >= count)
    better, equal = score > edge, score == edge
    must = int(better.sum())
    all_better = np.bincount(ids[known & better], minlength=len(sizes)) == must
    return np.flatnonzero(all_better & (np.bincount(ids[known & equal], minlength=len(sizes)) >= count - must))


def _best_of(score: Floats, rows: Ints, ids: Ints, able: Ints, count: int, edge: float | None) -> Ints:
    """The best nodes of the domain that loses least, then of the smallest; with `edge` all lose alike."""
    if len(able) > 1:
        known = ids >= 0
        sizes = np.bincount(ids[known])
        totals = np.zeros(len(sizes)) if edge is not None else _totals(score[known], ids[known], count)
        able = able[np.lexsort((able, sizes[able], -totals[able]))]
    at = np.flatnonzero(ids == able[0])
    return rows[_highest(at, score, count)]


def _fewest(score: Floats, rows: Ints, ids: Ints, able: Ints, count: int, parts: Ints, edge: float | None) -> Ints:
    """Nodes of the domain out of `able` in which it takes the fewest of `parts`; on ties the smallest domain."""
    found: list[tuple[int, int, Ints]] = []
    for domain in able:
        at = np.flatnonzero(ids == domain)
        taken = _packed(at, score, count, parts, edge)
        found.append((len(np.unique(parts[taken])), len(at), taken))
    return rows[min(found, key=lambda one: one[:2])[2]]


def _packed(at: Ints, score: Floats, count: int, parts: Ints, edge: float | None) -> Ints:
    """Out of `at` the nodes of few of `parts`; with `edge` those above it, and a choice only among those at it."""
    must, may = np.empty(0, dtype=np.int64), at
    if edge is not None:
        must, may = at[score[at] > edge], at[score[at] == edge]
    taken = [must]
    left = count - len(must)
    begun = np.unique(parts[must])
    while left > 0:
        kinds, sizes = np.unique(parts[may], return_counts=True)
        enough = sizes >= left
        # One that is used already, then the smallest that ends it, then the largest.
        rank = np.lexsort((kinds, np.where(enough, sizes, -sizes), ~enough, ~np.isin(kinds, begun)))
        part = kinds[rank[0]]
        inside = may[parts[may] == part]
        best = _highest(inside, score, min(left, len(inside)))
        taken.append(best)
        left -= len(best)
        may = may[parts[may] != part]
    return np.concatenate(taken)


def _highest(at: Ints, score: Floats, count: int) -> Ints:
    """The `count` of the positions `at` with the highest score, the first ones on ties."""
    best: Ints = at[np.argsort(-score[at], kind="stable")[:count]]
    return best


def _totals(score: Floats, ids: Ints, count: int) -> Floats:
    """By domain the sum of its `count` highest scores; of one that has fewer nodes it says nothing."""
    if score.min() == score.max():
        return np.full(int(ids.max()) + 1, score[0] * count, dtype=np.float64)
    turn, order = _turns(score, ids)
    first = order[turn < count]
    return np.bincount(ids[first], weights=score[first], minlength=int(ids.max()) + 1).astype(np.float64)


def _turns(score: Floats, ids: Ints) -> tuple[Ints, Ints]:
    """Positions by domain and falling score, and of each which one of its domain it is, from 0."""
    order = np.lexsort((-score, ids))
    starts = np.flatnonzero(np.r_[True, np.diff(ids[order]) != 0])
    turn = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return turn, order


def _each(ids: Ints) -> Ints:
    """With a domain of its own for every node that tells none."""
    unknown = ids == UNKNOWN
    each: Ints = np.where(unknown, ids.max(initial=0) + np.cumsum(unknown), ids)
    return each


# within a node


def asks_within(wish: Topology, need: int) -> bool:
    """Whether it matters which devices of a node those `need` are."""
    return need > 1 and (wish.required in WITHIN_NODE or wish.preferred in WITHIN_NODE)


def allowed(
    usable: Bools, need: int, rows: Ints, wish: Topology, levels: Levels, *, tolerant: bool
) -> Iterator[Bools]:
    """Which of `rows` to take, by their `usable` devices [row, column]: the ones that please first, at last all."""
    sound = usable & ~levels.degraded[rows]
    for devices in (usable,) if tolerant or not levels.degraded.any() else (sound, usable):
        fits: Bools = devices.sum(axis=1) >= need
        if need > 1 and wish.required in WITHIN_NODE:
            fits &= joined(devices, need, wish.required, rows, levels)
        if need > 1 and wish.preferred in WITHIN_NODE:
            yield fits & joined(devices, need, wish.preferred, rows, levels)
        yield fits


def joined(usable: Bools, need: int, level: Level, rows: Ints, levels: Levels) -> Bools:
    """On which of `rows` at least `need` of the `usable` [row, column] devices share a group of `level`."""
    groups = levels.groups.get(level)
    if groups is None:
        return np.zeros(len(rows), dtype=np.bool_)
    most = np.zeros(len(rows), dtype=np.int64)
    for number in range(int(groups[rows].max(initial=UNKNOWN)) + 1):
        most = np.maximum(most, ((groups[rows] == number) & usable).sum(axis=1))
    enough: Bools = most >= need
    return enough


def pick(columns: Ints, need: int, row: int, wish: Topology, levels: Levels, *, tolerant: bool) -> Ints:
    """Those out of `columns` from which `need` devices should be taken: sound ones, of one group that has them.

    A degraded device is taken only where the sound ones do not do, or by a job that is `tolerant` of it.
    """
    sound = columns if tolerant else columns[~levels.degraded[row, columns]]
    for tried in (sound, columns):
        if len(tried) >= need and _meets(tried, need, row, wish, levels):
            return _closest(tried, need, row, wish, levels)
    return columns


def _meets(columns: Ints, need: int, row: int, wish: Topology, levels: Levels) -> bool:
    level = wish.required
    if need < 2 or level not in WITHIN_NODE:
        return True
    usable = np.zeros((1, levels.degraded.shape[1]), dtype=np.bool_)
    usable[0, columns] = True
    return bool(joined(usable, need, level, np.array([row]), levels)[0])


def _closest(columns: Ints, need: int, row: int, wish: Topology, levels: Levels) -> Ints:
    """What is required counts first, then NVLink, the socket and the switch; the smallest group that will do."""
    first = [level for level in (wish.required, wish.preferred) if level in WITHIN_NODE]
    for level in dict.fromkeys((*first, *WITHIN_NODE)):
        if level in levels.groups:
            columns = _smallest(columns, levels.groups[level][row, columns], need)
    return columns


def _smallest(columns: Ints, groups: Ints, need: int) -> Ints:
    kinds, sizes = np.unique(groups[groups != UNKNOWN], return_counts=True)
    able = np.flatnonzero(sizes >= need)
    if not len(able):
        return columns
    smallest: Ints = columns[groups == kinds[able[sizes[able].argmin()]]]
    return smallest
