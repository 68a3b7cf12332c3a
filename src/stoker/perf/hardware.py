"""Hardware: servers of one kind and what joins them, whether they exist already or not."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.perf.accelerator import Accelerator


@dataclass(frozen=True)
class Nics:
    """Network ports of one server that carry training and serving traffic."""

    type: str
    count: int
    bandwidth: float  # bytes/s of one port in one direction


@dataclass(frozen=True)
class Storage:
    """What one server reads and writes, and what all of them together can."""

    read: float = 0.0  # bytes/s, one server; 0: not told
    write: float = 0.0
    total_read: float = 0.0  # bytes/s, the whole system
    total_write: float = 0.0
    capacity: float = 0.0  # bytes


@dataclass(frozen=True, eq=False)
class Hardware:
    """`servers` servers with `per_server` accelerators each."""

    name: str
    accelerator: Accelerator
    per_server: int
    servers: int = 1
    nics: Nics | None = None
    oversubscription: float = 1.0  # of the network between servers: 3 is 3:1
    rails: bool = True  # port i of every server meets on the same leaf switch
    cpu: str = ""
    cores: int = 0  # of one server
    main_memory: float = 0.0  # bytes of one server; 0: not told
    storage: Storage = Storage()
    notes: tuple[str, ...] = ()  # what the reader of the description should look at again

    @property
    def count(self) -> int:
        return self.servers * self.per_server

    @property
    def scale_up_domain(self) -> int:
        """Accelerators that the scale-up link joins: a server's, or a rack's."""
        domain = self.accelerator.scale_up_domain
        return min(self.count, domain if domain > 8 else min(domain, self.per_server))

    @property
    def network_per_accelerator(self) -> float:
        """Bytes/s in one direction to other servers, for each accelerator; 0 when there is no network."""
        if self.nics is None:
            return 0.0
        return self.nics.bandwidth * self.nics.count / self.per_server / self.oversubscription
