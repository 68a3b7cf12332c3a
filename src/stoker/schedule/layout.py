"""Layout: what of the pool stays while jobs come and go, in arrays of one row a node and one column a device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.cluster import WHOLE, Health, Node, Place
from stoker.schedule.levels import Levels, alike, levels_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_SLOTS_PER_CPU = 16
_LEAST_SLOTS = 64  # jobs on a node, so that those without CPUs have a limit too


@dataclass(frozen=True)
class Layout:
    """Shared by all fields of the same nodes."""

    nodes: tuple[Node, ...]
    row: dict[Place, int]
    twins: tuple[tuple[int, ...], ...]  # rows of the same machine, the row itself included
    columns: tuple[dict[int, int], ...]  # device index -> column
    indexes: tuple[tuple[int, ...], ...]  # column -> device index
    model: Ints  # [row, column] -> number of its model; 0: no device, or a failed one
    models: tuple[str, ...]  # number of the model - 1 -> name in small letters
    engines: dict[str, Ints]  # engine -> its rows
    cpus: Floats
    memory: Floats  # bytes
    slots: Ints
    ration: Floats  # bytes for each CPU of a job that names no memory

    def whole(self) -> Ints:
        """Thousandths of each device while nothing is held."""
        return np.where(self.model > 0, WHOLE, 0)

    @cached_property
    def rows_of_models(self) -> list[list[int]]:
        """`model` as plain numbers."""
        found: list[list[int]] = self.model.tolist()
        return found

    @cached_property
    def offset(self) -> Ints:
        """[row, column] -> where its model begins in tables over the thousandths of a device."""
        return self.model * (WHOLE + 1)

    @cached_property
    def shared(self) -> bool:
        """Whether any machine belongs to several engines."""
        return any(len(twins) > 1 for twins in self.twins)

    @cached_property
    def kinds(self) -> tuple[Ints, tuple[Node, ...]]:
        """Who may be on a node, whatever is free, is the same for all of a kind: its number by row, one of each."""
        numbers: dict[tuple[object, ...], int] = {}
        examples: list[Node] = []
        kind = np.zeros(len(self.nodes), dtype=np.int64)
        for row, node in enumerate(self.nodes):
            key = (node.schedulable, node.engine, node.site, node.taints)
            number = kind[row] = numbers.setdefault(key, len(numbers))
            if number == len(examples):
                examples.append(node)
        return kind, tuple(examples)

    @cached_property
    def mixed(self) -> Bools:
        """Which rows have devices of several models: a job takes all its devices of one."""
        found: Bools = (
            np.where(self.model > 0, self.model, self.model.max(axis=1, keepdims=True)).min(axis=1)
        ) != (self.model.max(axis=1))
        return found

    @cached_property
    def main(self) -> Ints:
        """The model of each row's devices; where they are mixed, one of them."""
        found: Ints = self.model.max(axis=1)
        return found

    @cached_property
    def levels(self) -> Levels:
        return levels_of(self.nodes)

    def renewed(self, different: Mapping[int, Node]) -> Layout | None:
        """The layout with other nodes in these rows; None when it has to be made anew.

        That is when they are other machines, have more devices than there are columns or devices of a new model, or
        are so many that it is as quick.
        """
        if len(different) > max(1, len(self.nodes) // 4):
            return None
        if not all(self._could_be(row, node) for row, node in different.items()):
            return None
        part = layout_of(different.values(), self.models, self.model.shape[1])
        rows = list(different)
        spliced = {name: _spliced(getattr(self, name), rows, getattr(part, name)) for name in _OF_A_NODE}
        layout = replace(self, **spliced)
        if "levels" in self.__dict__ and all(alike(self.nodes[row], node) for row, node in different.items()):
            layout.__dict__["levels"] = self.levels
        return layout

    def _could_be(self, row: int, node: Node) -> bool:
        old = self.nodes[row]
        return (
            (node.place, node.machine) == (old.place, old.machine)
            and len(node.devices) <= self.model.shape[1]
            and all(device.model.lower() in self.models for device in node.devices)
        )


# What depends on one node alone, and on the numbers of the models.
_OF_A_NODE = ("nodes", "columns", "indexes", "model", "cpus", "memory", "slots", "ration")


def _spliced(values: Any, rows: Sequence[int], new: Any) -> Any:
    """The same array or tuple with others in these rows."""
    if isinstance(values, np.ndarray):
        copied = values.copy()
        copied[rows] = new
        return copied
    listed = list(values)
    for row, value in zip(rows, new, strict=True):
        listed[row] = value
    return tuple(listed)


def layout_of(nodes: Iterable[Node], models: Sequence[str] | None = None, width: int = 0) -> Layout:
    """`models` and `width` (columns): where they are given already."""
    rows = tuple(nodes)
    names = models or sorted({device.model.lower() for node in rows for device in node.devices})
    number = {name: at for at, name in enumerate(names, start=1)}
    width = width or max((len(node.devices) for node in rows), default=0) or 1
    model = np.zeros((len(rows), width), dtype=np.int64)
    machines: dict[str, list[int]] = {}
    engines: dict[str, list[int]] = {}
    for at, node in enumerate(rows):
        machines.setdefault(node.machine, []).append(at)
        engines.setdefault(node.engine, []).append(at)
        for column, device in enumerate(node.devices):
            model[at, column] = 0 if device.health is Health.FAILED else number[device.model.lower()]
    return Layout(
        nodes=rows,
        row={Place(node.engine, node.name): at for at, node in enumerate(rows)},
        twins=tuple(tuple(machines[node.machine]) for node in rows),
        columns=tuple({device.index: column for column, device in enumerate(node.devices)} for node in rows),
        indexes=tuple(tuple(device.index for device in node.devices) for node in rows),
        model=model,
        models=tuple(names),
        engines={engine: np.array(found) for engine, found in engines.items()},
        cpus=np.array([node.cpus for node in rows], dtype=np.float64),
        memory=np.array([node.memory for node in rows], dtype=np.float64),
        ration=np.array([node.memory // node.cpus if node.rations_memory and node.cpus else 0.0 for node in rows]),
        slots=np.array(
            [node.slots or max(_LEAST_SLOTS, node.cpus * _SLOTS_PER_CPU) for node in rows], dtype=np.int64
        ),
    )
