"""Spelling: how people write the parts of a job, in Slurm's, SkyPilot's and dstack's words.

Everything here is text in, noun out; each refusal says what was given and what may be written instead.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from stoker.cluster import profile_of
from stoker.errors import BadInput, TooLarge
from stoker.job import SIGNALS, Condition, Dependency

MAX_TEXT = 4 << 20  # bytes of a job file or batch script, as Slurm's max_script_size
MAX_ARRAY = 100_000  # elements; each becomes a job
_MAX_INDEX = 4_000_000  # as far as Slurm's MaxArraySize goes
_MODEL = re.compile(r"^(?=.*[A-Za-z])[A-Za-z0-9_.+-]+$")  # 910B begins with a digit
_RANGE = re.compile(r"^(\d+)(?:-(\d+)(?::(\d+))?)?$", re.ASCII)


@dataclass(frozen=True)
class Accelerators:
    """How many devices, of which models (any when empty), and thousandths of each."""

    count: int = 0
    models: tuple[str, ...] = ()
    milli: int = 1000


def check_length(text: str, source: str) -> None:
    """Raises TooLarge when `text` is over `MAX_TEXT`."""
    if len(text.encode(errors="replace")) > MAX_TEXT:
        raise TooLarge(f"{source}: over {MAX_TEXT >> 20} MiB; put the data beside the job, not into it")


def parse_signal(text: str) -> tuple[str, float]:
    """Name, and seconds before the end, of sbatch's ``[R|B:]USR1[@120]``; the letters mean nothing here.

    A name may begin with SIG, a number may stand for it; without a time it is a minute, as in sbatch.
    """
    word, at, seconds = text.strip().removeprefix("R").removeprefix("B").removeprefix(":").partition("@")
    name = word.upper().removeprefix("SIG")
    if word.isascii() and word.isdigit() and int(word) in set(signal.Signals):
        name = signal.Signals(int(word)).name.removeprefix("SIG")
    if name not in SIGNALS:
        raise BadInput(f'signal "{text}" was given; write for example USR1@120, with one of {", ".join(SIGNALS)}')
    return name, float(parse_count(seconds, what="seconds")) if at else 60.0


def parse_count(text: str, *, what: str, least: int = 0) -> int:
    """A whole number of `what`, at least `least`."""
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < least:
        raise BadInput(f'{what}: "{text}" was given; allowed is a whole number from {least} up')
    return int(text)


def parse_at_least(text: str, *, what: str) -> int:
    """The lower bound of ``4``, ``4+`` (SkyPilot), ``4..`` or ``4..8`` (dstack)."""
    return parse_count(lower_bound(text), what=what)


def lower_bound(text: str) -> str:
    """``16`` of ``16``, ``16+``, ``16..`` and ``16..32``."""
    return text.strip().partition("..")[0].removesuffix("+").strip()


def parse_accelerators(text: str) -> Accelerators:
    """Of ``8``, ``H100``, ``H100:8``, ``h100=8``, ``H20|H100:8``, ``mig-1g.10gb:1`` or a share of one: ``T4:0.5``.

    Names of models are upper case from here on, those of slices lower: ``a100`` in a gres line and ``A100`` on a
    data sheet are one.
    """
    name, colon, number = text.strip().replace("=", ":", 1).partition(":")
    if not colon and _is_number(name):
        name, number = "", name
    count = number.strip() if colon or not name else "1"
    models = tuple(dict.fromkeys(_model(part.strip()) for part in name.split("|"))) if colon or name else ()
    if not all(models) or not _is_number(count):
        raise BadInput(f'"{text}" names no accelerators; write for example 8, H100:8, H20|H100:8 or T4:0.5')
    whole, _, fraction = count.partition(".")
    if not fraction.strip("0"):
        return Accelerators(parse_count(whole, what="accelerators"), models)
    share = round(float(count) * 1000)
    if not 1 <= share < 1000:
        raise BadInput(f'"{text}": a share of a device is asked for one device only; write for example T4:0.5')
    return Accelerators(1, models, share)


def _model(name: str) -> str:
    """As it is compared; empty for what is no name. A slice may come bare, as Slurm's types do: ``1g.10gb``."""
    profile = profile_of(name)
    if not _MODEL.match(name):
        return ""
    if not profile:
        return name.upper()
    model = name[: -len(profile)].rstrip("-_").upper()
    return f"{model}-{profile}" if model not in ("", "MIG") else f"mig-{profile}"


