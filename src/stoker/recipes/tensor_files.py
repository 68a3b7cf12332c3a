"""Writing tensors to a disk that may be full: safetensors tells it with an error of its own, not as OSError."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def full_disk_told(path: Path) -> Iterator[None]:
    """Raises OSError ENOSPC (or EDQUOT) naming `path` where safetensors ran out of space inside the block."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        for number in (errno.ENOSPC, errno.EDQUOT):
            if f"(os error {number})" in str(error):
                raise OSError(number, os.strerror(number), str(path)) from None
        raise
