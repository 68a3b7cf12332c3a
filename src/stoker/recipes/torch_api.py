"""The HTTP side of the torch engine: OpenAI's completions over a `torch_engine.Engine`."""

from __future__ import annotations

import asyncio
import hmac
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from stoker.errors import BadInput, Broken, NotFound, StokerError, TooLarge
from stoker.recipes.answer_text import AnswerText
from stoker.recipes.openai_wire import ChatAsk, Form, TextAsk, TokenizeAsk, error, logprob_entry
from stoker.recipes.torch_engine import Counters, Engine, Request, Step

_CLIENT_LEFT = 499  # nginx's; nobody reads it but the log


@dataclass(frozen=True)
class Model:
    """What is served."""

    engine: Engine
    tokenizer: Any
    alias: str
    key: str


@dataclass
class _Piece:
    """What one token adds to the answer."""

    text: str
    entry: dict[str, Any]
    finish: str = ""


class Answering:
    """One request on its way through the engine."""

    def __init__(self, model: Model, ask: ChatAsk | TextAsk) -> None:
        self._model, self._ask = model, ask
        self._steps: asyncio.Queue[Step | None] = asyncio.Queue()
        prompt = prompt_of(model, ask)
        loop = asyncio.get_running_loop()
        sampling = ask.sampling(max(1, model.engine.context - len(prompt)))

        def tell(step: Step | None) -> None:
            loop.call_soon_threadsafe(self._steps.put_nowait, step)

        self._request = Request(prompt, sampling, tell)
        self._said = 0
        model.engine.submit(self._request)

    def usage(self) -> dict[str, int]:
        asked = len(self._request.prompt)
        return {"prompt_tokens": asked, "completion_tokens": self._said, "total_tokens": asked + self._said}

    def cancel(self) -> None:
        self._request.cancelled.set()

    async def pieces(self) -> AsyncIterator[_Piece]:
        """Piece by piece until it is finished; closing it early stops the engine's work on it."""
        text = AnswerText(self._model.tokenizer, self._ask.stops)
        try:
            while True:
                step = await self._steps.get()
                if step is None and self._request.cancelled.is_set():
                    return
                if step is None:
                    raise Broken("the engine stopped; see its log")
                self._said += 1
                new = text.add(step.token)
                finish = "stop" if text.stopped else step.finish
                yield _Piece(new + (text.end() if finish else ""), self._entry(step), finish)
                if finish:
                    return
        finally:
            self.cancel()

    def _entry(self, step: Step) -> dict[str, Any]:
        tokens = [step.token, *(token for token, _ in step.top)]
        return logprob_entry(step, {token: self._model.tokenizer.decode([token]) for token in tokens})


def make_app(model: Model) -> FastAPI:
    """The server; every path but /health needs the key, if there is one."""
    app = FastAPI(title="Stoker torch engine", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(_KeyCheck, key=model.key)
    app.add_exception_handler(StokerError, _tell_refusal)
    app.add_exception_handler(RequestValidationError, _tell_invalid)
    app.add_exception_handler(HTTPException, _tell_http)
    _add_information(app, model)

    @app.post("/v1/chat/completions")
    async def chat(ask: ChatAsk, http: HttpRequest) -> Response:
        return await _answer(model, ask, http)

    @app.post("/v1/completions")
    async def complete(ask: TextAsk, http: HttpRequest) -> Response:
        return await _answer(model, ask, http)

    return app


def _add_information(app: FastAPI, model: Model) -> None:
    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "ok"}) if model.engine.alive() else JSONResponse({"status": "dead"}, 503)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {
            "object": "list",
            "data": [{"id": model.alias, "object": "model", "created": 0, "owned_by": "stoker"}],
        }

    @app.post("/tokenize")
    async def tokenize(ask: TokenizeAsk) -> dict[str, Any]:
        tokens = _chat_prompt(model, ask) if ask.messages else model.tokenizer.encode(ask.prompt or ask.content)
        return {"tokens": tokens, "count": len(tokens)}

    @app.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(
            exposition(model.engine.counters, model.alias), media_type="text/plain; version=0.0.4"
        )


def prompt_of(model: Model, ask: ChatAsk | TextAsk) -> list[int]:
    """Token ids of what is asked; raises NotFound for another model, TooLarge for more than the context."""
    if ask.model and ask.model != model.alias:
        raise NotFound.named("model", ask.model, [model.alias])
    if isinstance(ask, ChatAsk):
        return _chat_prompt(model, ask)
    if isinstance(ask.prompt, str):
        return list(model.tokenizer.encode(ask.prompt))
    beyond = [token for token in ask.prompt if not 0 <= token < len(model.tokenizer)]
    if beyond:
        raise BadInput(
            f"prompt: {beyond[0]} is no token; there are 0 to {len(model.tokenizer) - 1}", param="prompt"
        )
    return ask.prompt


