"""Every error Stoker raises on purpose.

    StokerError
    ├── BadInput            what was given is wrong              exit 2   HTTP 400
    │   ├── Unfit           it can never run on what there is    exit 2   HTTP 422
    │   └── TooLarge        over a stated limit                  exit 2   HTTP 413
    ├── NotFound            no such thing (with near names)      exit 2   HTTP 404
    ├── Conflict            the thing is not in a state for it   exit 2   HTTP 409
    │   ├── HomeBusy        another process holds the home
    │   └── HomeNewer       written by a newer version
    ├── Denied              no key, wrong key, or role too low   exit 2   HTTP 401/403
    ├── MissingExtra        an optional part is not installed    exit 2   HTTP 501
    ├── Away                an engine or server does not answer  exit 3   HTTP 503
    │   └── NoSpace         the disk of the home is full         exit 3   HTTP 507
    └── Broken              a recipe or job failed; reason told  exit 1   HTTP 500

A message is one line: what was given, what is allowed, what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator


class StokerError(Exception):
    """Base of all errors meant for a person; ``str(error)`` is one line."""

    exit_code = 1
    http_status = 500

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(" ".join(message.split()))
        self.param = param


class BadInput(StokerError):
    exit_code = 2
    http_status = 400


class Unfit(BadInput):
    http_status = 422


class TooLarge(BadInput):
    http_status = 413


class NotFound(StokerError):
    exit_code = 2
    http_status = 404

    @classmethod
    def named(cls, kind: str, given: str, known: Iterable[str] = ()) -> NotFound:
        """``no model "qwen3"; near names: qwen2.5-7b``"""
        return cls(f'no {kind} "{given}"{near(given, known)}')


class Conflict(StokerError):
    exit_code = 2
    http_status = 409


class HomeBusy(Conflict):
    pass


class HomeNewer(Conflict):
    pass


class Denied(StokerError):
    exit_code = 2
    http_status = 403

    def __init__(self, message: str, *, known: bool = True) -> None:
        """``known``: whether the caller showed a valid key (403) or not (401)."""
        super().__init__(message)
        self.http_status = 403 if known else 401


class MissingExtra(StokerError):
    exit_code = 2
    http_status = 501

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the [{extra}] extra: pip install 'stoker[{extra}]'")
        self.extra = extra


class Away(StokerError):
    exit_code = 3
    http_status = 503


class NoSpace(Away):
    http_status = 507


class Broken(StokerError):
    pass


def near(given: str, known: Iterable[str]) -> str:
    """The tail of a message that offers near names, or the few there are; empty when there are none."""
    names = sorted(set(known))
    close = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
    if close:
        return f"; near names: {', '.join(close)}"
    if 0 < len(names) <= 8:
        return f"; there are: {', '.join(names)}"
    return ""


def code_of(kind: type[StokerError]) -> str:
    """How an error is called over the wire: ``HomeBusy`` is ``home_busy``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def kind_of(code: str) -> type[StokerError] | None:
    """The error that is called `code` over the wire."""
    return next((kind for kind in _kinds(StokerError) if code_of(kind) == code), None)


def _kinds(root: type[StokerError]) -> Iterator[type[StokerError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _kinds(kind)
