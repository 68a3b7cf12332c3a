"""What clients of a served model send and get: OpenAI's forms of requests, answers, streams and errors."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stoker.recipes.torch_engine import Sampling, Step


class Message(BaseModel):
    role: str
    content: str | list[dict[str, Any]] | None = ""

    def plain(self) -> dict[str, str]:
        """With the text parts joined, as chat templates expect it."""
        parts = self.content if isinstance(self.content, list) else [{"text": self.content or ""}]
        return {"role": self.role, "content": "".join(str(part.get("text", "")) for part in parts)}


class StreamOptions(BaseModel):
    include_usage: bool = False


class Ask(BaseModel):
    """What both kinds of completion have in common; OpenAI's limits."""

    model_config = ConfigDict(extra="ignore")  # fields that change nothing here (user, store, metadata)

    model: str = ""
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = 1
    ignore_eos: bool = False  # vLLM's and llama.cpp's

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def usage_in_stream(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatAsk(Ask):
    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0

    def sampling(self, room: int) -> Sampling:
        """`room`: tokens the context has left."""
        limit = self.max_completion_tokens or self.max_tokens or room
        return Sampling(limit, self.temperature, self.top_p, self.seed, self.top_logprobs, self.ignore_eos)


class TextAsk(Ask):
    prompt: str | Annotated[list[int], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] = 16
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    def sampling(self, _room: int) -> Sampling:
        return Sampling(
            self.max_tokens, self.temperature, self.top_p, self.seed, self.logprobs or 0, self.ignore_eos
        )


class TokenizeAsk(BaseModel):
    """vLLM's (messages or prompt) and llama.cpp's (content)."""

    messages: list[Message] = []
    prompt: str = ""
    content: str = ""


class Form:
    """How one completion is written: as chat or as text, whole or in chunks."""

    def __init__(self, ask: ChatAsk | TextAsk, identity: str, model: str) -> None:
        self._chat = isinstance(ask, ChatAsk)
        self._logprobs = ask.logprobs if isinstance(ask, ChatAsk) else ask.logprobs is not None
        self._head = {
            "id": f"{'chatcmpl' if self._chat else 'cmpl'}-{identity}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, text: str, entries: Sequence[Any], finish: str, usage: Mapping[str, int]) -> dict[str, Any]:
        content = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        return {
            **self._headed("chat.completion"),
            "choices": [self._choice(content, entries, finish)],
            "usage": usage,
        }

    def chunk(self, text: str, entries: Sequence[Any], finish: str | None, *, first: bool) -> dict[str, Any]:
        delta: dict[str, Any] = {"role": "assistant"} if first else {}
        if text or not finish:
            delta["content"] = text
        content = {"delta": delta} if self._chat else {"text": text}
        return {**self._headed("chat.completion.chunk"), "choices": [self._choice(content, entries, finish)]}

    def usage(self, usage: Mapping[str, int]) -> dict[str, Any]:
        """The last chunk of a stream that was asked for it."""
        return {**self._headed("chat.completion.chunk"), "choices": [], "usage": usage}

    def _headed(self, kind: str) -> dict[str, Any]:
        return {**self._head, "object": kind if self._chat else "text_completion"}

    def _choice(self, content: Mapping[str, Any], entries: Sequence[Any], finish: str | None) -> dict[str, Any]:
        logprobs = {"content": list(entries)} if self._logprobs else None
        return {"index": 0, **content, "logprobs": logprobs, "finish_reason": finish}


def logprob_entry(step: Step, text: Mapping[int, str]) -> dict[str, Any]:
    """One position, with token ids as llama.cpp adds them; `text` spells the tokens."""
    top = [_spelled(token, logprob, text) for token, logprob in step.top]
    return {**_spelled(step.token, step.logprob, text), "top_logprobs": top}


def _spelled(token: int, logprob: float, text: Mapping[int, str]) -> dict[str, Any]:
    return {"id": token, "token": text[token], "bytes": list(text[token].encode()), "logprob": logprob}


def error(message: str, status: int, param: str | None = None) -> dict[str, Any]:
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    codes = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
    return {"error": {"message": message, "type": kind, "param": param, "code": codes.get(status)}}
