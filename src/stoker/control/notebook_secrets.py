"""What a notebook must have and nobody else may see: its token, its kernel's key, secret variables.

Token and key follow from the job's id and one secret of the home, so nothing can be lost between two writes: after
a kill they are the same again. Secret variables, which somebody gave, are kept in a file until the job has ended.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from stoker.home import Home
from stoker.job import Job

LABEL = "stoker/secrets"  # of a job: the id of its secret variables
_ABANDONED_S = 600.0  # secret variables that no job has come for are removed after so long


class NotebookSecrets:
    """Files below ``secrets/notebooks`` in the home, readable by the platform's user alone."""

    def __init__(self, home: Home) -> None:
        self._folder = home.secrets / "notebooks"

    def token(self, job: int) -> str:
        """What the notebook's server asks for."""
        return base64.urlsafe_b64encode(self._derived(f"token/{job}")).decode().rstrip("=")

    def key(self, job: int) -> str:
        """The kernel's key for the platform."""
        return "sk-stk-" + base64.urlsafe_b64encode(self._derived(f"key/{job}")).decode().rstrip("=")

    def keep(self, variables: Mapping[str, str], tenant: str, owner: str) -> str:
        """Keep secret variables for a job of `owner` that is about to be submitted; their id."""
        name = secrets.token_hex(16)
        self._write(f"{name}.kept", json.dumps({"for": [tenant, owner], "variables": dict(variables)}))
        return name

    def files(self, job: Job, *, key: bool) -> dict[str, Path]:
        """The files of `job`, written anew; with the kernel's key when it shall have one."""
        held = {"token": self.token(job.id), **({"key": self.key(job.id)} if key else {})}
        if variables := self._variables(job):
            held["environment.json"] = json.dumps(variables)
        return {name: self._write(f"{job.id}.{name}", content) for name, content in held.items()}

    def sweep(self, jobs: Collection[Job]) -> None:
        """Remove what belongs to none of `jobs`, the notebooks that have not ended."""
        if not self._folder.is_dir():
            return
        kept = {job.spec.labels.get(LABEL, "") for job in jobs}
        alive = {str(job.id) for job in jobs}
        for file in self._folder.iterdir():
            name, _, what = file.name.partition(".")
            if what in ("kept", "kept.new"):
                if name not in kept and time.time() - file.stat().st_mtime > _ABANDONED_S:
                    file.unlink(missing_ok=True)
            elif name.isdecimal() and name not in alive:
                file.unlink(missing_ok=True)

    def _variables(self, job: Job) -> Mapping[str, str]:
        """Only a job of whom they were kept for gets them: anybody may write a label."""
        name = job.spec.labels.get(LABEL, "")
        file = self._folder / f"{name}.kept"
        if not name.isalnum() or not file.is_file():
            return {}
        kept = json.loads(file.read_text())
        variables: Mapping[str, str] = kept["variables"] if kept["for"] == [job.tenant, job.owner] else {}
        return variables

    def _derived(self, what: str) -> bytes:
        return hmac.new(self._master(), what.encode(), hashlib.sha256).digest()

    def _master(self) -> bytes:
        file = self._folder / "master.key"
        if not file.exists():
            self._write(file.name, secrets.token_hex(32), keep=True)
        return bytes.fromhex(file.read_text())

    def _write(self, name: str, content: str, *, keep: bool = False) -> Path:
        """Whole or not at all; with `keep` a file that is there already stays."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file, partial = self._folder / name, self._folder / f"{name}.{secrets.token_hex(4)}.new"
        partial.touch(mode=0o600)
        try:
            partial.write_text(content)
            if keep and file.exists():
                return file
            return partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
