"""``stoker queue``: who deserves how much, what each may borrow, and how it stands."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from stoker.cli.options import spread
from stoker.cli.render import AsJson, columns, facts, moment, print_json, say
from stoker.cli.session import connect
from stoker.cli.texts import t, word
from stoker.errors import BadInput
from stoker.queue import Queue, depth
from stoker.queue_standing import Standing, UserStanding
from stoker.queuefile import read_queue, read_queues, read_quota, read_window
from stoker.typed import dump
from stoker.units import format_duration

app = typer.Typer(
    help="Share devices among tenants and teams by queues.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="QUEUE", help="Its name.")]


@dataclass(frozen=True)
class Numbers:
    """What may be said of a queue."""

    parent: Annotated[str | None, typer.Option(help="The queue whose quota it is part of.")] = None
    tenant: Annotated[list[str] | None, typer.Option(help="Whose users may use it; * for all.")] = None
    deserved: Annotated[
        list[str] | None, typer.Option(help="Devices it has for certain: 16, or of a model H100=8.")
    ] = None
    weight: Annotated[float | None, typer.Option(help="Its part of what nobody claims; 0: it borrows nothing.")] = (
        None
    )
    ceiling: Annotated[list[str] | None, typer.Option(help="Devices it never exceeds: 32, H100=16, or none.")] = (
        None
    )
    user_devices: Annotated[str | None, typer.Option(help="Devices that one user holds at most, or none.")] = None
    user_jobs: Annotated[str | None, typer.Option(help="Jobs of one user that run at most, or none.")] = None
    preemptible: Annotated[
        str | None, typer.Option(help="For whom its jobs may be ended: anybody, own, nobody.")
    ] = None
    fair_users: Annotated[
        bool | None,
        typer.Option("--fair-users/--first-come", help="Who had least goes first among equals, or not."),
    ] = None
    half_life: Annotated[str | None, typer.Option(help="After which use counts half: 7d.")] = None
    patience: Annotated[str | None, typer.Option(help="Who waits longer goes first: 24h, or none.")] = None
    window: Annotated[
        list[str] | None, typer.Option("--window", help='"Mon-Fri 20:00-08:00 deserved=64"; "" removes all.')
    ] = None
    timezone: Annotated[str | None, typer.Option(help="Of the windows: Asia/Shanghai.")] = None
    partition: Annotated[str | None, typer.Option(help="Partition of Slurm clusters that its jobs go to.")] = None

    def given(self) -> dict[str, Any]:
        """What was said, under the names of a queue's fields. Raises BadInput."""
        said = {name: value for name, value in vars(self).items() if value is not None}
        found = {_FIELDS.get(name, name): value for name, value in said.items() if name not in _READ}
        for name in ("deserved", "ceiling"):
            found |= read_quota(said.get(name, ()), name)
        if self.window is not None:
            found["windows"] = [read_window(text) for text in self.window if text.strip()]
        return found


_FIELDS = {"tenant": "tenants"}
_READ = ("deserved", "ceiling", "window")


@app.command("list")
def list_(json: AsJson = False) -> None:
    """List queues and how each stands."""
    found = connect().queues.list()
    if json:
        print_json(found)
    elif found:
        say(table(found))
    else:
        say(t("there are no queues: all jobs stand in one line; see: stoker queue add"))


@app.command()
def show(name: Name, json: AsJson = False) -> None:
    """Show one queue: its numbers, what it holds and its users."""
    found = connect().queues.get(name)
    if json:
        print_json(found)
        return
    say(facts(_facts(found)))
    if found.users:
        say()
        say(_users(found.users))


@app.command()
@spread
def add(name: Name, numbers: Numbers, json: AsJson = False) -> None:
    """Add a queue."""
    standing = connect().queues.add(read_queue({"name": name, **numbers.given()}))
    _tell(standing, json, t("queue {name} added", name=name))


@app.command("set")
@spread
def set_(name: Name, numbers: Numbers, json: AsJson = False) -> None:
    """Change some numbers of a queue; the others stay."""
    options = numbers.given()
    if not options:
        raise BadInput(f"nothing to change; write for example: stoker queue set {name} --deserved 16")
    client = connect()
    old = dump(client.queues.get(name).queue)
    standing = client.queues.set(read_queue({**old, **options}))
    _tell(standing, json, t("queue {name} changed", name=name))


