"""A login node over SSH: OpenSSH's own client carries one connection to a small agent (agent.py) on the other side.

`ssh` reads the users' configuration, agent, certificates and jump hosts, and checks host keys; none of that is
repeated here. The remote command is the same for everybody: Python, which is given the agent's text and then
requests on its standard input. So no argument ever passes through a remote shell, whatever it holds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from pathlib import Path
from typing import IO, Any

from stoker.engines.slurm import agent
from stoker.engines.slurm.machine import CALL_S, PART, File, Hello, Part, Program, Ran, as_words, ran
from stoker.engines.slurm.settings import SlurmSettings
from stoker.errors import Away

_log = logging.getLogger(__name__)
_CONNECT_S = 20  # for each machine on the way
_HELLO_S = 60.0  # until the agent speaks, banners and slow profiles included
_SLACK_S = 15.0  # what an answer may take beyond the time that its programs have
_NOISE = 1 << 20  # bytes that a login shell may print before the agent speaks
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_STDERR = 64  # last lines that are kept
_TELLING = re.compile(
    r"host key|permission denied|could not resolve|connection (refused|reset|timed out|closed)|no route|"
    r"too many authentication|identity file|bad (permissions|owner)|not accessible|unprotected|kex|banner exchange|"
    r"no such file|not found|timed out|no matching|forward",
    re.IGNORECASE,
)
_REMEDIES = (
    ("host key verification failed", "compare its key with the admin's, then correct known_hosts"),
    ("permission denied", "check ssh_identity, and that its public half is in authorized_keys there"),
    ("could not resolve", "check the name, or add it to ssh_config"),
)


class LoginNode:
    """Implements Machine. Connects when first asked, and again after the connection broke, with growing pauses."""

    def __init__(self, settings: SlurmSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._trouble = ""
        self._pause = 0.0
        self._not_before = 0.0
        self._tunnels: dict[tuple[str, int], _Tunnel] = {}
        self._closed = False

    def hello(self) -> Hello:
        return Hello(**self._call("hello"))

    def run(self, programs: Sequence[Program], timeout: float = CALL_S) -> list[Ran]:
        rounds = -(-len(programs) // agent.WORKERS)
        words = [as_words(program) for program in programs]
        return ran(self._call("run", words, timeout, patience=timeout * rounds + _SLACK_S))

    def put(self, files: Iterable[File]) -> None:
        waiting: list[tuple[str, bytes, int]] = []
        size = 0
        for file in files:
            waiting.append((file.path, file.content, file.mode))
            size += len(file.content)
            if size > PART:
                self._call("put", waiting)
                waiting, size = [], 0
        if waiting:
            self._call("put", waiting)

    def send(self, source: Path, path: str, mode: int = 0o600) -> None:
        partial, offset = f"{path}.part-{os.getpid()}-{threading.get_ident()}", 0
        with source.open("rb") as file:
            while True:
                content = file.read(PART)
                self._call("append", partial, offset, content, mode)
                offset += len(content)
                if len(content) < PART:
                    break
        self._call("rename", partial, path)

    def read(self, parts: Sequence[Part]) -> list[bytes]:
        return list(self._call("read", [(part.path, part.offset, part.limit) for part in parts]))

    def times(self, paths: Sequence[str]) -> list[float | None]:
        return list(self._call("times", list(paths)))

    def remove(self, paths: Sequence[str]) -> None:
        self._call("remove", list(paths))

    def reach(self, host: str, port: int) -> tuple[str, int]:
        """Through a forwarding of ssh's own, which is found again while it lives."""
        with self._lock:
            tunnel = self._tunnels.get((host, port))
            if tunnel is None or not tunnel.alive:
                tunnel = self._tunnels[host, port] = _Tunnel(ssh(self._settings), self._settings.ssh, host, port)
            return "127.0.0.1", tunnel.port

    def leave(self, host: str, port: int) -> None:
        with self._lock:
            tunnel = self._tunnels.pop((host, port), None)
        if tunnel is not None:
            tunnel.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection:
                self._connection.close()
            for tunnel in self._tunnels.values():
                tunnel.close()

    def _call(self, verb: str, *arguments: Any, patience: float = CALL_S) -> Any:
        return self._connected().call(verb, arguments, patience)

    def _connected(self) -> _Connection:
        """The living connection, or a new one. While a pause lasts, the last trouble is told at once."""
        with self._lock:
            if self._closed:
                raise Away(f"the connection to {self._settings.ssh} was closed")
            if self._connection and self._connection.alive:
                return self._connection
            if self._connection:
                self._connection.close()
                self._connection = None
            if time.monotonic() < self._not_before:
                raise Away(self._trouble)
            try:
                self._connection = _Connection(self._settings)
            except Away as error:
                self._trouble = str(error)
                self._pause = min(max(_FIRST_PAUSE_S, 2 * self._pause), _LONGEST_PAUSE_S)
                self._not_before = time.monotonic() + self._pause
                raise
            self._pause = 0.0
            return self._connection


