"""A real S3 server on loopback: moto's, in a process of its own that a test may stop and let go on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUCKET = "models"
_KEYS = {"AWS_ACCESS_KEY_ID": "AKIASTOKERTEST", "AWS_SECRET_ACCESS_KEY": "s3cr3t-of-the-test"}


@dataclass(frozen=True)
class S3:
    endpoint: str
    process: subprocess.Popen[bytes]

    @property
    def credentials(self) -> dict[str, str]:
        return {**_KEYS, "AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": "eu-central-1"}

    def write_credentials(self, file: Path) -> Path:
        file.touch(mode=0o600)
        file.write_text("".join(f"{name}={value}\n" for name, value in self.credentials.items()))
        return file

    def url(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}"

    def fs(self) -> Any:
        """The bucket, seen without Stoker."""
        import s3fs

        return s3fs.S3FileSystem(
            key=_KEYS["AWS_ACCESS_KEY_ID"], secret=_KEYS["AWS_SECRET_ACCESS_KEY"], endpoint_url=self.endpoint,
            use_listings_cache=False, skip_instance_cache=True,
        )  # fmt: skip

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def serving(folder: Path) -> Iterator[S3]:
    log = folder / "moto.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        s3 = S3(found.group(1), process)
        s3.fs().mkdir(BUCKET)
        yield s3
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait()


def holding(folder: Path, s3: S3) -> set[str]:
    """Names of the files below `folder` with the secret key in them. A living platform makes and removes some."""
    secret = s3.credentials["AWS_SECRET_ACCESS_KEY"].encode()
    found = set()
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # removed meanwhile, or no regular file
                if secret in Path(place, name).read_bytes():
                    found.add(name)
    return found
