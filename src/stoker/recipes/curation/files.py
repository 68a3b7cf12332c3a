"""The files of a dataset: which of the user's files are read, as what, and into which split."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stoker.errors import BadInput
from stoker.recipes.curation.record import Split
from stoker.recipes.curation.tally import Tally, shown

Format = Literal["text", "html", "jsonl", "json", "csv", "parquet"]

_FORMAT_OF: dict[str, Format] = {
    ".txt": "text", ".text": "text", ".md": "text", ".markdown": "text", ".rst": "text",
    ".html": "html", ".htm": "html", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
}  # fmt: skip
READABLE = "txt, md, rst, html, jsonl, json, csv, tsv (each also .gz or .zst) and parquet"
_PACKED = (".gz", ".zst")
_HELDOUT_NAMES = frozenset({"heldout", "test", "validation", "valid", "eval", "dev"})
_BESIDE_DATA = re.compile(
    r"(readme|license|licence|notice|changelog|contributing|citation)\b.*"
    r"|(dataset_infos?|dataset_dict|state|config|croissant|package)\.json",
    re.IGNORECASE,
)
_SNIFFED = 4096  # bytes looked at when the name does not tell the format


@dataclass(frozen=True)
class DataFile:
    path: Path
    name: str  # below the given folder, always valid UTF-8
    format: Format
    split: Split

    @property
    def structured(self) -> bool:
        return self.format not in ("text", "html")


@dataclass(frozen=True)
class Listing:
    files: list[DataFile]  # in the order of their names
    skipped: Tally


def list_files(data: Path) -> Listing:
    """The readable files in `data` (a folder, walked without leaving it, or one file).

    Raises BadInput when it does not exist, is empty, or holds nothing readable.
    """
    if data.is_dir():
        listing = _in_folder(data)
    elif data.is_file():
        listing = Listing([_one_file(data)], Tally())
    else:
        problem = "is neither a file nor a folder" if data.exists() else "does not exist"
        raise BadInput(f"{shown(str(data))} {problem}; give a file or a folder of data", param="data")
    if not listing.files:
        found = f"no readable file ({listing.skipped.sentence()})" if listing.skipped.total else "no file"
        raise BadInput(f"{shown(str(data))} holds {found}; readable are {READABLE}", param="data")
    return listing


def _in_folder(root: Path) -> Listing:
    skipped = Tally()
    found = []
    for path in sorted(_walk(root, root, skipped), key=os.fsencode):
        name = printable(path.relative_to(root))
        form = format_of(path.name)
        if form is None:
            skipped.add(f"unknown suffix {shown(path.suffix.lower(), 12) or '(none)'}", name)
        else:
            found.append(DataFile(path, name, form, _split_of(path.relative_to(root), form)))
    return Listing(_without_papers(found, skipped), skipped)


def _walk(root: Path, folder: Path, skipped: Tally) -> Iterator[Path]:
    """Regular files below `folder`; links are followed only to files that lie inside `root`."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        skipped.add(f"folder not readable: {error.strerror}", printable(folder.relative_to(root)))
        return
    for entry in visible:
        path = Path(entry.path)
        if entry.is_symlink() and (reason := _link_problem(root, path)):
            skipped.add(reason, printable(path.relative_to(root)))
        elif entry.is_dir():
            yield from _walk(root, path, skipped)
        elif stat.S_ISREG(entry.stat().st_mode):
            yield path
        else:
            skipped.add("not a regular file", printable(path.relative_to(root)))


def _link_problem(root: Path, path: Path) -> str:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return "broken link"
    if not target.is_relative_to(root.resolve()):
        return "link out of the folder"
    return "link to a folder" if target.is_dir() else ""


def _without_papers(found: list[DataFile], skipped: Tally) -> list[DataFile]:
    """A README or dataset card beside structured data is about the data, not part of it."""
    papers = {file for file in found if _BESIDE_DATA.fullmatch(file.path.name)}
    if not any(file.structured for file in found if file not in papers):
        return found
    for file in sorted(papers, key=lambda file: file.name):
        skipped.add("paper beside the data", file.name)
    return [file for file in found if file not in papers]


def format_of(name: str) -> Format | None:
    stem = name.lower()
    for packed in _PACKED:
        stem = stem.removesuffix(packed)
    return _FORMAT_OF.get(os.path.splitext(stem)[1])  # noqa: PTH122 - a name, not a path


def _split_of(relative: Path, form: Format) -> Split:
    """Held out: below a folder of such a name, or a file ``test.txt``, ``data-test.csv``, ``test-00000.parquet``.

    In the middle of the name of a text ("test plan.md") the word says nothing.
    """
    if any(part.lower() in _HELDOUT_NAMES for part in relative.parts[:-1]):
        return "heldout"
    stem = relative.name.lower().partition(".")[0]
    words = re.split(r"[-_ ]", stem)
    named = {stem} if form in ("text", "html") else {words[0], words[-1], stem.replace("-", "").replace("_", "")}
    return "heldout" if named & _HELDOUT_NAMES else "train"


def _one_file(path: Path) -> DataFile:
    form = format_of(path.name) or _sniff(path)
    if form is None:
        raise BadInput(f"{shown(str(path))} is a binary file; readable are {READABLE}", param="data")
    return DataFile(path, printable(Path(path.name)), form, "train")


def _sniff(path: Path) -> Format | None:
    """The format by content, for uploads that lost their name."""
    try:
        with path.open("rb") as file:
            head = file.read(_SNIFFED)
    except OSError as error:
        raise BadInput(f"cannot read {shown(str(path))}: {error.strerror}", param="data") from None
    if head.startswith(b"PAR1"):
        return "parquet"
    if b"\0" in head:
        return None
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    try:
        head[: head.rfind(b"\n") + 1].decode()
    except UnicodeDecodeError:
        return None
    return "jsonl" if start.startswith(b"{") else "json" if start.startswith(b"[") else "text"


def printable(path: Path) -> str:
    """`path` as text that can be written to JSON: bytes that are no UTF-8 become ``\\xNN``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
