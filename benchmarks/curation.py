"""Curation against datatrove: documents a second on the same texts, rules and number of processes, and every
document on which the two disagree, with the reason.

    python benchmarks/curation.py [--documents 30000] [--workers 2] [--work build/curation-bench]

Both run as a user would run them, from start to result: ours imports and curates, with the rules "web"; theirs
filters, signs, buckets, clusters and filters again. datatrove is installed into an environment of its own. The
table is Markdown, on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
import venv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation_corpus import write_corpus

from stoker.recipes.curation import dedup
from stoker.recipes.curation.cleaning import CurateConfig
from stoker.recipes.curation.survivors import Survivors
from stoker.recipes.curation.workers import cleaned_chunks

THEIRS = Path(__file__).with_name("curation_datatrove.py")
PACKAGES = ["datatrove[io]==0.10.1", "spacy==3.8.18", "xxhash", "regex", "orjson"]
CONFIG: dict[str, Any] = {
    "quality": "web",
    "identify_language": False,
    "mask_pii": False,
    "heldout_fraction": 0,
}


@dataclass(frozen=True)
class Side:
    """What one of the two took, and for each document why it went ("" when it was kept)."""

    seconds: float
    cpu_seconds: float  # of all processes
    reasons: dict[str, str]


class _Clock:
    """Wall and processor seconds of child processes; the latter hardly suffer when others use the machine."""

    def __init__(self) -> None:
        self._began = time.monotonic(), self._cpu()

    def spent(self) -> tuple[float, float]:
        return time.monotonic() - self._began[0], self._cpu() - self._began[1]

    def _cpu(self) -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime


def main() -> None:
    given = _arguments()
    work: Path = given.work.resolve()
    corpus = work / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    python = given.python or _environment(work / "venv")
    _make_corpus(corpus, given.documents, given.workers)
    ours = _ours(corpus, work / "ours", given.workers)
    theirs = _theirs(python, corpus, work / "theirs", given.workers)
    _print_speed(given.documents, given.workers, corpus, ours, theirs)
    _print_differences(python, corpus, work, ours, theirs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=30_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("build/curation-bench"))
    parser.add_argument("--python", help="of an environment that has datatrove already")
    return parser.parse_args()


def _environment(folder: Path) -> str:
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return str(python)


def _make_corpus(folder: Path, documents: int, workers: int) -> None:
    """One file for each worker, because datatrove gives a file to a task as a whole."""
    whole = folder.with_suffix(".jsonl")
    write_corpus(whole, documents)
    lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    share = -(-len(lines) // workers)
    for old in folder.iterdir():
        old.unlink()
    for part in range(workers):
        text = "".join(lines[part * share : (part + 1) * share])
        (folder / f"part-{part:02}.jsonl").write_text(text, encoding="utf-8")


def _ours(corpus: Path, work: Path, workers: int) -> Side:
    """Timed through the recipes; then the decisions once more, document by document."""
    clock = _Clock()
    _recipe("import_data", work / "import", {"data": corpus}, {})
    _recipe("curate", work / "curate", {"data": work / "import"}, {**CONFIG, "workers": workers})
    spent = clock.spent()
    return Side(*spent, _our_reasons(work / "import" / "records.jsonl", corpus))


def _recipe(name: str, output: Path, inputs: dict[str, Path], config: dict[str, Any]) -> None:
    _remove(output)
    spec = output.with_suffix(".json")
    spec.parent.mkdir(parents=True, exist_ok=True)
    paths = {key: str(path) for key, path in inputs.items()}
    spec.write_text(json.dumps({"config": config, "inputs": paths, "output": str(output)}))
    subprocess.run([sys.executable, "-m", f"stoker.recipes.{name}", spec], check=True)


def _our_reasons(records: Path, corpus: Path) -> dict[str, str]:
    ids = {
        f"{path.name}:{number}": json.loads(line)["id"]
        for path in sorted(corpus.iterdir())
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    }
    reasons: dict[str, str] = {}
    with Survivors(records.parent) as survivors:
        for cleaned in cleaned_chunks(records, "text", CurateConfig(**CONFIG)):
            reasons.update((ids[dropped.source], dropped.reason) for dropped in cleaned.dropped)
            survivors.add(cleaned)
        keys = survivors.keys()
        verdicts = dedup.judge(keys.exact, keys.prompts, keys.bands, keys.heldout)
        for fields, reason in zip(survivors.records(), verdicts.reasons, strict=True):
            reasons[ids[fields["source"]]] = reason
    return reasons


def _theirs(python: str, corpus: Path, work: Path, workers: int) -> Side:
    _remove(work)
    work.mkdir(parents=True)
    clock = _Clock()
    log = work / "log"
    with log.open("wb") as output:
        command = [python, THEIRS, "run", corpus, work, str(workers)]
        subprocess.run(command, check=True, stdout=output, stderr=output)
    spent = clock.spent()
    every, clean, kept = (_ids(folder) for folder in (corpus, work / "clean", work / "kept"))
    reasons = dict.fromkeys(every, "a filter") | dict.fromkeys(clean, "near_duplicate") | dict.fromkeys(kept, "")
    return Side(*spent, reasons)


def _ids(folder: Path) -> list[str]:
    return [json.loads(line)["id"] for path in sorted(folder.iterdir()) for line in path.open(encoding="utf-8")]


def _remove(folder: Path) -> None:
    subprocess.run(["rm", "-rf", "--", folder], check=True)


def _ask(python: str, verb: str, corpus: Path, work: Path, ids: list[str]) -> dict[str, Any]:
    asked = work / f"{verb}.json"
    asked.write_text(json.dumps(ids))
    command = [python, THEIRS, verb, corpus.with_suffix(".jsonl"), asked]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return answer


def _print_speed(documents: int, workers: int, corpus: Path, ours: Side, theirs: Side) -> None:
    size = sum(path.stat().st_size for path in corpus.iterdir())
    print(f"{documents:,} documents, {size / 1e6:.0f} MB; {workers} processes on {os.cpu_count()} cores, ", end="")
    print(f"Python {platform.python_version()}; wall time from start of the first process to the last result.\n")
    print("| | seconds | documents/s | CPU ms/document | kept |\n|---|---:|---:|---:|---:|")
    for name, side in (("datatrove 0.10.1", theirs), ("stoker (import and curate)", ours)):
        kept = sum(not reason for reason in side.reasons.values())
        speed, cpu = documents / side.seconds, side.cpu_seconds / documents * 1000
        print(f"| {name} | {side.seconds:.1f} | {speed:,.0f} | {cpu:.2f} | {kept:,} |")
    print(f"\nstoker is {theirs.seconds / ours.seconds:.1f} times as fast by the clock, and takes ", end="")
    print(f"1/{theirs.cpu_seconds / ours.cpu_seconds:.1f} of the processor time.\n", flush=True)


def _print_differences(python: str, corpus: Path, work: Path, ours: Side, theirs: Side) -> None:
    duplicate = ("exact_duplicate", "near_duplicate")
    filtered = [
        number
        for number, reason in ours.reasons.items()
        if (reason in ("", *duplicate)) != (theirs.reasons[number] in ("", *duplicate))
    ]
    paired = [
        number
        for number, reason in ours.reasons.items()
        if number not in set(filtered) and bool(reason) != bool(theirs.reasons[number])
    ]
    same = len(ours.reasons) - len(filtered) - len(paired)
    print(f"Same decision: {same:,} of {len(ours.reasons):,} ({same / len(ours.reasons):.2%}).\n")
    print("| differently decided | stoker | datatrove | documents |\n|---|---|---|---:|")
    explained = _ask(python, "explain", corpus, work, filtered)
    for (left, right), count in Counter(
        (_kept_or(ours.reasons[number], duplicate), explained[number] or "passes") for number in filtered
    ).most_common():
        print(f"| by a filter | {left} | {right} | {count} |")
    nearest = _ask(python, "nearest", corpus, work, paired)
    for (cause, left, right), count in Counter(
        (
            _cause(number, nearest, set(filtered), ours, theirs),
            ours.reasons[number] or "kept",
            theirs.reasons[number] or "kept",
        )
        for number in paired
    ).most_common():
        print(f"| {cause} | {left} | {right} | {count} |")


def _kept_or(reason: str, duplicate: tuple[str, str]) -> str:
    return "passes" if reason in ("", *duplicate) else reason


def _cause(number: str, nearest: dict[str, tuple[str, float]], filtered: set[str], ours: Side, theirs: Side) -> str:
    """Why one took a document for a duplicate and the other did not."""
    other, similarity = nearest[number]
    if other in filtered:
        return "its double was filtered out by one only"
    if bool(ours.reasons.get(other)) != bool(theirs.reasons.get(other)):
        return "same pair, the other of the two kept"
    chance = 1 - (1 - similarity**8) ** 14
    step = next(text for bound, text in _BANDS if similarity >= bound)
    return f"nearest text has similarity {step}" + (
        " (MinHash finds such by chance)" if 0.02 < chance < 0.999 else ""
    )


_BANDS = (
    (0.9, "0.9 to 1"),
    (0.8, "0.8 to 0.9"),
    (0.7, "0.7 to 0.8"),
    (0.6, "0.6 to 0.7"),
    (0.5, "0.5 to 0.6"),
    (0, "below 0.5"),
)

if __name__ == "__main__":
    main()
