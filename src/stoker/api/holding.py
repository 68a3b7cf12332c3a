"""Held requests: an endpoint had no replica since nobody asked, and one is started for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from time import perf_counter

from stoker.errors import Away

_LOOK_S = 0.05


class Held:
    """Lives on the gateway's event loop; `waiting` is read by lending, which takes it for load."""

    def __init__(self, most: int) -> None:
        """`most`: requests that may wait for one endpoint."""
        self._most = most
        self.waiting: Counter[str] = Counter()  # by the endpoint's name

    async def wait(self, model: str, there: Callable[[], bool], *, since: float, patience: float) -> float:
        """Returns when a replica of `model` is `there`, with the seconds that it took.

        Raises Away when there is none `patience` seconds after `since` (of perf_counter), or when too many wait.
        """
        if patience <= 0:
            raise Away(f'no replica of "{model}" is ready; try again in a few seconds')
        endpoint = model.partition("@")[0]
        if self.waiting[endpoint] >= self._most:
            raise Away(f'"{model}" is starting, and {self._most} requests wait for it; try again in a few seconds')
        self.waiting[endpoint] += 1
        began = perf_counter()
        try:
            while not there():
                if perf_counter() - since >= patience:
                    raise Away(f'"{model}" has not started within {patience:g} s; try again in a few seconds')
                await asyncio.sleep(_LOOK_S)
            return perf_counter() - began
        finally:
            self.waiting[endpoint] -= 1
            if not self.waiting[endpoint]:
                del self.waiting[endpoint]
