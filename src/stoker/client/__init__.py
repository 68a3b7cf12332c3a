"""The Python client: what the CLI, notebooks and other programs talk to a platform with.

    import stoker

    client = stoker.Client()                       # STOKER_URL and STOKER_API_KEY, or what `stoker login` stored
    [job] = client.jobs.submit(stoker.JobSpec(command=("python", "train.py")))
    client.jobs.wait(job.id)
    print(client.jobs.logs(job.id).decode())

Everything that goes wrong is a `stoker.StokerError` whose text is one line for a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from stoker.account import Account
from stoker.client.config import Login, find_login
from stoker.client.connection import Connection
from stoker.client.endpoints import Endpoints
from stoker.client.engines import Engines
from stoker.client.files import Files
from stoker.client.jobs import Jobs
from stoker.client.keys import Keys
from stoker.client.models import Models
from stoker.client.notebooks import Notebooks
from stoker.client.policy import SchedulingPolicy
from stoker.client.pool import Pool
from stoker.client.queues import Queues
from stoker.client.shipments import Shipments
from stoker.cluster import Node
from stoker.page import Page
from stoker.usage import KeyUsage


@dataclass(frozen=True)
class Info:
    """The platform, and who the caller is to it."""

    version: str
    account: Account


class Client:
    """A platform, remote or on this machine."""

    def __init__(self, url: str | None = None, api_key: str | None = None, *, timeout: float = 60.0) -> None:
        """What is not given is looked for in STOKER_URL and STOKER_API_KEY, then in what `stoker login` stored.

        `timeout` is the longest silence of the platform in seconds. Nothing is sent yet.
        """
        self._connection = Connection(find_login(url, api_key), timeout=timeout)
        self.jobs = Jobs(self._connection)
        self.shipments = Shipments(self._connection)
        self.models = Models(self._connection)
        self.endpoints = Endpoints(self._connection)
        self.notebooks = Notebooks(self._connection)
        self.files = Files(self._connection)
        self.keys = Keys(self._connection)
        self.engines = Engines(self._connection)
        self.pool = Pool(self._connection)
        self.queues = Queues(self._connection)
        self.policy = SchedulingPolicy(self._connection)

    @property
    def login(self) -> Login:
        """Which platform this is, and the key in use."""
        return self._connection.login

    def info(self) -> Info:
        """The platform's version, and whose key this is; raises Denied when the key is not good."""
        return self._connection.get(Info, "/api/v1/info")

    def nodes(self) -> Sequence[Node]:
        return self._connection.get(Page[Node], "/api/v1/nodes").items

    def usage(self) -> Sequence[KeyUsage]:
        """Requests and tokens by key and model since the platform started; an admin sees all tenants."""
        return self._connection.get(Page[KeyUsage], "/api/v1/usage").items

    def chat(self, model: str, messages: Iterable[Mapping[str, str]], **parameters: Any) -> str:
        """The endpoint's answer; `parameters` are those of OpenAI's chat completions."""
        body = {**parameters, "model": model, "messages": list(messages)}
        answer = self._connection.post(dict[str, Any], "/v1/chat/completions", body)
        return str(answer["choices"][0]["message"]["content"] or "")

    def chat_pieces(self, model: str, messages: Iterable[Mapping[str, str]], **parameters: Any) -> Iterator[str]:
        """The answer in pieces, as it is made."""
        from stoker.client.events import pieces

        body = {**parameters, "model": model, "messages": list(messages), "stream": True}
        with self._connection.stream("POST", "/v1/chat/completions", body=body) as response:
            yield from pieces(response.iter_lines(), self.login.url)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


__all__ = ["Client", "Info", "Login"]
