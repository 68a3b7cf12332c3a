"""Runs one attempt of one job and writes down how it ended: ``python -I -S supervisor.py DIR PIPE``.

It is a process of its own, in its own session, so that the platform may be killed at any moment. It imports nothing
but the standard library and is ready in about 20 ms. What it reads and writes in DIR::

    order.json     what to run (see engine.py)
    claim          held with flock while it lives; its text says which process has begun this attempt
    running.json   the job's process, and since when
    cancel.json    {"grace": seconds}: the wish to end it; SIGUSR1 says that it has just been written. With more
                   seconds than the order's own grace it is told to save itself first, if it has a signal for that
    exit.json      how it ended; appears whole or not at all

An attempt whose claim has a text is never begun again, whoever asks: that is why no job runs twice.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would cost a third of the start
    from collections.abc import Callable
    from typing import Any

    Order = dict[str, Any]  # order.json, written by engine.py

_WAKE = {signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM}
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: orphaned grandchildren come to us, however they detached
_MEMORY_LOOK_SECONDS = 1.0


def main(folder: str, pipe: int) -> None:
    os.chdir(folder)
    os.set_inheritable(pipe, False)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAKE)
    if not _claim():
        return
    with open("order.json") as file:
        order = json.load(file)
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    _Supervision(order, pipe).run()


def _claim() -> bool:
    """Whether this attempt is ours: nobody holds it, nobody ever began it. The file stays locked until we end."""
    claim = os.open("claim", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    if os.fstat(claim).st_size:
        return False
    name = json.dumps(identity(os.getpid())).encode()
    wait_for_room(lambda: os.pwrite(claim, name, 0))
    return True


def identity(pid: int) -> dict[str, object]:
    """A process for good: a pid is used again, together with its start (clock ticks) and the boot it is not."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        started = int(file.read().rpartition(b")")[2].split()[19])
    with open("/proc/sys/kernel/random/boot_id") as file:
        return {"pid": pid, "started": started, "boot": file.read().strip()}


class CannotStart(Exception):
    """``cannot start foo: No such file or directory``"""

    def __init__(self, what: str, number: int, why: str = "") -> None:
        super().__init__(f"cannot {what}: {why or os.strerror(number)}")
        self.exit_code = 127 if number == errno.ENOENT else 126


