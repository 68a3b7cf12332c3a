"""What ``stoker run`` is asked to run: a command, a job file or a batch script, and what goes along from here."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from stoker.cli.session import on_this_machine
from stoker.client import Client
from stoker.environment import carried
from stoker.errors import BadInput
from stoker.job import JobSpec
from stoker.jobfile import read_jobfile
from stoker.sbatch import looks_like_script, read_sbatch
from stoker.spelling import MAX_TEXT

_STDIN = Path("-")
_STDIN_NAME = "standard input"
_UPLOADED = re.compile(r"^file-[0-9a-f]+$")
_YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class Wish:
    """What was asked for, with what belongs to this machine."""

    spec: JobSpec
    notices: tuple[str, ...] = ()
    wait: bool = False
    send: str = ""  # the folder whose files go along


@dataclass(frozen=True)
class Here:
    """What the job may take along from here: nothing when the server is on another machine."""

    folder: str = ""
    envs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def seen_by(cls, client: Client) -> Here:
        if not on_this_machine(client):
            return cls()
        try:
            return cls(str(Path.cwd()), carried(os.environ))
        except FileNotFoundError:
            raise BadInput("the folder this runs in is gone; change to another") from None


def read_wish(
    file: Path | None, arguments: tuple[str, ...], tail: tuple[str, ...] | None, here: Here,
    given: Mapping[str, str], lenient: bool,
) -> Wish:  # fmt: skip
    """What the words of the command line ask for, before any option."""
    if file is None:
        if not tail:
            raise BadInput("nothing to run; write: stoker run -- CMD, stoker run job.yaml or stoker run script.sh")
        return Wish(JobSpec(name=_name(tail[0]), command=tail, envs=here.envs))
    text = _read(file)
    source, name = (_STDIN_NAME, "stdin") if file == _STDIN else (str(file), file.name)
    arguments += tail or ()
    if file.suffix in _YAML or (file == _STDIN and not looks_like_script(text)):
        return _of_jobfile(text, source, _name(file.stem if file != _STDIN else name), arguments, here, given)
    if not looks_like_script(text) and text.strip():
        raise BadInput(
            f"{source}: neither a job file (.yaml) nor a script (its first line names no interpreter); "
            f"to run a command write: stoker run -- {source}"
        )
    batch = read_sbatch(
        text, source=source, name=_name(name), arguments=arguments, environ=os.environ, along=here.envs,
        lenient=lenient,
    )  # fmt: skip
    return Wish(batch.spec, batch.notices, batch.wait)


def _of_jobfile(
    text: str, source: str, name: str, arguments: tuple[str, ...], here: Here, given: Mapping[str, str]
) -> Wish:
    if arguments:
        raise BadInput(f'{source}: a job file takes no arguments ("{arguments[0]}"); use --env NAME=value')
    spec = read_jobfile(text, source=source, name=name, envs=given)
    spec = replace(spec, envs={**here.envs, **spec.envs})
    if not spec.package or _UPLOADED.match(spec.package):
        return Wish(spec)
    place = Path() if source == _STDIN_NAME else Path(source).parent
    return Wish(replace(spec, package=""), send=str(place / Path(spec.package).expanduser()))


def _read(file: Path) -> str:
    try:
        with sys.stdin.buffer if file == _STDIN else file.open("rb") as content:
            return content.read(MAX_TEXT + 1).decode()
    except UnicodeDecodeError:
        raise BadInput(f"{file}: not UTF-8 text; to run a program write: stoker run -- {file}") from None
    except OSError as error:
        raise BadInput(
            f"{file}: {(error.strerror or 'cannot be read').lower()}; to run a command write: stoker run -- CMD"
        ) from None


def _name(text: str) -> str:
    """A job name from a path or command."""
    kept = "".join(char for char in Path(text).name if char.isprintable() and char not in "\\'\"`$")
    return kept[:128] or "job"


def folder(given: str, here: Here) -> str:
    """An absolute path; a relative one counts from here, which only a server on this machine knows."""
    if not here.folder or given.startswith("/"):
        return given
    return os.path.normpath(f"{here.folder}/{given}")
