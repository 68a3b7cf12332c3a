"""``stoker notebook``: a JupyterLab on the pool, with a link to it."""

from __future__ import annotations

import os
import time as clock
from typing import Annotated

import typer

from stoker.cli.follow import exit_code, how_it_ended
from stoker.cli.render import AsJson, columns, note, print_json, say
from stoker.cli.run import resources_of
from stoker.cli.session import connect
from stoker.cli.texts import t, word
from stoker.cli.wish import Here, folder
from stoker.client import Client
from stoker.errors import BadInput, Denied
from stoker.job import Job, JobState, Resources
from stoker.notebook import IDLE_S, Notebook, NotebookRequest, state_word
from stoker.spelling import parse_assignments
from stoker.units import format_duration, parse_duration

app = typer.Typer(
    help="Start, list and stop notebooks (JupyterLab).", add_completion=False, rich_markup_mode=None,
    invoke_without_command=True, subcommand_metavar="[COMMAND]",
)  # fmt: skip

_LOOK_S = 0.5
_SOON_S = 60.0  # its server tells of its use this often
_NEVER = ("0", "never")

Id = Annotated[int, typer.Argument(metavar="NOTEBOOK", help="Its job's id.")]


@app.callback()
def start(
    ctx: typer.Context,
    name: Annotated[str, typer.Option("--name", "-J", help="Name of the notebook.")] = "notebook",
    gpus: Annotated[str, typer.Option(help="Devices: 1, H100:2 or T4:0.5.")] = "",
    cpus: Annotated[int | None, typer.Option("--cpus", "-c", help="CPUs.")] = None,
    mem: Annotated[str, typer.Option(help="Memory: 16G.")] = "",
    idle: Annotated[
        str, typer.Option(help="Ends after so long without use: 2h, 30m, never; 90 is minutes. Default 2h.")
    ] = "",
    time: Annotated[str, typer.Option("--time", "-t", help="Time limit, whatever it does: 12:00:00.")] = "",
    workdir: Annotated[str, typer.Option("--workdir", "-D", help="Folder to open; else this one.")] = "",
    env: Annotated[list[str] | None, typer.Option("--env", "-e", help="NAME=value, or NAME as set here.")] = None,
    engine: Annotated[str, typer.Option(help="Where to run: an engine's name.")] = "",
    image: Annotated[str, typer.Option(help="Container image; it must hold stoker[notebook].")] = "",
    queue: Annotated[str, typer.Option("--queue", "-p", help="Queue.")] = "",
    account: Annotated[str, typer.Option("--account", "-A", help="Account.")] = "",
    priority: Annotated[int, typer.Option(help="0 to 100.")] = 50,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait until it is ready.")] = False,
    json: AsJson = False,
) -> int:
    """Start, list and stop notebooks (JupyterLab).

    Without a command: start one, wait until it is ready, print its link. It ends by itself when nobody uses it.
    """
    if ctx.invoked_subcommand:
        return 0
    client = connect()
    here = Here.seen_by(client)
    request = NotebookRequest(
        name=name,
        resources=resources_of(Resources(), gpus, cpus, mem),
        idle=_idle(idle),
        time_limit=parse_duration(time) if time else None,
        folder=_folder(workdir, here, engine),
        envs={**here.envs, **parse_assignments(env or (), environ=os.environ, what="--env")},
        engine=engine,
        image=image,
        queue=queue,
        account=account,
        priority=priority,
    )
    notebook = client.notebooks.start(request)
    if not detach:
        notebook = _wait_ready(client, notebook, quiet=json)
    if json:
        print_json(notebook)
    elif detach:
        say(t("notebook {id}; its link, once it is ready: stoker notebook url {id}", id=notebook.job.id))
    return exit_code(notebook.job) if notebook.job.state.final else 0


