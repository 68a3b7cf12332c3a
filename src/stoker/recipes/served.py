"""Ask a served model what it would say after each token of a given answer.

The conversation goes through ``/v1/chat/completions``, as a client's would, so the server's own chat template and
tokenizer are tested too. Where the answer leaves the reference, the reference's token is put in its place and the
server goes on from there (``/v1/completions`` with token ids), so every position is judged in the same context:
teacher forcing at the price of one request per difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from stoker.errors import Away, Broken, Denied

_NO_LOGPROBS = "the server gives no logprobs, so the model cannot be compared; enable them"
TOP = 20  # the most that OpenAI's API and vLLM give


@dataclass(frozen=True)
class Position:
    """What the server would say next: the token it chose and its top logprobs by token id."""

    token: int
    top: Mapping[int, float]


@dataclass(frozen=True)
class _Answer:
    """Some greedy tokens; `lossy` when the server left out those it could not print."""

    positions: Sequence[Position]
    lossy: bool = False

    def agreeing_with(self, tokens: Sequence[int]) -> list[Position]:
        """Up to the first difference, with it (behind it the contexts differ); without it where it may be a gap."""
        agreeing: list[Position] = []
        for position, token in zip(self.positions, tokens, strict=False):
            if position.token != token:
                return agreeing if self.lossy else [*agreeing, position]
            agreeing.append(position)
        return agreeing


_NOTHING = _Answer(())


class Served:
    """A model behind an OpenAI-compatible server (llama.cpp, vLLM, or our torch server)."""

    def __init__(self, url: str, model: str, key: str, timeout_s: float) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout_s)
        self._model = model

    async def close(self) -> None:
        await self._client.aclose()

    async def follow(self, messages: Sequence[Mapping[str, str]], tokens: Sequence[int]) -> list[Position]:
        """The server's choice at each position of the answer `tokens`, given all of `tokens` before it.

        Shorter than `tokens` only when the server cannot be asked to go on from token ids.
        """
        answer = await self._chat(messages, len(tokens))
        followed = answer.agreeing_with(tokens)
        prompt = await self._tokenize(messages) if len(followed) < len(tokens) else []
        while prompt and len(followed) < len(tokens):
            before = [*prompt, *tokens[: len(followed)]]
            if answer.lossy:
                followed.append(await self._look(before))
                answer = _NOTHING
                continue
            answer = await self._go_on(before, len(tokens) - len(followed))
            said = answer.agreeing_with(tokens[len(followed) :])
            if not (said or answer.lossy):
                raise Broken(f"the server gave no token after {len(before)} tokens; see its log")
            followed += said
        if tokens and not followed:
            raise Broken(_NO_LOGPROBS)
        return followed

    async def _chat(self, messages: Sequence[Mapping[str, str]], count: int) -> _Answer:
        asked = {"messages": list(messages), "max_tokens": count, "logprobs": True, "top_logprobs": TOP}
        return _answer(await self._post("/v1/chat/completions", {**asked, **self._greedily()}))

    async def _go_on(self, prompt: list[int], count: int) -> _Answer:
        asked = {"prompt": prompt, "max_tokens": count, "logprobs": TOP}
        return _answer(await self._post("/v1/completions", {**asked, **self._greedily()}))

    async def _look(self, prompt: list[int]) -> Position:
        """The server's choice after `prompt`, from the logprobs of a token that is always printable.

        llama.cpp lists no logprobs for a token that ends within a character (UTF-8), so one that is complete is
        forced; the logprobs are those before the force.
        """
        printable = (await self._post("/tokenize", {"content": "a"}))["tokens"][-1]
        asked = {"prompt": prompt, "max_tokens": 1, "logprobs": TOP, "logit_bias": [[printable, 1000.0]]}
        answer = _answer(await self._post("/v1/completions", {**asked, **self._greedily()}))
        if not answer.positions:
            raise Broken(_NO_LOGPROBS)
        seen = answer.positions[0]
        return Position(max(seen.top, key=lambda token: seen.top[token]), seen.top)

    def _greedily(self) -> dict[str, Any]:
        return {"model": self._model, "temperature": 0, "return_tokens_as_token_ids": True}

    async def _tokenize(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The prompt's token ids: llama.cpp renders and tokenizes in two requests, vLLM in one."""
        asked: dict[str, Any] = {"model": self._model, "messages": list(messages)}
        rendered = await self._post("/apply-template", asked, missing_ok=True)
        if "prompt" in rendered:
            asked = {"content": rendered["prompt"], "add_special": True, "parse_special": True}
        tokenized = await self._post("/tokenize", asked, missing_ok=True)
        return [int(token) for token in tokenized.get("tokens", [])]

    async def _post(self, path: str, body: Mapping[str, Any], *, missing_ok: bool = False) -> dict[str, Any]:
        try:
            reply = await self._client.post(path, json=body)
        except httpx.TransportError as error:
            raise Away(f"{self._client.base_url}{path} does not answer: {error}") from None
        if reply.status_code == httpx.codes.NOT_FOUND and missing_ok:
            return {}
        if reply.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise Denied(f"{reply.url} refuses the key in STOKER_SERVICE_KEY", known=False)
        if reply.is_error:
            raise Broken(f"{reply.url} answered {reply.status_code}: {reply.text[:300]}")
        answer: dict[str, Any] = reply.json()
        return answer


def _answer(reply: Mapping[str, Any]) -> _Answer:
    logprobs = reply["choices"][0].get("logprobs") or {"content": []}
    positions = [_of_chat(entry) for entry in logprobs["content"]] if "content" in logprobs else _of_text(logprobs)
    return _Answer(positions, lossy=len(positions) < reply["usage"]["completion_tokens"])


def _of_text(logprobs: Mapping[str, Any]) -> list[Position]:
    """OpenAI's older form, of vLLM's ``/v1/completions``."""
    return [
        Position(_token_id({"token": token}), {_token_id({"token": text}): value for text, value in top.items()})
        for token, top in zip(logprobs["tokens"], logprobs["top_logprobs"], strict=True)
    ]


def _of_chat(entry: Mapping[str, Any]) -> Position:
    return Position(_token_id(entry), {_token_id(item): item["logprob"] for item in entry["top_logprobs"]})


def _token_id(entry: Mapping[str, Any]) -> int:
    """llama.cpp and our server give ``id``; vLLM, when asked, writes the id into the text."""
    if "id" in entry:
        return int(entry["id"])
    text = str(entry["token"])
    if not text.startswith("token_id:"):
        raise Broken("the server gives tokens without ids, so the model cannot be compared; use llama.cpp or vLLM")
    return int(text.removeprefix("token_id:"))
