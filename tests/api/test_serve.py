"""Listening: where it may, and as what."""

from __future__ import annotations

import errno
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from stoker.api import errors
from stoker.api.serve import HttpServer
from stoker.api.server import ServerSettings
from stoker.app import App
from stoker.errors import BadInput, Conflict, Denied
from tests.api.platform import open_site


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    opened = App.open(tmp_path / "home", devices="", cpus=1)
    yield opened
    opened.stop()


def test_a_port_in_use_is_told_at_once(app: App) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=f"port {port} on 127.0.0.1 is in use; choose another with --port"):
            HttpServer(app, port=port)


def test_an_address_that_is_not_ours_is_told(app: App) -> None:
    app.accounts.bootstrap()
    with pytest.raises(BadInput, match=r"cannot listen on 192\.0\.2\.1"):
        HttpServer(app, "192.0.2.1", 0)


def test_others_are_not_let_in_while_there_is_no_key(app: App) -> None:
    with pytest.raises(Denied, match="no key exists yet"):
        HttpServer(app, "0.0.0.0", 0)  # noqa: S104  # what is refused
    app.accounts.bootstrap()
    server = HttpServer(app, "0.0.0.0", 0)  # noqa: S104  # never run
    server.close()


def test_it_runs_until_stopped_and_tells_where(app: App) -> None:
    app.accounts.bootstrap()
    app.start()
    server = HttpServer(app, port=0, settings=ServerSettings(hosts=["127.0.0.1", "stoker.example"]))
    told: list[str] = []
    running = threading.Thread(target=server.run, args=(told.append,))
    running.start()
    try:
        while not server.started:
            time.sleep(0.01)
        health = f"{server.url}/api/v1/health"
        assert told == [server.url]
        assert json.loads(app.home.lock.read_text())["address"] == server.url
        with httpx.Client(trust_env=False) as http:
            assert http.get(health).status_code == 200
            assert http.get(health, headers={"Host": "stoker.example"}).status_code == 200
            assert http.get(health, headers={"Host": "localhost"}).status_code == 400
    finally:
        server.stop()
        running.join()
    with pytest.raises(httpx.ConnectError), httpx.Client(trust_env=False) as http:
        http.get(f"{server.url}/api/v1/health")


def test_bodies_over_the_limit_are_refused_also_without_a_length(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield from [b" " * 100] * 50

    with (
        open_site(tmp_path, settings=ServerSettings(body_limit=1000, upload_limit=2000)) as site,
        site.http() as http,
    ):
        headers = {"Content-Type": "application/json"}
        jobs = http.post("/api/v1/jobs", content=pieces(), headers=headers)
        multipart = http.post("/api/v1/jobs", files={"file": ("a", b" " * 1500)})  # only files may be uploaded
        upload = http.post("/v1/files", files={"file": ("a", b" " * 3000)}, data={"purpose": "fine-tune"})
        fits = http.post("/v1/files", files={"file": ("a", b" " * 1500)}, data={"purpose": "fine-tune"})
    assert [jobs.status_code, multipart.status_code, upload.status_code, fits.status_code] == [413, 413, 413, 200]
    assert {jobs.json()["error"]["code"], upload.json()["error"]["code"]} == {"too_large"}


def test_a_full_disk_is_told(app: App) -> None:
    application = FastAPI()
    errors.install(application)

    @application.get("/full")
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with TestClient(application, raise_server_exceptions=False) as http:
        response = http.get("/full")
    assert response.status_code == 507
    assert response.json()["error"]["code"] == "no_space"


def test_streams_without_an_end_do_not_keep_it_from_stopping(app: App) -> None:
    secret = app.accounts.bootstrap()
    app.start()
    server = HttpServer(app, port=0)
    running = threading.Thread(target=server.run)
    running.start()
    while not server.started:
        time.sleep(0.01)
    headers = {"Authorization": f"Bearer {secret}", "Accept": "text/event-stream"}
    with (
        httpx.Client(trust_env=False, timeout=30) as http,
        http.stream("GET", f"{server.url}/api/v1/changes", headers=headers) as response,
    ):
        lines = response.iter_lines()
        next(lines)
        server.stop()
        list(lines)  # it was ended: being cut would raise
        running.join(timeout=30)
    assert not running.is_alive()


def test_no_secret_is_logged(app: App, caplog: pytest.LogCaptureFixture) -> None:
    secret = app.accounts.bootstrap()
    assert secret
    app.start()
    caplog.set_level(logging.DEBUG)
    server = HttpServer(app, port=0)
    running = threading.Thread(target=server.run)
    running.start()
    while not server.started:
        time.sleep(0.01)
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        for key in (secret, "sk-stk-wrong-secret"):
            headers = {"Authorization": f"Bearer {key}"}
            http.get("/api/v1/jobs?token=in-the-query", headers=headers)
            http.post("/v1/chat/completions", headers=headers, json={"model": "x", "messages": [{"role": "user"}]})
    server.stop()
    running.join()
    told = "\n".join(record.getMessage() for record in caplog.records if record.name.split(".")[0] != "httpx")
    assert secret not in told
    assert "wrong-secret" not in told
    assert "in-the-query" not in told
