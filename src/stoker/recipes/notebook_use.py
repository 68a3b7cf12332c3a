"""When was a notebook last used? What counts as use, and what does not.

Use is: a cell that runs, however long and whether or not a browser is there to see it; processes of kernels and
terminals that compute; keys typed into a terminal; a page that is opened; a change that is saved. No use is: an
open tab (it asks the server all day), and output of a terminal (``watch nvidia-smi`` prints all night).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

COMPUTING = 0.1  # of one CPU: above it processes compute, below they wait for something
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Sent by open tabs without anybody at them: layout and reports, never a user's work.
_BY_ITSELF = ("/lab/api/workspaces", "/api/security/csp-report", "/api/events", "/lsp/")


@dataclass(frozen=True)
class Use:
    """The last use, and what it was."""

    at: float  # seconds since the epoch
    what: str  # one word or two, for people


@dataclass(frozen=True)
class Look:
    """What one look at the server finds."""

    at: float
    executing: int = 0  # kernels that run a cell
    cpu_s: float = 0.0  # CPU seconds that processes of kernels and terminals used since the look before
    since: float = 0.0  # when that was
    typed_at: float = 0.0  # last key in any terminal; 0: never
    touched_at: float = 0.0  # last page opened or change saved; 0: never


def last_use(before: Use, look: Look) -> Use:
    """The last use as of `look`."""
    if look.executing:
        return Use(look.at, "a cell runs")
    if look.cpu_s > COMPUTING * max(look.at - look.since, 0.01):
        return Use(look.at, "processes compute")
    candidates = (before, Use(look.typed_at, "terminal"), Use(look.touched_at, "browser"))
    return max(candidates, key=lambda use: use.at)


def touches(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Whether a request shows that somebody is there: it opens a page or changes something."""
    if any(part in path for part in _BY_ITSELF):
        return False
    opens = method == "GET" and "text/html" in headers.get("Accept", "")
    return opens or method in _CHANGES
