"""What one call of the command line works with: the server it talks to and the language it speaks."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stoker.cli import texts

if TYPE_CHECKING:
    from stoker.client import Client

_url = ""
_ends = ExitStack()  # what is closed when the command line ends


def begin(url: str, lang: str) -> None:
    """Called once per command line, with its root options."""
    global _url  # noqa: PLW0603 - one process runs one command line
    _url = url
    texts.use(lang)


def connect() -> Client:
    """The client for the server that was named, or that this user last logged in to."""
    from stoker.client import Client

    return _ends.enter_context(Client(url=_url or None))


def end() -> None:
    """Called once per command line, however it ended."""
    _ends.close()


def on_this_machine(client: Client) -> bool:
    """Whether paths of the caller mean the same to the server."""
    return is_loopback(client.login.url)


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host == "::1" or host.startswith("127.")
