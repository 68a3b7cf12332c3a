"""Prompts: how long a pass of one or several prompts takes, and how many an engine takes together.

An engine takes what has come since it last looked: while it decoded a few steps, or was busy with other prompts.
Some hold a prompt back for a number of steps, or until enough of them wait, so that they share a pass. A pass of k
prompts takes sqrt((first + (k - 1) further)^2 + host^2): the host starts kernels one by one meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stoker.perf.serving.curves import Engine
from stoker.perf.serving.step import Prefill, Replica, decode_seconds, prefill_seconds

_LEAST = 0.1  # of a prompt's time that running sequences wait for at least


@dataclass(frozen=True)
class Prompts:
    """Prompts of one length on one replica."""

    alone: Prefill
    most: float  # that one pass takes
    further: float  # s of the device for each that joins a pass
    saved: float  # s of a prompt's passes: they do a step of the running sequences along, which read weights anyway
    engine: Engine

    @classmethod
    def on(cls, replica: Replica, prompt: float) -> Prompts:
        engine, alone = replica.curves.engine, prefill_seconds(replica, prompt, prompt)
        most = max(1.0, engine.chunk // prompt) * replica.split.adp
        full = prefill_seconds(replica, most * prompt, prompt) if most > 1.0 else alone
        further = (full.device - alone.device) / max(1.0, most - 1.0)
        saved = decode_seconds(replica, 1.0, 1.0) * max(1.0, prompt / engine.chunk) if engine.mixes else 0.0
        return cls(alone, most, further, saved, engine)

    def until_answered(self, together: float) -> float:
        """Seconds of a pass of so many prompts, until their first tokens are there."""
        return math.hypot(self._device(together), self.alone.host)

    def each(self, together: float) -> float:
        """Seconds of the engine for each prompt when `together` wait, and share passes as they fit."""
        sharing = min(self.most, max(1.0, together))
        return math.hypot(self._device(sharing), self.alone.host * self.engine.exposed) / sharing

    def delay(self, sharing: float) -> float:
        """Seconds by which each prompt makes running sequences wait, `sharing` prompts to a pass."""
        each = self.each(sharing)
        return max(_LEAST * each, each - self.saved / sharing)

    def at_once(self, users: float) -> float:
        """Mean seconds that one of `users` prompts which come together waits for the others, in its pass, too."""
        sharing = min(self.most, max(1.0, users))
        return (users + sharing - 2.0) / 2.0 * self.until_answered(sharing) / sharing

    def sharing(self, arriving: float, step: float) -> float:
        """How many share a pass when `arriving` come a step of `step` seconds."""
        looks = arriving * max(self.engine.looks, self.alone.latency / step)
        return min(self.most, max(1.0, looks, 1.0 + arriving * self._held(arriving)))

    def unnoticed(self, arriving: float) -> float:
        """Steps that a prompt waits on average until the engine has looked and no longer holds it back."""
        held = self._held(arriving)
        others = arriving * held  # who come while the first is held, and wait for half of that
        return self.engine.looks / 2.0 + held * (1.0 + others / 2.0) / (1.0 + others)

    def _held(self, arriving: float) -> float:
        """Steps that the first prompt of a pass waits for others."""
        return min(self.engine.hold, (self.engine.enough - 1.0) / arriving) if arriving > 0 else self.engine.hold

    def _device(self, together: float) -> float:
        return self.alone.device + (together - 1.0) * self.further
