"""Mirror: what the API server holds of one kind, kept up to date by one list and one watch.

However many objects there are, keeping them costs one open connection. The watch is resumed where it broke; when
the server has forgotten that place (410 Gone), everything is listed once more.
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping

from stoker.engines.kubernetes.api import Api, Object, Refused
from stoker.errors import Away, StokerError

_log = logging.getLogger(__name__)
_WATCH_S = 290  # the server ends a watch after so long; it is resumed at once
_SILENCE_S = 90.0  # bookmarks come about every minute; a watch that is silent for longer may be dead
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)

Told = Callable[[Object, bool], None]


class Gone(Exception):
    """The place where the watch was to go on is too old."""


class Mirror:
    """`items` by uid. `told(object, gone)` is called for every change, in the loop's thread."""

    def __init__(self, api: Api, paths: tuple[str, ...], slim: Callable[[Object], Object], told: Told) -> None:
        """`paths`: where to look, best first; the next is taken when we may not read the one before."""
        self._api = api
        self._paths = paths
        self._slim = slim
        self._told = told
        self._version = ""
        self.path = paths[0]
        self.items: dict[str, Object] = {}
        self.trouble = "it was not asked yet"  # why the mirror may be out of date; empty: it is not
        self.heard_at = 0.0  # monotonic
        self.synced = asyncio.Event()
        self.lists = 0  # how often everything was listed

    async def run(self) -> None:
        """Until it is cancelled."""
        failures = 0
        while True:
            try:
                if not self._version:
                    await self._list()
                failures = 0
                await self._watch()
            except Gone:
                self._version = ""
            except StokerError as error:
                self._stumble(error)
                await asyncio.sleep(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
                failures += 1

    def put(self, item: Object) -> None:
        """An object that was just made or changed by us: the watch will tell of it a moment later."""
        slim = self._slim(item)
        known = self.items.get(slim["metadata"]["uid"])
        if known is None or _version(known) < _version(slim):
            self.items[slim["metadata"]["uid"]] = slim

    def drop(self, uid: str) -> None:
        """An object that was just deleted for good."""
        self.items.pop(uid, None)

    def _stumble(self, error: StokerError) -> None:
        if isinstance(error, Refused) and error.status == 403 and self.path != self._paths[-1]:
            self.path = self._paths[self._paths.index(self.path) + 1]
            _log.warning("%s; looking at %s alone", error, self.path)
            self._version = ""
            return
        self.trouble = str(error)
        self.synced.set()  # whoever waits for the first answer learns of the trouble

    async def _list(self) -> None:
        items, version = await self._api.list(self.path)
        self.lists += 1
        found = {item["metadata"]["uid"]: self._slim(item) for item in items}
        newer = {uid: one for uid, one in self.items.items() if uid not in found and _version(one) > int(version)}
        gone = [one for uid, one in self.items.items() if uid not in found and uid not in newer]
        self.items = {**found, **newer}
        self._version = version
        self._hear()
        self.synced.set()
        for one in gone:
            self._told(one, True)
        for one in found.values():
            self._told(one, False)

    async def _watch(self) -> None:
        query = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_S)}
        rest = b""
        async with self._api.stream(self.path, resourceVersion=self._version, **query) as stream:
            self._hear()
            while True:
                try:
                    chunk = await asyncio.wait_for(stream.readany(), _SILENCE_S)
                except TimeoutError:
                    return  # resumed: if nobody is there any more, that tells
                if not chunk:
                    return
                self._hear()
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            event: Mapping[str, Object] = json.loads(line)
            item, kind = event["object"], str(event["type"])
        except (ValueError, KeyError, TypeError):
            raise Away("the API server sent half an event") from None
        if kind == "ERROR":
            if item.get("code") == 410:
                raise Gone
            raise Away(f"the API server ended the watch: {item.get('message', '')}")
        self._version = item["metadata"]["resourceVersion"]
        if kind == "BOOKMARK":
            return
        slim = self._slim(item)
        if kind == "DELETED":
            self.items.pop(slim["metadata"]["uid"], None)
        else:
            self.items[slim["metadata"]["uid"]] = slim
        self._told(slim, kind == "DELETED")

    def _hear(self) -> None:
        self.trouble = ""
        self.heard_at = time.monotonic()


def _version(item: Object) -> int:
    """Resource versions of one kind are numbers that grow: promised since Kubernetes 1.35, and so before."""
    text = str(item["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0
