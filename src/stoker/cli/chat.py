"""``stoker chat``: talk to a served model."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from stoker.cli.render import note, say
from stoker.cli.session import connect
from stoker.cli.texts import t
from stoker.client import Client
from stoker.errors import StokerError


def chat(
    model: Annotated[str, typer.Argument(help="An endpoint; see: stoker endpoints list")],
    question: Annotated[list[str] | None, typer.Argument(help="Ask this and end; else a conversation.")] = None,
    system: Annotated[str, typer.Option(help="A system message.")] = "",
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The longest answer, in tokens.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2, help="0 answers the same each time.")] = None,
) -> None:
    """Talk to a served model.

    Ctrl-D ends the conversation, Ctrl-C stops an answer.
    """
    parameters = {"max_tokens": max_tokens, "temperature": temperature}
    talk = _Talk(connect(), model, system, {k: v for k, v in parameters.items() if v is not None})
    if question:
        talk.ask(" ".join(question))
    elif sys.stdin.isatty():
        _converse(talk, model)
    else:
        talk.ask(sys.stdin.read().strip())


class _Talk:
    """A conversation: each question is asked with all that was said before."""

    def __init__(self, client: Client, model: str, system: str, parameters: dict[str, float | int]) -> None:
        self._client = client
        self._model = model
        self._parameters = parameters
        self._said = [{"role": "system", "content": system}] if system else []

    def ask(self, question: str) -> None:
        """Print the answer as it comes. A question that was not answered is not kept."""
        messages = [*self._said, {"role": "user", "content": question}]
        answer = ""
        try:
            for piece in self._client.chat_pieces(self._model, messages, **self._parameters):
                answer += piece
                sys.stdout.write(_shown(piece))
                sys.stdout.flush()
        finally:
            if answer:
                say()
        self._said = [*messages, {"role": "assistant", "content": answer}]


def _shown(piece: str) -> str:
    """`piece` without what would steer the terminal."""
    return "".join(char for char in piece if char.isprintable() or char in "\n\t")


def _converse(talk: _Talk, model: str) -> None:
    import readline  # noqa: F401 - line editing and history for input()

    note(t("talking to {model}; Ctrl-D ends", model=model))
    while True:
        try:
            question = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            say()
            return
        if not question:
            continue
        try:
            talk.ask(question)
        except KeyboardInterrupt:
            note(t("stopped"))
        except StokerError as error:  # the next question may fare better
            note(str(error))
