"""A running platform to look at: the real app, its server on a free loopback port, and who is signed in."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI

from stoker.account import Account, Role
from stoker.api.serve import HttpServer
from stoker.app import App
from tests.console.scene import until


@dataclass(frozen=True)
class Platform:
    app: App
    url: str
    admin: Account
    secret: str  # the admin's key

    @contextmanager
    def visitor(self, secret: str = "", language: str = "en") -> Iterator[httpx.Client]:
        """A browser without a screen, signed in with `secret` (the admin's unless told)."""
        with self.stranger(language) as client:
            answer = client.post("/login", data={"key": secret or self.secret})
            assert answer.status_code == 303, answer.text
            yield client

    def stranger(self, language: str = "en") -> httpx.Client:
        """One who has not signed in."""
        headers = {"origin": self.url, "accept-language": language}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=20)

    def key(self, role: Role, tenant: str = "speech") -> str:
        return self.app.accounts.create(f"a {role}", role, tenant, self.admin)[1]


@contextmanager
def platform(home: Path, devices: str = "H20:8") -> Iterator[Platform]:
    """The platform on `home`. Its dispatcher runs; shipments and endpoints stay as a test puts them."""
    app = App.open(home, devices=devices, cpus=16)
    app.dispatcher.start()
    secret = app.accounts.bootstrap()
    assert secret
    server = HttpServer(app, port=0)
    thread = threading.Thread(target=server.run, name="server", daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield Platform(app, server.url, app.accounts.authenticate(secret), secret)
    finally:
        server.stop()
        thread.join(20)
        _end_jobs(app)
        app.stop()


@contextmanager
def listening(application: FastAPI) -> Iterator[str]:
    """`application` on a free loopback port, in a thread; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application, lifespan="off", log_config=None))
        thread = threading.Thread(target=server.run, args=([listener],), name="listening", daemon=True)
        thread.start()
        try:
            until(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


def _end_jobs(app: App) -> None:
    admin = Account("test", "test", Role.ADMIN, "default", 0.0)
    running = [job.id for job in app.jobs.find(admin, limit=1000) if not job.state.final]
    app.jobs.cancel(running, admin)
    until(lambda: all(app.jobs.get(job, admin).state.final for job in running))
