"""Rest: what is asked of Slurm again and again, asked of slurmrestd: the queue with its details, and the nodes.

One request for the queue and one for the nodes, however many jobs there are. An answer that is not whole, of
another version or cluster, or with anything in ``errors`` is no answer at all: half a queue must never look like
lost jobs.

The token is read anew for each request, goes into one header, and into no message.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from stoker.clock import Clock
from stoker.engines.slurm import nodes, rest_v38
from stoker.engines.slurm.commands import Commands
from stoker.engines.slurm.details import Detail
from stoker.engines.slurm.machine import Machine
from stoker.engines.slurm.nodes import SlurmNode, Wanted
from stoker.engines.slurm.settings import SlurmSettings
from stoker.engines.slurm.squeue import Row
from stoker.errors import Away

_TOKEN = re.compile(r"[A-Za-z0-9_=-]+(\.[A-Za-z0-9_=-]+){2}")
_Jobs = list[Mapping[str, Any]]


class Rest:
    """Answers as `Commands` does, with the same values. Every method raises Away: one line that says what to do."""

    def __init__(self, machine: Machine, settings: SlurmSettings, commands: Commands, clock: Clock) -> None:
        self._machine = machine
        self._settings = settings
        self._commands = commands
        self._clock = clock
        self.calls: Counter[str] = Counter()  # by what was asked for
        socket = settings.rest_url.removeprefix("unix:") if settings.rest_url.startswith("unix:") else None
        never_kept = httpx.Limits(max_keepalive_connections=0)  # one that slurmrestd has closed would be a failure
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=socket, limits=never_kept), timeout=settings.patience, trust_env=False
        )
        self._user = settings.rest_user
        self._details: dict[int, Detail] = {}
        self._threads: dict[str, int] = {}  # of a core, by node
        self._memory: dict[tuple[str, int], int] = {}  # for jobs, by node and what it has altogether; bytes

    def queue(self) -> tuple[Row, ...]:
        """Everybody's jobs."""
        if not self._memory:
            self.nodes(Wanted("", self._settings.gres))  # another cluster's queue would tell of none of our jobs
        jobs = self._list("jobs")
        try:
            names = {str(one["nodename"]) for job in jobs for one in rest_v38.holders(job)}
            if not names <= self._threads.keys():
                self._raw_nodes()
            gres = self._settings.gres
            self._details = {int(job["job_id"]): rest_v38.detail(job, self._threads, gres) for job in jobs}
            return tuple(rest_v38.row(job) for job in jobs)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._garbled("jobs", error) from None

    def details(self) -> dict[int, Detail]:
        """As they came with the last queue."""
        return self._details

    def nodes(self, wanted: Wanted) -> dict[str, SlurmNode]:
        raw = self._raw_nodes()
        try:
            found = nodes.by_name(map(rest_v38.fields, raw), wanted)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._garbled("nodes", error) from None
        return self._without_reserve(found, wanted)

    def close(self) -> None:
        self._client.close()

    def _without_reserve(self, found: Mapping[str, SlurmNode], wanted: Wanted) -> dict[str, SlurmNode]:
        """Less the memory that Slurm keeps for itself. Only scontrol tells: once, until a node is another one."""
        if any((name, one.node.memory) not in self._memory for name, one in found.items()):
            told = self._commands.nodes(replace(wanted, partition=""))
            if strange := sorted(found.keys() - told.keys()):
                raise Away(
                    f"slurmrestd at {self._settings.rest_url} tells of node {strange[0]}, which scontrol does not "
                    "know; rest_url has to be of the same cluster"
                )
            for name, one in found.items():
                self._memory[name, one.node.memory] = told[name].node.memory
        return {
            name: replace(one, node=replace(one.node, memory=self._memory[name, one.node.memory]))
            for name, one in found.items()
        }

    def _raw_nodes(self) -> _Jobs:
        raw = self._list("nodes")
        try:
            self._threads = {str(node["name"]): int(node["threads"]) for node in raw}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._garbled("nodes", error) from None
        return raw

    # One request

    def _list(self, what: str) -> _Jobs:
        """All that `/slurm/VERSION/what` lists."""
        token = self._token()
        response = self._get(f"/slurm/{rest_v38.VERSION}/{what}", token)
        if response.status_code == httpx.codes.NOT_FOUND:
            raise Away(
                f"slurmrestd at {self._settings.rest_url} has no {rest_v38.VERSION}, the version that is "
                "spoken here; leave rest_url out to use Slurm's commands"
            )
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise self._refused("authentication failed", token)
        answer = self._parsed(response, what)
        if answer.get("errors") or response.status_code != httpx.codes.OK:
            raise self._refused(_complaint(answer.get("errors")) or f"status {response.status_code}", token)
        listed = answer.get(what)
        if "errors" not in answer or not isinstance(listed, list):
            raise self._garbled(what, "it lists none")
        return listed

    def _get(self, path: str, token: str) -> httpx.Response:
        if not self._user:
            self._user = self._commands.user(str(self._machine.hello().uid))
        headers = {"X-SLURM-USER-NAME": self._user, "X-SLURM-USER-TOKEN": token}
        self.calls[f"rest {path.rpartition('/')[2]}"] += 1
        try:
            return self._client.get(f"{self._base()}{path}", headers=headers)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise Away(f"slurmrestd at {self._settings.rest_url} does not answer: {why}") from None

    def _base(self) -> str:
        """Where this platform reaches it: a login node's ``localhost`` is not ours."""
        if self._settings.rest_url.startswith("unix:"):
            return "http://localhost"
        url = urlsplit(self._settings.rest_url)
        host, port = self._machine.reach(url.hostname or "", url.port or 80)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _parsed(self, response: httpx.Response, what: str) -> Mapping[str, Any]:
        """Names and comments may hold any bytes."""
        try:
            answer = json.loads(response.content.decode(errors="replace"), strict=False)
        except ValueError:
            raise self._garbled(what, f"it is no whole JSON (status {response.status_code})") from None
        if not isinstance(answer, dict):
            raise self._garbled(what, "it is no object")
        return answer

    def _token(self) -> str:
        path = self._settings.rest_token
        try:
            text = Path(path).read_text(encoding="ascii").strip().removeprefix("SLURM_JWT=")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise Away(f"the token for slurmrestd cannot be read from {path}: {why}") from None
        if not _TOKEN.fullmatch(text):
            raise Away(f"{path} holds no token; write there what scontrol token prints")
        return text

    def _refused(self, why: str, token: str) -> Away:
        """22.05 says the same for a wrong token, for one that has expired, and for a controller that is away."""
        path = self._settings.rest_token
        ended = _expiry(token)
        if ended is not None and ended <= self._clock.now():
            return Away(f"the token for slurmrestd in {path} has expired; write a new one there (scontrol token)")
        said = f"slurmrestd at {self._settings.rest_url}: {why}".replace(token, "...")
        return Away(f"{said}; the token in {path} is not one of {self._user}, or slurmctld is away")

    def _garbled(self, what: str, why: object) -> Away:
        text = f"{why} is missing" if isinstance(why, KeyError) else str(why)
        return Away(f"slurmrestd's answer about the {what} cannot be used: {text[:120]}")


def _complaint(errors: object) -> str:
    said = errors if isinstance(errors, Iterable) else ()
    words = [str(one.get("description") or one.get("error") or "") for one in said if isinstance(one, dict)]
    return "; ".join(filter(None, words))[:200]


def _expiry(token: str) -> float | None:
    """When a JSON Web Token says that it ends (RFC 7519, exp)."""
    body = token.split(".")[1]
    try:
        return float(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"])
    except (KeyError, TypeError, ValueError):
        return None
