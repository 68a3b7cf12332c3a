"""Serve a GGUF model with the llama.cpp server: OpenAI API, ``/health`` and ``/metrics`` on one port.

A service job: it runs until SIGTERM, and then waits for running requests as long as `Config.drain_s` allows.
``STOKER_SERVICE_KEY`` in the environment, if any, is the key that every request but ``/health`` must bear.
The server lives in this process, so if it dies the job dies with it.
"""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import httpx

from stoker import probe
from stoker.errors import BadInput, Broken
from stoker.recipes import places, stage
from stoker.recipes.cpus import usable_cpus
from stoker.recipes.listen import bind_address
from stoker.sources import gguf
from stoker.typed import strict

if TYPE_CHECKING:
    import xllamacpp

VERSION = 1
KEY = "STOKER_SERVICE_KEY"
_HTTP_THREADS = 64  # a request holds one while it waits and streams; they cost nothing until used
# OpenMP's threads spin at every barrier, thousands of times a token: on a busy machine that costs a factor of 3.
_OPENMP = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
_REASON = re.compile(r"^\S+ E \S+: (.+)$", re.MULTILINE)
_BUSY = re.compile(r"^llamacpp:requests_(?:processing|deferred) (\d+)", re.MULTILINE)


@strict
@dataclass(frozen=True)
class Config:
    """What to serve, and with how much of the machine."""

    model: str  # a .gguf file, or the folder that `export` wrote
    alias: str  # the name clients ask for
    context: int = 0  # longest prompt plus answer of one request, tokens; 0 takes the model's own, at most 4096
    slots: int = 4  # requests answered at the same time; each has its own `context`
    threads: int = 0  # 0 takes all CPUs this job may use
    host: str = ""  # empty takes STOKER_BIND, loopback without it
    port: int = 0  # 0 takes a free one
    drain_s: float = 1.5  # how long SIGTERM waits for running requests


def run(stage: stage.Stage[Config]) -> NoReturn:
    """Serve until SIGTERM; raises BadInput when there is no such model, Broken when it cannot be loaded."""
    config = stage.config
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    model = _model_file(places.fetch(config.model))
    probe.phase("load", model.name)
    for name, value in _OPENMP.items():
        os.environ.setdefault(name, value)  # read when the library is loaded, so before xllamacpp is imported
    server = _load(_params(config, model), model, stage.scratch / "load.log")
    # The destructor crashes when a request is running: keep the server alive and leave without it.
    atexit.register(_leave, server)
    _wait_healthy(server.listening_address)
    probe.ready(server.listening_address, serves=config.alias)
    stopping.wait()
    probe.phase("drain")
    _drain(server, config.drain_s)
    sys.exit(0)


def _model_file(path: Path) -> Path:
    file = path / "model.gguf" if path.is_dir() else path
    if not file.is_file():
        raise BadInput(f"no model at {path}; give a .gguf file or the folder of an export", param="model")
    return file


def _params(config: Config, model: Path) -> xllamacpp.CommonParams:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {config.alias}
    params.n_parallel = config.slots
    params.n_ctx = (config.context or min(_trained_context(model), 4096)) * config.slots
    threads = config.threads or usable_cpus()
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_threads_http = _HTTP_THREADS
    params.hostnames = [bind_address(config.host)]
    params.port = config.port
    params.api_keys = [os.environ[KEY]] if os.environ.get(KEY) else []
    params.endpoint_metrics = True
    params.fit_params = False  # what was asked for, or an error; never silently less
    params.ui = False
    params.verbosity = 2  # warnings
    return params


def _trained_context(model: Path) -> int:
    metadata = gguf.header(model).metadata
    return int(metadata[f"{metadata['general.architecture']}.context_length"])


def _load(params: xllamacpp.CommonParams, model: Path, log: Path) -> xllamacpp.Server:
    import xllamacpp

    with _stderr_to(log):
        try:
            return xllamacpp.Server(params)
        except RuntimeError:
            pass
    reasons = _REASON.findall(log.read_text(errors="replace"))
    raise Broken(f"llama.cpp cannot load {model}: {reasons[0] if reasons else 'it does not say why, see the log'}")


@contextmanager
def _stderr_to(log: Path) -> Iterator[None]:
    """llama.cpp tells why it cannot load a model only on stderr: catch that, then print it where it belongs."""
    original = os.dup(2)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(original, 2)
            os.write(original, log.read_bytes())
            os.close(original)


def _wait_healthy(address: str, timeout_s: float = 60.0) -> None:
    """The model is loaded when the constructor returns; this asks what a client would ask."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{address}/health", timeout=5).is_success:
                return
        time.sleep(0.02)
    raise Broken(f"the llama.cpp server at {address} is not healthy after {timeout_s:.0f} s; see the log")


def _drain(server: xllamacpp.Server, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and any(int(count) for count in _BUSY.findall(server.handle_metrics())):
        time.sleep(0.02)


def _leave(_server: xllamacpp.Server) -> NoReturn:
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    stage.main(Config, run)
