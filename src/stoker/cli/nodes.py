"""``stoker nodes``: what there is, what is free on it, and machines that go from one engine to another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from stoker.balance import Balance, BalanceReport
from stoker.cli import topology
from stoker.cli.jobs import ACTIVE
from stoker.cli.nodelist import Pool, moves_table, table
from stoker.cli.render import AsJson, columns, print_json, say
from stoker.cli.session import connect
from stoker.cli.texts import t, word
from stoker.client import Client
from stoker.errors import BadInput, Broken
from stoker.job import JobState
from stoker.node_move import MoveState, NodeMove
from stoker.units import format_duration, parse_duration

app = typer.Typer(
    help="List, drain and move nodes.", invoke_without_command=True, add_completion=False, rich_markup_mode=None
)

app.add_typer(topology.app, name="topology")

HOLDING = tuple(state for state in ACTIVE if state is not JobState.PENDING)
_LOOK_S = 1.0

Nodes = Annotated[list[str], typer.Argument(metavar="NODE...", help="Names or expressions: gpu3, gpu[12-19].")]
Engine = Annotated[str, typer.Option(help="On this engine alone.")]


@app.callback()
def list_(ctx: typer.Context, json: AsJson = False) -> None:
    """List, drain and move nodes.

    Alone it lists them: CPUs and memory as used/all, devices by model, how many devices others hold.
    """
    if ctx.invoked_subcommand is not None:
        return
    client = connect()
    if json:
        print_json(client.nodes())
        return
    pool = pool_of(client)
    say(table(pool))
    if pool.moves:
        say()
        say(moves_table(pool.moves, time.time()))


def pool_of(client: Client) -> Pool:
    return Pool(
        client.nodes(),
        client.jobs.list(states=HOLDING, limit=10_000),
        client.engines.foreign(),
        client.pool.moves(),
    )


@app.command()
def move(
    nodes: Nodes,
    to: Annotated[str, typer.Option(help="The engine that gets them.")],
    source: Annotated[str, typer.Option("--from", help="The engine they leave, where there are several.")] = "",
    preempt: Annotated[bool, typer.Option(help="Our jobs that may be requeued make room.")] = False,
    within: Annotated[str, typer.Option(help="Undo it when it is not done by then: 30m, 2h.")] = "",
    reason: Annotated[str, typer.Option(help="What for.")] = "",
    wait: Annotated[bool, typer.Option(help="Wait until it is over; exits with 1 when it was undone.")] = False,
    json: AsJson = False,
) -> None:
    """Let machines that belong to two engines go from one to the other.

    Each is drained where it is open; when nobody holds it any more it is opened on the other engine. Jobs of others
    are waited for, never touched. When a step fails, everything is put back.
    """
    client = connect()
    seconds = parse_duration(within) if within else None
    begun = client.pool.move(nodes, to, source=source, preempt=preempt, within=seconds, reason=reason)
    if wait:
        begun = _wait(client, begun, quiet=json)
    if json:
        print_json(begun)
    elif wait:
        say(moves_table(begun, time.time()))
    else:
        for one in begun:
            say(t("move {id}: {node} leaves {source} for {target}; see: stoker nodes moves", **_names(one)))
    if failed := [one for one in begun if one.state in (MoveState.UNDONE, MoveState.FAILED)]:
        raise Broken(f"{len(failed)} of {len(begun)} moves were undone")


def _names(move: NodeMove) -> dict[str, object]:
    return {"id": move.id, "node": move.source.node, "source": move.source.engine, "target": move.target.engine}


def _wait(client: Client, begun: Sequence[NodeMove], *, quiet: bool) -> list[NodeMove]:
    """All of them as they ended; tells what each waits for whenever that changes."""
    told: dict[int, str] = {}
    while True:
        found = [client.pool.get_move(one.id) for one in begun]
        for one in found:
            now = f"{word(one.state.value)} {one.waits_for}".strip()
            if not quiet and told.get(one.id) != now:
                say(f"{one.source.node}: {now}")
                told[one.id] = now
        if all(one.state.final for one in found):
            return found
        time.sleep(_LOOK_S)


@app.command()
def moves(
    all_: Annotated[bool, typer.Option("--all", "-a", help="Those that are over too.")] = False,
    json: AsJson = False,
) -> None:
    """List moves and what each waits for."""
    found = connect().pool.moves(everything=all_)
    if json:
        print_json(found)
    else:
        say(moves_table(found, time.time()))


@app.command()
def undo(
    moves: Annotated[list[int], typer.Argument(metavar="MOVE...", help="Numbers, from: stoker nodes moves")],
) -> None:
    """Put everything back that moves have done so far."""
    client = connect()
    for move_id in moves:
        one = client.pool.undo(move_id)
        say(t("move {id}: {node} stays on {source}; being put back", **_names(one)))


@app.command()
def drain(
    nodes: Nodes,
    reason: Annotated[str, typer.Option(help="Why, for those who find it drained.")],
    engine: Engine = "",
    json: AsJson = False,
) -> None:
    """Keep new work away from nodes; what runs goes on.

    On every engine that knows them, unless --engine names one.
    """
    made = connect().pool.drain(nodes, reason, engine=engine)
    if json:
        print_json(made)
        return
    for one in made:
        named = {"node": one.place.node, "engine": one.place.engine}
        if one.told:
            say(t("{node} takes no new work on {engine}", **named))
        else:
            say(t("{node} gets no new work from here; {engine} is away and is told when it answers", **named))


@app.command()
def undrain(nodes: Nodes, engine: Engine = "", json: AsJson = False) -> None:
    """Let nodes take work again that were drained here.

    What somebody else drained stays so.
    """
    made = connect().pool.undrain(nodes, engine=engine)
    if json:
        print_json(made)
        return
    for one in made:
        say(t("{node} takes work again on {engine}", node=one.place.node, engine=one.place.engine))


@app.command()
def balance(
    between: Annotated[
        tuple[str, str], typer.Option(metavar="ENGINE ENGINE", help="The two engines; without it all are shown.")
    ] = ("", ""),
    floor: Annotated[
        list[str] | None, typer.Option(metavar="ENGINE=N", help="Machines that always stay there; repeatable.")
    ] = None,
    patience: Annotated[str, typer.Option(help="How long a shortage lasts before it is answered.")] = "2m",
    cool_down: Annotated[str, typer.Option(help="How long nothing goes back the way it came.")] = "15m",
    at_once: Annotated[int, typer.Option(help="Most machines on their way at the same time.")] = 2,
    within: Annotated[str, typer.Option(help="Undo an automatic move that is not done by then.")] = "1h",
    off: Annotated[bool, typer.Option("--off", help="No automatic moves between them any more.")] = False,
    json: AsJson = False,
) -> None:
    """Let machines follow the queues: show, set or end automatic moves.

    Idle machines go where work waits that only that side may run. Each side keeps its floor.
    """
    client = connect()
    if not all(between):
        if floor or off:
            raise BadInput("name the two engines: --between ENGINE ENGINE", param="between")
        _show(client.pool.balances(), json=json)
        return
    if off:
        client.pool.remove_balance(*between)
        say(t("no automatic moves between {first} and {second}", first=between[0], second=between[1]))
        return
    policy = Balance(
        between,
        _floors(floor or ()),
        patience=parse_duration(patience),
        cool_down=parse_duration(cool_down),
        at_once=at_once,
        within=parse_duration(within),
    )
    _show([client.pool.put_balance(policy)], json=json)


def _floors(texts: Sequence[str]) -> dict[str, int]:
    floors = {}
    for text in texts:
        engine, equals, number = text.partition("=")
        if not equals or not number.isascii() or not number.isdecimal() or len(number) > 9:
            raise BadInput(f'--floor "{text}" was given; write for example slurm=2', param="floor")
        floors[engine] = int(number)
    return floors


def _show(found: Sequence[BalanceReport], *, json: bool) -> None:
    if json:
        print_json(found)
        return
    now = time.time()
    rows = []
    for report in found:
        for engine in report.balance.engines:
            short = report.short.get(engine, 0)
            since = f" ({format_duration(now - report.since[engine])})" if engine in report.since else ""
            rows.append(
                (
                    engine, report.balance.other(engine), str(report.open.get(engine, "-")),
                    str(report.balance.floor(engine)), f"{short}{since}" if report.open else "-",
                    format_duration(report.balance.patience), format_duration(report.balance.cool_down),
                )
            )  # fmt: skip
    say(columns(("ENGINE", "WITH", "OPEN", "FLOOR", "SHORT", "PATIENCE", "COOLDOWN"), rows))
