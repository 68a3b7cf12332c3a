"""Kernels, and which of them run a cell."""

from __future__ import annotations

from typing import Any

from jupyter_client.session import Session
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager


class WatchedKernels(AsyncMappingKernelManager):  # type: ignore[misc]
    """Knows of each kernel which requests it works on.

    Jupyter keeps one state a kernel, that of the last status message. A kernel may work on several requests at
    once: a widget's message answered beside a long cell (on a subshell) makes it look idle while the cell runs.
    """

    def start_watching_activity(self, kernel_id: str) -> None:
        super().start_watching_activity(kernel_id)
        kernel = self._kernels[kernel_id]
        busy = kernel.stoker_busy = set()
        session = Session(config=kernel.session.config, key=kernel.session.key)
        stream = kernel.stoker_stream = kernel.connect_iopub()

        def note(frames: list[Any]) -> None:
            _, rest = session.feed_identities(frames)
            message = session.deserialize(rest)
            if message["msg_type"] != "status":
                return
            parent = message["parent_header"]
            if message["content"]["execution_state"] == "busy" and self.track_message_type(parent.get("msg_type")):
                busy.add(parent["msg_id"])
            elif not parent:  # it has begun anew
                busy.clear()
            else:
                busy.discard(parent.get("msg_id"))

        stream.on_recv(note)

    def stop_watching_activity(self, kernel_id: str) -> None:
        super().stop_watching_activity(kernel_id)
        kernel = self._kernels[kernel_id]
        if stream := getattr(kernel, "stoker_stream", None):
            if not stream.closed():
                stream.close()
            kernel.stoker_stream = None
        kernel.stoker_busy = set()

    def executing(self) -> int:
        """How many kernels run a cell. One that has died runs none, though it never said that it was done."""
        return sum(
            bool(getattr(kernel, "stoker_busy", None)) and getattr(kernel, "execution_state", "") != "dead"
            for kernel in self._kernels.values()
        )
