"""A real platform on a folder of the test's own, with its server on a free port."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from stoker.account import Account, Role
from stoker.api.serve import HttpServer
from stoker.api.server import ServerSettings
from stoker.app import App
from stoker.client import Client
from stoker.job import JobState


@dataclass(frozen=True)
class Site:
    """A running platform and its first key."""

    app: App
    url: str
    admin: Account
    admin_key: str
    _clients: list[Client] = field(default_factory=list)

    def key(self, name: str, role: Role = Role.USER, tenant: str = "speech") -> str:
        """A new key's secret."""
        return self.app.accounts.create(name, role, tenant, self.admin)[1]

    def http(self, key: str | None = None) -> httpx.Client:
        """A bare HTTP client, as any program would be one; the admin's unless another key is given."""
        headers = {"Authorization": f"Bearer {self.admin_key if key is None else key}"} if key != "" else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def client(self, key: str | None = None) -> Client:
        """A Python client, closed with the site."""
        client = Client(self.url, key or self.admin_key)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._end_jobs()

    def _end_jobs(self) -> None:
        """Jobs outlive a platform; a test's must not. An endpoint would start another replica."""
        for endpoint in self.app.endpoints.find(self.admin):
            self.app.endpoints.stop(endpoint.name, self.admin)
        going = [state for state in JobState if not state.final]
        counter = self.app.jobs.changed
        while jobs := self.app.jobs.find(self.admin, states=going, limit=1000):
            self.app.jobs.cancel([job.id for job in jobs], self.admin)
            counter = self.app.jobs.wait_change(counter, 1.0)


@contextmanager
def open_site(folder: Path, *, settings: ServerSettings | None = None, devices: str = "H100:8") -> Iterator[Site]:
    app = App.open(folder, devices=devices, cpus=8)
    secret = app.accounts.bootstrap()
    assert secret
    app.start()
    server = HttpServer(app, port=0, settings=settings)
    thread = threading.Thread(target=server.run, name="server")
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        with closing(Site(app, server.url, app.accounts.authenticate(secret), secret)) as site:
            yield site
    finally:
        server.stop()
        thread.join()
        app.stop()
