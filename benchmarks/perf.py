"""All error tables of the performance model: predicted against published, by source, hardware, family and layout.

    python benchmarks/perf.py [--facts DIR] [--docs]

Runs perf_training.py, perf_network.py and perf_serving.py --held-out, one after the other (some minutes). `--docs`
writes docs/performance-errors.md in place of printing.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import perf_network  # noqa: E402 - scripts beside this one
import perf_serving  # noqa: E402
from benchmarks import perf_training  # noqa: E402

PAGE = ROOT / "docs" / "performance-errors.md"
HEAD = """# Errors of the performance model

Predicted against published, by source, hardware, model family and layout. Written by `make tables`; what the
numbers mean, what was held out and what falls short stands in [The performance model](performance-model.md).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=Path, default=ROOT.parent / "shared" / "facts")
    parser.add_argument("--docs", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    chosen = parser.parse_args()
    facts = ["--facts", str(chosen.facts)]
    chapters = [
        chapter("Training", perf_training.main, facts),
        chapter("Collectives", perf_network.main, facts),
        chapter("Serving", perf_serving.main, [*facts, "--held-out"]),
    ]
    page = "\n".join([HEAD, *chapters])
    if chosen.docs:
        PAGE.write_text(page, encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
    else:
        print(page)


def chapter(title: str, run: Callable[[], None], words: Sequence[str]) -> str:
    """What `run` prints when it is called with `words`, as a chapter: its headings one level below `title`."""
    told, before = io.StringIO(), sys.argv
    sys.argv = [title.lower(), *words]
    try:
        with contextlib.redirect_stdout(told):
            run()
    finally:
        sys.argv = before
    body = re.sub(r"(?m)^#+ ", "### ", told.getvalue()).strip()
    return f"## {title}\n\n{body}\n"


if __name__ == "__main__":
    main()
