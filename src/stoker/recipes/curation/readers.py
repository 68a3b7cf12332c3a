"""Read data files row by row, in memory bounded by the size of one record (of one row group for Parquet)."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, cast

from stoker.errors import BadInput
from stoker.recipes.curation.files import DataFile
from stoker.recipes.curation.html_text import html_to_text
from stoker.recipes.curation.tally import shown
from stoker.units import format_bytes

_SKIPPED_PIECE = 1 << 16
_BATCH_ROWS = 256


@dataclass(frozen=True, slots=True)
class Row:
    """One raw record: named fields as the file gives them."""

    source: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reject:
    """One record that is not used, and why."""

    source: str
    reason: str
    detail: str = ""


def read_rows(file: DataFile, limit: int) -> Iterator[Row | Reject]:
    """The rows of `file`; records over `limit` bytes are Reject and are never held in memory whole.

    Raises BadInput when the file as a whole cannot be read (truncated archive, damaged Parquet, no permission).
    """
    with _whole_file_faults(file):
        yield from _READERS[file.format](file, limit)


@contextmanager
def _whole_file_faults(file: DataFile) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(
            f"cannot unpack {shown(file.name)}: {shown(str(error))}; pack it again", param="data"
        ) from None
    except OSError as error:
        problem = error.strerror or str(error)
        raise BadInput(f"cannot read {shown(file.name)}: {shown(problem)}", param="data") from None


def _open(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return cast("BinaryIO", gzip.open(path))
    if path.suffix.lower() == ".zst":
        import pyarrow

        return cast("BinaryIO", io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd")))
    return path.open("rb")


def _documents(file: DataFile, limit: int) -> Iterator[Row | Reject]:
    """A text file is one record."""
    with _open(file.path) as stream:
        raw = stream.read(limit + 1)
    if len(raw) > limit:
        yield _over(file.name, limit)
        return
    text = _decoded(raw)
    if text is None:
        yield Reject(file.name, "broken_utf8", "save it as UTF-8")
        return
    yield Row(file.name, {"text": html_to_text(text) if file.format == "html" else text})


def _json_lines(file: DataFile, limit: int) -> Iterator[Row | Reject]:
    with _open(file.path) as stream:
        for number, line in _lines(stream, limit):
            source = f"{file.name}:{number}"
            if line is None:
                yield _over(source, limit)
            elif (text := _decoded(line)) is None:
                yield Reject(source, "broken_utf8", line[:80].decode(errors="replace"))
            elif text.strip():
                yield _json_row(source, text)


def _json_row(source: str, text: str) -> Row | Reject:
    try:
        return _as_row(source, json.loads(text))
    except (ValueError, RecursionError) as error:
        reason = "nul_byte" if "\0" in text else "bad_json"
        return Reject(source, reason, f"{shown(str(error), 60)}: {text[:80]}")


def _as_row(source: str, value: object) -> Row | Reject:
    if isinstance(value, dict):
        return Row(source, value)
    return Reject(source, "not_an_object", f"{type(value).__name__}: {value!r:.60}")


def _json_values(file: DataFile, limit: int) -> Iterator[Row | Reject]:
    """One array of objects, or objects one after the other, on one line or on many."""
    decoder = json.JSONDecoder()
    with _open(file.path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape")
        buffer, number, ended = "", 0, False
        while True:
            buffer = buffer.lstrip(" \t\r\n,[]")
            value, end = _first_value(decoder, buffer)
            if end and (ended or end < len(buffer)):
                number += 1
                yield _as_row(f"{file.name}:{number}", value)
                buffer = buffer[end:]
            elif ended:
                if buffer:
                    raise BadInput(
                        f'{shown(file.name)} is no valid JSON after value {number}: "{shown(buffer, 40)}"; '
                        f"mend it or use JSON Lines",
                        param="data",
                    )
                return
            elif len(buffer) > limit:
                raise BadInput(_over_limit_in_json(file, number, limit), param="data")
            else:
                more = text.read(max(len(buffer), _SKIPPED_PIECE))  # doubles, so re-reading stays linear
                buffer, ended = buffer + more, not more


def _first_value(decoder: json.JSONDecoder, buffer: str) -> tuple[object, int]:
    """The value that `buffer` starts with and where it ends; 0 when it is not complete."""
    try:
        return decoder.raw_decode(buffer)
    except (ValueError, RecursionError):
        return None, 0


def _over_limit_in_json(file: DataFile, number: int, limit: int) -> str:
    return (
        f"{shown(file.name)}: no JSON value ends within {format_bytes(limit)} after value {number}; "
        "the file is broken or a record is too long: use JSON Lines, where one bad record costs only itself"
    )


def _table(file: DataFile, limit: int) -> Iterator[Row | Reject]:
    """CSV or TSV with a header line; the delimiter is the most frequent of ``, ; tab`` in it."""
    csv.field_size_limit(limit)
    with _open(file.path) as stream:
        too_long: list[int] = []
        lines = _table_lines(stream, limit, too_long)
        first = next(lines, "")
        rows = csv.reader(lines, delimiter=_delimiter(first))
        header = _header(file, first)
        while True:
            source = f"{file.name}:{rows.line_num + 2}"
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield Reject(source, "bad_row", str(error))
                continue
            while too_long:
                yield _over(f"{file.name}:{too_long.pop()}", limit)
            if row is None:
                return
            if row:
                yield _table_row(source, header, row)


def _header(file: DataFile, line: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=_delimiter(line)), [])]
    except csv.Error as error:
        raise BadInput(f"{file.name}: the header line is broken: {error}", param="data") from None


def _table_lines(stream: BinaryIO, limit: int, too_long: list[int]) -> Iterator[str]:
    for number, line in _lines(stream, limit):
        if line is None:
            too_long.append(number)
            yield "\n"
        else:
            yield line.decode("utf-8", "surrogateescape") + "\n"


def _table_row(source: str, header: list[str], row: list[str]) -> Row | Reject:
    if len(row) != len(header):
        return Reject(source, "bad_row", f"{len(row)} fields where the header has {len(header)}: {row!r:.80}")
    return Row(source, dict(zip(header, row, strict=True)))


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _parquet(file: DataFile, _limit: int) -> Iterator[Row | Reject]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file.path) as table:
            number = 0
            for batch in table.iter_batches(batch_size=_BATCH_ROWS):
                for fields in _batch_rows(batch):
                    number += 1
                    source = f"{file.name}:{number}"
                    yield Reject(source, "broken_utf8") if fields is None else Row(source, fields)
    except pyarrow.ArrowException as error:
        raise BadInput(
            f"cannot read {shown(file.name)} as Parquet: {shown(str(error))}; write it again", param="data"
        ) from None


def _batch_rows(batch: Any) -> Iterator[Mapping[str, Any] | None]:
    """The rows of a pyarrow RecordBatch; None for one whose strings are no UTF-8."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:  # nothing was yielded yet: the batch is converted as a whole
        for place in range(batch.num_rows):
            try:
                yield batch.slice(place, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield None


_READERS: Mapping[str, Callable[[DataFile, int], Iterator[Row | Reject]]] = {
    "text": _documents, "html": _documents, "jsonl": _json_lines, "json": _json_values,
    "csv": _table, "parquet": _parquet,
}  # fmt: skip


def _lines(stream: BinaryIO, limit: int) -> Iterator[tuple[int, bytes | None]]:
    """Line numbers from 1 with the lines, ends and byte-order mark removed; None for a line over `limit` bytes."""
    for number in count(1):
        line = stream.readline(limit + 2)
        if not line:
            return
        body = line.rstrip(b"\r\n")
        if len(body) > limit:
            while not line.endswith(b"\n") and (line := stream.readline(_SKIPPED_PIECE)):
                pass
            yield number, None
        else:
            yield number, body.removeprefix(b"\xef\xbb\xbf") if number == 1 else body


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _over(source: str, limit: int) -> Reject:
    return Reject(source, "over_limit", f"longer than {format_bytes(limit)}")
