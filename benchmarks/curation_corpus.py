"""A corpus for the curation benchmark: real prose found on this machine, shuffled, spoilt and copied on purpose.

Everything comes from files that are installed anyway (package metadata, licences, documentation, docstrings), so
nothing is downloaded. The same machine gives the same corpus; another one a similar corpus.
"""

from __future__ import annotations

import ast
import json
import random
import re
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from pathlib import Path

from stoker.recipes.curation.normalise import normalise

_SUFFIXES = {".md", ".rst", ".txt", ".html"}
_MOST_FILES = 12_000
_WORDS = (80, 700)  # of a document, uniformly


def write_corpus(path: Path, documents: int, seed: int = 7) -> None:
    """`documents` lines ``{"id", "text"}``: 70 % made of real paragraphs, 15 % of them spoilt, 15 % near copies."""
    draw = random.Random(seed)
    pool = sorted(set(_paragraphs()))
    print(f"{len(pool):,} different paragraphs found", file=sys.stderr)
    draw.shuffle(pool)
    made: list[str] = []
    with path.open("w", encoding="utf-8") as file:
        for number in range(documents):
            kind = draw.random()
            if kind < 0.15 and made:
                text = _near_copy(draw.choice(made), pool, draw)
            elif kind < 0.30:
                text = draw.choice(_SPOILERS)(_fresh(pool, draw), draw)
            else:
                text = _fresh(pool, draw)
                made.append(text)
            file.write(json.dumps({"id": f"doc-{number:06}", "text": normalise(text)}, ensure_ascii=False) + "\n")


def _paragraphs() -> Iterator[str]:
    """Prose of 12 words or more that ends like a sentence, as most paragraphs of web text do."""
    for text in _texts():
        for paragraph in re.split(r"\n\s*\n", text):
            prose = " ".join(textwrap.dedent(paragraph).split())
            if (
                prose.count(" ") >= 12
                and len(prose) < 4000
                and prose.endswith((".", "!", "?"))
                and _reads_well(prose)
            ):
                yield prose


def _reads_well(prose: str) -> bool:
    tokens = re.findall(r"\w+|[^\w\s]", prose)
    return sum(token.isalpha() for token in tokens) > 0.82 * len(tokens)


def _texts() -> Iterator[str]:
    folders = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), "/usr/share/common-licenses"]
    folders += ["/usr/share/doc", "/usr/share/perl"]
    for folder in folders:
        files = (path for path in Path(folder).rglob("*") if path.suffix in {*_SUFFIXES, ".py", ".pod", ""})
        for path in sorted(files)[:_MOST_FILES]:
            if path.is_file() and path.stat().st_size < 400_000:
                raw = path.read_bytes()
                try:
                    text = raw.decode()
                except UnicodeDecodeError:
                    continue
                yield from _docstrings(text) if path.suffix == ".py" else [text]


def _docstrings(source: str) -> Iterator[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and len(text) > 200:
                yield text


def _fresh(pool: list[str], draw: random.Random) -> str:
    wanted = draw.randint(*_WORDS)
    parts: list[str] = []
    words = 0
    while words < wanted:
        parts.append(draw.choice(pool))
        words += parts[-1].count(" ") + 1
    return "\n\n".join(parts)


def _near_copy(text: str, pool: list[str], draw: random.Random) -> str:
    """Some words changed, from none to one in twelve; sometimes a paragraph more."""
    words = text.split(" ")
    share = draw.choice([0, 0.005, 0.01, 0.02, 0.04, 0.08])
    vocabulary = draw.choice(pool).split(" ")
    for place in draw.sample(range(len(words)), int(share * len(words))):
        words[place] = draw.choice(vocabulary)
    return " ".join(words) + (f"\n\n{draw.choice(pool)}" if draw.random() < 0.3 else "")


def _repeat_lines(text: str, draw: random.Random) -> str:
    lines = text.split("\n\n")
    return "\n\n".join(lines + [draw.choice(lines)] * draw.randint(2, 3 * len(lines)))


def _repeat_phrase(text: str, draw: random.Random) -> str:
    words = text.split()
    start = draw.randrange(max(len(words) - 12, 1))
    return text + " " + " ".join(words[start : start + draw.randint(2, 12)] * draw.randint(3, 30)) + "."


def _cut_short(text: str, draw: random.Random) -> str:
    return " ".join(text.split()[: draw.randint(5, 70)])


def _as_list(text: str, draw: random.Random) -> str:
    words = text.split()
    step = draw.randint(3, 9)
    end = draw.choice(["", "...", "."])
    return "\n".join(f"- {' '.join(words[at : at + step])}{end}" for at in range(0, len(words), step))


def _symbols(text: str, draw: random.Random) -> str:
    return re.sub(r" ", lambda _: draw.choice([" # ", " ... ", " 17 ", " | ", " "]), text)


def _boilerplate(text: str, draw: random.Random) -> str:
    lines = re.split(r"(?<=[.!?]) ", text)
    for _ in range(draw.randint(1, 4)):
        extra = [
            "Please enable JavaScript.",
            "Read our privacy policy here.",
            "lorem ipsum dolor sit amet.",
            "x {y} z.",
        ]
        lines.insert(draw.randrange(len(lines) + 1), draw.choice(extra))
    return "\n".join(lines)


def _long_words(text: str, draw: random.Random) -> str:
    return re.sub(r" (?=[a-z])", lambda _: "" if draw.random() < 0.5 else " ", text)


_SPOILERS = (_repeat_lines, _repeat_phrase, _cut_short, _as_list, _symbols, _boilerplate, _long_words)

if __name__ == "__main__":
    write_corpus(Path(sys.argv[1]), int(sys.argv[2]))
