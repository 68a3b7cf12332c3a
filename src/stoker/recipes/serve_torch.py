"""Serve what llama.cpp cannot: a base model with a trained part that GGUF does not hold, on torch.

The contract is that of `serve_llama`: a service job that is ready when it answers, takes its key from
``STOKER_SERVICE_KEY``, drains on SIGTERM and ends when its engine does. ``model`` is a folder that `export` wrote.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import uvicorn

from stoker import probe
from stoker.errors import BadInput, Broken
from stoker.recipes import places, stage
from stoker.recipes.cpus import usable_cpus
from stoker.recipes.listen import bind_address
from stoker.sources import basemodel
from stoker.typed import strict

if TYPE_CHECKING:
    from stoker.recipes.torch_api import Model

VERSION = 1
KEY = "STOKER_SERVICE_KEY"


@strict
@dataclass(frozen=True)
class Config:
    """What to serve, and with how much of the machine."""

    model: str  # the folder that `export` wrote
    alias: str  # the name clients ask for
    context: int = 0  # longest prompt plus answer, tokens; 0 takes the model's own, at most 4096
    slots: int = 4  # requests answered at the same time
    queue: int = 256  # requests that may wait; more are refused with 429
    threads: int = 0  # 0 takes all CPUs this job may use
    host: str = ""  # empty takes STOKER_BIND, loopback without it
    port: int = 0  # 0 takes a free one
    drain_s: float = 1.5  # how long SIGTERM waits for running requests


def run(stage: stage.Stage[Config]) -> NoReturn:
    """Serve until SIGTERM; raises BadInput when there is no such model or its base has changed."""
    config = replace(stage.config, model=str(places.fetch(stage.config.model)))
    probe.phase("load", Path(config.model).name)
    model = _load(config, _reference(Path(config.model)))
    model.engine.start()
    try:
        asyncio.run(_serve(config, model))
    finally:
        model.engine.close()
    sys.exit(0)


def _reference(folder: Path) -> dict[str, Any]:
    """What `export` says of the artifact, with a base that is still the one it was trained on."""
    try:
        told: dict[str, Any] = json.loads((folder / "result.json").read_text())
    except FileNotFoundError:
        raise BadInput(f"no model at {folder}; give the folder of an export", param="model") from None
    if told["engine"] != "torch":
        raise BadInput(f"{folder} is for {told['engine']}; serve it with that engine", param="model")
    if basemodel.digest(places.fetch(told["base"])) != told["base_digest"]:
        raise BadInput(f"the base {told['base']} is not the one this was trained on; put that back", param="model")
    return told


def _load(config: Config, told: dict[str, Any]) -> Model:
    import torch

    from stoker.recipes import loading
    from stoker.recipes.torch_api import Model
    from stoker.recipes.torch_engine import Engine

    torch.set_num_threads(config.threads or usable_cpus())
    base = places.fetch(told["base"])
    tokenizer = loading.load_tokenizer(base)
    on_gpu = torch.cuda.is_available()
    trained = loading.load_trained(base, Path(config.model), torch.bfloat16 if on_gpu else torch.float32)
    trained.to("cuda" if on_gpu else "cpu")
    context = config.context or min(basemodel.architecture(base).context, 4096)
    ends = sorted(loading.end_tokens(tokenizer, trained))
    engine = Engine(trained, ends, context, config.slots, config.queue)
    return Model(engine, tokenizer, config.alias, os.environ.get(KEY, ""))


class _Server(uvicorn.Server):
    """Tells that it is ready when it listens, and not before."""

    def __init__(self, config: uvicorn.Config, alias: str) -> None:
        super().__init__(config)
        self._alias = alias

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = (sockets or [])[0].getsockname()[:2]
        probe.ready(f"http://{host}:{port}", serves=self._alias)


async def _serve(config: Config, model: Model) -> None:
    from stoker.recipes.torch_api import make_app

    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # uvicorn takes it over, and raises it once more at its end
    listener = socket.create_server((bind_address(config.host), config.port))
    patience = max(1, round(config.drain_s))
    settings = uvicorn.Config(
        make_app(model), log_level="warning", lifespan="off", timeout_graceful_shutdown=patience
    )
    serving = asyncio.create_task(_Server(settings, config.alias).serve(sockets=[listener]))
    while not serving.done():
        await asyncio.wait([serving], timeout=1.0)
        if not model.engine.alive() and not serving.done():
            raise Broken("the torch engine ended by itself; its error is above")


if __name__ == "__main__":
    stage.main(Config, run)
