"""The batch script of every attempt: it claims the attempt, runs the job, and writes down how it ended.

Slurm starts it with the attempt's folder, which login and compute nodes share, as its argument. Standard library
only, Python 3.6 or newer; the engine puts the line with the interpreter on top. What it reads and writes there::

    order.json    what to run (batch.py)
    claim         which Slurm job has begun this attempt; made by link(2), which is atomic on NFS too
    cancel.json   {"grace": seconds}: the wish to end it; SIGUSR1 says that it has just been written. With more
                  seconds than its own grace the job is told to save itself first, where it has a signal for that
    warn          the parts on the nodes are to tell it
    end.json      how it ended; appears whole or not at all

An attempt is begun once, whatever was submitted twice or requeued: a Slurm job that finds the claim of another one,
or its own of before a requeue, ends at once. With ``--node`` it is the part of one node of a job that runs on each
of them, started by srun.
"""

import contextlib
import ctypes
import json
import os
import signal
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WAKE = {signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM}
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: orphaned grandchildren come to us, however they detached
NOT_OURS = 0  # exit code of a Slurm job whose attempt another one has begun
CANNOT_START = 127
ENDED_FROM_OUTSIDE = (128 + signal.SIGTERM, 128 + signal.SIGKILL)
LATE_SIGNAL_S = 0.5
LOOK_FOR_WARNING_S = 3.0  # how often the part on a node looks whether its job is to save itself
THIS_NODE = "--nodelist={here}"  # a word of an argument list that stands for the node it is used on
# What Slurm itself says of the devices it gave; neither the user nor the platform knows better.
DEVICES = (
    "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK", "ASCEND_RT_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES",
)  # fmt: skip


def main(folder: str, node: bool) -> int:
    os.chdir(folder)
    signal.pthread_sigmask(signal.SIG_BLOCK, WAKE)
    if not node and not claim():
        return NOT_OURS
    with open("order.json", encoding="utf-8") as file:
        order = json.load(file)
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    return Supervision(folder, order, node).run()


def claim() -> bool:
    """Whether this attempt is ours to begin: nobody has, not even we before Slurm requeued us."""
    mine = {
        "slurm": int(os.environ["SLURM_JOB_ID"]),
        "node": os.environ.get("SLURMD_NODENAME", ""),
        "at": time.time(),
    }
    name = "claim.{}.{}".format(mine["slurm"], os.environ.get("SLURM_RESTART_COUNT", "0"))
    write_whole(name, mine)
    try:
        os.link(name, "claim")
    except FileExistsError:
        return False
    finally:
        os.unlink(name)
    return True


def own_id() -> str:
    return os.environ["SLURM_JOB_ID"]


class CannotStart(Exception):
    """The job's program could not be started; the text says what was tried and why it failed."""