@app.command("list")
def list_(
    all_: Annotated[bool, typer.Option("--all", "-a", help="Those that have ended too.")] = False,
    json: AsJson = False,
) -> None:
    """List notebooks, what they hold and how long they are idle."""
    found = connect().notebooks.list(ended=all_)
    if json:
        print_json(found)
        return
    if not found:
        say(t("no notebook runs; start one: stoker notebook --gpus 1"))
        return
    now = clock.time()
    header = ("NOTEBOOK", "NAME", "OWNER", "STATE", "GPUS", "IDLE", "ENDS AFTER", "NODE")
    say(columns(header, [_row(notebook, now) for notebook in found], right=("NOTEBOOK", "GPUS")))


@app.command()
def url(notebook: Id) -> None:
    """Print the link of a notebook. Whoever has it has the notebook."""
    say(connect().notebooks.link(notebook).url)


@app.command()
def stop(notebooks: Annotated[list[int], typer.Argument(metavar="NOTEBOOK...", help="Ids of their jobs.")]) -> None:
    """Stop notebooks; their files stay where they ran."""
    client = connect()
    for job_id in notebooks:
        job = client.notebooks.stop(job_id).job
        say(how_it_ended(job) if job.state.final else t("notebook {id} is ending", id=job_id))


def _folder(workdir: str, here: Here, engine: str) -> str:
    """This folder, where the notebook may run on this machine; elsewhere its home folder."""
    given = folder(workdir, here) if workdir else (here.folder if engine in ("", "local") else "")
    if given and not given.startswith("/"):
        raise BadInput(f'--workdir "{given}" was given; for a platform elsewhere give an absolute path')
    return given


def _idle(text: str) -> float:
    if not text:
        return IDLE_S
    return 0.0 if text in _NEVER else parse_duration(text)


def _wait_ready(client: Client, notebook: Notebook, *, quiet: bool) -> Notebook:
    """Tell how it goes until it is ready, then its link. Ctrl-C leaves it on its way."""
    told, job_id = "", notebook.job.id
    try:
        while not notebook.ready and not notebook.job.state.final:
            if (line := _progress(notebook)) != told and not quiet:
                note(line)
                told = line
            clock.sleep(_LOOK_S)
            notebook = client.notebooks.get(job_id)
    except KeyboardInterrupt:
        note(t("notebook {id} goes on; link: stoker notebook url {id}, stop: stoker notebook stop {id}", id=job_id))
        raise
    if notebook.job.state.final:
        note(how_it_ended(notebook.job))
        note(t("its log: stoker logs {id}", id=job_id))
    elif not quiet:
        _tell_ready(client, notebook)
    return notebook


def _tell_ready(client: Client, notebook: Notebook) -> None:
    job_id = notebook.job.id
    try:
        say(client.notebooks.link(job_id).url)
    except Denied as error:
        note(str(error))
    ends = t("never by itself")
    if notebook.idle_limit:
        ends = t("after {time} without use", time=format_duration(notebook.idle_limit))
    note(t("notebook {id} is ready; it ends {ends}; stop it: stoker notebook stop {id}", id=job_id, ends=ends))


def _progress(notebook: Notebook) -> str:
    job = notebook.job
    if job.state is JobState.PENDING:
        why = f": {job.message or job.reason}" if job.message or job.reason else ""
        return t("notebook {id} waits{why}", id=job.id, why=why)
    return t("notebook {id} is starting on {node}", id=job.id, node=_node(job) or "-")


def _row(notebook: Notebook, now: float) -> tuple[str, ...]:
    job = notebook.job
    need = job.spec.resources
    idle_s = notebook.idle_for(now)
    idle = "-" if not notebook.ready else t("now") if idle_s < _SOON_S else format_duration(idle_s)
    limit = format_duration(notebook.idle_limit) if notebook.idle_limit else "-"
    where = _node(job) or job.message or job.reason
    devices = str(need.accelerators * need.milli / 1000).removesuffix(".0") if need.accelerators else "-"
    return (str(job.id), job.spec.name, job.owner, word(state_word(notebook)), devices, idle, limit, where)


def _node(job: Job) -> str:
    return ", ".join(place.node for place in job.placements)