@app.command()
def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="YAML with queues: and a list; - for standard input.")],
    prune: Annotated[bool, typer.Option(help="Remove the queues that it does not list.")] = False,
    json: AsJson = False,
) -> None:
    """Set all queues of a file, or none."""
    found = connect().queues.apply(queues_in(file), prune=prune)
    if json:
        print_json(found)
    else:
        say(table(found))


@app.command()
def remove(name: Name) -> None:
    """Remove a queue. Its jobs go on as those of the default queue."""
    connect().queues.remove(name)
    say(t("queue {name} removed", name=name))


HEADER = ("QUEUE", "DESERVED", "CEILING", "WEIGHT", "USED", "BORROWED", "WAITING", "AVERAGE", "RUN", "PEND")


def table(found: Sequence[Standing]) -> str:
    """Children are indented below their parents."""
    by_name = {standing.queue.name: standing.queue for standing in found}
    rows = [
        (
            "  " * depth(one.queue, by_name) + one.queue.name,
            f"{one.now.deserved:g}",
            _bound(one.now.ceiling),
            f"{one.now.weight:g}",
            f"{one.held:g}",
            f"{one.borrowed:g}",
            f"{one.waiting:g}",
            f"{one.average:.1f}",
            str(one.running_jobs),
            str(one.waiting_jobs),
        )
        for one in found
    ]
    return columns(HEADER, rows, right=HEADER[1:])


def _facts(found: Standing) -> list[tuple[str, str]]:
    queue, now = found.queue, found.now
    changes = moment(found.changes_at)
    return [
        (t("queue"), queue.name),
        (t("below"), queue.parent),
        (t("tenants"), ", ".join(queue.tenants)),
        (t("deserved"), _quota(now.deserved, now.deserved_of)),
        (t("ceiling"), _quota(now.ceiling, now.ceiling_of)),
        (t("weight"), f"{now.weight:g}"),
        (t("used"), t("{held} of {capacity} devices of the pool", held=f"{found.held:g}", capacity=found.capacity)),
        (t("borrowed"), f"{found.borrowed:g}"),
        (t("waiting"), t("{devices} devices in {jobs} jobs", devices=f"{found.waiting:g}",
                         jobs=found.waiting_jobs)),
        (t("average"), t("{devices} devices, half-life {time}", devices=f"{found.average:.1f}",
                         time=format_duration(queue.half_life))),
        (t("owed"), t("{hours} device-hours", hours=f"{found.owed / 3600:.1f}") if found.owed else ""),
        (t("each user"), _per_user(now)),
        (t("preemptible for"), word(queue.preemptible.value)),
        (t("patience"), "" if queue.patience is None else format_duration(queue.patience)),
        (t("windows"), "; ".join(_window(dump(window)) for window in queue.windows)),
        (t("next change"), changes and f"{changes} ({queue.timezone})"),
        (t("Slurm partition"), queue.partition),
    ]  # fmt: skip


def _bound(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _quota(total: float | None, of: Mapping[str, float]) -> str:
    """``16 (H100 8)``"""
    parts = ", ".join(f"{model} {devices:g}" for model, devices in of.items())
    return f"{_bound(total)} ({parts})" if parts else _bound(total)


def _per_user(queue: Queue) -> str:
    parts = []
    if queue.user_devices is not None:
        parts.append(t("at most {devices} devices", devices=f"{queue.user_devices:g}"))
    if queue.user_jobs is not None:
        parts.append(t("at most {jobs} jobs", jobs=queue.user_jobs))
    return ", ".join(parts)


def _window(window: Mapping[str, Any]) -> str:
    numbers = [f"{name} {value:g}" for name, value in window.items() if isinstance(value, (int, float))]
    numbers += [
        f"{name} {model} {devices:g}"
        for name in ("deserved_of", "ceiling_of")
        for model, devices in window[name].items()
    ]
    return f"{window['when']}: {', '.join(numbers)}"


def _users(users: Sequence[UserStanding]) -> str:
    rows = [(one.owner, one.tenant, f"{one.held:g}", str(one.running), f"{one.average:.1f}") for one in users]
    return columns(("USER", "TENANT", "USED", "RUN", "AVERAGE"), rows, right=("USED", "RUN", "AVERAGE"))


def _tell(standing: Standing, json: bool, told: str) -> None:
    if json:
        print_json(standing)
    else:
        say(told)


def queues_in(file: Path) -> list[Queue]:
    """The queues of a file, or of standard input for ``-``. Raises BadInput."""
    return read_queues(_read(file), source=str(file))


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from None
