"""Log: which rows have changed, so that whoever looked before looks again only there."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from stoker.schedule.layout import Ints

NEVER = -1  # the mark of one who has not looked yet


class Log:
    """Rows in the order in which they changed. What is long ago is forgotten: then every row counts as changed."""

    def __init__(self, count: int) -> None:
        self._all = np.arange(count)
        self._rows: list[int] = []
        self._start = 0  # the mark of the first one that is kept

    @property
    def end(self) -> int:
        """The mark of one who looks now."""
        return self._start + len(self._rows)

    def note(self, rows: Iterable[int]) -> None:
        self._rows.extend(rows)
        if len(self._rows) > 4 * len(self._all) + 1000:
            self._start += len(self._rows) // 2
            del self._rows[: len(self._rows) // 2]

    def since(self, mark: int) -> Ints:
        """The rows that have changed after `mark`, in order and each once."""
        if mark < self._start:
            return self._all
        changed = self._rows[mark - self._start :]
        if len(changed) < 2:
            return np.array(changed, dtype=np.int64)
        return np.array(sorted(set(changed)), dtype=np.int64)
