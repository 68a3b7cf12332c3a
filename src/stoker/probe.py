"""What a program that runs inside a job imports to tell Stoker how it goes. Standard library only.

    import stoker.probe as probe
    probe.report(step=10, total=600, loss=1.21, tokens_per_s=9840.0)

Each call appends one JSON line to the file named by ``STOKER_PROBE``; without that variable nothing happens,
so an instrumented script runs unchanged anywhere. Lines have a ``kind``:

    progress   done/total of this job, with free-form numeric values beside them (each becomes a Signal)
    phase      a named part of the work began ("first batch", "warm-up"), with a text for people
    expect     what a value should be: name, value, low, high, unit, basis
    ready      a service listens: url, and what it serves
    note       something people should see (a table, a sample), as JSON
    error      the one line that says why the job failed
    end        the one line that says why it ended well, where that is worth a word
"""

from __future__ import annotations

import json
import os
import time
from typing import Any


def report(*, step: int | None = None, total: int | None = None, **values: float | int | str) -> None:
    """Progress: `step` of `total`, and any named values; units are part of the name (``tokens_per_s``)."""
    _write("progress", {"step": step, "total": total, "values": values})


def phase(name: str, text: str = "") -> None:
    _write("phase", {"name": name, "text": text})


def expect(name: str, value: float, *, low: float, high: float, unit: str, basis: str) -> None:
    """The expectation that the values reported under `name` are held against."""
    _write("expect", {"name": name, "value": value, "low": low, "high": high, "unit": unit, "basis": basis})


def ready(url: str, *, serves: str = "") -> None:
    _write("ready", {"url": url, "serves": serves})


def note(name: str, data: Any) -> None:
    _write("note", {"name": name, "data": data})


def error(message: str, *, param: str | None = None) -> None:
    _write("error", {"message": message, "param": param})


def end(message: str) -> None:
    _write("end", {"message": message})


def saved() -> None:
    """All work until now is safe: an attempt that begins after this one goes on from here.

    Touches the file named by ``STOKER_SAVED``, as ``touch "$STOKER_SAVED"`` does in a shell; call it when the
    checkpoint is on storage that outlives the node, not when its writing begins.
    """
    if path := os.environ.get("STOKER_SAVED"):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        os.utime(path)


def _write(kind: str, fields: dict[str, Any]) -> None:
    path = os.environ.get("STOKER_PROBE")
    if not path:
        return
    line = json.dumps({"kind": kind, "at": time.time(), **fields}, ensure_ascii=False, default=str)
    # One write of one line with O_APPEND: several ranks may share the file.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode() + b"\n")
    finally:
        os.close(descriptor)
