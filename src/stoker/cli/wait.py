"""``stoker wait``: until jobs have ended."""

from __future__ import annotations

from typing import Annotated

import typer

from stoker.cli.follow import exit_code, how_it_ended
from stoker.cli.pick import some_jobs
from stoker.cli.render import AsJson, note, print_json
from stoker.cli.session import connect
from stoker.job import JobState
from stoker.units import parse_duration


def wait(
    labels: Annotated[list[str], typer.Argument(metavar="JOB...", help="17, 17_3, 20-25 or a name.")],
    timeout: Annotated[str, typer.Option(help="Give up after: 90s, 2h.")] = "",
    json: AsJson = False,
) -> int:
    """Wait for jobs to end; exits with their exit code.

    Of several jobs, the highest. Without one of its own: 124 out of time, 130 cancelled, 137 out of memory.
    """
    client = connect()
    ids = [job.id for job in some_jobs(client, labels)]
    ended = client.jobs.wait(*ids, timeout=parse_duration(timeout) if timeout else None)
    if json:
        print_json(ended)
    else:
        for job in ended:
            if job.state is not JobState.SUCCEEDED:
                note(how_it_ended(job))
    return max(exit_code(job) for job in ended)
