"""What a pod's manifest asks of a kubelet: devices, volumes, environment."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Call = Callable[[str, str], Awaitable[Any]]
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._:/@-]*")


def image_trouble(image: str) -> tuple[str, str]:
    """Reason and message when `image` cannot be had, as a kubelet words it; two empty strings when it can."""
    if not _IMAGE.fullmatch(image) or "//" in image:
        return "InvalidImageName", f'Failed to apply default image tag "{image}": invalid reference format'
    if image.startswith("missing/"):
        text = f'rpc error: code = NotFound desc = failed to pull and unpack image "{image}": not found'
        return "ErrImagePull", text
    return "", ""


def needs(manifest: dict[str, Any]) -> dict[str, int]:
    """Device resources (those with a vendor's domain) that the pod's containers are limited to."""
    found: dict[str, int] = {}
    for container in manifest["spec"]["containers"]:
        for name, value in container.get("resources", {}).get("limits", {}).items():
            if "/" in name:
                found[name] = found.get(name, 0) + int(value)
    return found


async def volume_paths(
    manifest: dict[str, Any], folder: Path, room: Path, call: Call
) -> list[tuple[str, str]] | None:
    """Pairs of a path of the machine and one in the (first) container; None while a volume is not there yet."""
    sources: dict[str, Path] = {}
    for volume in manifest["spec"].get("volumes", ()):
        source = await _source(volume, folder / volume["name"], room, manifest["metadata"]["namespace"], call)
        if source is None:
            return None
        sources[volume["name"]] = source
    mounts = manifest["spec"]["containers"][0].get("volumeMounts", ())
    return [(str(sources[mount["name"]] / mount.get("subPath", "")), mount["mountPath"]) for mount in mounts]


async def _source(volume: dict[str, Any], folder: Path, room: Path, namespace: str, call: Call) -> Path | None:
    if "hostPath" in volume:
        path = Path(volume["hostPath"]["path"])
        if volume["hostPath"].get("type") == "DirectoryOrCreate":
            path.mkdir(parents=True, exist_ok=True)
        return path if path.exists() else None
    if "persistentVolumeClaim" in volume:
        folder = room / "claims" / volume["persistentVolumeClaim"]["claimName"]
    folder.mkdir(parents=True, exist_ok=True)
    for kind, plural, name in (("configMap", "configmaps", "name"), ("secret", "secrets", "secretName")):
        if kind in volume:
            found = await call("GET", f"/api/v1/namespaces/{namespace}/{plural}/{volume[kind][name]}")
            if not found or found.get("kind") == "Status":
                return None
            folder.chmod(0o1777)  # as the kubelet's own, a tmpfs
            _fill(folder, found, kind, volume[kind].get("defaultMode", 0o644))
    return folder


def _fill(folder: Path, found: dict[str, Any], kind: str, mode: int) -> None:
    data = {} if kind == "secret" else {name: text.encode() for name, text in found.get("data", {}).items()}
    binary = found.get("data" if kind == "secret" else "binaryData") or {}
    data |= {name: base64.b64decode(text) for name, text in binary.items()}
    for name, content in data.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(mode)


async def environment(
    manifest: dict[str, Any], container: dict[str, Any], address: str, call: Call
) -> dict[str, str] | str:
    """The container's environment, or why it cannot be made."""
    fields = {
        "metadata.name": manifest["metadata"]["name"],
        "metadata.namespace": manifest["metadata"]["namespace"],
        "spec.nodeName": manifest["spec"]["nodeName"],
        "status.podIP": address,
        "status.hostIP": "127.0.0.1",
    }
    env: dict[str, str] = {}
    for entry in container.get("env", ()):
        source = entry.get("valueFrom", {})
        if "fieldRef" in source:
            env[entry["name"]] = fields[source["fieldRef"]["fieldPath"]]
        elif "secretKeyRef" in source:
            wanted, namespace = source["secretKeyRef"], fields["metadata.namespace"]
            found = await call("GET", f"/api/v1/namespaces/{namespace}/secrets/{wanted['name']}")
            if not found or found.get("kind") == "Status":
                return f'secret "{wanted["name"]}" not found'
            env[entry["name"]] = base64.b64decode(found["data"][wanted["key"]]).decode()
        else:
            env[entry["name"]] = expanded(entry.get("value", ""), env)
    return env


def expanded(value: str, env: dict[str, str]) -> str:
    """``$(NAME)`` of what stands before it; ``$$`` is one dollar sign."""
    return re.sub(
        r"\$\$|\$\(([^)]+)\)", lambda match: "$" if match[0] == "$$" else env.get(match[1], match[0]), value
    )
