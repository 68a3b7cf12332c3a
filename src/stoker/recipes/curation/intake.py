"""Intake: the user's files as one dataset of one kind, record by record, and the refusal when there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from stoker.errors import BadInput
from stoker.recipes.curation.files import DataFile, Listing, list_files
from stoker.recipes.curation.forms import Forms
from stoker.recipes.curation.readers import Reject, Row, read_rows
from stoker.recipes.curation.record import Content, Kind, Record, Rejected, content_bytes
from stoker.recipes.curation.tally import Tally, shown
from stoker.typed import strict


@strict
@dataclass(frozen=True)
class ImportConfig:
    form: Literal["auto", "messages", "conversations", "instruction", "prompt_completion", "text"] = "auto"
    """The layout of the rows; found by their columns unless given."""
    columns: dict[str, str] = field(default_factory=dict)
    """Which column plays a part of the form: ``{"prompt": "ticket", "completion": "reply"}``."""
    max_record_bytes: int = 16 << 20
    """A longer line, file of text or value is rejected without being read into memory."""


class Intake:
    """Reads a dataset once. `forms` and `kind` are known as far as it has been read."""

    def __init__(self, data: Path, config: ImportConfig, heldout: Path | None = None) -> None:
        """`heldout`: further data that is only evaluated on.

        Raises BadInput when there is nothing to read or the config contradicts itself.
        """
        if config.max_record_bytes < 1:
            raise BadInput(
                f"max_record_bytes is {config.max_record_bytes}; give 1 or more", param="max_record_bytes"
            )
        self._data = data
        self._limit = config.max_record_bytes
        self._forms = Forms(config.form, config.columns)
        self.listing: Listing = _listing(data, heldout)
        self.forms: dict[str, int] = {}  # name of a form -> records in it
        self._first: tuple[Kind, str] | None = None  # kind and source of the first record

    @property
    def kind(self) -> Kind | None:
        return self._first[0] if self._first else None

    @property
    def form(self) -> str:
        """The form most records have."""
        return max(self.forms, key=lambda name: self.forms[name])

    def outcomes(self) -> Iterator[Record | Reject]:
        """Every row as a Record or a Reject, files in order; raises BadInput for a mixed dataset or a bad file."""
        for file in self.listing.files:
            for row in read_rows(file, self._limit):
                yield row if isinstance(row, Reject) else self._outcome(file, row)

    def refusal(self, rejected: Tally) -> BadInput:
        """Why a dataset without a single usable record is refused."""
        where = shown(str(self._data))
        if not rejected.total:
            return BadInput(f"{where} holds no record: its files are empty", param="data")
        columns = rejected.first("unknown_columns")
        if columns is not None and rejected.most_frequent == "unknown_columns":
            return BadInput(
                f"{where}: wrong columns: there are {shown(columns)}; needed are {self._forms.needed()}; "
                """rename them, or say which is which: --set 'import.columns={"prompt": "...", """
                """"completion": "..."}'""",
                param="data",
            )
        return BadInput(
            f"{where}: all {rejected.total:,} records are rejected: {rejected.sentence()}", param="data"
        )

    def _outcome(self, file: DataFile, row: Row) -> Record | Reject:
        try:
            return Record(self._content(row), file.split, row.source)
        except Rejected as rejected:
            return Reject(row.source, rejected.reason, rejected.detail)

    def _content(self, row: Row) -> Content:
        binding = self._forms.of(row.fields)
        if binding is None:
            raise Rejected("unknown_columns", ", ".join(map(str, row.fields)) or "(none)")
        content = binding.content(row.fields)
        if len(content_bytes(content)) > self._limit:
            raise Rejected("over_limit")
        self._agree(binding.form.kind, row.source)
        self.forms[binding.form.name] = self.forms.get(binding.form.name, 0) + 1
        return content

    def _agree(self, kind: Kind, source: str) -> None:
        self._first = self._first or (kind, source)
        if kind != self._first[0]:
            raise BadInput(
                f"{shown(str(self._data))} mixes forms: {shown(self._first[1])} is {self._first[0]}, "
                f"{shown(source)} is {kind}; give them as two datasets",
                param="data",
            )


def _listing(data: Path, heldout: Path | None) -> Listing:
    listing = list_files(data)
    if heldout is None:
        return listing
    held = [replace(file, split="heldout", name=f"heldout/{file.name}") for file in list_files(heldout).files]
    return replace(listing, files=[*listing.files, *held])
