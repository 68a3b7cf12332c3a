"""Predicted starts beside real ones, and how long jobs ran."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from stoker.explanation import Accuracy
from stoker.job import FINAL
from stoker.schedule import Ran
from stoker.store.database import Database
from stoker.store.tables import jobs, predictions

_RECENT = 2000  # jobs
COMPARED = 500  # predictions
ENOUGH = 10  # of them, so that they say something
_LEAST_S = 1.0


@dataclass(frozen=True)
class Prediction:
    job: int
    attempt: int  # whose start is predicted
    at: float  # when
    start: float


class PredictionStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, prediction: Prediction) -> None:
        """The first one of an attempt stays."""
        try:
            with self._database.write(durable=False) as connection:
                connection.execute(
                    predictions.insert().values(
                        job=prediction.job, attempt=prediction.attempt, at=prediction.at, start=prediction.start
                    )
                )
        except IntegrityError:  # another process was quicker
            return

    def of(self, job: int, attempt: int) -> Prediction | None:
        wanted = (predictions.c.job == job, predictions.c.attempt == attempt)
        with self._database.read() as connection:
            row = connection.execute(select(predictions).where(*wanted)).first()
        return None if row is None else Prediction(row.job, row.attempt, row.at, row.start)

    def accuracy(self) -> Accuracy:
        """Real over predicted waiting, from the moment of the prediction, of the attempts that began lately."""
        began = (
            select(predictions.c.at, predictions.c.start, jobs.c.started_at)
            .join(jobs, (jobs.c.id == predictions.c.job) & (jobs.c.attempt == predictions.c.attempt))
            .where(jobs.c.started_at.is_not(None), predictions.c.start > predictions.c.at + _LEAST_S)
            .order_by(predictions.c.job.desc())
            .limit(COMPARED)
        )
        with self._database.read() as connection:
            shares = sorted(
                max(0.0, row.started_at - row.at) / (row.start - row.at) for row in connection.execute(began)
            )
        if len(shares) < ENOUGH:
            return Accuracy(len(shares))
        return Accuracy(len(shares), _quantile(shares, 0.1), _quantile(shares, 0.5), _quantile(shares, 0.9))

    def ran(self) -> list[Ran]:
        """How long the jobs ran that ended last."""
        columns = (jobs.c.tenant, jobs.c.owner, jobs.c.spec, jobs.c.started_at, jobs.c.ended_at)
        ended = (
            select(*columns)
            .where(
                jobs.c.state.in_([state.value for state in FINAL]),
                jobs.c.started_at.is_not(None),
                jobs.c.ended_at.is_not(None),
            )
            .order_by(jobs.c.id.desc())
            .limit(_RECENT)
        )
        with self._database.read() as connection:
            return [
                _ran(row.tenant, row.owner, row.spec, row.ended_at - row.started_at)
                for row in connection.execute(ended)
            ]


def _ran(tenant: str, owner: str, spec: str, seconds: float) -> Ran:
    asked = json.loads(spec)
    devices = asked.get("nodes", 1) * asked.get("resources", {}).get("accelerators", 0)
    return Ran((tenant, owner), devices, asked.get("time_limit"), max(0.0, seconds))


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
