"""Launch a recipe on every device of every node of its job: ``python -m stoker.recipes.launch RECIPE SPEC``.

Each node runs it (`JobSpec.each_node`); torchrun starts one rank a device and lets the ranks of all nodes meet at
the first one, as the engine's environment says. A rank that fails ends those of its node with its own exit code,
the engine then ends the other nodes. A node whose ranks only miss the others is not the cause: it waits until the
engine, which will have noticed the dead node or the failed one, ends it. A job of one rank runs in this process.
"""

from __future__ import annotations

import os
import runpy
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import psutil

# Exit codes of ranks that miss others: `ranks.PEERS_LOST`, and SIGABRT, with which NCCL's watchdog ends a rank.
_LEFT_ALONE = (75, 134)
_PATIENCE_S = 900.0  # Slurm takes a node for dead after 300 s of silence, Kubernetes after 40 s


@dataclass(frozen=True)
class Gang:
    """The ranks of the job, as the environment of every engine tells them (see `stoker.job_environment`)."""

    nodes: int
    node: int  # which of them this is
    ranks_here: int  # one a device, one where there is none
    cpus: int  # of this node for the job; 0: not said
    master: str  # address of the first node
    port: str
    addresses: tuple[str, ...]  # of all nodes, in order

    @classmethod
    def told(cls, environ: Mapping[str, str]) -> Gang:
        return cls(
            nodes=int(environ.get("STOKER_NUM_NODES", "1")),
            node=int(environ.get("STOKER_NODE_RANK", "0")),
            ranks_here=max(1, int(environ.get("STOKER_DEVICES", "0"))),
            cpus=int(environ.get("STOKER_CPUS", "0")),
            master=environ.get("MASTER_ADDR", "127.0.0.1"),
            port=environ.get("MASTER_PORT", "0"),
            addresses=tuple(environ.get("SKYPILOT_NODE_IPS", "").split()),
        )

    @property
    def torchrun(self) -> list[str]:
        """torchrun's arguments up to the program."""
        if self.nodes == 1:  # a free port of this machine
            meeting = ["--standalone", "--local-addr=127.0.0.1"]
        else:
            meeting = [
                f"--nnodes={self.nodes}",
                f"--node-rank={self.node}",
                f"--master-addr={self.master}",
                f"--master-port={self.port}",
            ]
        return [*meeting, f"--nproc-per-node={self.ranks_here}"]

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """What the ranks find besides: their share of the CPUs, and the interface that leads to the other nodes."""
        added: dict[str, str] = {}
        if self.cpus:
            added["OMP_NUM_THREADS"] = str(max(1, self.cpus // self.ranks_here))
        if self.nodes > 1 and "GLOO_SOCKET_IFNAME" not in given and (name := self._interface()):
            added["GLOO_SOCKET_IFNAME"] = name
        return added

    def _interface(self) -> str:
        """Gloo would take the one that the host's own name resolves to, which is often loopback. Empty: unknown."""
        others = self.addresses[1:] if self.node == 0 else (self.master,)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
                way.connect((others[0], 9))  # sends nothing; the kernel chooses the way
                mine = way.getsockname()[0]
        except (OSError, IndexError):
            return ""
        cards = psutil.net_if_addrs()
        found = [name for name, addresses in cards.items() if mine in {one.address for one in addresses}]
        loopback = [name for name in cards if mine.startswith("127.") and name == "lo"]
        return next(iter(found or loopback), "")


def main(recipe: str, spec: str) -> NoReturn:
    gang = Gang.told(os.environ)
    module = f"stoker.recipes.{recipe}"
    if gang.nodes * gang.ranks_here == 1:
        sys.argv = [module, spec]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        sys.exit(0)
    os.environ.update(gang.environment(os.environ))
    code = _torchrun([*gang.torchrun, "-m", module, spec])
    if gang.nodes > 1 and code in _LEFT_ALONE:
        _await_the_end()
    sys.exit(code)


def _await_the_end() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # torchrun's own would unwind
    print(f"stoker: waiting up to {_PATIENCE_S:.0f} s for the engine to tell why", file=sys.stderr, flush=True)
    time.sleep(_PATIENCE_S)


def _torchrun(arguments: list[str]) -> int:
    """The exit code of the first rank that failed, 0 when none did."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        with tempfile.TemporaryDirectory(prefix="stoker-ranks-") as logs:  # torchrun's own would stay for ever
            run.main(["--log-dir", logs, *arguments])
    except ChildFailedError as error:
        _, first = error.get_first_failure()
        code = int(first.exitcode) if first.exitcode > 0 else 128 - int(first.exitcode)
        if code not in _LEFT_ALONE:
            print(f"stoker: rank {first.local_rank} of this node failed first", file=sys.stderr, flush=True)
        return code
    except SignalException as signalled:
        return 128 + int(signalled.sigval)
    return 0


if __name__ == "__main__":
    main(*sys.argv[1:3])
