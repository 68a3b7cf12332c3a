"""A platform is restarted while a client waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stoker.api.serve import HttpServer
from stoker.app import App
from stoker.client import Client
from stoker.job import Job, JobSpec, JobState


@contextmanager
def running(home: Path, port: int) -> Iterator[tuple[HttpServer, str | None]]:
    app = App.open(home, cpus=2)
    secret = app.accounts.bootstrap()
    app.start()
    server = HttpServer(app, port=port)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server, secret
    finally:
        server.stop()
        thread.join()
        app.stop()


def test_following_and_waiting_go_on_after_a_restart(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"echo first; while [ ! -e {gate} ]; do sleep 0.05; done; echo second"
    heard: list[bytes] = []
    ended: list[Job] = []
    with running(tmp_path / "home", 0) as (server, secret):
        client = Client(server.url, secret)
        [job] = client.jobs.submit(JobSpec(command=("sh", "-c", script)))
        followers = [
            threading.Thread(target=lambda: heard.extend(client.jobs.follow(job.id))),
            threading.Thread(target=lambda: ended.extend(client.jobs.wait(job.id))),
        ]
        for follower in followers:
            follower.start()
        while b"".join(heard) != b"first\n":
            time.sleep(0.01)
        port = int(server.url.rpartition(":")[2])
    gate.touch()  # while nobody is there to see it
    with client, running(tmp_path / "home", port):
        for follower in followers:
            follower.join(timeout=60)
    assert b"".join(heard) == b"first\nsecond\n"
    assert [job.state for job in ended] == [JobState.SUCCEEDED]
