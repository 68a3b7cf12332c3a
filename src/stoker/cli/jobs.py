"""``stoker jobs``: the list, in squeue's columns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from stoker.cli import squeue
from stoker.cli.live import refresh
from stoker.cli.render import AsJson, columns, note, print_json, say
from stoker.cli.session import connect
from stoker.cli.texts import t
from stoker.client import Client
from stoker.errors import BadInput
from stoker.foreign import ForeignJob
from stoker.job import FINAL, Job, JobState

ACTIVE = tuple(state for state in JobState if state not in FINAL)


def jobs(
    all_: Annotated[bool, typer.Option("--all", "-a", help="Ended jobs too.")] = False,
    state: Annotated[str, typer.Option("--state", "-t", help="Only these: PD,R or pending,running.")] = "",
    user: Annotated[str, typer.Option("--user", "-u", help="Only this owner's.")] = "",
    name: Annotated[str, typer.Option("--name", "-n", help="Only of this name.")] = "",
    ship: Annotated[str, typer.Option(help="Only the stages of this shipment.")] = "",
    others: Annotated[
        bool, typer.Option("--others", help="What others gave to the engines directly, instead.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, max=10_000, help="At most so many.")] = 1000,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")] = False,
    json: AsJson = False,
) -> None:
    """List jobs, in squeue's columns.

    Those that have not ended, the newest first; --all lists the others too.
    """
    client = connect()
    if others:
        _print_others(client.engines.foreign(), json)
        return
    states = _states(state) or (() if all_ else ACTIVE)

    def find() -> list[Job]:
        return client.jobs.list(states=states, owner=user, name=name, ship=ship, limit=limit)

    if json:
        print_json(find())
    elif watch:
        refresh(lambda: table(find()))
    else:
        _print(find(), client, states)


def table(found: list[Job]) -> str:
    return columns(squeue.HEADER, squeue.rows(found, time.time()), right=squeue.RIGHT)


def _print_others(found: Sequence[ForeignJob], json: bool) -> None:
    if json:
        print_json(found)
    else:
        say(columns(squeue.FOREIGN_HEADER, squeue.foreign_rows(found, time.time()), right=squeue.RIGHT))


def _print(found: list[Job], client: Client, states: tuple[JobState, ...]) -> None:
    say(table(found))
    if not found and states == ACTIVE and client.jobs.list(limit=1):
        note(t("no job waits or runs; those that have ended: stoker jobs -a"))


def _states(text: str) -> tuple[JobState, ...]:
    """Of squeue's letters or our words, separated by commas."""
    known = {state.code.lower(): state for state in JobState} | {state.value: state for state in JobState}
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in known:
            allowed = ", ".join(f"{state.code} {state.value}" for state in JobState)
            raise BadInput(f'--state "{word}" was given; allowed are {allowed}')
    return tuple(dict.fromkeys(known[word] for word in words))
