"""A platform that is killed between two steps: python -m tests.engines.kubernetes_killed SPEC POINT.

Steps are every request to the API server, before it is sent and after it was answered, and every write of the
ledger, before and after. At the POINT-th of them the process kills itself. Without reaching it, it prints how many
there were. What it was about to do stands in the file `stage`, as a store would know.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stoker.engine import Engine, Key, Order
from stoker.engines.kubernetes import KubernetesEngine, KubernetesSettings
from stoker.engines.kubernetes.api import Api
from stoker.engines.kubernetes.ledger import Ledger
from stoker.job import JobSpec, Placement
from tests.engines.contract import begun, end_of

GANG, SINGLE = Key(1, 1), Key(2, 1)
SUBMIT, CANCEL, FORGET = "submit", "cancel", "forget"


def orders(folder: Path) -> list[Order]:
    """A gang with everything an order can have, which ends by itself, and a single one, which is cancelled."""
    mark, secret = folder / "mark", folder / "secret"
    script = f"#!/bin/sh\necho g$STOKER_NODE_RANK >> {mark}\nsleep 0.3\n"
    gang = JobSpec(script=script, nodes=2, each_node=True)
    single = JobSpec(command=("sh", "-c", f"echo s >> {mark}; sleep 600"))
    return [
        Order(GANG, gang, (Placement("gpu0"), Placement("gpu1")), files={"key": secret}),
        Order(SINGLE, single, (Placement("gpu2"),)),
    ]


def play(engine: Engine, folder: Path, stage: Callable[[str], None]) -> None:
    stage(SUBMIT)
    engine.submit(orders(folder))
    begun(engine, SINGLE)
    stage(CANCEL)
    finish(engine, stage)


def finish(engine: Engine, stage: Callable[[str], None]) -> None:
    engine.cancel([SINGLE], grace=1)
    for key in (GANG, SINGLE):
        if key in engine.states():
            end_of(engine, key)
    stage(FORGET)
    if isinstance(engine, KubernetesEngine):
        engine.forget([GANG, SINGLE])


def kill_at(point: int) -> Callable[[], int]:
    """Put the deadly step in everywhere; what is returned tells the number of the next step."""
    steps = itertools.count(1)

    def step() -> int:
        number = next(steps)
        if number == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    send = Api._send

    async def deadly_send(self: Api, *args: Any, **kwargs: Any) -> Any:
        step()
        reply = await send(self, *args, **kwargs)
        step()
        return reply

    Api._send = deadly_send  # type: ignore[method-assign]
    for name in ("begin", "created", "cause", "end", "forget"):
        _surround(name, step)
    return step


def _surround(name: str, step: Callable[[], int]) -> None:
    method = getattr(Ledger, name)

    def deadly(self: Ledger, *args: Any) -> Any:
        step()
        result = method(self, *args)
        step()
        return result

    setattr(Ledger, name, deadly)


def main() -> None:
    spec, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[1]).parent
    step = kill_at(int(sys.argv[2]))
    settings = KubernetesSettings(**spec["settings"])
    engine = KubernetesEngine("k8s", settings, folder / "engine", spec["installation"])

    def stage(name: str) -> None:
        (folder / "stage").write_text(name)

    play(engine, folder, stage)
    engine.close()
    print(step() - 1)


if __name__ == "__main__":
    main()