def ssh(settings: SlurmSettings) -> list[str]:
    """The client with its options, without target and command. Nothing it does may ask a person."""
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": str(_CONNECT_S),
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "3",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "LogLevel": "ERROR",  # banners stay out of messages
    }
    if settings.ssh_known_hosts:
        options["UserKnownHostsFile"] = settings.ssh_known_hosts
        options["GlobalKnownHostsFile"] = "/dev/null"
    if settings.ssh_identity:
        options["IdentitiesOnly"] = "yes"
    argv = ["ssh", "-T", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    for flag, value in (
        ("-F", settings.ssh_config),
        ("-i", settings.ssh_identity),
        ("-J", settings.ssh_jump),
        ("-p", str(settings.ssh_port or "")),
    ):
        argv += [flag, value] if value else []
    return argv


class _Connection:
    """One ssh process with the agent at its other end. Any thread may call."""

    def __init__(self, settings: SlurmSettings) -> None:
        """Raises Away (one line, why) when the agent does not speak."""
        text = Path(agent.__file__).read_bytes()
        remote = f'exec {settings.wrapper_python} -IS -c "import sys;exec(sys.stdin.buffer.read({len(text)}))"'
        self._name = settings.ssh
        self._process = subprocess.Popen(
            [*ssh(settings), "--", settings.ssh, remote],
            bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        self._said: list[str] = []
        self._waiting: dict[int, Future[Any]] = {}
        self._number = 0
        self._lock = threading.Lock()
        self._listener = threading.Thread(target=self._listen_to_trouble, daemon=True)
        self._listener.start()
        try:
            self._write(text)
            self._await_magic()
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._receive, name=f"ssh-{self._name}", daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def call(self, verb: str, arguments: Sequence[Any], patience: float) -> Any:
        """What the agent answers. Raises Away when it does not, or says that it could not."""
        answer: Future[Any] = Future()
        with self._lock:
            self._number += 1
            self._waiting[self._number] = answer
            self._write(agent.pack({"id": self._number, "verb": verb, "arguments": list(arguments)}))
        if not self.alive:
            self._give_up()
        try:
            reply = answer.result(patience)
        except Late:
            self.close()  # what hangs is given up, with all that waits on it
            raise Away(f"login node {self._name} did not answer within {patience:.0f} s") from None
        if "error" in reply:
            raise Away(f"login node {self._name}: {reply['error']}")
        return reply["value"]

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe and threading.current_thread() is not self._listener:
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()

    def _write(self, content: bytes) -> None:
        left = memoryview(content)
        try:
            while left:
                left = left[os.write(self._pipe(self._process.stdin).fileno(), left) :]
        except (OSError, ValueError):
            raise self._away() from None

    def _await_magic(self) -> None:
        """Skip whatever a login shell prints first."""
        until = time.monotonic() + _HELLO_S
        output, seen = self._pipe(self._process.stdout), b""
        while not seen.endswith(agent.MAGIC):
            if not select.select([output], [], [], max(0.0, until - time.monotonic()))[0]:
                raise Away(f"login node {self._name}: Python did not answer within {_HELLO_S:.0f} s")
            byte = os.read(output.fileno(), 1)
            if not byte:
                raise self._away()
            seen = (seen + byte)[-_NOISE:]

    def _receive(self) -> None:
        """Hand each answer to who waits for it, until there are no more."""
        source: Any = _Unbuffered(self._pipe(self._process.stdout))
        with contextlib.suppress(OSError, ValueError):
            while (reply := agent.unpack(source)) is not None:
                with self._lock:
                    answer = self._waiting.pop(reply["id"], None)
                if answer is not None:
                    answer.set_result(reply)
        self._give_up()

    def _give_up(self) -> None:
        """Nobody answers any more: say so to all who wait."""
        trouble = self._away()
        with self._lock:
            left, self._waiting = list(self._waiting.values()), {}
        for answer in left:
            answer.set_exception(trouble)

    def _away(self) -> Away:
        """Why, in ssh's own words and with what to do."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        self._listener.join(2.0)
        return Away(explained(self._name, self._said))

    def _listen_to_trouble(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._pipe(self._process.stderr) as said:
            for line in said:
                self._said = [*self._said[-_STDERR:], line.decode(errors="replace").strip()]

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None  # Popen was told PIPE  # noqa: S101
        return pipe


class _Unbuffered:
    """A pipe, read past its buffer: the bytes before the first frame were read so too."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._descriptor = pipe.fileno()

    def read(self, count: int) -> bytes:
        return os.read(self._descriptor, min(count, PART))


def explained(name: str, said: Sequence[str]) -> str:
    """One line from ssh's stderr; banners in it are passed over."""
    lines = [line for line in said if line]
    telling = [line for line in lines if _TELLING.search(line)] or lines
    what = telling[-1] if telling else "the connection broke"
    remedy = next((remedy for sign, remedy in _REMEDIES if sign in what.lower()), "")
    return f"login node {name}: {what.rstrip('.')}" + (f"; {remedy}" if remedy else "")


class _Tunnel:
    """A port of this machine that leads to one behind the login node."""

    def __init__(self, client: Sequence[str], target: str, host: str, port: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        forward = f"127.0.0.1:{self.port}:{f'[{host}]' if ':' in host else host}:{port}"
        self._process = subprocess.Popen(
            [*client, "-N", "-o", "ExitOnForwardFailure=yes", "-L", forward, "--", target],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + _HELLO_S
        while not self._listens():
            if not self.alive or time.monotonic() > until:
                self._process.kill()
                said = self._process.communicate()[1].decode(errors="replace").splitlines()
                raise Away(explained(target, said))
            time.sleep(0.02)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