class _Supervision:
    """One job process from start to end."""

    def __init__(self, order: Order, pipe: int) -> None:
        self.order = order
        self.pipe = pipe  # to the platform that started us, if it is still there
        self.why = ""  # why it is being ended: "cancel", "timeout", "memory"
        self.started_at = 0.0
        self.deadline = 0.0  # when to end it; 0: never
        self.warn_at = 0.0  # when it is told to save itself before its time is over; 0: not, or told already
        self.term_at = 0.0  # when SIGTERM follows, after it was told to save itself
        self.kill_at = 0.0  # when SIGKILL follows; 0: nothing is being ended
        self.job = 0  # its pid
        self.status: int | None = None  # as waitpid says it; None while it runs
        self.alone = False  # nothing is left below us

    def run(self) -> None:
        if os.path.exists("cancel.json"):
            self.why = "cancel"
            return self.end(None, "cancelled before it started")
        try:
            self.start()
        except CannotStart as trouble:
            return self.end(trouble.exit_code, str(trouble))
        limit = self.order["time_limit"]
        self.deadline = time.monotonic() + limit if limit else 0.0
        self.warn_at = self.deadline - self.order["lead"] if limit and self.order["signal"] else 0.0
        self.watch()
        self.kill_all()
        code = os.waitstatus_to_exitcode(self.status or 0)
        if not self.why and code and out_of_memory(self.order["cgroups"]):
            self.why = "memory"
        return self.end(code if code >= 0 else 128 - code, _signalled(code))

    def start(self) -> None:
        """Fork the job. Raises CannotStart when its output, folder or program cannot be opened."""
        order = self.order
        if order.get("package"):
            unpack(*order["package"])
        output = _open_output(order["stdout"], order["attempt"])
        errors = _open_output(order["stderr"], order["attempt"]) if order["stderr"] else output
        told, tell = os.pipe2(os.O_CLOEXEC)
        self.started_at = time.time()
        pid = os.fork()
        if pid == 0:
            _become(order, output, errors, tell)
        self.job = pid
        os.close(tell)
        trouble = os.read(told, 4096)
        os.close(told)
        if trouble:
            os.waitpid(pid, 0)
            number, _, what = trouble.decode(errors="replace").partition(" ")
            raise CannotStart(what, int(number))
        write_whole("running.json", {**identity(pid), "started_at": self.started_at})
        with contextlib.suppress(OSError):
            os.write(self.pipe, b"r")

    def watch(self) -> None:
        """Until the job's process has ended, and when it is being ended, all it left behind too."""
        while True:
            self.reap()
            now = time.monotonic()
            if self.status is not None and (self.alone or not self.kill_at):
                return
            if self.kill_at and now >= self.kill_at:
                self.kill_all()
                continue
            if self.term_at and now >= self.term_at:
                self.term_at = 0.0
                tell(signal.SIGTERM)
            if not self.why:
                self.look(now)
            received = signal.sigtimedwait(_WAKE, self.patience(now))
            if received is not None and received.si_signo != signal.SIGCHLD:
                self.obey(received.si_signo)

    def look(self, now: float) -> None:
        if self.warn_at and now >= self.warn_at:
            self.warn()
        if self.deadline and now >= self.deadline:
            self.terminate("timeout", self.order["grace"])
        elif self.order["memory"] and memory_in_use() > self.order["memory"]:
            self.terminate("memory", 0.0)

    def patience(self, now: float) -> float:
        """Seconds until something must be looked at even if no signal comes."""
        moments = [moment for moment in (self.kill_at or self.deadline, self.warn_at, self.term_at) if moment]
        if self.order["memory"] and not self.why:
            moments.append(now + _MEMORY_LOOK_SECONDS)
        return max(0.0, min(moments, default=now + 3600.0) - now)

    def obey(self, number: int) -> None:
        """SIGUSR1: a cancellation was written. SIGTERM: the machine goes down; the job gets what time there is."""
        grace = float(self.order["grace"])
        with contextlib.suppress(OSError, ValueError, KeyError), open("cancel.json") as file:
            grace = float(json.load(file)["grace"])
        notice = grace - self.order["grace"] if self.order["signal"] else 0.0
        if self.kill_at:
            self.kill_at = min(self.kill_at, time.monotonic() + grace)
            self.term_at = self.term_at if notice > 0 else min(self.term_at, time.monotonic())
        elif notice > 0:
            self.why = "cancel" if number == signal.SIGUSR1 else "shutdown"
            self.term_at = time.monotonic() + notice
            self.kill_at = time.monotonic() + grace
            self.warn()
        else:
            self.terminate("cancel" if number == signal.SIGUSR1 else "shutdown", grace)

    def warn(self) -> None:
        """Tell the job to save itself: those of its processes that handle the signal; it would end the others."""
        self.warn_at = 0.0
        tell(self.order["signal"], catches)

    def terminate(self, why: str, grace: float) -> None:
        self.why = why
        self.warn_at = 0.0
        self.kill_at = time.monotonic() + grace
        tell(signal.SIGTERM)

    def reap(self) -> None:
        """Collect who has ended. All orphans below come to us, their subreaper: no child means nothing is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.alone = True
                return
            if pid == 0:
                return
            if pid == self.job:
                self.status = status

    def kill_all(self) -> None:
        """SIGKILL to everything below us, again and again until nothing is left: forks may race with us."""
        pause = 0.002
        self.reap()
        while not self.alone:
            for pid in descendants():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(pause)
            pause = min(pause * 2, 1.0)  # one that hangs in the kernel ends when the kernel lets it
            self.reap()

    def end(self, exit_code: int | None, message: str) -> None:
        remove_groups(self.order["cgroups"])
        state, reason, text = _verdict(self.why, exit_code, message, self.order)
        write_whole(
            "exit.json",
            {
                "state": state,
                "reason": reason,
                "message": text,
                "exit_code": exit_code,
                "started_at": self.started_at or None,
                "ended_at": time.time(),
            },
        )


def _verdict(why: str, code: int | None, message: str, order: Order) -> tuple[str, str, str]:
    """State, reason and message of an ended job."""
    if why == "cancel":
        return "cancelled", "", message or "cancelled"
    if why == "timeout":
        return "timeout", "TimeLimit", f"reached its time limit of {order['time_limit']:g} s"
    if why == "memory":
        return "out_of_memory", "OutOfMemory", "used more memory than it asked for"
    if why == "shutdown":
        return "node_fail", "NodeShutdown", "ended because the machine was shut down"
    if code == 0:
        return "succeeded", "", ""
    return "failed", "NonZeroExitCode", message or f"exit code {code}"


def unpack(package: str, folder: str) -> None:
    """Unpack a .tar.gz; nothing in it leads out of `folder`. Raises CannotStart."""
    import tarfile  # few jobs bring a package, and it costs a third of the start
    import zlib

    try:
        with tarfile.open(package, "r:gz") as archive:
            archive.extractall(folder, filter="data")
    except OSError as error:
        raise CannotStart("unpack its package", error.errno or 0, str(error)) from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise CannotStart("unpack its package", 0, str(error)) from None


def _become(order: Order, output: int, errors: int, tell: int) -> None:
    """In the child: turn into the job. Never returns; trouble is told through the pipe `tell`."""
    what = "enter its limits"
    try:
        os.setsid()
        for group in order["cgroups"]:
            with open(f"{group}/cgroup.procs", "w") as file:
                file.write("0")
        what = f"enter {order['workdir']}"
        os.chdir(order["workdir"])
        os.umask(0o022)
        nothing = os.open("/dev/null", os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (errors, 2)):
            os.dup2(source, target)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAKE)
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # Python ignores these, and what is ignored is inherited
        what = f"start {order['argv'][0]}"
        os.execvpe(order["argv"][0], order["argv"], order["envs"])
    except OSError as error:
        os.write(tell, f"{error.errno} {what}".encode())
    finally:
        os._exit(127)


def _open_output(path: str, attempt: int) -> int:
    """A first attempt starts the file anew, a later one goes on writing where the others stopped."""
    fresh = os.O_TRUNC if attempt <= 1 else 0
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | fresh, 0o644)
    except OSError as error:
        raise CannotStart(f"write {path}", error.errno or 0) from None


def _signalled(code: int) -> str:
    if code >= 0:
        return ""
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def descendants() -> list[int]:
    """Every process below this one, however it detached."""
    found: list[int] = []
    below = _children(os.getpid())
    while below:
        pid = below.pop()
        found.append(pid)
        below += _children(pid)
    return found


def _children(pid: int) -> list[int]:
    """Children of all threads of `pid`; a process that has just ended has none: they have come to us."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                children += map(int, file.read().split())
    return children


