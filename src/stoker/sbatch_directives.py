"""The ``#SBATCH`` lines of a script, read as sbatch reads them.

From the top to the first command; words with quotes, backslashes and comments; options as getopt_long takes them:
in full or shortened while that is unambiguous, ``--name=value``, ``--name value``, ``-nvalue``, ``-n value``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stoker.errors import BadInput, near

_MARK = "#SBATCH"

# Long option -> short one. A trailing "=" takes a value, "=?" takes one only when glued on with "=".
HONOURED: Mapping[str, str] = {
    "job-name=": "J", "partition=": "p", "account=": "A", "qos=": "q", "nodes=": "N", "ntasks=": "n",
    "ntasks-per-node=": "", "gres=": "", "gpus=": "G", "gpus-per-node=": "", "gpus-per-task=": "",
    "cpus-per-task=": "c", "cpus-per-gpu=": "", "mem=": "", "mem-per-cpu=": "", "mem-per-gpu=": "", "time=": "t",
    "array=": "a", "dependency=": "d", "output=": "o", "error=": "e", "requeue": "", "no-requeue": "",
    "export=": "", "chdir=": "D", "wait": "W", "exclusive=?": "", "reservation=": "", "container-image=": "",
    "container-mounts=": "", "switches=": "", "contiguous": "", "deadline=": "", "signal=": "",
}  # fmt: skip
WITHOUT_EFFECT: Mapping[str, str] = {
    "acctg-freq=": "", "comment=": "", "core-spec=": "S", "cores-per-socket=": "",
    "cpu-freq=": "", "delay-boot=": "", "distribution=": "m", "extra-node-info=": "B", "get-user-env=?": "",
    "gpu-bind=": "", "gpu-freq=": "", "gres-flags=": "", "hint=": "", "ignore-pbs": "", "kill-on-invalid-dep=": "",
    "mail-type=": "", "mail-user=": "", "mcs-label=": "", "mem-bind=": "", "mincpus=": "", "network=": "",
    "nice=?": "", "no-kill=?": "k", "ntasks-per-core=": "", "ntasks-per-socket=": "", "open-mode=": "",
    "overcommit": "O", "oversubscribe": "s", "parsable": "", "power=": "", "priority=": "", "profile=": "",
    "propagate=?": "", "quiet": "Q", "reboot": "", "sockets-per-node=": "", "spread-job": "",
    "thread-spec=": "", "threads-per-core=": "", "time-min=": "", "use-min-nodes": "", "verbose": "v",
    "wait-all-nodes=": "", "wckey=": "",
}  # fmt: skip
REFUSED: Mapping[str, str] = {
    "batch=": "", "bb=": "", "bbf=": "", "begin=": "b", "cluster-constraint=": "", "clusters=": "M",
    "constraint=": "C", "container=": "", "exclude=": "x",
    "export-file=": "", "gid=": "", "gpus-per-socket=": "", "hold": "H", "input=": "i", "licenses=": "L",
    "nodefile=": "F", "nodelist=": "w", "ntasks-per-gpu=": "", "prefer=": "",
    "test-only": "", "tmp=": "", "uid=": "", "wrap=": "",
}  # fmt: skip


def _bare(option: str) -> str:
    return option.rstrip("=?")


_ALL = {**HONOURED, **WITHOUT_EFFECT, **REFUSED}
_TAKES = {_bare(option): option[len(_bare(option)) :] for option in _ALL}
_SHORT = {short: _bare(option) for option, short in _ALL.items() if short}
HONOURED_NAMES, WITHOUT_EFFECT_NAMES, REFUSED_NAMES = (
    frozenset(map(_bare, table)) for table in (HONOURED, WITHOUT_EFFECT, REFUSED)
)


@dataclass(frozen=True)
class Directive:
    option: str  # the long name
    value: str
    line: int


def read_directives(text: str, source: str) -> Iterator[Directive]:
    for number, line in _directive_lines(text):
        try:
            yield from _parse_options(_split(line), number)
        except BadInput as error:
            raise BadInput(f"{source} line {number}: {error}") from None


def _directive_lines(text: str) -> Iterator[tuple[int, str]]:
    """What follows ``#SBATCH``, up to the first line that is neither blank nor a comment."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith(_MARK):
            yield number, line[len(_MARK) :]
        elif line.strip() and not line.lstrip().startswith("#"):
            return


def late_directives(text: str) -> list[str]:
    honoured = {number for number, _ in _directive_lines(text)}
    return [
        f"line {number}: #SBATCH after the first command is a mere comment, to sbatch too"
        for number, line in enumerate(text.split("\n"), 1)
        if line.startswith(f"{_MARK} -") and number not in honoured
    ]


def _split(line: str) -> list[str]:
    """Words of a directive, with quotes and backslashes; an unquoted # ends it, even inside a word."""
    words: list[str] = []
    word, quote, escaped, begun = "", "", False, False
    for char in line:
        if char.isspace() and not quote:  # not even a backslash keeps a space
            if begun:
                words.append(word)
            word, begun, escaped = "", False, False
        elif escaped:
            word, escaped = word + char, False
        elif char == "\\":
            escaped = begun = True
        elif quote:
            word, quote = (word, "") if char == quote else (word + char, quote)
        elif char in "\"'":
            quote, begun = char, True
        elif char == "#":
            break
        else:
            word, begun = word + char, True
    if quote:
        raise BadInput(f"a quotation mark {quote} is not closed")
    return [*words, word] if begun else words


def _parse_options(words: Sequence[str], line: int) -> Iterator[Directive]:
    """As getopt_long: ``--name=value``, ``--name value``, ``-nvalue``, ``-n value``, and flags in a bunch."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and len(word) > 2:
            yield _long(word[2:], rest, line)
        elif word.startswith("-") and len(word) > 1:
            yield from _short(word[1:], rest, line)
        else:
            raise BadInput(f'"{word}" is no option; write for example --nodes=2')


def _long(text: str, rest: list[str], line: int) -> Directive:
    given, equals, value = text.partition("=")
    name = _full_name(given)
    takes = _TAKES[name]
    if equals and not takes:
        raise BadInput(f"--{name} takes no value")
    if takes == "=" and not equals:
        value = _next_value(f"--{name}", rest)
    return Directive(name, value, line)


def _full_name(given: str) -> str:
    if given in _TAKES:
        return given
    begun = [name for name in _TAKES if name.startswith(given)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise BadInput(f"--{given} may mean {', '.join(f'--{name}' for name in sorted(begun))}; write it in full")
    raise BadInput(f"--{given} is no option of sbatch{near(given, _TAKES)}")


def _short(letters: str, rest: list[str], line: int) -> Iterator[Directive]:
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter not in _SHORT:
            raise BadInput(f"-{letter} is no option of sbatch")
        name = _SHORT[letter]
        value = ""
        if _TAKES[name] == "=":
            value, letters = letters or _next_value(f"-{letter}", rest), ""
            if value.startswith("="):
                raise BadInput(
                    f'-{letter}: short options take no "="; write -{letter} {value[1:]} or --{name}{value}'
                )
        yield Directive(name, value, line)


def _next_value(option: str, rest: list[str]) -> str:
    if not rest:
        raise BadInput(f"{option} needs a value")
    return rest.pop(0)
