"""How completions stand in the OpenAPI document. The gateway answers them in front of the framework."""

from __future__ import annotations

from typing import Any

from stoker.api.completion import CHAT, TEXT
from stoker.api.errors import ERRORS

_COMMON: dict[str, Any] = {
    "model": {"type": "string", "minLength": 1, "description": "an endpoint's name, or name@version"},
    "stream": {"type": "boolean"},
    "stream_options": {"type": "object", "properties": {"include_usage": {"type": "boolean"}}},
    "max_tokens": {"type": "integer", "minimum": 1},
    "n": {"type": "integer", "minimum": 1},
}
_MESSAGE = {
    "type": "object",
    "required": ["role"],
    "properties": {"role": {"type": "string"}, "content": {}},
}


def _path(summary: str, needed: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": ["model", *needed], "properties": {**_COMMON, **needed}}
    answers = {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}}
    return {
        "post": {
            "tags": ["completions"],
            "summary": summary,
            "description": "What the engine behind the endpoint takes besides is passed on to it.",
            "operationId": summary.lower().replace(" ", "_"),
            "security": [{"HTTPBearer": []}],
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
            "responses": {
                "200": {"description": "The answer, whole or as events", "content": answers},
                **{str(status): response for status, response in ERRORS.items()},
            },
        }
    }


DOCUMENTED_PATHS: dict[str, Any] = {
    CHAT: _path("Chat completion", {"messages": {"type": "array", "minItems": 1, "items": _MESSAGE}}),
    TEXT: _path("Text completion", {"prompt": {"type": ["string", "array"]}}),
}
