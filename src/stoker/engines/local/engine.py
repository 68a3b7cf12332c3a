"""LocalEngine: the jobs of this machine, under supervisors that outlive the platform."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stoker.cluster import Node
from stoker.engine import Key, Observation, Order
from stoker.engines.local.attempt import Attempt
from stoker.engines.local.environment import environment
from stoker.engines.local.limits import Limits
from stoker.engines.local.processes import Identity, boot_id, kill_marked
from stoker.engines.local.watch import Watch
from stoker.errors import Away, NoSpace
from stoker.job import JobState
from stoker.job_environment import fill

_log = logging.getLogger(__name__)
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_OF_THE_ORDER = (errno.ENAMETOOLONG, errno.ELOOP)  # no other machine and no later moment would do better
_CLAIM_SECONDS = 5.0  # longest a supervisor holds its claim without writing into it


@dataclass
class _Known:
    """An order that was handed over and not yet forgotten."""

    attempt: Attempt
    token: int
    seen: Observation
    child: int = 0  # pid of the supervisor while it is our child; it may outlive our interest in the order


class LocalEngine:
    """Implements Engine, CanForget, CanProbe, CanTellSaves and CanNotify on the processes of one machine.

    `folder` holds one folder an attempt (``<job>/<attempt>``) and, in ``.live``, one empty file for each that was
    handed over and not forgotten: after a restart these are taken up again, however many others there were.
    """

    name = "local"

    def __init__(self, folder: Path, node: Callable[[], Node]) -> None:
        self._folder = folder
        self._node = node
        self._limits = Limits()
        self._home_mark = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:12]  # apart from other homes
        self._live = folder / ".live"
        self._live.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._known: dict[Key, _Known] = {}
        self._by_token: dict[int, Key] = {}
        self._children: dict[int, int] = {}  # token -> pid of a supervisor that is to be reaped
        self._tokens = itertools.count()
        self._wake: Callable[[], None] = lambda: None
        self._watch = Watch(self._told)
        self._adopt()

    def submit(self, orders: Sequence[Order]) -> Mapping[Key, str]:
        """Refused is only what can never be written down; all else that goes wrong is the attempt's own end."""
        refused: dict[Key, str] = {}
        for order in orders:
            with self._lock:
                if order.key not in self._known and (why := self._start(order)):
                    refused[order.key] = why
        return refused

    def states(self) -> Mapping[Key, Observation]:
        with self._lock:
            return {key: known.seen for key, known in self._known.items()}

    def cancel(self, keys: Sequence[Key], *, grace: float) -> None:
        for key in keys:
            with self._lock:
                known = self._known.get(key)
            attempt = self._attempt(key)
            if (known and known.seen.state.final) or not attempt.folder.exists():
                continue
            try:
                attempt.ask_to_end(grace)
                trouble = None
            except OSError as error:
                trouble = error
            if supervisor := attempt.supervisor():  # disk full: the signal alone ends it, with its own grace
                supervisor.send(signal.SIGUSR1)
            elif trouble:  # one that has not begun yet would only see the file
                raise NoSpace(f"job {_label(key)} cannot be told to end: {trouble.strerror}") from trouble

    def logs(self, key: Key, *, stream: str = "stdout", offset: int = 0, limit: int = 1 << 20) -> bytes:
        return self._attempt(key).read(stream, offset, limit)

    def probe(self, key: Key, *, offset: int = 0, limit: int = 1 << 20) -> bytes:
        """Whole lines only: what is still being written is left for the next call."""
        found = self._attempt(key).read("probe.jsonl", offset, limit)
        return found[: found.rfind(b"\n") + 1]

    def saved(self, keys: Sequence[Key]) -> Mapping[Key, float]:
        told = {key: self._attempt(key).saved() for key in keys}
        return {key: at for key, at in told.items() if at is not None}

    def inventory(self) -> tuple[Node, ...]:
        node = self._node()
        return (replace(node, labels={**node.labels, **self._limits.labels}),)

    def forget(self, keys: Sequence[Key]) -> None:
        """Logs and probe stay; its private files go, and `states` no longer tells of it."""
        for key in keys:
            with self._lock:
                known = self._known.pop(key, None)
                if known is not None:
                    self._by_token.pop(known.token, None)
            shutil.rmtree(self._attempt(key).files, ignore_errors=True)
            (self._live / _label(key)).unlink(missing_ok=True)

    def notify(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def close(self) -> None:
        """Stop watching. The jobs go on."""
        self._watch.stop()

    def _attempt(self, key: Key) -> Attempt:
        return Attempt(key, self._folder / str(key.job) / str(key.attempt))

    def _adopt(self) -> None:
        """Take up what an earlier platform process left; an attempt nobody began will be handed over again."""
        for entry in os.scandir(self._live):
            job, _, attempt = entry.name.partition(".")
            found = self._attempt(Key(int(job), int(attempt)))
            if found.ended() or found.supervisor():
                self._look(self._remember(found))

    def _remember(self, attempt: Attempt) -> _Known:
        known = _Known(attempt, next(self._tokens), Observation(JobState.STARTING))
        self._known[attempt.key] = known
        self._by_token[known.token] = attempt.key
        return known

    def _start(self, order: Order) -> str:
        """Write the attempt down and start its supervisor; whatever of it was done before is done once.

        Returns why the order itself makes that impossible: it must not keep the others from being started.
        """
        attempt = self._attempt(order.key)
        try:
            (self._live / _label(order.key)).touch(mode=0o600)
            attempt.prepare(self._written(order, attempt), order.spec.script, order.files)
            known = self._remember(attempt)
            if attempt.ended() or attempt.supervisor():
                self._look(known)
            else:
                self._spawn(known)
        except ValueError as error:
            return self._refused(order, str(error))  # a NUL in a path
        except OSError as error:
            if error.errno in _OF_THE_ORDER:
                return self._refused(order, os.strerror(error.errno))
            self._known.pop(order.key, None)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(f"no space left in {self._folder}; free some, the job starts then") from error
            raise Away(f"this machine cannot start a process now: {error.strerror}") from error
        return ""

    def _refused(self, order: Order, why: str) -> str:
        self.forget([order.key])
        return f"its folder or an output file has a name that no file can have: {why}"

    def _written(self, order: Order, attempt: Attempt) -> dict[str, object]:
        """The content of order.json."""
        spec, node = order.spec, self._node()
        package = attempt.folder / "package"
        workdir = str((package if order.package else attempt.folder) / spec.workdir)
        argv = [str(attempt.folder / "script"), *spec.arguments] if spec.script else list(spec.command)
        stdout, stderr = (
            str(Path(workdir) / fill(pattern, order, node.name)) if pattern else ""
            for pattern in (spec.stdout, spec.stderr)
        )
        for path in (workdir, stdout, stderr):
            _check_possible(path)
        groups = self._limits.make(f"{self._home_mark}-{_label(order.key)}", spec.resources)
        return {
            "argv": argv,
            "envs": environment(order, attempt, node, workdir),
            "package": [str(order.package), str(package)] if order.package else None,
            "workdir": workdir,
            "stdout": stdout or str(attempt.folder / "stdout"),
            "stderr": stderr,
            "attempt": order.key.attempt,
            "time_limit": spec.time_limit,
            "grace": spec.grace,
            "signal": signal.Signals[f"SIG{spec.checkpoint_signal}"].value if spec.checkpoint_signal else 0,
            "lead": spec.checkpoint_lead,
            "memory": 0 if groups.memory else spec.resources.memory,  # what the supervisor itself has to watch
            "cgroups": [group for group in (groups.cpu, groups.memory) if group],
        }

    def _spawn(self, known: _Known) -> None:
        news, pipe = os.pipe2(os.O_CLOEXEC)
        try:
            with (known.attempt.folder / "supervisor.log").open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_SUPERVISOR), str(known.attempt.folder), str(pipe)],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(pipe,), start_new_session=True,
                    env={"PATH": os.defpath},
                )  # fmt: skip
        except OSError:
            os.close(news)
            raise
        finally:
            os.close(pipe)
        known.child = self._children[known.token] = process.pid
        process.returncode = 0  # it is reaped in _told, and outlives us: Popen must not care for it any more
        self._watch.add(news, known.token)

    def _told(self, token: int, ended: bool) -> None:
        """News from the watch: the job began, or its supervisor is gone."""
        with self._lock:
            if ended and token in self._children:
                os.waitpid(self._children.pop(token), 0)
            key = self._by_token.get(token)
            known = self._known.get(key) if key else None
            if known is None:
                return  # it told its end so quickly that it is forgotten already
            if ended:
                known.child = 0
            self._look(known)
        self._wake()

    def _look(self, known: _Known) -> None:
        """Bring `known` up to date from its folder, and watch its supervisor when nothing else does."""
        attempt = known.attempt
        known.seen = attempt.ended() or attempt.running() or known.seen
        if known.seen.state.final or known.child:
            return
        supervisor = _await_claim(attempt)
        descriptor = supervisor.open() if supervisor else None
        if descriptor is not None:
            self._watch.add(descriptor, known.token)
            return
        known.seen = attempt.ended() or self._bury(attempt, supervisor)

    def _bury(self, attempt: Attempt, supervisor: Identity | None) -> Observation:
        """The supervisor is gone without a word: end what it left behind and say so."""
        if supervisor is not None and supervisor.boot != boot_id():
            message = "the machine was restarted under it"
        elif supervisor is None:
            message = f"its supervisor could not start; see {attempt.folder / 'supervisor.log'}"
        else:
            kill_marked(attempt.mark)
            message = "its supervisor was killed"
        attempt.remove_groups()
        begun = attempt.running()
        end = Observation(
            JobState.NODE_FAIL,
            started_at=begun.started_at if begun else None,
            ended_at=time.time(),
            reason="NodeFail",
            message=message,
        )
        _log.warning("job %s: %s", _label(attempt.key), message)
        try:
            attempt.write_end(end)
        except OSError as error:  # full: after a restart it is found dead once more
            _log.warning("job %s: its end could not be written down: %s", _label(attempt.key), error.strerror)
        return end


def _check_possible(path: str) -> None:
    """Raises ValueError or an OSError of `_OF_THE_ORDER` for what can never be the name of a file."""
    try:
        os.lstat(path or os.curdir)
    except OSError as error:
        if error.errno in _OF_THE_ORDER:
            raise


def _await_claim(attempt: Attempt) -> Identity | None:
    """Who began the attempt. None means nobody did and, as the claim is then taken here, nobody will."""
    patience = time.monotonic() + _CLAIM_SECONDS
    claim = os.open(attempt.folder / "claim", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while (supervisor := attempt.supervisor()) is None and time.monotonic() < patience:
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(0.01)  # a supervisor is just about to write its name
                continue
            if os.fstat(claim).st_size == 0:
                os.write(claim, b"null")  # not an identity, but not empty: nobody begins it from here on
            break
        return supervisor or attempt.supervisor()
    finally:
        os.close(claim)


def _label(key: Key) -> str:
    return f"{key.job}.{key.attempt}"
