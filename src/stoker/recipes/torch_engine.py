"""Answer several requests at once with one torch model: fair, cancellable, admitted as they come.

One thread owns the model. Each turn of its loop admits waiting requests while there is room, and moves every
running one on by a token, so a long answer never holds up a short one. Sequences keep their own caches and are
stepped one after another: what is served here (adapters that no other engine loads) is small, and padding them
into one batch would cost more than it saves on few CPUs.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from stoker.errors import TooLarge
from stoker.recipes import adapters


@dataclass(frozen=True)
class Sampling:
    """How to choose tokens, and when to stop."""

    max_tokens: int
    temperature: float = 1.0  # 0: always the likeliest
    top_p: float = 1.0  # only from the likeliest tokens with this mass together
    seed: int | None = None
    logprobs: int = 0  # how many likeliest tokens to report per position
    ignore_end: bool = False


@dataclass(frozen=True)
class Step:
    """One token of an answer. Logprobs are the model's own, before temperature and top_p."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()
    finish: str = ""  # "stop" or "length" with the last one


@dataclass(eq=False)
class Request:
    """A prompt being answered; `tell` is called from the engine's thread, with None when no more will come."""

    prompt: Sequence[int]
    sampling: Sampling
    tell: Callable[[Step | None], None]
    cancelled: threading.Event = field(default_factory=threading.Event)


@dataclass
class Counters:
    """What `/metrics` shows."""

    running: int = 0
    waiting: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    finished: dict[str, int] = field(default_factory=lambda: {"stop": 0, "length": 0, "abort": 0})
    busy_s: float = 0.0


class Engine:
    """Owns `model` (see `adapters.apply`) from `start` to `close`."""

    def __init__(self, model: Any, end_tokens: Sequence[int], context: int, slots: int, queue: int) -> None:
        self.context = context
        self.counters = Counters()
        self._model, self._end_tokens = model, frozenset(end_tokens)
        self._slots, self._queue = slots, queue
        self._waiting: deque[Request] = deque()
        self._running: list[_Sequence] = []
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="torch engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def submit(self, request: Request) -> None:
        """Queue `request`; raises TooLarge when it cannot fit the context or too many wait."""
        if len(request.prompt) >= self.context:
            raise TooLarge(f"the prompt has {len(request.prompt):,} tokens, the context holds {self.context:,}")
        with self._changed:
            if len(self._waiting) >= self._queue:
                raise TooLarge(f"{self._queue} requests wait already; try again later", param="queue")
            self._waiting.append(request)
            self._changed.notify()

    def _work(self) -> None:
        try:
            while self._admit():
                began = time.monotonic()
                for sequence in tuple(self._running):
                    self._advance(sequence)
                self.counters.busy_s += time.monotonic() - began
        finally:  # whoever still waits must not wait for ever
            for request in (*self._waiting, *(sequence.request for sequence in self._running)):
                request.tell(None)

    def _admit(self) -> bool:
        """Fill free slots, sleeping while there is nothing to do; False when it is time to end."""
        with self._changed:
            while not (self._running or self._waiting or self._closing):
                self._changed.wait()
            while self._waiting and len(self._running) < self._slots:
                self._running.append(_Sequence(self._model, self._waiting.popleft()))
            self._count()
            return not self._closing

    def _advance(self, sequence: _Sequence) -> None:
        if sequence.request.cancelled.is_set():
            self._finish(sequence, "abort")
            sequence.request.tell(None)
            return
        step = sequence.step(self._end_tokens, self.context)
        self.counters.prompt_tokens += len(sequence.request.prompt) if sequence.length == 1 else 0
        self.counters.generated_tokens += 1
        if step.finish:
            self._finish(sequence, step.finish)
        sequence.request.tell(step)

    def _finish(self, sequence: _Sequence, reason: str) -> None:
        self._running.remove(sequence)
        self.counters.finished[reason] += 1
        self._count()

    def _count(self) -> None:
        self.counters.running, self.counters.waiting = len(self._running), len(self._waiting)


class _Sequence:
    """A running request with its key-value cache."""

    def __init__(self, model: Any, request: Request) -> None:
        from transformers import DynamicCache

        self.request = request
        self.length = 0  # tokens answered
        self._model, self._causal = model, adapters.inner(model)
        self._cache = DynamicCache(config=self._causal.config)
        self._random = torch.Generator()
        if request.sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(request.sampling.seed)
        self._last: int | None = None

    def step(self, end_tokens: frozenset[int], context: int) -> Step:
        with torch.inference_mode():
            logits = self._logits()
        logprobs = torch.log_softmax(logits, dim=-1)
        token = _choose(logits, self.request.sampling, self._random)
        self._last = token
        self.length += 1
        top = logprobs.topk(self.request.sampling.logprobs)
        return Step(
            token,
            float(logprobs[token]),
            tuple(zip(top.indices.tolist(), top.values.tolist(), strict=True)),
            self._finish(token, end_tokens, context),
        )

    def _logits(self) -> torch.Tensor:
        """Of the next token, [vocabulary], float32."""
        given = [*self.request.prompt] if self._last is None else [self._last]
        ids = torch.tensor([given], device=self._causal.device)
        embedded = self._causal.get_input_embeddings()(ids)
        if self._last is None and (prompt := adapters.soft_prompt(self._model)) is not None:
            embedded = torch.cat([prompt[None].to(embedded.dtype), embedded], dim=1)
        output = self._causal(inputs_embeds=embedded, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        logits: torch.Tensor = output.logits[0, -1].float().cpu()
        return logits

    def _finish(self, token: int, end_tokens: frozenset[int], context: int) -> str:
        sampling = self.request.sampling
        if token in end_tokens and not sampling.ignore_end:
            return "stop"
        full = len(self.request.prompt) + self.length >= context
        return "length" if full or self.length >= sampling.max_tokens else ""


def _choose(logits: torch.Tensor, sampling: Sampling, random: torch.Generator) -> int:
    """Nucleus sampling (Holtzman et al. 2020): from the fewest tokens whose mass reaches top_p."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    mass, order = torch.softmax(logits / sampling.temperature, dim=-1).sort(descending=True)
    before = mass.cumsum(0) - mass  # mass of all likelier tokens: the first always stays
    kept = mass.where(before < sampling.top_p, torch.zeros(()))
    return int(order[torch.multinomial(kept, 1, generator=random)])
