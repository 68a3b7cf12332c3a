"""One container of the test kubelet: a process in mount and PID namespaces of its own, on the machine's programs.

Started as ``python -I -S container.py SPEC``. SPEC is a JSON file:

    argv, env, cwd    what to run
    mounts            pairs of a folder or file of the machine and its absolute path in the container
    share             whether an idle first process stands above the program (shareProcessNamespace); without it the
                      program is PID 1 itself and ignores the signals that it does not handle, as in real containers
    error             file that gets one line when the program cannot be started

The container sees the machine's files through an overlay that is thrown away, but for /tmp and other mounts of the
machine, which are its own. It ends with the process that started it.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
from pathlib import Path

CLONE_NEWNS, CLONE_NEWPID = 0x20000, 0x20000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
NOT_STARTED = 128  # exit code of containerd's StartError

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    result = libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )
    check(result, f"mount {source} on {target}")


def submounts() -> list[str]:
    """Mount points right below the root's own file system, outermost only."""
    points = sorted({line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()} - {"/"})
    found: list[str] = []
    for point in points:
        if not any(point.startswith(f"{outer}/") for outer in found):
            found.append(point)
    return found


def bind(source: str, target: str) -> None:
    if Path(source).is_dir():
        Path(target).mkdir(parents=True, exist_ok=True)
    elif not Path(target).exists():
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    mount(source, target, "", MS_BIND | MS_REC)


def build_root(spec: dict[str, object], room: str) -> str:
    """A root folder on a tmpfs at `room`, with the machine's and the pod's own files in it."""
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    inside = submounts()
    kept = [path for path in ("/tmp", *inside) if Path(path).exists() and path != "/proc"]
    mount("tmpfs", room, "tmpfs")
    upper, work, root = (str(Path(room) / name) for name in ("upper", "work", "root"))
    for path in (upper, work, root):
        Path(path).mkdir()
    mount("overlay", root, "overlay", 0, f"lowerdir=/,upperdir={upper},workdir={work}")
    for path in dict.fromkeys(kept):
        bind(path, root + path)
    for source, target in spec["mounts"]:  # type: ignore[attr-defined]
        bind(source, root + target)
    return root


def run(spec: dict[str, object], root: str) -> None:
    """Becomes the program; never returns."""
    os.chroot(root)
    mount("proc", "/proc", "proc")
    env = dict(spec["env"])  # type: ignore[call-overload]
    argv = list(spec["argv"])  # type: ignore[call-overload]
    error = os.open(str(spec["error"]), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        Path(str(spec["cwd"])).mkdir(parents=True, exist_ok=True)
        os.chdir(str(spec["cwd"]))
        os.execvpe(argv[0], argv, env)
    except OSError as trouble:
        why = "executable file not found in $PATH" if trouble.errno == 2 else str(trouble.strerror).lower()
        os.write(error, f'exec: "{argv[0]}": {why}: unknown'.encode())
        os._exit(NOT_STARTED)


def code_of(status: int) -> int:
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def pass_on_term(pid: int) -> None:
    def pass_on(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, pass_on)


def stand_above(spec: dict[str, object], root: str) -> None:
    """What the pause container is under shareProcessNamespace: the program below it gets its signals as usual."""
    program = os.fork()
    if program == 0:
        run(spec, root)
    pass_on_term(program)
    while True:
        pid, status = os.wait()
        if pid == program:
            os._exit(code_of(status))


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    room = sys.argv[1] + ".root"
    Path(room).mkdir()
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    check(libc.unshare(CLONE_NEWNS | CLONE_NEWPID), "unshare")
    first = os.fork()
    if first == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        root = build_root(spec, room)
        (stand_above if spec["share"] else run)(spec, root)
    pass_on_term(first)
    _, status = os.waitpid(first, 0)
    os._exit(code_of(status))


if __name__ == "__main__":
    main()
