"""Curate: imported records made fit to train on, and a report of what was dropped and why.

``python -m stoker.recipes.curate SPEC.json`` with the input ``data`` (the output of `import_data`). Each record is
normalised, its language found, personal data masked, its quality judged; then equal and near-equal records go,
and training records that give held-out ones away.

Output: ``train.jsonl`` and ``heldout.jsonl`` with lines ``{"id", "messages" or "text"}`` in the order of the
import, ``dropped.jsonl`` with samples ``{"reason", "source", "sample"}``, and in ``result.json`` ``{kind, input,
kept, train, heldout, dropped, masked, masked_records, languages, digest, documents_per_s}``. The result does not
depend on the number of processes.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from stoker import probe
from stoker.errors import BadInput, Broken
from stoker.recipes import stage
from stoker.recipes.curation import dedup
from stoker.recipes.curation.cleaning import Cleaned, CurateConfig, Dropped
from stoker.recipes.curation.digest import DatasetDigest
from stoker.recipes.curation.record import Kind, content_bytes, content_of
from stoker.recipes.curation.survivors import Survivors
from stoker.recipes.curation.tally import Tally
from stoker.recipes.curation.words import Hashes
from stoker.recipes.curation.workers import cleaned_chunks

VERSION = 1

_SAMPLES = 100  # lines in dropped.jsonl for each reason


class _Report:
    """Counts what happens, keeps samples of what goes, and tells the platform how far it is."""

    def __init__(self, total: int, samples: TextIO) -> None:
        self.total = total
        self.seen = 0
        self.dropped = Tally()
        self.languages: dict[str, int] = {}
        self.masked: dict[str, int] = {}
        self.masked_records = 0
        self._samples = samples
        self._began = time.monotonic()

    @property
    def documents_per_s(self) -> float:
        return round(self.seen / max(time.monotonic() - self._began, 1e-3), 1)

    def take(self, cleaned: Cleaned) -> None:
        self.seen += len(cleaned.lines) + len(cleaned.dropped)
        self.masked_records += cleaned.masked_records
        for counts, more in ((self.languages, cleaned.languages), (self.masked, cleaned.masked)):
            for name, count in more.items():
                counts[name] = counts.get(name, 0) + count
        for dropped in cleaned.dropped:
            self.drop(dropped)
        self.tell()

    def tell(self) -> None:
        probe.report(
            step=self.seen,
            total=self.total,
            kept=self.seen - self.dropped.total,
            documents_per_s=self.documents_per_s,
        )

    def drop(self, dropped: Dropped) -> None:
        self.dropped.add(dropped.reason, dropped.source, dropped.sample)
        if self.dropped.counts[dropped.reason] <= _SAMPLES:
            line = {"reason": dropped.reason, "source": dropped.source, "sample": dropped.sample}
            self._samples.write(json.dumps(line, ensure_ascii=False) + "\n")


def run(this: stage.Stage[CurateConfig]) -> dict[str, Any]:
    """Raises BadInput when nothing is left to train or to evaluate on."""
    if not 0 <= this.config.heldout_fraction < 1:
        raise BadInput(
            f"heldout_fraction is {this.config.heldout_fraction}; give 0 or more and less than 1",
            param="heldout_fraction",
        )
    imported = _import_result(this.inputs["data"])
    kind: Kind = imported["kind"]
    with (
        (this.output / "dropped.jsonl").open("w", encoding="utf-8") as samples,
        Survivors(this.scratch) as survivors,
    ):
        report = _Report(imported["kept"], samples)
        records = this.inputs["data"] / "records.jsonl"
        for cleaned in cleaned_chunks(records, kind, this.config):
            report.take(cleaned)
            survivors.add(cleaned)
        probe.phase("duplicates", f"comparing {len(survivors):,} records")
        digest, counts = _write(this, survivors, report)
        report.tell()
    if not counts["train"]:
        raise BadInput(
            f"nothing is left to train on: of {imported['kept']:,} records {report.dropped.total:,} were dropped: "
            f"{report.dropped.sentence()}; look at the data or set the rules of curation lower",
            param="data",
        )
    if this.config.heldout_fraction and not counts["heldout"]:
        raise BadInput(
            f"nothing can be held out to evaluate on: one prompt is left of {imported['kept']:,} records; "
            "give more of them, or held-out data of its own",
            param="data",
        )
    return {
        "kind": kind,
        "input": imported["kept"],
        "kept": sum(counts.values()),
        **counts,
        "dropped": report.dropped.to_json(),
        "masked": report.masked,
        "masked_records": report.masked_records,
        "languages": dict(sorted(report.languages.items(), key=lambda item: -item[1])),
        "digest": digest,
        "documents_per_s": report.documents_per_s,
    }


def _import_result(data: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads((data / stage.RESULT).read_text())
    except (OSError, ValueError) as error:
        raise Broken(f"{data} is no finished import: {error}") from None
    return result


def _write(this: stage.Stage[CurateConfig], survivors: Survivors, report: _Report) -> tuple[str, dict[str, int]]:
    """Judge the survivors of cleaning against each other and write those that stay; digest and counts by split."""
    keys = survivors.keys()
    verdicts = dedup.judge(keys.exact, keys.prompts, keys.bands, keys.heldout, near=this.config.near_duplicates)
    heldout = _heldout(keys.prompts, keys.heldout, verdicts.reasons == "", this.config.heldout_fraction)
    instead = survivors.sources(_shown_places(verdicts))
    digest = DatasetDigest()
    counts = {"train": 0, "heldout": 0}
    with (this.output / "train.jsonl").open("wb") as train, (this.output / "heldout.jsonl").open("wb") as held:
        files: dict[str, BinaryIO] = {"train": train, "heldout": held}
        for place, fields in enumerate(survivors.records()):
            source = fields.pop("source")
            content = content_bytes(content_of(fields))
            if reason := verdicts.reasons[place]:
                kept = instead.get(int(verdicts.instead[place]), "another")
                report.drop(Dropped(reason, source, f"{kept} stays: {content.decode()[:300]}"))
                continue
            split = "heldout" if heldout[place] else "train"
            counts[split] += 1
            digest.add(split, content)
            files[split].write(json.dumps(fields, ensure_ascii=False).encode() + b"\n")
    return digest.value, counts


def _shown_places(verdicts: dedup.Verdicts) -> list[int]:
    """The records in whose favour the first few of each reason go: those that reports name."""
    reasons = set(verdicts.reasons.tolist()) - {""}
    return [
        place for reason in reasons for place in verdicts.instead[verdicts.reasons == reason][:_SAMPLES].tolist()
    ]


def _heldout(
    prompts: Hashes, given: NDArray[np.bool_], alive: NDArray[np.bool_], fraction: float
) -> NDArray[np.bool_]:
    """Which records are held out, shape (n,): those given so, else those whose prompt hashes below `fraction`.

    Equal prompts fall on the same side. At least one record is held out, unless that would be the only one.
    """
    if given.any() or not fraction or len(np.unique(prompts[alive])) < 2:
        return given
    chosen: NDArray[np.bool_] = alive & (prompts < np.uint64(fraction * 2.0**64))
    if not chosen.any() or (chosen == alive).all():
        chosen = alive & (prompts == prompts[alive].min())
    return chosen


if __name__ == "__main__":
    stage.main(CurateConfig, run)
