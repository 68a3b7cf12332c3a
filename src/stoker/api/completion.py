"""A completion request as far as the gateway must understand it: whose model, streamed or not, within the limits.

Everything else of the body is the engine's to judge and passes through untouched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from stoker.errors import BadInput

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"


@dataclass(frozen=True)
class Limits:
    """What one request may ask for."""

    body: int = 8 << 20  # bytes
    tokens: int = 131_072  # tokens to be generated
    choices: int = 16
    messages: int = 4096
    held: int = 256  # requests that may wait for a replica of one endpoint


@dataclass(frozen=True, slots=True)
class Call:
    """One completion request, checked."""

    model: str
    stream: bool
    wants_usage: bool  # the caller asked for a usage chunk at the end of the stream
    body: bytes  # what goes to the engine


def read_call(path: str, raw: bytes, limits: Limits) -> Call:
    """The call in `raw` sent to `path`; raises BadInput naming the field."""
    body = _parse(raw)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadInput("model: a model's name is needed; GET /v1/models lists them", param="model")
    _check_input(path, body, limits)
    _check_numbers(body, limits)
    stream = body.get("stream") or False
    if not isinstance(stream, bool):
        raise BadInput("stream: true or false is allowed", param="stream")
    wants_usage = stream and _wants_usage(body)
    changes: dict[str, Any] = {}
    if stream and not wants_usage:
        # Tokens are counted per key, so the engine is always asked; the chunk is taken out again on the way back.
        changes["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    if "@" in model:  # the engine knows itself by the endpoint's name, whichever version it is
        changes["model"] = model.partition("@")[0]
    return Call(model, stream, wants_usage, json.dumps(body | changes).encode() if changes else raw)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        body = _decode(raw.decode())
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise BadInput(f"the body is not valid JSON: {reason}") from None
    if not isinstance(body, dict):
        raise BadInput(f"the body must be a JSON object, a {type(body).__name__} was given")
    return body


def _check_input(path: str, body: Mapping[str, Any], limits: Limits) -> None:
    if path == TEXT:
        if not isinstance(body.get("prompt"), (str, list)):
            raise BadInput("prompt: a text or a list is needed", param="prompt")
        return
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadInput("messages: a list with at least one message is needed", param="messages")
    if len(messages) > limits.messages:
        raise BadInput(f"messages: {len(messages)} were given; allowed are {limits.messages}", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadInput(f"messages[{index}]: an object with a role is needed", param=f"messages[{index}]")


def _check_numbers(body: Mapping[str, Any], limits: Limits) -> None:
    bounds = {"max_tokens": limits.tokens, "max_completion_tokens": limits.tokens, "n": limits.choices}
    for name, most in bounds.items():
        value = body.get(name)
        if value is None:
            continue
        if type(value) is not int or not 1 <= value <= most:
            raise BadInput(f"{name}: {value!r} was given; allowed is 1 to {most}", param=name)


def _wants_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise BadInput("stream_options: an object is needed", param="stream_options")
    return bool(options and options.get("include_usage"))
