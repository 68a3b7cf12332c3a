"""``stoker top``: nodes and jobs, live."""

from __future__ import annotations

import time

from stoker.cli import jobs as joblist
from stoker.cli import nodelist
from stoker.cli.live import refresh
from stoker.cli.nodes import HOLDING
from stoker.cli.session import connect
from stoker.cli.texts import word
from stoker.job import JobState

_MOST = 200  # jobs shown


def top() -> None:
    """Watch nodes and jobs, live.

    Refreshes every two seconds until Ctrl-C; prints once where there is no terminal.
    """
    client = connect()

    def draw() -> str:
        counts = client.jobs.counts()
        found = client.jobs.list(states=joblist.ACTIVE, limit=_MOST)
        holding = [job for job in found if job.state in HOLDING]
        words = [f"{counts.get(state, 0)} {word(state.value)}" for state in (JobState.RUNNING, JobState.PENDING)]
        return "\n".join(
            [
                f"{time.strftime('%H:%M:%S')}  {client.login.url}  {', '.join(words)}",
                "",
                nodelist.table(
                    nodelist.Pool(client.nodes(), holding, client.engines.foreign(), client.pool.moves())
                ),
                "",
                joblist.table(sorted(found, key=lambda job: (job.state is JobState.PENDING, job.id))),
            ]
        )

    refresh(draw)
