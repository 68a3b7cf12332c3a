"""Reading a kubeconfig: the server, how it is trusted, and who we are there.

The format is that of kubectl (https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/).
Understood are tokens, token files, client certificates, names with passwords and exec plugins; of the old
auth-providers OIDC's identity token is used as it stands. Inside a cluster the pod's service account is used.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stoker.errors import Away, BadInput, near

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Access:
    """One way into one cluster."""

    server: str
    tls: ssl.SSLContext
    user: Mapping[str, Any]  # the kubeconfig's user
    folder: Path  # what relative paths of the kubeconfig count from
    source: str  # for messages
    server_name: str = ""  # what the certificate is for, when it is not the server's host
    proxy: str = ""


def read_access(path: str, context: str) -> Access:
    """The `context` (empty: the current one) of the kubeconfig at `path` (empty: where kubectl looks).

    Raises BadInput naming what is wrong in which file.
    """
    file = _file(path)
    config = _load(file)
    chosen = context or config.get("current-context") or ""
    entry = _named(config, "contexts", chosen, file)["context"]
    cluster = _named(config, "clusters", entry.get("cluster", ""), file)["cluster"]
    user = _named(config, "users", entry["user"], file).get("user") or {} if entry.get("user") else {}
    if not cluster.get("server"):
        raise BadInput(f'{file}: cluster "{entry.get("cluster")}" names no server', param="kubeconfig")
    return Access(
        server=cluster["server"].rstrip("/"),
        tls=_tls(cluster, user, file.parent),
        user=user,
        folder=file.parent,
        source=str(file),
        server_name=cluster.get("tls-server-name", ""),
        proxy=cluster.get("proxy-url", ""),
    )


def pod_access(account: Path = _ACCOUNT, environ: Mapping[str, str] = os.environ) -> Access:
    """The access every pod has: the service account's token, which the cluster renews in its file."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (account / "token").exists():
        raise BadInput(
            "in_cluster is set, but this is no pod with a service account; give a kubeconfig", param="in_cluster"
        )
    bracketed = f"[{host}]" if ":" in host else host
    return Access(
        server=f"https://{bracketed}:{port}",
        tls=ssl.create_default_context(cafile=str(account / "ca.crt")),
        user={"tokenFile": str(account / "token")},
        folder=account,
        source=f"the service account in {account}",
    )


def _file(path: str) -> Path:
    """KUBECONFIG may name several files; the first that exists is taken."""
    if path:
        return Path(path).expanduser()
    named = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    default = Path("~/.kube/config").expanduser()
    return next((file for file in (*named, default) if file.exists()), named[0] if named else default)


def _load(file: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no YAML"
        raise BadInput(f"kubeconfig {file} cannot be read: {why}", param="kubeconfig") from None
    if not isinstance(found, dict):
        raise BadInput(f"{file} is no kubeconfig", param="kubeconfig")
    return found


def _named(config: Mapping[str, Any], kind: str, name: str, file: Path) -> Mapping[str, Any]:
    entries = {entry.get("name", ""): entry for entry in config.get(kind) or ()}
    if name not in entries:
        raise BadInput(f'{file} has no {kind[:-1]} "{name}"{near(name, entries)}', param="context")
    found: Mapping[str, Any] = entries[name]
    return found


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path) -> ssl.SSLContext:
    try:
        if data := cluster.get("certificate-authority-data"):
            context = ssl.create_default_context(cadata=base64.b64decode(data).decode())
        else:
            authority = cluster.get("certificate-authority")
            context = ssl.create_default_context(cafile=str(folder / authority) if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        load_client_certificate(context, user, folder)
    except (OSError, ValueError) as error:
        raise BadInput(f"a certificate of the kubeconfig cannot be used: {error}", param="kubeconfig") from None
    return context


def load_client_certificate(context: ssl.SSLContext, user: Mapping[str, Any], folder: Path) -> None:
    """Take `user`'s client certificate, if it has one; text needs a file for a moment, as ssl reads only files."""
    if user.get("client-certificate") and user.get("client-key"):
        context.load_cert_chain(folder / user["client-certificate"], folder / user["client-key"])
    elif user.get("client-certificate-data") and user.get("client-key-data"):
        with tempfile.NamedTemporaryFile(prefix="stoker-") as file:  # mode 0600
            for part in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[part]) + b"\n")
            file.flush()
            context.load_cert_chain(file.name)


def token_of(user: Mapping[str, Any], folder: Path) -> str:
    """The bearer token that stands in the kubeconfig or in a file it names, read anew; empty: none."""
    if path := user.get("tokenFile"):
        try:
            return (folder / str(path)).read_text().strip()
        except OSError as error:
            raise Away(f"the token file {folder / path} cannot be read: {error.strerror}") from None
    provider = user.get("auth-provider") or {}
    return str(user.get("token") or (provider.get("config") or {}).get("id-token") or "")
