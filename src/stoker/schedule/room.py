"""Room: what is free on every node, one row a node. Put in and take out in any order: it stays exact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from stoker.cluster import WHOLE, Place
from stoker.foreign import Held
from stoker.job import JobSpec, Placement
from stoker.schedule.layout import Bools, Floats, Ints, Layout


class Room:
    """Free CPUs, memory, jobs and device thousandths by row of `layout`. Below zero where others overbook."""

    def __init__(self, layout: Layout, cpus: Floats, memory: Floats, slots: Ints, free: Ints) -> None:
        self.layout = layout
        self.cpus = cpus
        self.memory = memory  # bytes
        self.slots = slots
        self.free = free  # [row, column] thousandths

    @classmethod
    def of(cls, layout: Layout) -> Room:
        """Nothing is held."""
        return cls(layout, layout.cpus.copy(), layout.memory.copy(), layout.slots.copy(), layout.whole())

    def copy(self) -> Room:
        return Room(self.layout, self.cpus.copy(), self.memory.copy(), self.slots.copy(), self.free.copy())

    def adopt(self, other: Room, rows: Ints) -> None:
        """Be like `other` in these rows."""
        for mine, its in zip(self.arrays(), other.arrays(), strict=True):
            mine[rows] = its[rows]

    def least_of(self, one: Room, other: Room, rows: Ints) -> None:
        """What is free in both, in these rows."""
        for mine, first, second in zip(self.arrays(), one.arrays(), other.arrays(), strict=True):
            mine[rows] = np.minimum(first[rows], second[rows])

    def empty(self, layout: Layout, rows: Ints) -> None:
        """Nothing is held in these rows any more, which are as `layout` says from now on."""
        self.layout = layout
        self.cpus[rows], self.memory[rows] = layout.cpus[rows], layout.memory[rows]
        self.slots[rows] = layout.slots[rows]
        self.free[rows] = np.where(layout.model[rows] > 0, WHOLE, 0)

    def rows(self, engine: str, placements: Iterable[Placement]) -> Iterator[tuple[int, Placement]]:
        """The rows that these placements touch: a machine that belongs to two engines has two."""
        for placement in placements:
            row = self.layout.row.get(Place(engine, placement.node))
            for twin in () if row is None else self.layout.twins[row]:
                yield twin, placement

    def change(self, row: int, spec: JobSpec, placement: Placement, sign: int) -> None:
        """Take out (-1) or give back (1) what one node's part of the job holds."""
        need, layout = spec.resources, self.layout
        columns = layout.columns[row]
        cpus, devices, milli = need.cpus, placement.devices, need.milli
        memory = need.memory or layout.ration[row] * max(1, need.cpus)
        if spec.exclusive:
            node = layout.nodes[row]
            cpus, memory, devices, milli = node.cpus, node.memory, tuple(columns), WHOLE
        self.cpus[row] += sign * cpus
        self.memory[row] += sign * memory
        self.slots[row] += sign
        for device in devices:
            column = columns.get(device)
            if column is not None and layout.model[row, column]:  # it may have failed since
                self.free[row, column] += sign * milli

    def take_held(self, row: int, held: Held) -> None:
        """What somebody else's job holds. Of devices that its engine does not name, the freest count as held."""
        self.cpus[row] -= held.cpus
        self.memory[row] -= held.memory
        self.slots[row] -= 1
        columns = [self.layout.columns[row][index] for index in held.indexes if index in self.layout.columns[row]]
        if not held.indexes:
            columns = [int(column) for column in np.argsort(-self.free[row], kind="stable")[: held.devices]]
        self.free[row, columns] = 0

    def usable(self, rows: Ints) -> Ints:
        """Thousandths free by device; none where more is held than there is, as when a device failed."""
        found: Ints = np.clip(self.free[rows], 0, WHOLE)
        return found

    def untouched(self, rows: Ints) -> Bools:
        """Where nothing is held."""
        all_free = (self.free[rows] == np.where(self.layout.model[rows] > 0, WHOLE, 0)).all(axis=1)
        idle: Bools = np.logical_and(self.cpus[rows] == self.layout.cpus[rows], all_free)
        return idle

    def arrays(self) -> tuple[Floats, Floats, Ints, Ints]:
        return self.cpus, self.memory, self.slots, self.free
