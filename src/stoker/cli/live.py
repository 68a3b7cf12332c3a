"""Text that is drawn again and again until Ctrl-C."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from stoker.cli.render import say
from stoker.errors import Away

_EVERY_S = 2.0


def refresh(draw: Callable[[], str], every_s: float = _EVERY_S) -> None:
    """Show ``draw()`` in place on a terminal, or once where there is none. Ctrl-C is the usual end."""
    if not sys.stdout.isatty():
        say(draw())
        return
    from rich.live import Live
    from rich.text import Text

    try:
        with Live(Text(draw()), auto_refresh=False, screen=True) as live:
            while True:
                live.update(Text(_drawn(draw)), refresh=True)
                time.sleep(every_s)
    except KeyboardInterrupt:
        return


def _drawn(draw: Callable[[], str]) -> str:
    try:
        return draw()
    except Away as error:  # the server is being restarted; keep looking
        return f"stoker: {error}"
