"""An inference engine that costs next to nothing: the same answer to every completion, whole or as 16 events.

python benchmarks/gateway_stub.py        prints the address it listens on
"""

from __future__ import annotations

import asyncio
import json
from typing import cast

import httptools
import uvloop

WORDS = 16  # in an answer
_USAGE = {"prompt_tokens": 12, "completion_tokens": WORDS, "total_tokens": 12 + WORDS}
_COMMON = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "stub"}


def _whole() -> bytes:
    message = {"role": "assistant", "content": "word " * WORDS}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    body = json.dumps({**_COMMON, "object": "chat.completion", "choices": choices, "usage": _USAGE}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _event(**fields: object) -> bytes:
    event = b"data: " + json.dumps({**_COMMON, "object": "chat.completion.chunk", **fields}).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _events(*, with_usage: bool) -> list[bytes]:
    """The answer's pieces as they are written, the head first."""
    words = [_event(choices=[{"index": 0, "delta": {"content": "word "}, "finish_reason": None}])] * WORDS
    end = [_event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])]
    usage = [_event(choices=[], usage=_USAGE)] if with_usage else []
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head, *words, *end, *usage, b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"]


_WHOLE = _whole()
_EVENTS = {with_usage: _events(with_usage=with_usage) for with_usage in (True, False)}


class Engine(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._parser.get_method() != b"POST":  # somebody looks whether we are there
            self._transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            return
        asked = json.loads(self._body)
        if not asked.get("stream"):
            self._transport.write(_WHOLE)
            return
        for piece in _EVENTS[bool((asked.get("stream_options") or {}).get("include_usage"))]:
            self._transport.write(piece)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Engine, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
