"""Import: the user's files, whatever their form, as `records.jsonl` of one kind, every rejected record counted.

``python -m stoker.recipes.import_data SPEC.json`` with the input ``data`` (a file or folder, only read) and, where
the user has one, ``heldout`` (likewise; evaluated on, never trained on).

Output: ``records.jsonl`` with a line ``{"id", "messages" or "text", "split", "source"}`` for each record,
``rejects.jsonl`` with a line ``{"source", "reason", "detail"}`` for each that was rejected, and in
``result.json`` ``{records, kept, kind, form, forms, files, skipped_files, heldout, rejected, digest}``.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any, TextIO

from stoker import probe
from stoker.errors import BadInput
from stoker.recipes import stage
from stoker.recipes.curation.digest import DatasetDigest
from stoker.recipes.curation.intake import ImportConfig, Intake
from stoker.recipes.curation.readers import Reject
from stoker.recipes.curation.record import Record, content_bytes
from stoker.recipes.curation.tally import Tally, shown

VERSION = 1
_REPORT_EVERY = 2000  # records


class _Import:
    """The two files being written and the counts beside them."""

    def __init__(self, records: TextIO, rejects: TextIO) -> None:
        self._records = records
        self._rejects = rejects
        self.kept = {"train": 0, "heldout": 0}
        self.rejected = Tally()
        self.digest = DatasetDigest()
        self._began = time.monotonic()

    @property
    def seen(self) -> int:
        return sum(self.kept.values()) + self.rejected.total

    def take(self, outcome: Record | Reject) -> None:
        if isinstance(outcome, Reject):
            self.rejected.add(outcome.reason, outcome.source, outcome.detail)
            _write(self._rejects, {**asdict(outcome), "detail": shown(outcome.detail, 160)})
        else:
            self.kept[outcome.split] += 1
            self.digest.add(outcome.split, content_bytes(outcome.content))
            _write(self._records, outcome.to_json())
        if self.seen % _REPORT_EVERY == 0:
            self.report()

    def report(self, total: int | None = None) -> None:
        rate = self.seen / max(time.monotonic() - self._began, 1e-3)
        kept = sum(self.kept.values())
        probe.report(step=self.seen, total=total, kept=kept, documents_per_s=round(rate, 1))


def run(this: stage.Stage[ImportConfig]) -> dict[str, Any]:
    """Raises BadInput when the data holds no usable record, mixes kinds, or is held out altogether."""
    intake = Intake(this.inputs["data"], this.config, this.inputs.get("heldout"))
    with (
        (this.output / "records.jsonl").open("w", encoding="utf-8") as records,
        (this.output / "rejects.jsonl").open("w", encoding="utf-8") as rejects,
    ):
        work = _Import(records, rejects)
        for outcome in intake.outcomes():
            work.take(outcome)
    if intake.kind is None:
        raise intake.refusal(work.rejected)
    if not work.kept["train"]:
        raise BadInput(
            f"{shown(str(this.inputs['data']))}: every file is held out by its name; rename the one to train on"
        )
    work.report(total=work.seen)
    return {
        "records": work.seen,
        "kept": sum(work.kept.values()),
        "heldout": work.kept["heldout"],
        "kind": intake.kind,
        "form": intake.form,
        "forms": intake.forms,
        "files": len(intake.listing.files),
        "skipped_files": intake.listing.skipped.to_json(),
        "rejected": work.rejected.to_json(),
        "digest": work.digest.value,
    }


def _write(file: TextIO, value: dict[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    stage.main(ImportConfig, run)
