"""Whatever bytes a file holds, the import ends with records or with one line that says why not."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stoker.errors import BadInput
from stoker.recipes.curation.intake import ImportConfig, Intake
from stoker.recipes.curation.record import Record, content_bytes

ROW = {"prompt": 'Is "a,b" \\ fine?', "completion": "是\n的"}
SOUND = {
    "a.jsonl": json.dumps(ROW).encode() + b"\n" + json.dumps({"messages": []}).encode() + b"\n",
    "a.json": json.dumps([ROW, ROW], indent=1).encode(),
    "a.csv": b'prompt,completion\n"a ""b""",c\nd,"e\nf"\n',
    "a.tsv": b"prompt\tcompletion\na\tb\n",
    "a.txt": "Plain 文本.\n".encode(),
    "a.html": b"<html><head><title>t</title><body><p>One <b>two</p></td></script><pre> x\n",
}


def outcome(path: Path) -> None:
    """Import as far as it goes; what is accepted must be writable."""
    try:
        for each in Intake(path, ImportConfig(max_record_bytes=4096)).outcomes():
            if isinstance(each, Record):
                assert content_bytes(each.content)
                assert json.dumps(each.to_json(), ensure_ascii=False).encode()
            else:
                assert each.reason
    except BadInput as error:
        refused = str(error)
    else:
        refused = ""
    assert refused == "" or refused.isprintable()


@st.composite
def torn(draw: st.DrawFn, sound: bytes) -> bytes:
    """`sound` with pieces cut out, doubled and overwritten."""
    raw = bytearray(sound)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(raw)))
        end = draw(st.integers(start, len(raw)))
        raw[start:end] = draw(st.one_of(st.binary(max_size=6), st.just(bytes(raw[start:end] * 2))))
    return bytes(raw)


@pytest.mark.parametrize("name", sorted(SOUND))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_torn_files(tmp_path: Path, name: str, data: st.DataObject) -> None:
    path = tmp_path / name
    path.write_bytes(data.draw(torn(SOUND[name])))
    outcome(path)


@pytest.mark.parametrize("suffix", ["parquet", "jsonl.gz", "jsonl.zst"])
def test_torn_packed_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    lines = SOUND["a.jsonl"] * 50
    if suffix == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW] * 50), path)
    elif suffix == "jsonl.gz":
        path.write_bytes(gzip.compress(lines, mtime=0))
    else:
        with pyarrow.output_stream(str(path), compression="zstd") as stream:
            stream.write(lines)
    sound, draw = path.read_bytes(), random.Random(1)  # noqa: S311 - no secret
    for _ in range(60):
        raw = bytearray(sound)
        for _ in range(draw.randint(1, 3)):
            raw[draw.randrange(len(raw))] = draw.randrange(256)
        path.write_bytes(raw[: draw.choice([len(raw), draw.randrange(len(raw))])])
        outcome(path)


def test_a_header_that_is_no_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\rprompt,completion\na,b\n")
    with pytest.raises(BadInput, match=r"a\.csv: the header line is broken"):
        list(Intake(path, ImportConfig()).outcomes())
