"""Reads the header of a GGUF file: its metadata and the list of its tensors. Standard library only.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.errors import BadInput, NotFound

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]  # GGML order: the fastest dimension first
    kind: int  # GGML quantisation type
    offset: int  # bytes from the start of the file


@dataclass(frozen=True)
class Header:
    metadata: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    size: int  # bytes of the whole file


def is_gguf(path: Path) -> bool:
    """Whether the file begins as GGUF files do."""
    try:
        with path.open("rb") as file:
            return file.read(4) == MAGIC
    except OSError:
        return False


def header(path: Path) -> Header:
    """Raises NotFound when there is no such file, BadInput when it is no GGUF file or cut short."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return _Reader(view).header()
    except FileNotFoundError:
        raise NotFound(f"no file {path}; --base takes a Hugging Face folder or a .gguf file") from None
    except (struct.error, IndexError, UnicodeDecodeError, KeyError, ValueError, OSError) as error:
        raise BadInput(f"{path} is no complete GGUF file ({error}); fetch it again") from None


class _Reader:
    """A cursor over the mapped file."""

    def __init__(self, view: mmap.mmap) -> None:
        self.view = view
        self.at = 0

    def header(self) -> Header:
        if self.take(4) != MAGIC:
            raise ValueError("it does not begin with GGUF")
        version = self.scalar("I")
        if version not in _VERSIONS:
            raise ValueError(f"version {version}, we read {_VERSIONS}")
        tensor_count, pair_count = self.scalar("Q"), self.scalar("Q")
        metadata = {self.string(): self.value(self.scalar("I")) for _ in range(pair_count)}
        listed = [self.tensor() for _ in range(tensor_count)]
        alignment = int(metadata.get("general.alignment", 32))
        start = (self.at + alignment - 1) // alignment * alignment
        tensors = tuple(Tensor(name, shape, kind, start + offset) for name, shape, kind, offset in listed)
        if tensors and max(tensor.offset for tensor in tensors) >= len(self.view):
            raise ValueError("the file ends before its tensors do")
        return Header(metadata, tensors, len(self.view))

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name, dimensions = self.string(), self.scalar("I")
        shape = tuple(self.scalar("Q") for _ in range(dimensions))
        return name, shape, self.scalar("I"), self.scalar("Q")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            return self.scalar(_SCALARS[kind])
        item, count = self.scalar("I"), self.scalar("Q")
        if item in _SCALARS:
            layout = f"<{count}{_SCALARS[item]}"
            return struct.unpack(layout, self.take(struct.calcsize(layout)))
        return [self.value(item) for _ in range(count)]

    def string(self) -> str:
        return self.take(self.scalar("Q")).decode("utf-8", errors="replace")

    def scalar(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.view):
            raise ValueError("the file is cut short")
        piece = self.view[self.at : end]
        self.at = end
        return piece