def join_accelerators(choices: Iterable[Accelerators]) -> Accelerators:
    """Several acceptable models as one request; they must be asked in the same number."""
    several = list(choices)
    amounts = sorted({(choice.count, choice.milli) for choice in several})
    if len(amounts) > 1:
        given = ", ".join(f"{'|'.join(c.models) or 'any'}:{c.count * c.milli / 1000:g}" for c in several)
        raise BadInput(f"accelerators: {given} ask for different numbers; a job takes the same number of each")
    if not several or (len(several) > 1 and not all(choice.models for choice in several)):
        raise BadInput("accelerators: each choice needs a model; write for example {H20: 8, H100: 8}")
    models = tuple(dict.fromkeys(model for choice in several for model in choice.models))
    return Accelerators(amounts[0][0], models, amounts[0][1])


def parse_moment(text: str) -> float:
    """Seconds since the epoch of ``2026-11-25T08:00``, local time, or with an offset ``2026-11-25T08:00+08:00``."""
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise BadInput(f'"{text}" is no moment; write for example 2026-11-25T08:00') from None


def parse_array(text: str) -> tuple[tuple[int, ...], int]:
    """Indices, and how many may run at once (0: all), of sbatch's ``0-15``, ``1,3,5-7``, ``1-10:2%3``."""
    body, percent, limit = text.strip().partition("%")
    ranges = [_array_range(part, text) for part in body.split(",")]
    if sum(len(indices) for indices in ranges) > MAX_ARRAY:
        raise TooLarge(f'array "{text}" has over {MAX_ARRAY} elements; split it over several jobs')
    indices = tuple(sorted({index for indices in ranges for index in indices}))
    return indices, parse_count(limit, what=f'array "{text}": at once', least=1) if percent else 0


def _array_range(part: str, text: str) -> range:
    match = _RANGE.match(part.strip())
    first, last, step = (int(group) for group in match.groups("0")) if match else (0, 0, 0)
    if match and match[2] is None:
        last = first
    if not match or last < first or last > _MAX_INDEX or match[3] == "0":
        raise BadInput(f'"{text}" is no array; write for example 0-15, 1,3,5-7 or 1-10:2%3 (3 at once)')
    return range(first, last + 1, step or 1)


def format_array(indices: Iterable[int], limit: int = 0) -> str:
    """``1-3,7%2``: what `parse_array` takes back."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    body = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return f"{body}%{limit}" if limit else body


def parse_dependencies(text: str) -> tuple[Dependency, ...]:
    """Of sbatch's ``afterok:12:13,afterany:14``; a bare ``12`` means afterok. All must hold."""
    if "?" in text:
        raise BadInput(f'dependency "{text}": "?" (any of them) is not supported; separate by "," (all of them)')
    return tuple(dependency for clause in text.split(",") for dependency in _dependency_clause(clause.strip()))


def _dependency_clause(clause: str) -> Iterable[Dependency]:
    word, *jobs = clause.split(":")
    if not jobs and word.isdigit():
        word, jobs = Condition.AFTER_OK.value, [word]
    allowed = [condition.value for condition in Condition]
    if word not in allowed or not jobs:
        raise BadInput(
            f'dependency "{clause}" is not understood; write for example afterok:12:13 '
            f"({', '.join(allowed)} are supported)"
        )
    return [Dependency(_dependency_job(job, clause), Condition(word)) for job in jobs]


def _dependency_job(text: str, clause: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:19]) < 2**63:
        raise BadInput(f'dependency "{clause}": "{text}" is no job number; write for example afterok:12')
    return int(text)


def parse_assignments(pairs: Iterable[str], *, environ: Mapping[str, str], what: str) -> dict[str, str]:
    """Of ``NAME=value``, and of a bare ``NAME`` whose value `environ` has."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not (equals or name in environ):
            raise BadInput(f'{what} "{pair}": write NAME=value, or the name of a variable that is set here')
        found[name] = value if equals else environ[name]
    return found


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text.strip()) is not None
