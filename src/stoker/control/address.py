"""Address: where jobs find this platform."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from stoker.engine_config import LOCAL
from stoker.errors import BadInput


class Address:
    """Known once the platform listens; `told` is set by who serves."""

    def __init__(self, advertised: str = "") -> None:
        """`advertised`: URL at which other machines reach it, where it is not the one it listens at."""
        self.told = ""  # the URL it listens at
        self.advertise(advertised)

    def advertise(self, url: str) -> None:
        """From now on jobs on other machines are told `url`."""
        if url and not url.startswith(("http://", "https://")):
            raise BadInput(f'--advertise "{url}" was given; write for example http://gpu-login01:8700')
        self._advertised = url.rstrip("/")

    def seen_from(self, engine: str) -> str:
        """The URL for jobs of `engine`; empty when they cannot reach it."""
        parts = urlsplit(self.told)
        host = parts.hostname or ""
        if engine == LOCAL:
            return f"{parts.scheme}://127.0.0.1:{parts.port}" if self.told and _any(host) else self.told
        if self._advertised:
            return self._advertised
        if _any(host):
            return f"{parts.scheme}://{socket.getfqdn()}:{parts.port}"
        return "" if _loopback(host) else self.told


def _any(host: str) -> bool:
    return host in ("0.0.0.0", "::")  # noqa: S104 -- compared, not bound


def _loopback(host: str) -> bool:
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
