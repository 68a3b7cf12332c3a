"""Fetching from a hub, against a server that speaks the hub's own HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.train

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": b"weights" * 1000,
    "model.bin": b"old form",
}


class Hub(BaseHTTPRequestHandler):
    """One model, ``acme/tiny``, the way the hub tells it."""

    files = FILES

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/models/acme/tiny/tree/"):
            self._json(
                [{"type": "file", "path": n, "size": len(b), "oid": "0" * 40} for n, b in self.files.items()]
            )
        elif path.startswith("/api/models/acme/tiny"):
            names = [{"rfilename": name} for name in self.files]
            self._json({"id": "acme/tiny", "sha": COMMIT, "siblings": names, "private": False, "tags": []})
        elif path.startswith(f"/acme/tiny/resolve/{COMMIT}/"):
            self._file(self.files[path.rsplit("/", 1)[1]])
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_HEAD = do_GET  # noqa: N815 - the library's naming

    def _json(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class WithoutWeights(Hub):
    files = {"config.json": FILES["config.json"]}  # noqa: RUF012 - read only


@pytest.fixture
def hub(request: pytest.FixtureRequest) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), getattr(request, "param", Hub))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(tmp_path: Path, model: str, endpoint: str) -> subprocess.CompletedProcess[str]:
    spec = {"config": {"model": model}, "output": str(tmp_path / "base"), "scratch": str(tmp_path / "scratch")}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    envs = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "stoker.recipes.fetch_base", str(tmp_path / "spec.json")]
    return subprocess.run(command, env=envs, capture_output=True, text=True, check=False)


def test_a_model_arrives_as_a_folder_without_other_formats(tmp_path: Path, hub: str) -> None:
    done = fetch(tmp_path, "acme/tiny", hub)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "base" / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert not (tmp_path / "base" / "model.bin").exists()


@pytest.mark.parametrize(
    ("hub", "model", "told"),
    [
        (Hub, "acme/nothing", "the hub has no model acme/nothing"),
        (WithoutWeights, "acme/tiny", "no .safetensors weights"),
    ],
    indirect=["hub"],
)
def test_what_cannot_be_fetched_is_told_in_one_line(tmp_path: Path, hub: str, model: str, told: str) -> None:
    done = fetch(tmp_path, model, hub)
    assert done.returncode == 2
    assert told in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "base").exists()


def test_a_mute_hub_is_away(tmp_path: Path) -> None:
    done = fetch(tmp_path, "acme/tiny", "http://127.0.0.1:9")
    assert done.returncode == 3
    assert "cannot fetch acme/tiny" in done.stderr.strip().splitlines()[-1]
