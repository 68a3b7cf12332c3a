"""``stoker logs``: what a job wrote."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from stoker.cli.follow import follow
from stoker.cli.pick import one_job
from stoker.cli.session import connect


def logs(
    label: Annotated[str, typer.Argument(metavar="JOB", help="A job: 17, 17_3 or a name.")],
    follow_it: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    stderr: Annotated[
        bool, typer.Option("--stderr", help="What it wrote to stderr, where that is kept apart.")
    ] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="An earlier attempt.")] = None,
) -> None:
    """Print what a job wrote.

    As it stands in the file, byte for byte.
    """
    client = connect()
    job = one_job(client, label)
    stream = "stderr" if stderr else "stdout"
    if follow_it:
        follow(client, job, stream=stream)
        return
    sys.stdout.buffer.write(client.jobs.logs(job.id, stream=stream, attempt=attempt))
    sys.stdout.buffer.flush()