def _chat_prompt(model: Model, ask: ChatAsk | TokenizeAsk) -> list[int]:
    from jinja2 import TemplateError

    messages = [message.plain() for message in ask.messages]
    try:
        rendered = model.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True
        )
    except (TemplateError, ValueError) as refusal:  # templates raise for roles they do not know
        raise BadInput(f"messages: {refusal}", param="messages") from None
    return list(rendered["input_ids"])


async def _answer(model: Model, ask: ChatAsk | TextAsk, http: HttpRequest) -> Response:
    answering = Answering(model, ask)
    form = Form(ask, uuid.uuid4().hex[:24], model.alias)
    if ask.stream:
        return StreamingResponse(_events(answering, ask, form), media_type="text/event-stream")
    watch = asyncio.create_task(_cancel_when_gone(http, answering))
    try:
        pieces = [piece async for piece in answering.pieces()]
    finally:
        watch.cancel()
    if not pieces or not pieces[-1].finish:
        return Response(status_code=_CLIENT_LEFT)
    text = "".join(piece.text for piece in pieces)
    return JSONResponse(form.whole(text, [piece.entry for piece in pieces], pieces[-1].finish, answering.usage()))


async def _events(answering: Answering, ask: ChatAsk | TextAsk, form: Form) -> AsyncIterator[str]:
    """Server-sent events; the client's leaving closes this generator, and that cancels the request."""
    first = True
    async for piece in answering.pieces():
        yield _event(form.chunk(piece.text, [piece.entry], piece.finish or None, first=first))
        first = False
    if ask.usage_in_stream:
        yield _event(form.usage(answering.usage()))
    yield "data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


async def _cancel_when_gone(http: HttpRequest, answering: Answering) -> None:
    """A client that waits for the whole answer and leaves is noticed only by listening to it."""
    while (await http.receive())["type"] != "http.disconnect":
        pass
    answering.cancel()


class _KeyCheck:
    """Plain ASGI: Starlette's BaseHTTPMiddleware would hide from a stream that its client has left."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._key and scope["path"] != "/health":
            given = dict(scope["headers"]).get(b"authorization", b"").removeprefix(b"Bearer ")
            if not hmac.compare_digest(given, self._key):
                body = error("wrong or missing API key; send Authorization: Bearer KEY", 401)
                await JSONResponse(body, 401)(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _tell_refusal(_http: HttpRequest, refusal: Exception) -> Response:
    assert isinstance(refusal, StokerError)  # noqa: S101 -- it is registered for these only
    status = refusal.http_status
    if isinstance(refusal, TooLarge):
        status = 429 if refusal.param == "queue" else 400
    body = error(str(refusal), status, None if refusal.param == "queue" else refusal.param)
    if isinstance(refusal, TooLarge) and status == 400:
        body["error"]["code"] = "context_length_exceeded"
    return JSONResponse(body, status)


async def _tell_invalid(_http: HttpRequest, refusal: Exception) -> Response:
    assert isinstance(refusal, RequestValidationError)  # noqa: S101 -- it is registered for these only
    first = refusal.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    return JSONResponse(error(f"{where}: {first['msg']}" if where else first["msg"], 400, where or None), 400)


async def _tell_http(_http: HttpRequest, refusal: Exception) -> Response:
    assert isinstance(refusal, HTTPException)  # noqa: S101 -- it is registered for these only
    return JSONResponse(error(str(refusal.detail), refusal.status_code), refusal.status_code)


def exposition(counters: Counters, alias: str) -> str:
    """Prometheus text under the names vLLM uses, so one dashboard shows both."""
    values = [
        ("num_requests_running", "gauge", "", counters.running),
        ("num_requests_waiting", "gauge", "", counters.waiting),
        ("prompt_tokens_total", "counter", "", counters.prompt_tokens),
        ("generation_tokens_total", "counter", "", counters.generated_tokens),
        *(
            ("request_success_total", "counter", f',finished_reason="{why}"', n)
            for why, n in counters.finished.items()
        ),
    ]
    lines: list[str] = []
    for name, kind, labels, value in values:
        head = f"# TYPE vllm:{name} {kind}"
        lines += [] if head in lines else [head]
        lines.append(f'vllm:{name}{{model_name="{alias}"{labels}}} {value}')
    return "\n".join(lines) + "\n"
