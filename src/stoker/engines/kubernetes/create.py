"""Making an attempt's objects: all of them or none, and however often it is begun again, once."""

from __future__ import annotations

import asyncio
import base64
import re
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.engines.kubernetes.api import Api, Refused
from stoker.engines.kubernetes.ledger import Record
from stoker.engines.kubernetes.pods import NOBODY, PACKAGE, binding, secret
from stoker.engines.kubernetes.quantity import quantity
from stoker.errors import Away, BadInput

Object = dict[str, Any]

_NOWHERE = "/nonexistent"  # a folder to judge a package's paths by
_QUOTA = re.compile(
    r"exceeded quota: (?P<name>[^,]+), requested: (?P<asked>.*?), used: .*?, limited: (?P<limit>.*)$"
)


@dataclass(frozen=True)
class Made:
    """`pods` as the API server has them, or why there are none: `refused` for good, or `held_up` for now."""

    pods: tuple[Object, ...] = ()
    refused: str = ""
    held_up: str = ""


async def make(api: Api, namespace: str, record: Record) -> Made:
    """Raises Away when the API server cannot be asked, or will not let us: then it is to be tried again."""
    try:
        await _make_extras(api, namespace, record)
    except Refused as no:
        await unmake(api, namespace, record)
        return _told(no)
    pods_path = f"/api/v1/namespaces/{namespace}/pods"
    results = await asyncio.gather(
        *(_create(api, pods_path, pod) for pod in record.plan.pods), return_exceptions=True
    )
    bound = [one for one in results if not isinstance(one, BaseException)]
    trouble = next((one for one in results if isinstance(one, BaseException)), None)
    if trouble is None:
        trouble = await _bind(api, record, bound)
    if trouble is None:
        return Made(pods=tuple(bound))
    if not isinstance(trouble, Refused):
        raise trouble
    await unmake(api, namespace, record)
    return _told(trouble)


async def unmake(api: Api, namespace: str, record: Record) -> None:
    """Delete whatever there is of an attempt, by the names that only it has."""
    base = str(record.plan.pods[0]["metadata"]["name"]).rpartition("-")[0]
    paths = [f"/api/v1/namespaces/{namespace}/pods/{name}" for name in record.names]
    await asyncio.gather(
        *(api.delete(path, grace=0) for path in paths), remove_extras(api, namespace, record, base)
    )


async def remove_extras(api: Api, namespace: str, record: Record, base: str) -> None:
    plurals = [*record.plan.extras, *(["secrets"] if record.plan.files else [])]
    await asyncio.gather(*(api.delete(f"/api/v1/namespaces/{namespace}/{plural}/{base}") for plural in plurals))


def prepare(record: Record, here: Callable[[str], Path]) -> None:
    """The job's folder on the shared file system, with its package unpacked. Raises Away, BadInput.

    Without a shared folder the package is only read through: what tar in the job would unpack must be as harmless.
    """
    folder = here(record.plan.folder) if record.plan.folder else Path(_NOWHERE)
    if record.plan.folder:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)  # whoever the image runs as writes there
        except OSError as error:
            raise Away(f"the shared folder {folder} cannot be written here: {error.strerror}") from None
    if not record.plan.package:
        return
    try:
        with tarfile.open(record.plan.package, "r:gz") as archive:
            if record.plan.folder:
                archive.extractall(folder / PACKAGE, filter="data")
            for entry in archive:
                tarfile.data_filter(entry, str(folder))
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise BadInput(f"the package cannot be unpacked: {error}") from None


async def _make_extras(api: Api, namespace: str, record: Record) -> None:
    """The objects beside the pods, now with the content that is kept in files alone.

    The Secret belongs to the ConfigMap: so we never need the right to list or read Secrets.
    """
    plan, space = record.plan, f"/api/v1/namespaces/{namespace}"
    for plural, body in plan.extras.items():
        whole = dict(body)
        if plural == "configmaps" and plan.package and not plan.folder:
            whole["binaryData"] = {"package": await asyncio.to_thread(_base64, plan.package)}
        made = await _create(api, f"{space}/{plural}", whole)
        if plural == "configmaps" and plan.files:
            content = {name: await asyncio.to_thread(_base64, path) for name, path in plan.files.items()}
            await _create(api, f"{space}/secrets", secret(made["metadata"], content), again=False)


def _base64(path: str) -> str:
    try:
        return base64.b64encode(Path(path).read_bytes()).decode()
    except OSError as error:
        raise Away(f"{path} cannot be read: {error.strerror}") from None


async def _create(api: Api, path: str, body: Mapping[str, Any], *, again: bool = True) -> Object:
    """The object, whether it is made now or was before: its name is only ever given to it.

    Without `again` one that was there before is not read.
    """
    try:
        return await api.create(path, body)
    except Refused as no:
        if no.status != 409 or no.reason != "AlreadyExists":
            raise
        if not again:
            return {}
        return await api.get(f"{path}/{body['metadata']['name']}")


async def _bind(api: Api, record: Record, pods: list[Object]) -> BaseException | None:
    """Bind those that no scheduler will; the first refusal, if any."""
    free = [
        (pod, node)
        for pod, plan, node in zip(pods, record.plan.pods, record.nodes, strict=True)
        if plan["spec"].get("schedulerName") == NOBODY and not pod["spec"].get("nodeName")
    ]
    if not free:
        return None
    results = await asyncio.gather(*(_bind_one(api, pod, node) for pod, node in free), return_exceptions=True)
    return next((one for one in results if isinstance(one, BaseException)), None)


async def _bind_one(api: Api, pod: Object, node: str) -> None:
    meta = pod["metadata"]
    try:
        await api.create(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/binding", binding(pod, node))
    except Refused as no:
        if no.status != 409:  # bound already, by an earlier try
            raise


def _told(no: Refused) -> Made:
    """What a refusal means. Raises Away where it is about us or the cluster, and not about the job."""
    said = str(no)
    if quota := _QUOTA.search(said):
        if _above(quota["asked"], quota["limit"]):
            return Made(
                refused=f"more than the quota {quota['name']} ever allows: {quota['asked']} of {quota['limit']}"
            )
        return Made(held_up=f"the quota {quota['name']} is used up: {said.partition('exceeded quota: ')[2]}")
    if no.status == 404 and no.details.get("kind") == "namespaces":
        raise Away(f'there is no namespace "{no.details.get("name")}" in Kubernetes; create it or set another one')
    if no.status == 403 and "is forbidden: User" in said:
        raise Away(f"Kubernetes does not let us work: {said}")
    if no.status == 403 and "because it is being terminated" in said:
        raise Away(said)
    return Made(refused=said[:500])


def _above(asked: str, limit: str) -> bool:
    limits = dict(part.split("=", 1) for part in limit.split(",") if "=" in part)
    wanted = dict(part.split("=", 1) for part in asked.split(",") if "=" in part)
    return any(quantity(text) > quantity(limits[name]) for name, text in wanted.items() if name in limits)
