"""``stoker login``: remember a server and a key."""

from __future__ import annotations

import sys
from getpass import getpass
from typing import Annotated

import typer

from stoker.cli.render import say
from stoker.cli.texts import t
from stoker.client import Client, Login
from stoker.client.config import store_login
from stoker.errors import BadInput


def login(
    url: Annotated[str, typer.Argument(help="The server: http://gpu-login01:8700")],
) -> None:
    """Remember a server and a key for this user.

    The key is asked for, or read from standard input: it never stands on a command line.
    """
    secret = _secret()
    client = Client(url, secret)
    account = client.info().account
    path = store_login(Login(client.login.url, secret))
    say(t("logged in to {url} as {name} ({role}, tenant {tenant}); kept in {path}",
          url=url, name=account.name, role=account.role, tenant=account.tenant, path=path))  # fmt: skip


def _secret() -> str:
    secret = (getpass(t("API key: ")) if sys.stdin.isatty() else sys.stdin.readline()).strip()
    if not secret:
        raise BadInput("no key was given; paste it at the prompt, or pipe it in: stoker login URL < key-file")
    return secret
