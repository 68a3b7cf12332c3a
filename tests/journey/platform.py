"""A real platform in a process of its own, that a test may kill."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import stoker
from stoker.client import Client

_URL = re.compile(r"API\s+(http://127\.0\.0\.1:\d+)/docs")
_KEY = re.compile(r"sk-stk-\S+")


class Platform:
    """``stoker up`` on `home`; started, killed and started again."""

    def __init__(self, home: Path, *options: str, **environment: str) -> None:
        self.home = home
        self._options = options
        self.key = ""
        self.url = ""
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self.starts = 0

    def start(self) -> Client:
        """Returns a client of it once it answers."""
        self.starts += 1
        log = self.home.with_name(f"{self.home.name}-{self.starts}.log")
        command = [sys.executable, "-m", "stoker", "up", "--home", str(self.home), "--port", "0", *self._options]
        environment = {**os.environ, "XDG_CONFIG_HOME": str(self.home.parent), **self._environment, "LANG": "C"}
        with log.open("w") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment, text=True
            )
        deadline = time.monotonic() + 60
        while not (found := _URL.search(log.read_text())):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the platform did not start:\n{log.read_text()}")
            time.sleep(0.05)
        self.url = found.group(1)
        if key := _KEY.search(log.read_text()):
            self.key = key.group(0)
        return self.client()

    def client(self) -> Client:
        client = stoker.Client(self.url, self.key)
        deadline = time.monotonic() + 30
        while True:
            try:
                client.info()
            except stoker.errors.Away:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return client

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(timeout=30)