class Supervision:
    """One run of a program, until nothing of it is left."""

    def __init__(self, folder: str, order: "dict[str, Any]", node: bool) -> None:
        self.folder = folder
        self.order = order
        self.node = node
        self.started_at = time.time()
        limit = None if node else order["time_limit"]
        self.deadline = time.monotonic() + limit if limit else None  # type: float | None
        self.warn_at = None  # type: float | None
        if limit and order["signal"]:
            self.warn_at = self.deadline - order["lead"]
        self.term_at = None  # type: float | None
        self.kill_at = None  # type: float | None
        self.why = ""  # why it is being ended: cancel, timeout or slurm
        self.pid = 0
        self.status = None  # type: int | None
        self.alone = False  # nothing is left below us
        self.warned = False

    def run(self) -> int:
        code, trouble = CANNOT_START, ""
        try:
            self.start()
        except (CannotStart, OSError) as error:
            trouble = str(error)
        else:
            self.watch()
            code = code_of(self.status)
            if not self.why and code in ENDED_FROM_OUTSIDE:
                self.hear_late()
            trouble = signalled(self.status)
        if self.node:
            self.tell_failure(code, trouble)
            return code
        code, trouble = self.first_failure(code, trouble)
        self.end(code, trouble)
        return code

    def tell_failure(self, code: int, trouble: str) -> None:
        """Of the parts of a job the first that fails, by itself, says how the job ends; srun ends the others."""
        if code == 0 or self.why:
            return
        node = os.environ.get("SLURMD_NODENAME", "")
        name = "failure.{}".format(os.environ.get("SLURM_NODEID", "0"))
        write_whole(name, {"code": code, "trouble": "{}: {}".format(node, trouble or f"exit code {code}")})
        with contextlib.suppress(FileExistsError):
            os.link(name, "failure")

    def first_failure(self, code: int, trouble: str) -> "tuple[int, str]":
        with contextlib.suppress(OSError, ValueError), open("failure", encoding="utf-8") as file:
            found = json.load(file)
            return found["code"], found["trouble"]
        return code, trouble

    def start(self) -> None:
        """Fork the job. What keeps its program from starting comes back through a pipe that closes on exec."""
        if os.path.exists("cancel.json"):
            raise CannotStart(self.cancelled_before())
        argv, environment, workdir = self.prepare()
        told, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self.become(argv, environment, workdir, tell)
        os.close(tell)
        trouble = os.read(told, 4096).decode(errors="replace")
        os.close(told)
        if trouble:
            os.waitpid(self.pid, 0)
            raise CannotStart(trouble)

    def cancelled_before(self) -> str:
        self.why = "cancel"
        return "cancelled before it began"

    def prepare(self) -> "tuple[list[str], dict[str, str], str]":
        order = self.order
        if not self.node and order["package"]:
            unpack(order["package"], "package")
        across = order["across"] and not self.node
        environment = across_environment() if across else job_environment(order)
        here = os.environ.get("SLURMD_NODENAME", "")
        argv = (
            order["across"]
            if across
            else ["--nodelist=" + here if word == THIS_NODE else word for word in order["argv"]]
        )
        workdir = self.folder if across else order["workdir"]
        return argv, environment, workdir

    def become(self, argv: "list[str]", environment: "dict[str, str]", workdir: str, tell: int) -> None:
        """In the child: turn into the job. Never returns; trouble is told through the pipe `tell`."""
        what = ""
        try:
            os.setsid()
            self.redirect()
            what = f"cannot enter {workdir}"
            os.chdir(workdir)
            os.umask(0o022)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WAKE)
            for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)  # Python ignores these, and what is ignored is inherited
            what = f"cannot start {argv[0]}"
            os.execvpe(argv[0], argv, environment)
        except OSError as error:
            os.write(tell, "{}: {}".format(what or f"cannot write {error.filename}", error.strerror).encode())
        finally:
            os._exit(CANNOT_START)

    def redirect(self) -> None:
        """Standard input is empty. A part on a node writes where srun started it to write."""
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        if self.node:
            return
        output = open_output(self.order["stdout"], self.order["attempt"], "stdout")
        errors = output
        if self.order["stderr"]:
            errors = open_output(self.order["stderr"], self.order["attempt"], "stderr")
        os.dup2(output, 1)
        os.dup2(errors, 2)

    def watch(self) -> None:
        """Until the job's process has ended and nothing it left behind is there."""
        while True:
            self.reap()
            now = time.monotonic()
            if self.status is not None:
                if self.alone:
                    return
                self.kill_at = self.kill_at or now  # what a job leaves in the background ends with it
            if self.kill_at is not None and now >= self.kill_at:
                self.kill_all()
                continue
            self.look(now)
            moments = [moment for moment in (self.kill_at or self.deadline, self.warn_at, self.term_at) if moment]
            if self.node and self.order["signal"]:
                moments.append(now + LOOK_FOR_WARNING_S)
            received = signal.sigtimedwait(WAKE, max(0.0, min(moments or [now + 3600.0]) - now))
            if received is not None and received.si_signo != signal.SIGCHLD:
                self.obey(received.si_signo)

    def look(self, now: float) -> None:
        """What time alone brings about."""
        if self.term_at is not None and now >= self.term_at:
            self.terminate(self.why, (self.kill_at or now) - now)
        elif not self.warned and self.order["signal"] and self.should_warn(now):
            self.warn()
        if self.deadline is not None and now >= self.deadline and not self.why:
            self.terminate("timeout", self.order["grace"])

    def should_warn(self, now: float) -> bool:
        return os.path.exists("warn") if self.node else self.warn_at is not None and now >= self.warn_at

    def warn(self) -> None:
        """Let the job save itself: of its processes those get the signal that handle it; it would end the others.

        The parts on other nodes look for a file: a signal through Slurm would reach all that runs there.
        """
        self.warn_at, self.warned = None, True
        if self.order["across"] and not self.node:
            write_whole("warn", {})
            return
        for pid in descendants():
            with contextlib.suppress(ProcessLookupError):
                if catches(pid, self.order["signal"]):
                    os.kill(pid, self.order["signal"])

    def hear_late(self) -> None:
        """Slurm signals one process after the other: the job may have ended of what reaches us only now."""
        received = signal.sigtimedwait(WAKE - {signal.SIGCHLD}, LATE_SIGNAL_S)
        if received is not None:
            self.why = "slurm" if received.si_signo == signal.SIGTERM else "cancel"

    def obey(self, number: int) -> None:
        """SIGUSR1: a cancellation was written. SIGTERM: Slurm ends the job, and says why in its own books."""
        grace = float(self.order["grace"])
        with contextlib.suppress(OSError, ValueError, KeyError), open("cancel.json", encoding="utf-8") as file:
            grace = float(json.load(file)["grace"])
        notice = grace - self.order["grace"] if self.order["signal"] and number == signal.SIGUSR1 else 0.0
        if self.kill_at is None and notice > 0:
            self.why = "cancel"
            self.term_at = time.monotonic() + notice
            self.kill_at = time.monotonic() + grace
            self.warn()
        elif self.kill_at is None:
            told = number == signal.SIGTERM  # Slurm has told everything below us as well
            cancelled = not told or (self.node and os.path.exists("cancel.json"))
            self.terminate("cancel" if cancelled else "slurm", grace, told)
        else:
            self.kill_at = min(self.kill_at, time.monotonic() + grace)
            if self.term_at is not None and notice <= 0:
                self.term_at = time.monotonic()

    def terminate(self, why: str, grace: float, told: bool = False) -> None:
        """SIGTERM to everything below us, unless it was `told` already; on other nodes Slurm sends it for us."""
        self.why = why
        self.warn_at = self.term_at = None
        self.kill_at = time.monotonic() + grace
        if self.order["across"] and not self.node:
            self.kill_at += 2.0  # the parts count the grace themselves
            write_whole("cancel.json", {"grace": grace})
            # Not through srun: whatever it is sent, it would end the parts at once.
            os.spawnvp(os.P_NOWAIT, self.order["scancel"], [self.order["scancel"], "--signal=TERM", own_id()])
            return
        if told:
            return
        for pid in descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
                os.kill(pid, signal.SIGCONT)  # a stopped process would not hear it

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
            if pid == self.pid:
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

    def end(self, code: int, trouble: str) -> None:
        """Try for a while: the shared folder may be full or away for a moment."""
        end = {
            "slurm": int(os.environ["SLURM_JOB_ID"]), "why": self.why, "code": code, "trouble": trouble,
            "started_at": self.started_at, "ended_at": time.time(),
        }  # fmt: skip
        for pause in (0.1, 0.5, 2.0, 5.0, 10.0, 0.0):
            try:
                return write_whole("end.json", end)
            except OSError:
                time.sleep(pause)
        return None


