"""The vLLM service recipe, against a stand-in that speaks vLLM's command line; vLLM itself needs a GPU machine."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import httpx
import pytest

from stoker.recipes.serve_vllm import Config, command, environment
from stoker.serve.engines import ENGINES
from tests.recipes.tiny_services import KEY, run_recipe, start_service, wait_ready

_STAND_IN = """
import argparse, os, http.server
parser = argparse.ArgumentParser()
for name in ("model", "served-model-name", "host", "max-num-seqs", "tensor-parallel-size", "max-model-len"):
    parser.add_argument(f"--{name}")
parser.add_argument("--port", type=int)
parser.add_argument("--fail", action="store_true")
given = parser.parse_args()
if given.fail:
    raise SystemExit(3)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
        self.wfile.write(os.environ.get("VLLM_API_KEY", "").encode())

http.server.HTTPServer((given.host, given.port), Handler).serve_forever()
"""


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An interpreter whose ``vllm`` is the stand-in."""
    package = tmp_path / "site" / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    (package / "api_server.py").write_text(_STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return sys.executable


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def test_it_is_ready_when_vllm_is_and_ends_with_it(python: str, model: Path, tmp_path: Path) -> None:
    config = {"model": str(model), "alias": "big", "python": python}
    process, reports = start_service("serve_vllm", tmp_path, config)
    url = wait_ready(process, reports)
    assert httpx.get(f"{url}/health").text == KEY
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_its_failure_is_the_jobs(python: str, model: Path, tmp_path: Path) -> None:
    config = {"model": str(model), "alias": "big", "python": python, "options": ["--fail"]}
    done = run_recipe("serve_vllm", tmp_path, config)
    assert done.returncode == 1
    assert "could not start (code 3)" in done.stderr


def test_without_vllm_it_says_so_in_one_line(model: Path, tmp_path: Path) -> None:
    done = run_recipe("serve_vllm", tmp_path, {"model": str(model), "alias": "big"})
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        "stoker: vLLM is not installed here: pip install vllm, or name its interpreter as python"
    ]


def test_the_key_is_not_on_the_command_line(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_SERVICE_KEY", KEY)
    line = command(Config(model=str(model), alias="big", context=4096, gpus=2), "http://127.0.0.1:8000")
    assert line[line.index("--tensor-parallel-size") + 1] == "2"
    assert line[line.index("--max-model-len") + 1] == "4096"
    assert not any(KEY in word for word in line)


def test_sleep_mode_is_only_on_where_it_was_asked_for(model: Path) -> None:
    awake, sleeps = Config(str(model), "big"), Config(str(model), "big", sleep=True)
    assert "--enable-sleep-mode" not in command(awake, "http://127.0.0.1:8000")
    assert "--enable-sleep-mode" in command(sleeps, "http://127.0.0.1:8000")
    assert "VLLM_SERVER_DEV_MODE" not in environment(awake)
    assert environment(sleeps)["VLLM_SERVER_DEV_MODE"] == "1"


def test_every_engine_has_its_recipe() -> None:
    import stoker.recipes

    folder = Path(stoker.recipes.__path__[0])
    for engine in ENGINES.values():
        assert (folder / f"{engine.recipe}.py").is_file()
