"""Telling a job's reports from its output where both come through one log (see launch.sh). Pure."""

from __future__ import annotations


class Splitter:
    """Fed with the log's bytes in any pieces, gives output and reports back, each byte once and in order."""

    def __init__(self, mark: str) -> None:
        self._mark = mark.encode()
        self._rest = b""
        self._line = b""  # pieces of a long report

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The output and the whole report lines of what is decided by now."""
        if not self._mark:
            return data, b""
        self._rest += data
        output, reports = bytearray(), bytearray()
        while (begin := self._rest.find(self._mark)) >= 0:
            output += self._rest[:begin]
            finish = self._rest.find(b"\n", begin)
            if finish < 0:
                self._rest = self._rest[begin:]
                return bytes(output), bytes(reports)
            reports += self._report(self._rest[begin + len(self._mark) : finish])
            self._rest = self._rest[finish + 1 :]
        keep = self._beginning()
        output += self._rest[: len(self._rest) - keep]
        self._rest = self._rest[len(self._rest) - keep :]
        return bytes(output), bytes(reports)

    def flush(self) -> bytes:
        """What is left when nothing more comes: the beginning of a mark that was none."""
        rest, self._rest = self._rest, b""
        return b"" if rest.startswith(self._mark) and self._mark else rest

    def _report(self, text: bytes) -> bytes:
        more, self._line = text[:1] == b"+", self._line + text[1:]
        if more:
            return b""
        line, self._line = self._line + b"\n", b""
        return line

    def _beginning(self) -> int:
        """How many of the last bytes may be the beginning of a mark."""
        most = min(len(self._mark) - 1, len(self._rest))
        return next((size for size in range(most, 0, -1) if self._mark.startswith(self._rest[-size:])), 0)
