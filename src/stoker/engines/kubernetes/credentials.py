"""Credentials: the header that says who we are, renewed when it has run out."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import os
import time
from typing import Any

from stoker.engines.kubernetes.kubeconfig import Access, load_client_certificate, token_of
from stoker.errors import Away

_PLUGIN_PATIENCE_S = 60.0
_EARLY_S = 30.0  # a plugin's token is renewed so long before it ends
_FILE_AGE_S = 60.0  # a token file is read again after so long, as client-go does


class Credentials:
    """Of one Access. `header` is asked before every request; `reject` tells that the last one was refused."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._header = ""
        self._until = 0.0  # time.time() until which it is good
        self._lock = asyncio.Lock()

    async def header(self) -> str:
        """The value of Authorization; empty when a client certificate, or nothing, says who we are."""
        async with self._lock:
            if time.time() >= self._until:
                await self._renew()
            return self._header

    def reject(self, header: str) -> None:
        """`header` was answered with 401: get another one next time."""
        if header == self._header:
            self._until = 0.0

    async def _renew(self) -> None:
        user = self._access.user
        if plugin := user.get("exec"):
            await self._ask_plugin(plugin)
        elif user.get("username"):
            pair = f"{user['username']}:{user.get('password', '')}".encode()
            self._header, self._until = f"Basic {base64.b64encode(pair).decode()}", float("inf")
        else:
            token = token_of(user, self._access.folder)
            self._header = f"Bearer {token}" if token else ""
            self._until = time.time() + _FILE_AGE_S if user.get("tokenFile") else float("inf")

    async def _ask_plugin(self, plugin: dict[str, Any]) -> None:
        """Run an exec plugin; see https://kubernetes.io/docs/reference/access-authn-authz/authentication/."""
        version = plugin.get("apiVersion", "client.authentication.k8s.io/v1")
        info: dict[str, Any] = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
        if plugin.get("provideClusterInfo"):
            info["spec"]["cluster"] = {"server": self._access.server}
        wanted = {entry["name"]: entry["value"] for entry in plugin.get("env") or ()}
        environ = {**os.environ, **wanted, "KUBERNETES_EXEC_INFO": json.dumps(info)}
        command = str(plugin["command"])
        if "/" in command:  # relative to the kubeconfig, as with kubectl
            command = str(self._access.folder / command)
        status = await _run([command, *map(str, plugin.get("args") or ())], environ)
        if "clientCertificateData" in status:
            names = {"client-certificate-data": "clientCertificateData", "client-key-data": "clientKeyData"}
            user = {ours: base64.b64encode(status[theirs].encode()) for ours, theirs in names.items()}
            load_client_certificate(self._access.tls, user, self._access.folder)
        self._header = f"Bearer {status['token']}" if status.get("token") else ""
        self._until = _seconds(status.get("expirationTimestamp")) - _EARLY_S


async def _run(argv: list[str], environ: dict[str, str]) -> dict[str, Any]:
    """The `status` that the plugin prints. Raises Away with its last line of complaint."""
    name = argv[0]
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=environ
        )
    except OSError as error:
        raise Away(f'the credential plugin "{name}" cannot be started: {error.strerror}') from None
    try:
        out, err = await asyncio.wait_for(process.communicate(), _PLUGIN_PATIENCE_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Away(f'the credential plugin "{name}" did not answer in {_PLUGIN_PATIENCE_S:.0f} s') from None
    if process.returncode != 0:
        last = (err.decode(errors="replace").strip().splitlines() or ["it says nothing"])[-1]
        raise Away(f'the credential plugin "{name}" ended with {process.returncode}: {last[:300]}')
    try:
        status = json.loads(out)["status"]
    except (ValueError, KeyError, TypeError):
        raise Away(f'the credential plugin "{name}" printed no ExecCredential') from None
    return dict(status)


def _seconds(timestamp: str | None) -> float:
    if not timestamp:
        return float("inf")
    return dt.datetime.fromisoformat(timestamp).timestamp()
