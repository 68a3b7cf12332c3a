"""Which commands there are: names and one line each, without importing any of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from stoker.cli.texts import helped


@dataclass(frozen=True)
class Command:
    """One entry of ``stoker --help``."""

    name: str
    line: str  # the first line of its own help; a test holds them together
    section: str
    module: str
    function: str = ""  # empty: the module's `app`, a group of commands


_PLATFORM, _WORK, _MODELS, _SEE, _PLAN = "Platform", "Work", "Models", "See what goes on", "Plan"
SECTIONS = (_PLATFORM, _WORK, _MODELS, _SEE, _PLAN)

COMMANDS = (
    Command("up", "Start the platform on this machine.", _PLATFORM, "up", "up"),
    Command("login", "Remember a server and a key for this user.", _PLATFORM, "login", "login"),
    Command("keys", "Create, list and revoke keys.", _PLATFORM, "keys"),
    Command("engine", "Add, list and remove engines: Slurm and Kubernetes clusters.", _PLATFORM, "engine"),
    Command("queue", "Share devices among tenants and teams by queues.", _PLATFORM, "queue"),
    Command("files", "Upload, list and delete files.", _PLATFORM, "files"),
    Command("ship", "From data to a served model.", _WORK, "ship", "ship"),
    Command("ships", "List shipments.", _WORK, "ships", "ships"),
    Command("run", "Run a command, a job file or an sbatch script.", _WORK, "run", "run"),
    Command("notebook", "Start, list and stop notebooks (JupyterLab).", _WORK, "notebook"),
    Command("cancel", "Cancel jobs, arrays or a shipment.", _WORK, "cancel", "cancel"),
    Command("wait", "Wait for jobs to end; exits with their exit code.", _WORK, "wait", "wait"),
    Command("models", "List, compare, promote and roll back models.", _MODELS, "models"),
    Command("endpoints", "List, deploy and stop endpoints.", _MODELS, "endpoints"),
    Command("chat", "Talk to a served model.", _MODELS, "chat", "chat"),
    Command("jobs", "List jobs, in squeue's columns.", _SEE, "jobs", "jobs"),
    Command("job", "Show all about one job.", _SEE, "job", "job"),
    Command("logs", "Print what a job wrote.", _SEE, "logs", "logs"),
    Command("why", "Why a job waits or failed, and what to do.", _SEE, "why", "why"),
    Command("nodes", "List, drain and move nodes.", _SEE, "nodes"),
    Command("top", "Watch nodes and jobs, live.", _SEE, "top", "top"),
    Command("plan", "Plan memory, training, serving, network, storage and purchases.", _PLAN, "plan"),
    Command(
        "tune-policy",
        "Search settings of the scheduling policy on a trace, judged on jobs that the search has not seen.",
        _PLAN,
        "tune_policy",
        "tune_policy",
    ),
    Command("policy", "Show and set the scheduling policy.", _PLAN, "policy"),
    Command(
        "simulate",
        "Run a trace of jobs through the scheduler, without running any.",
        _PLAN,
        "simulate",
        "simulation",
    ),
)


def load(name: str) -> Any:
    """The command as Typer runs it, with the first line of its help in the caller's language; None when there is no
    such command."""
    entry = next((command for command in COMMANDS if command.name == name), None)
    if entry is None:
        return None
    found = _loaded(entry)
    found.help = (found.help or "").replace(entry.line, helped(entry.line), 1)
    return found


def _loaded(entry: Command) -> Any:
    import typer

    module = import_module(f"stoker.cli.{entry.module}")
    if not entry.function:
        return typer.main.get_command(module.app)
    settings = getattr(module, "SETTINGS", {})
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(entry.name, **settings)(getattr(module, entry.function))
    return typer.main.get_command(alone)
