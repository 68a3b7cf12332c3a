"""Depot: folders behind a URL (``s3://bucket/prefix``), each of which is there whole or not at all.

A folder at ``LOCATION`` is ``LOCATION/whole.json``, written last::

    {"tree": "1f0c...", "files": {"model.gguf": [1048576, "sha256..."]}, "result": {...}}

and its files below ``LOCATION/1f0c.../``, a name made of their digests. So two writers never mix, whoever is last
wins whole, what an interrupted upload left is used by the next, and every byte that is fetched is verified.
`result` is the folder's ``result.json``, which is asked for often.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from stoker.errors import Away, BadInput, Broken, Denied, MissingExtra

T = TypeVar("T")

WHOLE = "whole.json"
RESULT = "result.json"
_PARALLEL = 8  # files at once
_PATIENT, _QUICK = 10, 2  # tries; the pauses between them double from a quarter of a second to half a minute
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 30.0
_EXTRAS = {"s3": "s3", "s3a": "s3"}
# What may stand in a file of credentials, by the names that every S3 tool reads -> s3fs's own.
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token",
    "AWS_PROFILE": "profile", "AWS_ENDPOINT_URL": "endpoint_url", "AWS_ENDPOINT_URL_S3": "endpoint_url",
}  # fmt: skip
_REGION = ("AWS_REGION", "AWS_DEFAULT_REGION")
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError")


@dataclass(frozen=True)
class _Entry:
    size: int
    sha256: str


@dataclass(frozen=True)
class _Whole:
    tree: str
    files: Mapping[str, _Entry]
    result: Mapping[str, Any]


def is_remote(location: str) -> bool:
    """Whether `location` is a URL rather than a path."""
    return "://" in location


def read_credentials(file: Path) -> dict[str, str]:
    """The lines ``NAME=value`` of a file. Raises BadInput naming the line, never its value."""
    found: dict[str, str] = {}
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from None
    for number, line in enumerate(lines, start=1):
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if not name or name.startswith("#"):
            continue
        if not equals or name.strip() not in (*_CREDENTIALS, *_REGION):
            allowed = ", ".join((*_CREDENTIALS, *_REGION))
            raise BadInput(f"{file} line {number} is not understood; write NAME=value, with NAME of {allowed}")
        found[name.strip()] = value.strip().strip("\"'")
    return found


class Depot:
    """Thread-safe. Raises Away when the storage does not answer, Denied when it refuses us."""

    def __init__(self, credentials: Mapping[str, str] | None = None) -> None:
        """Without `credentials` the surroundings' hold: environment, profile, instance role."""
        given = credentials or {}
        self._options: dict[str, Any] = {
            _CREDENTIALS[name]: given[name] for name in _CREDENTIALS if given.get(name)
        }
        if region := next((given[name] for name in _REGION if given.get(name)), ""):
            self._options["client_kwargs"] = {"region_name": region}

    def check(self, url: str) -> None:
        """Raises BadInput for one that carries a key or is none."""
        scheme, _, rest = url.partition("://")
        if "@" in rest or "?" in rest:
            raise BadInput("a storage URL holds no key; write s3://bucket/prefix, and give credentials in a file")
        if not rest.strip("/"):
            raise BadInput(f"{url} names no bucket; write {scheme}://bucket/prefix")
        self.names(url.rstrip("/"))

    def result(self, location: str) -> Mapping[str, Any] | None:
        """The ``result.json`` of a whole folder, None when it is not there."""
        whole = self._whole(location)
        return None if whole is None else whole.result

    def names(self, location: str) -> list[str]:
        """What lies right below `location`, in order; empty when there is nothing."""
        with _told(location):
            fs, path = self._open(location)
            try:
                found = _again(lambda: fs.ls(path, detail=False), _QUICK)
            except FileNotFoundError:
                return []
        return sorted(entry.rstrip("/").rpartition("/")[2] for entry in found)

    def put(self, folder: Path, location: str) -> None:
        """Bring `folder` there whole; what lies there of it already is not sent again."""
        files = {name: _entry(folder / name) for name in sorted(_files(folder))}
        tree = _tree(files)
        told = json.loads((folder / RESULT).read_text()) if RESULT in files else {}
        listed = {name: [entry.size, entry.sha256] for name, entry in files.items()}
        document = json.dumps({"tree": tree, "files": listed, "result": told}, ensure_ascii=False).encode()
        with _told(location):
            fs, path = self._open(location)
            there = _sizes(fs, f"{path}/{tree}")
            missing = [name for name, entry in files.items() if there.get(name) != entry.size]
            _each(missing, lambda name: fs.put_file(str(folder / name), f"{path}/{tree}/{name}"))
            _again(lambda: fs.pipe_file(f"{path}/{WHOLE}", document))

    def fetch(self, location: str, into: Path) -> None:
        """Bring a whole folder to `into`, which appears in one rename. What an interrupted call left is used.

        Raises Broken when it is not there, or is not what was put.
        """
        whole = self._whole(location, _PATIENT)
        if whole is None:
            raise Broken(f"there is nothing whole at {location}; was it removed?")
        half = into.with_name(f".{into.name}.part")
        half.mkdir(parents=True, exist_ok=True)
        with _told(location):
            fs, path = self._open(location)
            folder = f"{path}/{whole.tree}"
            _each(whole.files, lambda name: _fetch_file(fs, folder, name, half, whole.files[name]))
        for name in set(_files(half)) - whole.files.keys():
            (half / name).unlink()
        shutil.rmtree(into, ignore_errors=True)
        half.rename(into)

    def remove(self, location: str) -> None:
        """Take a folder away, or all that lies below; nobody sees half of one meanwhile."""
        with _told(location):
            fs, path = self._open(location)
            for name, recursive in ((f"{path}/{WHOLE}", False), (path, True)):
                with suppress(FileNotFoundError):
                    _again(partial(fs.rm, name, recursive=recursive))

    def _whole(self, location: str, tries: int = _QUICK) -> _Whole | None:
        with _told(location):
            fs, path = self._open(location)
            try:
                content = _again(lambda: fs.cat_file(f"{path}/{WHOLE}"), tries)
            except FileNotFoundError:
                return None
        try:
            told = json.loads(content)
            files = {name: _Entry(size, sha256) for name, (size, sha256) in told["files"].items()}
            if _tree(files) == told["tree"] and all(_inside(name) for name in files):
                return _Whole(told["tree"], files, told["result"])
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        raise Broken(f"{location}/{WHOLE} is not what was written there; remove it and run again")

    def _open(self, url: str) -> tuple[Any, str]:
        """fsspec's file system for `url`, and the path in it. Listings are never cached: others write there too."""
        scheme = url.partition("://")[0]
        options = self._options if scheme in _EXTRAS else {}
        try:
            import fsspec

            fs, path = fsspec.core.url_to_fs(url, use_listings_cache=False, **options)
        except ImportError:
            raise MissingExtra(f"{scheme}:// storage", _EXTRAS.get(scheme, scheme)) from None
        except ValueError as error:
            raise BadInput(f"{url} cannot be opened: {error}") from None
        return fs, path.rstrip("/")


