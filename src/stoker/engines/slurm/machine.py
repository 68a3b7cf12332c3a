"""Machine: where Slurm's commands are: this machine here, or a login node over SSH (ssh.py)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from stoker.engines.slurm import agent
from stoker.errors import Away

CALL_S = 60.0  # longest a command may take
PART = 1 << 20  # bytes of a large file that are sent at once


@dataclass(frozen=True)
class Program:
    """A program to run; `variables` on top of the machine's own plain environment."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ran:
    """How a program ended. A code of None: it could not be started, or gave no answer in time; `err` says which."""

    code: int | None
    out: bytes = b""
    err: str = ""

    @property
    def complaint(self) -> str:
        """The line of stderr that says most, without the program's own ``sbatch: error: `` in front."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        telling = [line for line in lines if ": error: " in line or ": fatal: " in line] or lines
        text = telling[-1] if telling else f"exit code {self.code}"
        return text.partition(": error: ")[2] or text.partition(": fatal: ")[2] or text


@dataclass(frozen=True)
class File:
    """A file to write, whole or not at all."""

    path: str
    content: bytes
    mode: int = 0o600


@dataclass(frozen=True)
class Part:
    """What to read of a file."""

    path: str
    offset: int = 0
    limit: int = PART


@dataclass(frozen=True)
class Hello:
    """Who we are there."""

    time: float  # the machine's clock, seconds since the epoch
    uid: int
    home: str


class Machine(Protocol):
    """Every method raises Away (one line, why) when the machine does not answer. Thread-safe."""

    def hello(self) -> Hello: ...

    def run(self, programs: Sequence[Program], timeout: float = CALL_S) -> list[Ran]:
        """Run them, some side by side."""

    def put(self, files: Iterable[File]) -> None: ...

    def send(self, source: Path, path: str, mode: int = 0o600) -> None:
        """Copy a file of this machine there, whole or not at all."""

    def read(self, parts: Sequence[Part]) -> list[bytes]:
        """What each names; empty where there is no regular file or no more of it."""

    def times(self, paths: Sequence[str]) -> list[float | None]:
        """When each was last written, seconds since the epoch by the file system's clock; None: it is not there."""

    def remove(self, paths: Sequence[str]) -> None: ...

    def reach(self, host: str, port: int) -> tuple[str, int]:
        """Where this platform reaches `port` of `host`, a name or address as it is known there."""

    def leave(self, host: str, port: int) -> None:
        """Nobody goes that way any more; safe to repeat."""

    def close(self) -> None: ...


class Here:
    """The platform's own machine."""

    def hello(self) -> Hello:
        return Hello(**agent.hello())

    def run(self, programs: Sequence[Program], timeout: float = CALL_S) -> list[Ran]:
        return ran(agent.run([as_words(program) for program in programs], timeout))

    def put(self, files: Iterable[File]) -> None:
        try:
            agent.put([(file.path, file.content, file.mode) for file in files])
        except OSError as error:
            raise Away(f"cannot write {error.filename}: {error.strerror}") from error

    def send(self, source: Path, path: str, mode: int = 0o600) -> None:
        partial = Path(f"{path}.part")
        try:
            partial.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copyfile(source, partial)
            partial.chmod(mode)
            partial.replace(path)
        except OSError as error:
            raise Away(f"cannot write {path}: {error.strerror}") from error

    def read(self, parts: Sequence[Part]) -> list[bytes]:
        return list(agent.read([(part.path, part.offset, part.limit) for part in parts]))

    def times(self, paths: Sequence[str]) -> list[float | None]:
        return agent.times(paths)

    def remove(self, paths: Sequence[str]) -> None:
        agent.remove(paths)

    def reach(self, host: str, port: int) -> tuple[str, int]:
        return host, port

    def leave(self, host: str, port: int) -> None:
        del host, port  # nothing was opened

    def close(self) -> None:
        return


def as_words(program: Program) -> tuple[list[str], bytes, dict[str, str]]:
    """As `agent.run` takes it."""
    return list(program.argv), program.stdin, dict(program.variables)


def ran(answers: Sequence[tuple[int | None, bytes, bytes]]) -> list[Ran]:
    """As `agent.run` gives it."""
    return [Ran(code, out, err.decode(errors="replace")) for code, out, err in answers]
