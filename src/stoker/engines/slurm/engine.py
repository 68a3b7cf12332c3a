"""SlurmEngine: hands orders to Slurm and says what became of them.

Idempotence stands on three legs. An order is in the ledger before anything is done for it. Its Slurm job carries a
mark in its comment, by which a job is found that nobody remembers to have submitted. And the wrapper claims the
attempt in the shared folder before it begins, so that of two jobs of one attempt the second does nothing. A killed
platform, a broken connection, even an sbatch that goes on after its caller has died, are all the same case.

`states` costs one look at the queue, whatever the number of jobs; nodes and others' devices are asked for every few
seconds.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stoker.clock import Clock, SystemClock
from stoker.cluster import Node
from stoker.engine import Key, Observation, Order
from stoker.engines.slurm import batch
from stoker.engines.slurm.batch import Site
from stoker.engines.slurm.cluster import SlurmCluster
from stoker.engines.slurm.commands import Commands, View
from stoker.engines.slurm.inquiry import Inquiry, word_of
from stoker.engines.slurm.ledger import Entry, Ledger
from stoker.engines.slurm.machine import File, Here, Machine, Part
from stoker.engines.slurm.settings import SlurmSettings
from stoker.engines.slurm.settle import Evidence, Settled, settle
from stoker.engines.slurm.squeue import Row
from stoker.errors import Away
from stoker.foreign import ForeignJob

_log = logging.getLogger(__name__)
_OVERDUE_S = 10.0  # after its grace, a job that was told to end is ended by Slurm; and again after as long


class SlurmEngine:
    """Implements Engine, CanForget, CanProbe, CanTellSaves, CanSeeOthers, CanConnect and CanDrain."""

    def __init__(
        self,
        name: str,
        settings: SlurmSettings,
        folder: Path,
        installation: str,
        machine: Machine | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`folder` is the engine's own, on the platform's machine; `installation` tells two platforms apart."""
        self.name = name
        self.settings = settings
        self.installation = installation
        self._machine = machine or _machine_of(settings)
        self._clock = clock or SystemClock()
        self._commands = Commands(self._machine, settings)
        self._view = _view_of(self._machine, settings, self._commands, self._clock)
        self._ledger = Ledger(folder / "ledger.sqlite3", self._clock.now())
        self._lock = threading.RLock()  # held while Slurm is told or asked; logs and probes go beside it
        self._cluster = SlurmCluster(
            name, installation, settings, self._machine, self._commands, self._view, self._clock
        )
        self._inquiry = Inquiry(
            name, installation, settings.gres, self._machine, self._commands, self._view, self._cluster, self._clock
        )
        self._missed: dict[Key, float] = {}  # since when something of an order is not where it must be
        self._ended_at: dict[Key, float] = {}  # when Slurm was last told to end an overdue job
        self._packages: set[str] = set()  # that lie in the shared folder
        self._ways: dict[Key, set[tuple[str, int]]] = {}  # where somebody connected to: hosts and ports of jobs

    @property
    def calls(self) -> Mapping[str, int]:
        """How often each of Slurm's commands was run, and what was asked of slurmrestd."""
        return self._commands.calls if self._view is self._commands else self._commands.calls + self._view.calls

    # Engine

    def submit(self, orders: Sequence[Order]) -> Mapping[Key, str]:
        with self._lock:
            site = self._cluster.site()
            fresh = {order.key: order for order in orders if not self._settled(order.key)}
            refused = {key: why for key, order in fresh.items() if (why := batch.refusal(order, site))}
            fresh = {key: order for key, order in fresh.items() if key not in refused}
            doubtful = [key for key in fresh if self._ledger.get(key)]
            for key in self._find(doubtful):
                del fresh[key]
            self._enter(list(fresh.values()), site)
            return {**refused, **self._hand_over(list(fresh))}

    def states(self) -> Mapping[Key, Observation]:
        with self._lock:
            ours, others = self._inquiry.queue()
            self._inquiry.look_at_others(others)
            entries = [entry for entry in self._ledger.all() if entry.ended is None]
            evidence = self._inquiry.gather(entries, ours, self._missed)
            self._surplus(ours)
            return self._settle(evidence)

    def cancel(self, keys: Sequence[Key], *, grace: float) -> None:
        with self._lock:
            entries = [entry for key in keys if (entry := self._ledger.get(key)) and entry.ended is None]
            if not entries:
                return
            site, now = self._cluster.site(), self._clock.now()
            told = [replace(entry, cancel_at=entry.cancel_at or now, grace=grace) for entry in entries]
            self._ledger.write(told)
            wish = json.dumps({"grace": grace}).encode()
            self._machine.put(File(f"{site.attempt(entry.key)}/cancel.json", wish) for entry in entries)
            ids = [entry.slurm for entry in entries if entry.slurm is not None]
            if ids:
                self._commands.end_waiting(ids)
                self._commands.tell_wrapper(ids)

    def logs(self, key: Key, *, stream: str = "stdout", offset: int = 0, limit: int = 1 << 20) -> bytes:
        return self._read(key, stream, offset, limit)

    def inventory(self) -> tuple[Node, ...]:
        with self._lock:
            rations = self._cluster.connect().memory_counts
            return tuple(replace(one.node, rations_memory=rations) for one in self._cluster.nodes().values())

    def close(self) -> None:
        """The jobs go on; so does what was already being said to Slurm."""
        self._view.close()
        self._machine.close()
        self._ledger.close()

    # Abilities

    def forget(self, keys: Sequence[Key]) -> None:
        """Logs and probe stay in the shared folder; private files go."""
        with self._lock:
            known = [key for key in keys if self._ledger.get(key)]
            if not known:
                return
            connected = self._cluster.connect()
            self._machine.remove([f"{connected.folder}/{key.job}/{key.attempt}/files" for key in known])
            self._ledger.forget(known)
            for key in known:
                self._missed.pop(key, None)
                self._ended_at.pop(key, None)
        self._leave(known)

    def probe(self, key: Key, *, offset: int = 0, limit: int = 1 << 20) -> bytes:
        found = self._read(key, "probe.jsonl", offset, limit)
        return found[: found.rfind(b"\n") + 1]

    def saved(self, keys: Sequence[Key]) -> Mapping[Key, float]:
        """By our clock, as far as the shared folder's is the login node's."""
        connected = self._cluster.connected
        paths = [f"{connected.folder}/{key.job}/{key.attempt}/{batch.SAVED}" for key in keys]
        told = zip(keys, self._machine.times(paths), strict=True)
        return {key: at + self._cluster.skew for key, at in told if at is not None}

    def others(self) -> tuple[ForeignJob, ...]:
        return self._inquiry.others

    def connect(self, key: Key, port: int) -> tuple[str, int]:
        entry = self._ledger.get(key)
        if entry is None:
            raise Away(f"job {key.job} is not on {self.name}")
        self._ways.setdefault(key, set()).add((entry.address, port))
        return self._machine.reach(entry.address, port)

    def _leave(self, keys: Sequence[Key]) -> None:
        """Close the ways to jobs that are over; a port may be another job's by now."""
        over = [way for key in keys for way in self._ways.pop(key, ())]
        kept = {way for ways in list(self._ways.values()) for way in list(ways)}
        for host, port in set(over) - kept:
            self._machine.leave(host, port)

    def drain(self, node: str, reason: str) -> None:
        """A node that somebody drained already stays as it is, with that person's reason."""
        with self._lock:
            self._cluster.drain(node, reason)

    def undrain(self, node: str, reason: str) -> None:
        del reason  # Slurm keeps none for a node that is open
        with self._lock:
            self._cluster.undrain(node)

    def _read(self, key: Key, name: str, offset: int, limit: int) -> bytes:
        connected = self._cluster.connected
        return self._machine.read([Part(f"{connected.folder}/{key.job}/{key.attempt}/{name}", offset, limit)])[0]

    # Handing over

    def _settled(self, key: Key) -> bool:
        """Whether nothing is left to do to submit it: its job is known, it is over, or it was forgotten."""
        entry = self._ledger.get(key)
        if entry is None:
            return self._ledger.buried(key)
        return entry.slurm is not None or entry.ended is not None or entry.cancel_at is not None

    def _find(self, keys: Sequence[Key]) -> list[Key]:
        """Those of `keys` that are in the queue, or were begun: an earlier call got further than we know."""
        if not keys:
            return []
        ours, _ = self._inquiry.queue()
        claims = self._inquiry.claims(keys)
        found = []
        for key in keys:
            entry = self._ledger.get(key)
            number = claims[key] or (ours[key][0].id if key in ours else None)
            if entry is not None and number is not None:
                found.append(replace(entry, slurm=number))
        self._ledger.write(found)
        return [entry.key for entry in found]

    def _enter(self, orders: Sequence[Order], site: Site) -> None:
        """In the ledger first, then in the shared folder."""
        now = self._clock.now()
        entries, files = [], []
        for order in orders:
            address = site.nodes[order.placements[0].node].address if order.placements else ""
            options = (*batch.options(order, site), site.attempt(order.key))
            entries.append(Entry(order.key, options, address, order.spec.time_limit, now))
            files += batch.files(order, site)
        self._ledger.write(entries)
        for order in orders:
            if order.package is not None:
                self._send_package(order.package, batch.package_path(order, site))
        if files:
            self._machine.put(files)

    def _send_package(self, package: Path, path: str) -> None:
        """Once for all attempts and jobs that share it."""
        if path not in self._packages and not self._machine.read([Part(path, 0, 1)])[0]:
            self._machine.send(package, path)
        self._packages.add(path)

    def _hand_over(self, keys: Sequence[Key]) -> dict[Key, str]:
        """Run sbatch for orders that are in the ledger. Raises Away after the others are written down."""
        entries = [entry for key in keys if (entry := self._ledger.get(key))]
        if not entries:
            return {}
        site = self._cluster.site()
        answers = self._commands.submit([entry.options for entry in entries], site.wrapper)
        both = list(zip(entries, answers, strict=True))
        self._ledger.write(replace(entry, slurm=answer.id) for entry, answer in both if answer.id is not None)
        self._ledger.strike(entry.key for entry, answer in both if answer.refused)
        unsure = next((answer.unsure for _, answer in both if answer.unsure), "")
        if unsure:
            raise Away(unsure)
        return {entry.key: answer.refused for entry, answer in both if answer.refused}

    # Concluding

    def _settle(self, found: Sequence[Evidence]) -> dict[Key, Observation]:
        now = self._clock.now()
        seen = {entry.key: entry.ended for entry in self._ledger.all() if entry.ended is not None}
        changed, again = [], []
        surplus: list[int] = []
        for evidence in found:
            settled = settle(evidence, now)
            entry = self._conclude(evidence, settled, now)
            surplus += settled.surplus
            if settled.again:
                again.append(entry.key)
            if entry != evidence.entry:
                changed.append(entry)
            if settled.seen is not None:
                seen[entry.key] = settled.seen
        self._ledger.write(changed)
        self._end_jobs(surplus)
        self._end_overdue(found, now)
        if again:
            self._hand_over(again)
        return seen

    def _conclude(self, evidence: Evidence, settled: Settled, now: float) -> Entry:
        """The entry as it is from now on."""
        key, entry = evidence.entry.key, evidence.entry
        if settled.missed or (settled.again and key in self._missed):
            self._missed.setdefault(key, now)
        else:
            self._missed.pop(key, None)
        if settled.slurm is not None or settled.again:
            entry = replace(entry, slurm=settled.slurm)
        if settled.seen is not None and settled.seen.state.final:
            entry = replace(entry, ended=settled.seen)
        return entry

    def _surplus(self, ours: Mapping[Key, Sequence[Row]]) -> None:
        """Take in jobs of ours that the ledger has lost, and end those of orders that are over or forgotten."""
        adopted, left = [], []
        for key, rows in ours.items():
            open_rows = [row for row in rows if not word_of(row, {}, 0.0).final]
            entry = self._ledger.get(key)
            if entry is not None and entry.ended is None:
                continue
            if entry is None and not self._ledger.buried(key):
                # Without an open job it is none of ours to tell of: Slurm also lists what sbatch was refused.
                if open_rows:
                    adopted.append(Entry(key, (), "", None, self._clock.now(), rows[0].id))
            else:
                left += [row.id for row in open_rows if row.state != "COMPLETING"]
        self._ledger.write(adopted)
        self._end_jobs(left)

    def _end_jobs(self, ids: Sequence[int]) -> None:
        if ids:
            _log.info("engine %s: ending surplus Slurm jobs %s", self.name, ", ".join(map(str, ids)))
            self._commands.end(ids)

    def _end_overdue(self, found: Sequence[Evidence], now: float) -> None:
        """What was told to end and has not, after its grace and some more, is ended by Slurm's own means."""
        overdue: dict[Key, list[int]] = {}
        for evidence in found:
            entry = evidence.entry
            if entry.cancel_at is None:
                continue
            due = max(entry.cancel_at + entry.grace, self._ended_at.get(entry.key, 0.0)) + _OVERDUE_S
            ids = [row.id for row in evidence.rows if not row.final and row.state != "COMPLETING"]
            if ids and now >= due:
                overdue[entry.key] = ids
        if overdue:
            self._commands.end([number for ids in overdue.values() for number in ids])
            self._ended_at.update(dict.fromkeys(overdue, now))


def _view_of(machine: Machine, settings: SlurmSettings, commands: Commands, clock: Clock) -> View:
    if not settings.rest_url:
        return commands
    from stoker.engines.slurm.rest import Rest

    return Rest(machine, settings, commands, clock)


def _machine_of(settings: SlurmSettings) -> Machine:
    if not settings.ssh:
        return Here()
    from stoker.engines.slurm.ssh import LoginNode

    return LoginNode(settings)