def _fetch_file(fs: Any, folder: str, name: str, into: Path, wanted: _Entry) -> None:
    target = into / name
    if target.is_file() and _entry(target) == wanted:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    fs.get_file(f"{folder}/{name}", str(target))
    if _entry(target) != wanted:
        target.unlink()
        raise Broken(f"{folder}/{name} is not what was put there: its digest differs; remove it and run again")


def _tree(files: Mapping[str, _Entry]) -> str:
    text = "".join(f"{name}\0{entry.size}\0{entry.sha256}\n" for name, entry in sorted(files.items()))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


def _inside(name: str) -> bool:
    return not name.startswith("/") and ".." not in name.split("/")


def _files(folder: Path) -> Iterator[str]:
    """Regular files below `folder`, links followed, by their path from there."""
    for place, _, found in os.walk(folder, followlinks=True):
        for name in found:
            if Path(place, name).is_file():
                yield os.path.relpath(Path(place, name), folder)


def _entry(file: Path) -> _Entry:
    with file.open("rb") as content:
        return _Entry(file.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest())


def _sizes(fs: Any, folder: str) -> dict[str, int]:
    """What lies below `folder`, by its path from there."""
    try:
        found = _again(lambda: fs.find(folder, detail=True))
    except FileNotFoundError:
        return {}
    return {name.removeprefix(f"{folder}/"): int(info["size"]) for name, info in found.items()}


def _each(items: Iterable[str], work: Callable[[str], object]) -> None:
    """`work` on every item, several at once, each tried again; the first trouble that stays is raised."""
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="depot") as threads:
        list(threads.map(lambda item: _again(lambda: work(item)), items))


def _again(action: Callable[[], T], tries: int = _PATIENT) -> T:
    """What `action` gives, tried again while the trouble may pass."""
    pause = _FIRST_PAUSE_S
    for _ in range(tries - 1):
        try:
            return action()
        except _troubles() as error:
            if not _passing(error):
                raise
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 -- so that many nodes do not come at once
        pause = min(2 * pause, _LONGEST_PAUSE_S)
    return action()


def _troubles() -> tuple[type[BaseException], ...]:
    """What file systems raise when a server does not do as it should; only of libraries that are loaded."""
    named = (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError"))
    loaded = [getattr(sys.modules[module], name) for module, name in named if module in sys.modules]
    return (OSError, TimeoutError, *loaded)


def _passing(error: BaseException) -> bool:
    lasting = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
    return not isinstance(error, lasting) and not _lacks_credentials(error) and not _of_this_machine(error)


def _lacks_credentials(error: BaseException) -> bool:
    return type(error).__name__ in _NO_CREDENTIALS


def _of_this_machine(error: BaseException) -> bool:
    """A full disk here, not trouble over there."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Others' errors as ours, in one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise Broken(f"{url} does not hold what it should: {_line(error)}; does the bucket exist?") from None
    except _troubles() as error:
        if _of_this_machine(error):
            raise
        if isinstance(error, PermissionError) or _lacks_credentials(error):
            raise Denied(
                f"{url} refuses us: {_line(error)}; give credentials that may read and write there"
            ) from None
        raise Away(f"{url} does not answer: {_line(error)}") from None


def _line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
