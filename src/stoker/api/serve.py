"""Listening: one uvicorn on two sockets, one of them for notebooks."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import replace

import uvicorn

from stoker.api.door import LOOPBACK_NAMES
from stoker.api.server import Server, ServerSettings, create_app
from stoker.app import App
from stoker.errors import BadInput, Conflict, Denied
from stoker.notebook import Site

DEFAULT_PORT = 8700
_HIGHEST_PORT = 65_535
_LONGEST_MESSAGE = 256 << 20  # bytes that a browser may send at once over a websocket
_GRACE_S = 5  # for answers on their way when the server is told to stop; streams without an end are cut then


class HttpServer:
    """A bound socket and what will answer on it. `run` blocks; `stop` may be called from anywhere."""

    def __init__(
        self, app: App, host: str = "127.0.0.1", port: int = DEFAULT_PORT, settings: ServerSettings | None = None
    ) -> None:
        """Binds at once, so that a port in use is known before anything starts; port 0 takes a free one.

        Raises Conflict when the port is taken, Denied when others could reach a server that has no keys.
        """
        loopback = _is_loopback(host)
        if not loopback and not app.accounts.any():
            raise Denied(f"listening on {host} lets others in, and no key exists yet; start once on loopback first")
        settings = settings or ServerSettings()
        if loopback and not settings.hosts:
            settings = replace(settings, hosts=LOOPBACK_NAMES)
        self._socket = _bind(host, port)
        self._app = app
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}"
        try:
            self._notebooks = _bind(host, _next_to(port, settings.notebooks_port), option="--notebooks-port")
            notebooks_port: int = self._notebooks.getsockname()[1]
            app.notebooks.site = Site(settings.notebooks_url, notebooks_port)
        except BaseException:
            self._socket.close()
            raise
        app.address.told = self.url
        self.server = create_app(app, replace(settings, notebooks_port=notebooks_port))
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                self.server,
                loop="uvloop",
                http="httptools",
                ws="websockets-sansio",
                ws_max_size=_LONGEST_MESSAGE,
                ws_per_message_deflate=False,  # as Jupyter itself does it: the time costs more than the bytes
                log_config=None,
                access_log=False,  # addresses carry session tokens and names; what matters is counted in /metrics
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )

    def run(self, ready: Callable[[str], None] | None = None) -> None:
        """Serve until stopped. `ready` is called with the address before the first request is taken."""
        self._app.lock.tell(address=self.url)  # there a client on this machine finds it
        try:
            if ready is not None:
                ready(self.url)
            self._uvicorn.run(sockets=[self._socket, self._notebooks])
        finally:
            self.close()

    @property
    def started(self) -> bool:
        return bool(self._uvicorn.started)

    def stop(self) -> None:
        self._uvicorn.should_exit = True

    def close(self) -> None:
        """Let go of the ports; `run` does it at its end."""
        self._socket.close()
        self._notebooks.close()


class _Uvicorn(uvicorn.Server):
    """Ends our own endless streams before it waits for what is on its way."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        application = self.config.app
        if isinstance(application, Server):
            application.state.pulse.close()
        await super().shutdown(sockets)


def run(
    app: App,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    settings: ServerSettings | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve `app` until SIGINT or SIGTERM."""
    HttpServer(app, host, port, settings).run(ready)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _next_to(port: int, given: int | None) -> int:
    """The port of the notebooks: the one after the console's unless told, so that it stays the same."""
    if given is not None:
        return given
    return port + 1 if 0 < port < _HIGHEST_PORT else 0


def _bind(host: str, port: int, *, option: str = "--port") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Conflict(f"port {port} on {host} is in use; choose another with {option}") from None
        if error.errno == errno.EACCES:
            raise BadInput(f"port {port} needs more rights; choose one above 1023 with {option}") from None
        raise BadInput(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
