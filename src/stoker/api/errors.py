"""One form of error everywhere: ``{"error": {"message", "type", "param", "code"}}``, as OpenAI's clients expect.

`type` is OpenAI's coarse word. `code` is the name of our own error in snake case (``not_found``, ``home_busy``),
from which the Python client builds the same exception again.
"""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Sequence
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from stoker import errors
from stoker.errors import Away, BadInput, Denied, MissingExtra, NoSpace, StokerError, TooLarge
from stoker.typed import in_words

_log = logging.getLogger(__name__)

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


def code_of(error: StokerError) -> str:
    """``home_busy`` for HomeBusy; a missing or wrong key has OpenAI's own word."""
    return "invalid_api_key" if error.http_status == 401 else errors.code_of(type(error))


def type_of(status: int) -> str:
    if status in _TYPES:
        return _TYPES[status]
    return "invalid_request_error" if status < 500 else "server_error"


def body_of(status: int, message: str, *, code: str, param: str | None = None) -> bytes:
    """The JSON of one error. Plain ASCII, because a message may quote what could not be encoded otherwise."""
    error = {"message": message, "type": type_of(status), "param": param, "code": code}
    return json.dumps({"error": error}).encode()


def headers_of(error: StokerError) -> dict[str, str]:
    if error.http_status == 401:
        return {"WWW-Authenticate": "Bearer"}
    return {"Retry-After": "2"} if isinstance(error, Away) else {}


def response_to(error: StokerError) -> Response:
    status = error.http_status
    body = body_of(status, str(error), code=code_of(error), param=error.param)
    return Response(body, status, headers_of(error), "application/json")


def install(app: FastAPI) -> None:
    """Answer every error of `app` in the one form; what nobody foresaw is logged and told without its details."""
    app.add_exception_handler(StokerError, _on_stoker_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(UnicodeEncodeError, _on_half_characters)
    app.add_exception_handler(OSError, _on_os_error)
    app.add_exception_handler(Exception, _on_bug)


def _on_stoker_error(request: Request, error: Exception) -> Response:
    known = cast("StokerError", error)
    if known.http_status >= 500 and not isinstance(known, Away | MissingExtra):
        _log.error("%s %s: %s", request.method, request.url.path, known)
    return response_to(known)


def _on_validation_error(_request: Request, error: Exception) -> Response:
    first = cast("RequestValidationError", error).errors()[0]
    if first["type"] == "json_invalid":
        why = first.get("ctx", {}).get("error", "it cannot be read")
        return response_to(BadInput(f"the body is no JSON: {why} at character {first['loc'][-1]}"))
    where, param = _place(first["loc"])
    return response_to(BadInput(f"{where}: {in_words(first)}", param=param))


def _place(loc: Sequence[int | str]) -> tuple[str, str | None]:
    """``("body", "job", "resources", "cpus")`` -> ``body.resources.cpus`` and the param ``resources.cpus``."""
    source, *rest = [str(part) for part in loc]
    fields = [part for part in rest if not part.startswith("<")]  # <job>: which form of the body was recognised
    return ".".join([source, *fields]), ".".join(fields) or None


def _on_http_exception(request: Request, error: Exception) -> Response:
    """Unknown paths, wrong methods and unreadable bodies, which the framework itself refuses."""
    found = cast("HTTPException", error)
    if isinstance(found.__cause__, StokerError):  # reading the body failed, and the framework says so less well
        return response_to(found.__cause__)
    if isinstance(found.__cause__, OSError):
        return _on_os_error(request, found.__cause__)
    code = {404: "not_found", 405: "method_not_allowed"}.get(found.status_code, "bad_input")
    body = body_of(found.status_code, str(found.detail), code=code)
    return Response(body, found.status_code, found.headers, "application/json")


def _on_half_characters(request: Request, error: Exception) -> Response:
    """JSON can spell half of a surrogate pair (``"\\ud800"``); nothing can store or print it."""
    if cast("UnicodeEncodeError", error).reason != "surrogates not allowed":
        return _on_bug(request, error)
    return response_to(BadInput("a text in the request holds half of a surrogate pair, which is no character"))


def _on_os_error(request: Request, error: Exception) -> Response:
    """Large uploads lie in the temporary folder until they are stored; it may be full."""
    if cast("OSError", error).errno in (errno.ENOSPC, errno.EDQUOT):
        return response_to(NoSpace("no space left on the server's disk; free some, or ask whoever runs it"))
    return _on_bug(request, error)


def _on_bug(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    body = body_of(500, "the server failed on this request; its log says why", code="broken")
    return Response(body, 500, None, "application/json")


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for status, text in {
        BadInput.http_status: "What was given is wrong",
        401: "No key, or a wrong one",
        Denied.http_status: "The key's role is too low",
        404: "No such thing",
        409: "Not in a state for it",
        TooLarge.http_status: "Over a limit",
        422: "It can never run here",
        501: "An optional part is not installed",
        503: "Not answering now; try again",
    }.items()
}

ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
