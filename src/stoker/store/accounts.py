"""Accounts and console sessions. Secrets never get here, only their hashes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, func, select

from stoker.account import Account, Role
from stoker.store.database import Database
from stoker.store.tables import accounts, sessions


class AccountStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, account: Account, hash_: str) -> None:
        with self._database.write() as connection:
            connection.execute(accounts.insert().values(**_row(account), hash=hash_))

    def add_first(self, account: Account, hash_: str) -> bool:
        """Adds it only when there is none at all; says whether it did."""
        with self._database.write() as connection:
            if connection.execute(select(func.count()).select_from(accounts)).scalar_one():
                return False
            connection.execute(accounts.insert().values(**_row(account), hash=hash_))
            return True

    def by_hash(self, hash_: str) -> Account | None:
        with self._database.read() as connection:
            row = connection.execute(select(accounts).where(accounts.c.hash == hash_)).first()
        return _account(row) if row else None

    def get(self, account_id: str) -> Account | None:
        with self._database.read() as connection:
            row = connection.execute(select(accounts).where(accounts.c.id == account_id)).first()
        return _account(row) if row else None

    def all(self) -> list[Account]:
        with self._database.read() as connection:
            rows = connection.execute(
                select(accounts).order_by(accounts.c.created_at, accounts.c.name, accounts.c.id)
            )
            return [_account(row) for row in rows]

    def revoke(self, account_id: str) -> None:
        with self._database.write() as connection:
            connection.execute(accounts.update().where(accounts.c.id == account_id).values(revoked=True))
            connection.execute(sessions.delete().where(sessions.c.account == account_id))

    def remove(self, account_id: str) -> None:
        with self._database.write() as connection:
            connection.execute(accounts.delete().where(accounts.c.id == account_id))
            connection.execute(sessions.delete().where(sessions.c.account == account_id))

    def open_session(self, hash_: str, account_id: str, *, now: float, expires_at: float) -> None:
        """Also drops the sessions that have run out."""
        with self._database.write() as connection:
            connection.execute(sessions.delete().where(sessions.c.expires_at <= now))
            connection.execute(sessions.insert().values(hash=hash_, account=account_id, expires_at=expires_at))

    def session(self, hash_: str, *, now: float) -> Account | None:
        joined = select(accounts).join(sessions, sessions.c.account == accounts.c.id)
        valid = (sessions.c.hash == hash_, sessions.c.expires_at > now, accounts.c.revoked.is_(False))
        with self._database.read() as connection:
            row = connection.execute(joined.where(*valid)).first()
        return _account(row) if row else None

    def close_session(self, hash_: str) -> None:
        with self._database.write() as connection:
            connection.execute(sessions.delete().where(sessions.c.hash == hash_))


def _row(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "role": account.role.value,
        "tenant": account.tenant,
        "created_at": account.created_at,
        "revoked": account.revoked,
    }


def _account(row: Row[Any]) -> Account:
    return Account(row.id, row.name, Role(row.role), row.tenant, row.created_at, row.revoked)
