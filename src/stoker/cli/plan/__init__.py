"""``stoker plan``: what to buy, how to wire it, how to split a model over it. Works without a server.

One module a subcommand; each has one function, registered here.
"""

from __future__ import annotations

import typer

from stoker.cli.plan.memory import memory
from stoker.cli.plan.network import network
from stoker.cli.plan.purchase import purchase
from stoker.cli.plan.serving import serving
from stoker.cli.plan.storage import storage
from stoker.cli.plan.training import training

app = typer.Typer(
    help="Plan memory, training, serving, network, storage and purchases.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

app.command("memory")(memory)
app.command("network")(network)
app.command("training")(training)
app.command("storage")(storage)
app.command("serving")(serving)
app.command("purchase")(purchase)


@app.callback()
def plan() -> None:
    """Plan memory, training, serving, network, storage and purchases."""
