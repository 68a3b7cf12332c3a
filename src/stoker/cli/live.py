"""Text that is drawn again and again until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from stoker.cli.render import say
from stoker.errors import Away

if TYPE_CHECKING:
    from rich.live import Live

_EVERY_S = 2.0


def refresh(draw: Callable[[], str], every_s: float = _EVERY_S) -> None:
    """Show ``draw()`` in place on a terminal, or once where there is none. Ctrl-C is the usual end."""
    if not sys.stdout.isatty():
        say(draw())
        return
    from rich.text import Text

    try:
        first = draw()  # what is wrong from the start is an error, and no picture
        with redrawing(screen=True) as live:
            live.update(Text(first), refresh=True)
            while True:
                time.sleep(every_s)
                live.update(Text(_drawn(draw)), refresh=True)
    except KeyboardInterrupt:
        return


@contextmanager
def redrawing(*, screen: bool = False) -> Iterator[Live]:
    """Something drawn in place; on the way out, by Ctrl-C or SIGTERM too, cursor and screen are put back."""
    from rich.live import Live

    live = Live(auto_refresh=False, screen=screen, vertical_overflow="visible")
    before = signal.signal(signal.SIGTERM, _unwind)
    try:
        live.start()  # not as a context manager: Ctrl-C may come while it starts
        yield live
    finally:
        live.stop()
        signal.signal(signal.SIGTERM, before)


def _unwind(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def _drawn(draw: Callable[[], str]) -> str:
    try:
        return draw()
    except Away as error:  # the server is being restarted; keep looking
        return f"stoker: {error}"
