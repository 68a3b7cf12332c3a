"""On a terminal: what is drawn in place, and that the terminal is given back."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.api.platform import Site
from tests.cli.conftest import Stoker

COMMAND = (sys.executable, "-c", "import sys; from stoker.cli import main; sys.exit(main())")
ENTERED, LEFT, CURSOR_BACK = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


class Terminal:
    """A command on a pseudo-terminal."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self.process = process
        self.seen = b""
        self._screen = screen

    def until(self, wanted: bytes) -> None:
        while wanted not in self.seen:
            assert self._read(), self.seen

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def end(self, how: int) -> int:
        self.process.send_signal(how)
        return self.ended()

    def ended(self) -> int:
        """Its exit code."""
        while self._read():
            pass
        return self.process.wait(timeout=60)

    def _read(self) -> bytes:
        """The next piece; empty at the end."""
        ready, _, _ = select.select([self._screen], [], [], 60)
        assert ready, self.seen
        try:
            piece = os.read(self._screen, 1 << 16)
        except OSError:  # the other end is closed
            return b""
        self.seen += piece
        return piece


@contextmanager
def terminal(site: Site, *arguments: str) -> Iterator[Terminal]:
    screen, side = pty.openpty()
    environ = {
        **os.environ,
        "STOKER_URL": site.url,
        "STOKER_API_KEY": site.admin_key,
        "TERM": "xterm",
        "COLUMNS": "100",
    }
    with subprocess.Popen((*COMMAND, *arguments), stdin=side, stdout=side, stderr=side, env=environ) as process:
        os.close(side)
        try:
            yield Terminal(process, screen)
        finally:
            process.kill()
            os.close(screen)


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_top_gives_the_terminal_back(site: Site, how: int, code: int) -> None:
    with terminal(site, "top") as shown:
        shown.until(b"NODELIST(REASON)")
        assert ENTERED in shown.seen
        assert shown.end(how) == code
        assert shown.seen.rindex(LEFT) > shown.seen.rindex(ENTERED)
        assert CURSOR_BACK in shown.seen
        assert b"Traceback" not in shown.seen


def test_a_shipment_is_redrawn_in_place_and_ctrl_c_says_what_goes_on(
    site: Site, stoker: Stoker, tmp_path: Path, base: str
) -> None:
    blocker = stoker("run", "--cpus", "8", "--", "sleep", "120").out.split()[3]
    (tmp_path / "data.jsonl").write_text('{"prompt": "a?", "completion": "b"}\n')
    with terminal(site, "ship", str(tmp_path / "data.jsonl"), "--base", base, "--name", "shown") as shown:
        shown.until(b" import ")
        shown.until(b"waits: ")
        shown.until(b" promote")
        assert shown.end(signal.SIGINT) == 130
    text = shown.seen.decode()
    assert "\x1b[1A" in text  # lines were drawn over
    assert "goes on; watch it again: the same command" in " ".join(text.split())
    stoker("cancel", next(one.id for one in site.client().shipments.list() if one.request.name == "shown"))
    stoker("cancel", blocker)


def test_a_conversation_is_a_terminals(site: Site) -> None:
    with terminal(site, "chat", "nobody-serves-this") as shown:
        shown.until(b"> ")
        shown.type("hello?\n")
        shown.until(b'nobody-serves-this"')
        shown.until(b"\n> ")
        while shown.process.poll() is None:  # typed before the prompt listens, a Ctrl-D is lost
            shown.type("\x04")
            with suppress(subprocess.TimeoutExpired):
                shown.process.wait(timeout=0.5)
        assert shown.ended() == 0
        assert b"Traceback" not in shown.seen


def test_a_key_is_asked_for_without_echo(site: Site, own_config: Path) -> None:
    with terminal(site, "login", site.url) as shown:
        shown.until(b"API key: ")
        shown.type(f"{site.admin_key}\n")
        shown.until(b"logged in")
        assert site.admin_key.encode() not in shown.seen
    assert site.admin_key in (own_config / "stoker" / "config.toml").read_text()


def test_a_key_is_read_from_standard_input(site: Site, own_config: Path) -> None:
    run = subprocess.run((*COMMAND, "login", site.url), input=f"{site.admin_key}\n", capture_output=True, text=True)
    assert run.returncode == 0
    assert "logged in" in run.stdout
    again = subprocess.run((*COMMAND, "login", site.url), input="\n", capture_output=True, text=True)
    assert again.returncode == 2
    assert "no key was given" in again.stderr
    wrong = subprocess.run((*COMMAND, "login", site.url), input="sk-stk-wrong\n", capture_output=True, text=True)
    assert wrong.returncode == 2
    assert site.admin_key in (own_config / "stoker" / "config.toml").read_text()  # the good one is kept
