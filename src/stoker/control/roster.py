"""Roster: the engines there are, by name. It changes while the platform runs; who looks sees a whole state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TypeVar

from stoker.engine import Engine
from stoker.errors import Conflict, NotFound

A = TypeVar("A")


class Roster(Mapping[str, Engine]):
    """Any thread may read; each change replaces the mapping, so nobody iterates over one that changes."""

    def __init__(self, engines: Mapping[str, Engine] | None = None) -> None:
        self._engines: Mapping[str, Engine] = MappingProxyType(dict(engines or {}))
        self._lock = threading.Lock()
        self._wakes: list[Callable[[], None]] = []

    @classmethod
    def of(cls, *engines: Engine) -> Roster:
        return cls({engine.name: engine for engine in engines})

    def add(self, engine: Engine) -> None:
        """Raises Conflict when the name is taken."""
        with self._lock:
            if engine.name in self._engines:
                raise Conflict(
                    f'there is an engine "{engine.name}" already; choose another name or remove it first'
                )
            self._engines = MappingProxyType({**self._engines, engine.name: engine})
        self._tell()

    def remove(self, name: str) -> Engine:
        """Take it out and return it; its jobs are not touched. Raises NotFound."""
        with self._lock:
            if name not in self._engines:
                raise NotFound.named("engine", name, self._engines)
            engine = self._engines[name]
            self._engines = MappingProxyType({key: one for key, one in self._engines.items() if key != name})
        self._tell()
        return engine

    def on_change(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever an engine has come or gone."""
        self._wakes.append(wake)

    def able(self, name: str, ability: type[A]) -> A | None:
        """The engine `name` as one that has `ability`; None when there is no such engine or it cannot."""
        return able(self._engines.get(name), ability)

    def __getitem__(self, name: str) -> Engine:
        return self._engines[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._engines)

    def __len__(self) -> int:
        return len(self._engines)

    def _tell(self) -> None:
        for wake in self._wakes:
            wake()


def able(engine: Engine | None, ability: type[A]) -> A | None:
    """`engine`, or the one that a courier stands in front of, where it has `ability`."""
    behind = getattr(engine, "behind", engine)
    for one in (engine, behind):
        if isinstance(one, ability):
            return one
    return None
