"""A working tree as a package: one .tar.gz, the same bytes for the same tree.

In a git work tree these are the files that git tracks and those it does not ignore, as they lie there now;
elsewhere all files. ``.stokerignore`` (gitignore's patterns) takes further ones away.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, Protocol

from stoker.errors import BadInput, TooLarge
from stoker.units import format_bytes

PURPOSE = "package"
IGNORE = ".stokerignore"
LIMIT = 512 << 20  # bytes of all files
_NAMED = 3  # of the largest files


def pack(folder: Path, into: BinaryIO, *, limit: int = LIMIT) -> str:
    """Write the tree below `folder` to `into`; the SHA-256 of what was written.

    Raises BadInput for what cannot be sent, TooLarge naming the largest files.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder; give the folder whose files the job needs")
    names = sorted(_names(folder))
    _check_size(folder, names, limit)
    with gzip.GzipFile("", "wb", 6, into, mtime=0) as stream, tarfile.open(fileobj=stream, mode="w|") as archive:
        for name in names:
            _add(archive, folder, name)
    digest = hashlib.sha256()
    into.seek(0)
    while piece := into.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def _names(folder: Path) -> Iterator[str]:
    """Files and symbolic links below `folder`, by their path from there."""
    ignored = _ignored(folder)
    for name in _of_git(folder) or _all(folder):
        path = folder / name
        if ignored.match_file(name):
            continue
        if path.is_dir() and not path.is_symlink():  # another repository inside this one
            yield from (f"{name.rstrip('/')}/{inner}" for inner in _names(path))
        elif path.is_symlink() or path.is_file():  # not one that git tracks and that was removed
            yield name


class _Patterns(Protocol):
    def match_file(self, file: str) -> bool: ...


def _ignored(folder: Path) -> _Patterns:
    from pathspec import GitIgnoreSpec

    try:
        lines = (folder / IGNORE).read_text().splitlines()
    except FileNotFoundError:
        lines = []
    return GitIgnoreSpec.from_lines([*lines, ".git/"])


def _of_git(folder: Path) -> list[str]:
    """What git would take along; empty where there is no git, no work tree, or all of it is ignored."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return sorted({os.fsdecode(name) for name in listed.split(b"\0") if name})


def _all(folder: Path) -> Iterable[str]:
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        folders[:] = [name for name in folders if name not in links and name != ".git"]
        for name in (*files, *links):
            yield os.path.relpath(Path(place, name), folder)


def _check_size(folder: Path, names: Iterable[str], limit: int) -> None:
    sizes = {name: (folder / name).lstat().st_size for name in names}
    if not sizes:
        raise BadInput(f"{folder} holds no files to send; give another folder, or look at its {IGNORE}")
    total = sum(sizes.values())
    if total > limit:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:_NAMED]
        told = ", ".join(f"{name} ({format_bytes(sizes[name])})" for name in largest)
        raise TooLarge(
            f"{folder} holds {format_bytes(total)}, and at most {format_bytes(limit)} are sent; "
            f"the largest: {told}; name what the job does not need in {folder / IGNORE}"
        )


def _add(archive: tarfile.TarFile, folder: Path, name: str) -> None:
    path, entry = folder / name, tarfile.TarInfo(name)
    status = path.lstat()
    linked = stat.S_ISLNK(status.st_mode)
    if linked:
        entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
    else:
        entry.size = status.st_size
        entry.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
    try:
        tarfile.data_filter(entry, str(folder))  # as it will be unpacked
        with nullcontext() if linked else path.open("rb") as content:
            archive.addfile(entry, content)
    except tarfile.FilterError as error:
        raise BadInput(f"{path} cannot be sent: {error}; name it in {folder / IGNORE}") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be sent: {error.strerror or error}") from None