def tell(number: int, which: Callable[[int, int], bool] = lambda _pid, _number: True) -> None:
    """Send a signal to every process below this one."""
    for pid in descendants():
        with contextlib.suppress(ProcessLookupError):
            if which(pid, number):
                os.kill(pid, number)
                os.kill(pid, signal.SIGCONT)  # a stopped process would not hear it


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for the signal."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def out_of_memory(groups: list[str]) -> bool:
    """Whether the kernel killed something in one of these control groups for want of memory."""
    for group in groups:
        for name in ("memory.events", "memory.oom_control"):  # v2, v1
            with contextlib.suppress(OSError), open(f"{group}/{name}") as file:
                counts = dict(line.split() for line in file)
                if int(counts.get("oom_kill", 0)):
                    return True
    return False


def remove_groups(groups: list[str]) -> None:
    for group in groups:
        with contextlib.suppress(OSError):
            os.rmdir(group)


def memory_in_use() -> int:
    """Bytes below us, pages shared among them counted once (proportional set size)."""
    return sum(_proportional(pid) for pid in descendants())


def _proportional(pid: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def write_whole(name: str, value: object) -> None:
    """Write JSON so that a reader sees all of it or nothing."""
    wait_for_room(lambda: _write_once(name, json.dumps(value)))


def wait_for_room(write: Callable[[], object]) -> None:
    """Do `write`, again and again while the disk is full: what it says must not get lost."""
    while True:
        try:
            write()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            time.sleep(1.0)
        else:
            return


def _write_once(name: str, text: str) -> None:
    with open(f"{name}.new", "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{name}.new", name)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
