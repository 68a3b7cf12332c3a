"""Serve a Hugging Face model with vLLM, the engine on GPUs: OpenAI API, ``/health`` and ``/metrics`` on one port.

The contract is that of `serve_llama`. vLLM is a program of its own (installed beside Stoker or in an image), so it
runs as a child: its end is this job's end, and SIGTERM is handed on to it.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import httpx

from stoker import probe
from stoker.errors import BadInput, Broken
from stoker.recipes import places, stage
from stoker.recipes.listen import bind_address
from stoker.typed import strict

VERSION = 1
KEY = "STOKER_SERVICE_KEY"
_MODULE = "vllm.entrypoints.openai.api_server"
_LOOK_S = 0.2  # how often the child is looked at


@strict
@dataclass(frozen=True)
class Config:
    """What to serve, and with how much of the machine."""

    model: str  # a Hugging Face folder
    alias: str  # the name clients ask for
    context: int = 0  # longest prompt plus answer, tokens; 0 takes the model's own
    slots: int = 64  # requests answered at the same time
    gpus: int = 1  # tensor-parallel ranks
    host: str = ""  # empty takes STOKER_BIND, loopback without it
    port: int = 0  # 0 takes a free one
    drain_s: float = 1.5  # how long SIGTERM waits for running requests
    load_timeout_s: float = 1800.0  # a large model takes minutes to read and compile
    sleep: bool = False  # it can be put to sleep; that opens vLLM's development endpoints, which ask for no key
    python: str = ""  # the interpreter that has vLLM; empty takes this one
    options: Sequence[str] = ()  # further arguments of vLLM, as on its command line


def run(stage: stage.Stage[Config]) -> NoReturn:
    """Serve until SIGTERM; raises BadInput without vLLM or model, Broken when vLLM ends by itself."""
    config = replace(stage.config, model=str(places.fetch(stage.config.model)))
    if not config.python and importlib.util.find_spec("vllm") is None:
        raise BadInput("vLLM is not installed here: pip install vllm, or name its interpreter as python")
    if not (Path(config.model) / "config.json").is_file():
        raise BadInput(f"no model at {config.model}; vLLM needs a folder with config.json", param="model")
    host = bind_address(config.host)
    url = f"http://{host}:{config.port or _free_port(host)}"
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    probe.phase("load", Path(config.model).name)
    child = subprocess.Popen(command(config, url), env=environment(config))
    try:
        if _wait_healthy(child, url, stopping, config.load_timeout_s):
            probe.ready(url, serves=config.alias)
        while not stopping.wait(_LOOK_S):
            if (code := child.poll()) is not None:
                raise Broken(f"vLLM ended by itself with code {code}; its last words are in the log")
    finally:
        _end(child, config.drain_s)
    sys.exit(0)


def command(config: Config, url: str) -> list[str]:
    """vLLM's command line."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    arguments = ["--model", config.model, "--served-model-name", config.alias, "--host", host, "--port", port]
    arguments += ["--max-num-seqs", str(config.slots), "--tensor-parallel-size", str(config.gpus)]
    arguments += ["--max-model-len", str(config.context)] if config.context else []
    arguments += ["--enable-sleep-mode"] if config.sleep else []
    return [config.python or sys.executable, "-m", _MODULE, *arguments, *config.options]


def environment(config: Config) -> dict[str, str]:
    """The key goes through the environment: a command line is shown to everybody on the machine."""
    key = os.environ.get(KEY)
    given = {"VLLM_API_KEY": key} if key else {}
    development = (
        {"VLLM_SERVER_DEV_MODE": "1"} if config.sleep else {}
    )  # /sleep, /wake_up and /is_sleeping are behind it
    return {**os.environ, **given, **development}


def _free_port(host: str) -> int:
    """vLLM does not tell which port it took, so we choose; another process may take it first, then vLLM ends."""
    with socket.create_server((host, 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_healthy(child: subprocess.Popen[bytes], url: str, stopping: threading.Event, timeout_s: float) -> bool:
    """False when SIGTERM came before."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if (code := child.poll()) is not None:
            raise Broken(f"vLLM could not start (code {code}); its last words are in the log")
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", timeout=5).is_success:
                return True
        if stopping.wait(_LOOK_S):
            return False
    raise Broken(f"vLLM is not healthy after {timeout_s:.0f} s; give it a longer load_timeout_s or a smaller model")


def _end(child: subprocess.Popen[bytes], patience_s: float) -> None:
    """vLLM finishes running requests on SIGTERM; after `patience_s` it is killed."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(patience_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


if __name__ == "__main__":
    stage.main(Config, run)