def job_environment(order: "dict[str, Any]") -> "dict[str, str]":
    """Slurm's own variables, the user's, ours, and above all what Slurm says of the devices."""
    base = dict(os.environ)
    rank = int(base.get("SLURM_NODEID", "0"))
    given = {name: base[name] for name in DEVICES if name in base}
    given.setdefault("CUDA_VISIBLE_DEVICES", "")  # a job without devices sees none
    base.update(order["envs"])
    base.update(order["ranks"][rank if order["across"] else 0])
    base.update(order["fixed"])
    base.update(given)
    return base


def across_environment() -> "dict[str, str]":
    """srun reads options from variables; of those that Slurm set for the batch job, none must narrow ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SRUN_")}


def unpack(package: str, folder: str) -> None:
    """Unpack a .tar.gz; nothing in it leads out of `folder`. Raises CannotStart."""
    import tarfile  # few jobs bring a package, and it costs a third of the start
    import zlib

    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with tarfile.open(package, "r:gz") as archive:
            if hasattr(tarfile, "data_filter"):
                archive.extractall(folder, filter="data")
            else:
                archive.extractall(folder, members=harmless(archive.getmembers(), os.path.realpath(folder)))  # noqa: S202
    except OSError as error:
        raise CannotStart(f"cannot unpack its package: {error.strerror or error}") from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise CannotStart(f"cannot unpack its package: {error}") from None


def harmless(members: "list[Any]", folder: str) -> "list[Any]":
    """`members` of an archive, for a Python without tarfile's own filter. Raises CannotStart."""
    for member in members:
        link = os.path.join(os.path.dirname(member.name), member.linkname) if member.issym() else member.linkname
        for name in (member.name, link):
            path = os.path.realpath(os.path.join(folder, name))
            if name.startswith("/") or (path != folder and not path.startswith(folder + os.sep)):
                raise CannotStart(f"cannot unpack its package: {member.name} leads out of its folder")
        if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
            raise CannotStart(f"cannot unpack its package: {member.name} is a device or pipe")
        member.mode = (member.mode | stat.S_IRUSR | stat.S_IWUSR) & 0o755
    return members


def open_output(path: str, attempt: int, link: str) -> int:
    """A first attempt starts the file anew, a later one goes on writing; `link` in the folder leads to it."""
    fresh = os.O_TRUNC if attempt <= 1 else 0
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | fresh, 0o644)
    with contextlib.suppress(FileExistsError):
        os.symlink(path, link)
    return output


def code_of(status: "int | None") -> int:
    """The exit code as a shell tells it: 128 and the signal for what a signal ended."""
    if status is None:
        return CANNOT_START
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def signalled(status: "int | None") -> str:
    if status is None or not os.WIFSIGNALED(status):
        return ""
    number = os.WTERMSIG(status)
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:
        return f"killed by signal {number}"


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for the signal."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def descendants() -> "list[int]":
    """Every process below this one, however it detached."""
    found, below = [], children(os.getpid())
    while below:
        pid = below.pop()
        found.append(pid)
        below += children(pid)
    return found


def children(pid: int) -> "list[int]":
    """Children of all threads of `pid`; a process that has just ended has none: they have come to us."""
    found = []  # type: list[int]
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += map(int, file.read().split())
    return found


def write_whole(name: str, value: object) -> None:
    with open(name + ".new", "w", encoding="utf-8") as file:
        file.write(json.dumps(value))
        file.flush()
        os.fsync(file.fileno())
    os.replace(name + ".new", name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--node" in sys.argv[2:]))
