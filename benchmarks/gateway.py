"""What Stoker's gateway costs, beside the bare engine and beside litellm's proxy, in one run on one machine.

    python benchmarks/gateway.py [--requests 2000] [--no-litellm] [--llama]

The engine is a stub that answers at once, so only the gateways are measured. All of them run as one process;
litellm gets an environment of its own below build/ and no database, log or callback, as its own advice for
throughput goes. Requests/s of different machines do not compare; the ratios of one run do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from gateway_load import Load, measure

from stoker.sources.catalogue import catalogue
from stoker.telemetry import read_telemetry

HERE = Path(__file__).parent
BUILD = HERE.parent / "build"
LITELLM = BUILD / "litellm"
ROUNDS = 5
CHAT = "/v1/chat/completions"
QUESTION = [{"role": "user", "content": "Why does job 17 wait?"}]


@dataclass(frozen=True)
class Target:
    name: str
    url: str
    key: str


def main() -> None:
    options = _options()
    with ExitStack() as stack:
        engine = stack.enter_context(_listening("gateway_stub.py"))[0]
        url, key = stack.enter_context(_listening("gateway_stoker.py", engine))
        targets = [Target("engine", engine, "none"), Target("stoker", url, key)]
        if options.litellm:
            targets.append(Target("litellm", *stack.enter_context(_litellm(engine))))
        print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
        for stream in (False, True):
            for concurrency in (1, 32):
                body = {"model": "stub", "messages": QUESTION, "stream": stream}
                _compare(targets, body, concurrency=concurrency, requests=options.requests)
    if options.llama:
        _beside_llama()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="requests to each server and setting")
    parser.add_argument("--llama", action="store_true", help="also hold against a bare llama.cpp server")
    parser.add_argument("--no-litellm", dest="litellm", action="store_false", help="leave litellm out")
    return parser.parse_args()


def _beside_llama() -> None:
    """The same against an engine that really computes: 16 tokens of a small model, one request at a time."""
    with _llama() as (engine, secret), _listening("gateway_stoker.py", engine, secret) as (url, key):
        targets = [Target("engine", engine, secret), Target("stoker", url, key)]
        for stream in (False, True):
            sampling = {"max_tokens": 16, "temperature": 0}
            body = {"model": "stub", "messages": QUESTION, "stream": stream, **sampling}
            print("\nllama.cpp, SmolLM2-135M, 16 tokens:", end="")
            _compare(targets, body, concurrency=1, requests=50)


def _compare(targets: list[Target], body: dict[str, Any], *, concurrency: int, requests: int) -> None:
    print(f"\n{'streamed' if body['stream'] else 'whole'} answers, {concurrency} at a time")
    print(f"{'':10}{'requests/s':>12}{'median':>12}{'p99':>12}{'added':>12}")
    loads = {target.name: Load() for target in targets}
    for _ in range(ROUNDS):  # in turns, because a busy machine is busier at one time than at another
        for target in targets:
            count = max(concurrency * 4, requests // ROUNDS // (5 if target.name == "litellm" else 1))
            loads[target.name] += measure(
                target.url, CHAT, body, key=target.key, concurrency=concurrency, requests=count, warm_up=count // 5
            )
    for name, load in loads.items():
        added = load.median_s - loads["engine"].median_s
        print(
            f"{name:10}{load.requests_per_s:12,.0f}{load.median_s * 1e3:9.2f} ms"
            f"{load.p99_s * 1e3:9.2f} ms{added * 1e3:9.2f} ms"
        )
    if "litellm" in loads:
        ratio = loads["stoker"].requests_per_s / loads["litellm"].requests_per_s
        print(f"stoker answers {ratio:.1f} times as many requests as litellm")


@contextmanager
def _listening(script: str, *arguments: str) -> Iterator[list[str]]:
    """A benchmark server in its own process; the words it prints once its socket takes connections."""
    command = [sys.executable, str(HERE / script), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            words = process.stdout.readline().split()
            assert words, f"{script} did not start"
            yield words
        finally:
            process.terminate()


@contextmanager
def _litellm(engine: str) -> Iterator[tuple[str, str]]:
    """litellm's proxy in front of `engine`: its address and key."""
    program = _installed_litellm()
    port, key = _free_port(), f"sk-{secrets.token_hex(8)}"
    config = BUILD / "litellm.yaml"
    parameters = {"model": "openai/stub", "api_base": f"{engine}/v1", "api_key": "none"}
    settings = {
        "model_list": [{"model_name": "stub", "litellm_params": parameters}],
        "general_settings": {"master_key": key},
        "litellm_settings": {"telemetry": False, "num_retries": 0},
    }
    config.write_text(json.dumps(settings))  # YAML holds JSON
    command = [program, "--config", config, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    environment = {**os.environ, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with (
        (BUILD / "litellm.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            _wait_until_up(f"http://127.0.0.1:{port}/health/liveliness", timeout_s=180)
            yield f"http://127.0.0.1:{port}", key
        finally:
            process.terminate()


@contextmanager
def _llama() -> Iterator[tuple[str, str]]:
    """A llama.cpp server as an endpoint's replica runs it: its address and key."""
    model = catalogue(BUILD)["smollm2-135m-instruct"].path
    secret = secrets.token_hex(8)
    with tempfile.TemporaryDirectory() as folder:
        probe, spec = Path(folder, "probe.jsonl"), Path(folder, "spec.json")
        probe.touch()
        config = {"model": str(model), "alias": "stub"}
        spec.write_text(json.dumps({"config": config, "output": f"{folder}/output", "scratch": folder}))
        environment = {**os.environ, "STOKER_PROBE": str(probe), "STOKER_SERVICE_KEY": secret}
        command = [sys.executable, "-m", "stoker.recipes.serve_llama", spec]
        with (
            Path(folder, "log").open("wb") as log,
            subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
        ):
            try:
                while not (url := read_telemetry(probe.read_bytes().splitlines(), "engine").ready_url):
                    assert process.poll() is None, "the llama.cpp server did not start"
                    time.sleep(0.1)
                yield url, secret
            finally:
                process.terminate()


def _installed_litellm() -> Path:
    program = LITELLM / "bin" / "litellm"
    if not program.exists():
        print("installing litellm below build/ ...", file=sys.stderr)
        venv.create(LITELLM, with_pip=True)
        subprocess.run([LITELLM / "bin" / "pip", "install", "--quiet", "litellm[proxy]"], check=True)
    return program


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_until_up(url: str, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            httpx.get(url, timeout=5, trust_env=False)
        except httpx.TransportError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    main()
