"""Ports of pods on this machine: a listener on the loopback, each connection a web socket to the API server.

The protocol is pods/portforward over web sockets, which every API server since 1.7 speaks: channel 0 holds data,
channel 1 errors, both begin with the port's number in two bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import aiohttp

from stoker.engines.kubernetes.api import Api
from stoker.errors import Away

_log = logging.getLogger(__name__)
_PROTOCOL = "v4.channel.k8s.io"
_PIECE = 1 << 16
_PORT_BYTES = 2


class Forward:
    """One port of one pod. `port` is where it is reached on 127.0.0.1, once `open` has returned."""

    def __init__(self, api: Api, pod_path: str, target: int) -> None:
        self._api, self._path, self._target = api, f"{pod_path}/portforward", target
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            socket = await self._api.socket(self._path, _PROTOCOL, ports=str(self._target))
        except Away as error:
            _log.warning("port %d cannot be reached: %s", self._target, error)
            writer.close()
            return
        up = asyncio.create_task(_up(reader, socket))
        try:
            await _down(socket, writer)
        finally:
            up.cancel()
            writer.close()
            await socket.close()


async def _up(reader: asyncio.StreamReader, socket: aiohttp.ClientWebSocketResponse) -> None:
    with contextlib.suppress(OSError, aiohttp.ClientError):
        while data := await reader.read(_PIECE):
            await socket.send_bytes(b"\x00" + data)


async def _down(socket: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter) -> None:
    begun: set[int] = set()  # channels whose first message, the port's number, has come
    with contextlib.suppress(OSError):
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel not in begun:
                begun.add(channel)
                data = data[_PORT_BYTES:]
            if channel == 1 and data:
                return  # nobody listens there: for our caller a connection that is closed
            if data:
                writer.write(data)
                await writer.drain()
