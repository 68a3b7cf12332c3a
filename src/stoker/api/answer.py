"""An engine's answer on its way back: tokens are counted, errors are put in the one form, the rest is untouched."""

from __future__ import annotations

import json
from typing import Any

from stoker.api.errors import body_of
from stoker.api.usage import Tokens

_LONGEST_LINE = 1 << 20  # bytes; a longer one is passed on in pieces, unread


class StreamTap:
    """Reads the usage out of a passing event stream; the usage chunk goes on only to a caller who asked for it."""

    def __init__(self, *, keep_usage: bool) -> None:
        self.tokens = Tokens()
        self._keep = keep_usage
        self._rest = b""  # the line that has not ended yet

    def pass_on(self, piece: bytes) -> bytes:
        """What may go on to the caller now."""
        if not self._rest and piece.endswith(b"\n") and b'"usage"' not in piece:
            return piece
        lines = (self._rest + piece).splitlines(keepends=True)
        self._rest = b""
        if lines and not lines[-1].endswith(b"\n") and len(lines[-1]) < _LONGEST_LINE:
            self._rest = lines.pop()
        return b"".join(line for line in lines if self._wanted(line))

    def rest(self) -> bytes:
        return self._rest

    def _wanted(self, line: bytes) -> bool:
        if b'"usage"' not in line or not line.startswith(b"data:"):
            return True
        chunk = _object(line[5:])
        tokens = _tokens(chunk)
        if tokens is None:
            return True
        self.tokens = tokens
        return self._keep or bool(chunk.get("choices"))


def tokens_of(body: bytes) -> Tokens:
    """What a whole answer says it used; zero when it does not say."""
    return _tokens(_object(body)) or Tokens()


def refusal(status: int, body: bytes, engine: str) -> bytes:
    """An engine's error in OpenAI's form; llama.cpp's code is a number and it has no param."""
    error = _object(body).get("error")
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        param = error.get("param")
        code = str(error.get("code") or error.get("type") or status)
        return body_of(status, error["message"], code=code, param=param if isinstance(param, str) else None)
    return body_of(status, f"{engine} answered {status} without saying why", code="broken")


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _tokens(chunk: dict[str, Any]) -> Tokens | None:
    usage = chunk.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return Tokens(prompt if isinstance(prompt, int) else 0, completion if isinstance(completion, int) else 0)
