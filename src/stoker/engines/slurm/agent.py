"""What is done on the machine where Slurm's commands are: one function per verb, and a loop that serves them.

On this machine the functions are called as they are (`machine.Here`). On a login node the text of this file is sent
over SSH's standard input and serves requests there (`ssh.LoginNode`); it therefore needs nothing but Python 3.6.
Argument lists and file contents travel as data, so nothing is ever quoted for a shell.

A frame is four bytes of length (big endian) and JSON: ``{"id", "verb", "arguments"}`` there, ``{"id", "value"}`` or
``{"id", "error"}`` back; bytes are base64. Before its first frame the agent writes MAGIC: whatever a login shell
prints ahead of it is skipped.
"""

import base64
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, BinaryIO

MAGIC = b"\x00stoker-agent-1\n"
WORKERS = 4  # programs run side by side
KILLED_AFTER_S = 2.0  # what does not end by SIGTERM


def hello() -> "dict[str, Any]":
    """The machine's clock, seconds since the epoch, its user and the user's home."""
    return {"time": time.time(), "uid": os.getuid(), "home": os.path.expanduser("~")}


def run(programs: "Sequence[Any]", timeout: float) -> "list[Any]":
    """Run each of ``[argv, stdin, variables]``, some side by side; ``[code, out, err]`` each, in their order.

    The code is None where a program could not be started (err says why) or did not end within `timeout` seconds.
    """
    answers = [None] * len(programs)  # type: list[Any]
    numbers = iter(range(len(programs)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            answers[number] = _run_one(programs[number], timeout)

    threads = [threading.Thread(target=work) for _ in range(min(WORKERS, len(programs)) - 1)]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    return answers


def _run_one(program: "Any", timeout: float) -> "list[Any]":
    argv, stdin, variables = program
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
            env=_environment(variables), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        return [None, b"", f"{argv[0]}: {error.strerror}".encode()]
    try:
        out, err = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.communicate(timeout=KILLED_AFTER_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return [None, b"", f"{argv[0]}: no answer within {timeout:g} s".encode()]
    return [process.returncode, out, err]


# Of the own environment no more is passed on: no secret of the platform, no SBATCH_ variable of a login.
_PASSED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LD_LIBRARY_PATH", "SLURM_CONF", "KRB5CCNAME")


def _environment(variables: "dict[str, str]") -> "dict[str, str]":
    base = {name: os.environ[name] for name in _PASSED if name in os.environ}
    base.setdefault("PATH", os.defpath)
    base.update(variables)
    return base


def put(files: "Sequence[Any]") -> None:
    """Write ``[path, content, mode]``, each whole or not at all; folders are made, for their owner alone."""
    for path, content, mode in files:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        partial = f"{path}.part-{base64.b16encode(os.urandom(6)).decode()}"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(partial, path)
        except OSError:
            os.unlink(partial)
            raise


def append(path: str, offset: int, content: bytes, mode: int) -> None:
    """Write `content` at byte `offset` of the file `path`: a large file comes in parts, the first at 0."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | (0 if offset else os.O_TRUNC)
    descriptor = os.open(path, flags, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.seek(offset)
        file.write(content)


def rename(old: str, new: str) -> None:
    os.replace(old, new)


def read(parts: "Sequence[Any]") -> "list[bytes]":
    """The bytes of each ``[path, offset, limit]``; empty where there is no regular file, or no more of it."""
    return [_read_one(*part) for part in parts]


def _read_one(path: str, offset: int, limit: int) -> bytes:
    # The job may have put anything in its place: a folder, a pipe that nobody writes, an endless device.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.pread(descriptor, limit, offset) if regular else b""
    except (OSError, OverflowError):  # an offset beyond what a file can have
        return b""
    finally:
        os.close(descriptor)


def times(paths: "Sequence[str]") -> "list[float | None]":
    """When each was last written, seconds since the epoch by the file system's clock; None: it is not there."""
    return [_time_of(path) for path in paths]


def _time_of(path: str) -> "float | None":
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return None


def remove(paths: "Sequence[str]") -> None:
    """Files and whole folders; what is not there is fine."""
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            try:
                os.unlink(path)
            except OSError:
                continue


_ALL = (hello, run, put, append, rename, read, times, remove)  # type: tuple[Any, ...]
VERBS = {verb.__name__: verb for verb in _ALL}


def serve(source: "BinaryIO", sink: "BinaryIO") -> None:
    """Answer requests until `source` ends; several at a time, so that a slow one keeps nobody waiting."""
    lock = threading.Lock()
    sink.write(MAGIC)
    sink.flush()

    def answer(request: "dict[str, Any]") -> None:
        try:
            value = VERBS[request["verb"]](*request["arguments"])
            reply = {"id": request["id"], "value": value}
        except Exception as error:  # noqa: BLE001 (whatever it is, who asked has to know)
            reply = {"id": request["id"], "error": f"{error}" or type(error).__name__}
        frame = pack(reply)
        with lock:
            sink.write(frame)
            sink.flush()

    while True:
        request = unpack(source)
        if request is None:
            return
        threading.Thread(target=answer, args=(request,), daemon=True).start()


def pack(message: "Any") -> bytes:
    text = json.dumps(_coded(message)).encode()
    return struct.pack(">I", len(text)) + text


def unpack(source: "BinaryIO") -> "Any":
    """The next frame of `source`; None when it ends, even in the midst of one."""
    head = _exactly(source, 4)
    if head is None:
        return None
    body = _exactly(source, struct.unpack(">I", head)[0])
    return None if body is None else _decoded(json.loads(body.decode()))


def _exactly(source: "BinaryIO", count: int) -> "bytes | None":
    parts = []
    while count:
        part = source.read(count)
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _coded(value: "Any") -> "Any":
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {"map": {name: _coded(one) for name, one in value.items()}}
    if isinstance(value, (list, tuple)):
        return [_coded(one) for one in value]
    return value


def _decoded(value: "Any") -> "Any":
    if isinstance(value, dict):
        if "b64" in value:
            return base64.b64decode(value["b64"])
        return {name: _decoded(one) for name, one in value["map"].items()}
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    return value


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
