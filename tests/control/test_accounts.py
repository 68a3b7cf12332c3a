"""Keys and sessions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from stoker.account import Account, Role
from stoker.clock import ManualClock
from stoker.control.accounts import AccountDesk
from stoker.errors import BadInput, Conflict, Denied, NotFound
from stoker.store.accounts import AccountStore
from stoker.store.database import Database

_WEEK = 7 * 86400


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/test.db")
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def desk(database: Database, clock: ManualClock) -> AccountDesk:
    return AccountDesk(AccountStore(database), clock)


@pytest.fixture
def admin(desk: AccountDesk) -> Account:
    secret = desk.bootstrap()
    assert secret
    return desk.authenticate(secret)


def test_the_first_key_is_shown_once(desk: AccountDesk) -> None:
    secret = desk.bootstrap()
    assert secret is not None
    assert secret.startswith("sk-stk-")
    assert desk.bootstrap() is None
    assert desk.authenticate(secret).role is Role.ADMIN


def test_only_hashes_are_stored(desk: AccountDesk, database: Database, admin: Account) -> None:
    _, secret = desk.create("ann", Role.USER, "speech", admin)
    token = desk.open_session(admin)
    with database.read() as connection:
        for table in ("accounts", "sessions"):
            rows = str(connection.execute(text(f"SELECT * FROM {table}")).all())  # noqa: S608 -- two literals
            assert secret not in rows
            assert secret.removeprefix("sk-stk-") not in rows
            assert token not in rows


@pytest.mark.parametrize("secret", ["", "sk-stk-wrong", "x" * 100_000, "ключ"])
def test_wrong_keys_are_denied_with_401(desk: AccountDesk, secret: str) -> None:
    with pytest.raises(Denied) as error:
        desk.authenticate(secret)
    assert error.value.http_status == 401


def test_a_revoked_key_is_denied_at_once_though_it_was_known(desk: AccountDesk, admin: Account) -> None:
    account, secret = desk.create("ann", Role.USER, "speech", admin)
    token = desk.open_session(account)
    assert desk.authenticate(secret) == account == desk.session(token)
    assert desk.revoke(account.id, admin).revoked
    with pytest.raises(Denied, match="revoked"):
        desk.authenticate(secret)
    assert desk.session(token) is None


def test_known_keys_are_answered_from_memory(desk: AccountDesk, database: Database, admin: Account) -> None:
    _, secret = desk.create("ann", Role.USER, "speech", admin)
    account = desk.authenticate(secret)
    database.close()
    with database.write() as connection:
        connection.execute(text("DROP TABLE accounts"))
    assert desk.authenticate(secret) == account


def test_the_last_admin_key_stays(desk: AccountDesk, admin: Account) -> None:
    with pytest.raises(Conflict, match="last admin key"):
        desk.revoke(admin.id, admin)
    desk.create("second", Role.ADMIN, "default", admin)
    assert desk.revoke(admin.id, admin).revoked


def test_only_admins_manage_keys(desk: AccountDesk, admin: Account) -> None:
    user, _ = desk.create("ann", Role.USER, "speech", admin)
    for call in (
        lambda: desk.create("x", Role.USER, "t", user),
        lambda: desk.list(user),
        lambda: desk.revoke(admin.id, user),
    ):
        with pytest.raises(Denied, match="admin is needed to manage keys"):
            call()
    assert [account.name for account in desk.list(admin)] == ["admin", "ann"]


@pytest.mark.parametrize("name", ["", "a/b", "a'b", "<script>", "x" * 65, "a\nb"])
def test_names_that_no_key_may_have(desk: AccountDesk, admin: Account, name: str) -> None:
    with pytest.raises(BadInput, match="is no name of a key"):
        desk.create(name, Role.USER, "t", admin)
    with pytest.raises(BadInput, match="is no tenant of a key"):
        desk.create("n", Role.USER, name, admin)


def test_unknown_keys_cannot_be_revoked(desk: AccountDesk, admin: Account) -> None:
    with pytest.raises(NotFound, match='no key "ak-none"'):
        desk.revoke("ak-none", admin)


def test_another_process_on_the_database_hears_of_a_revocation(desk: AccountDesk, admin: Account) -> None:
    other = AccountDesk(desk._store, ManualClock())
    account, secret = desk.create("ann", Role.USER, "speech", admin)
    _, good = desk.create("bob", Role.USER, "speech", admin)
    other.authenticate(secret)
    other.authenticate(good)
    desk.revoke(account.id, admin)
    other.recheck()
    with pytest.raises(Denied):
        other.authenticate(secret)
    assert other.authenticate(good).name == "bob"


def test_sessions_last_a_week_and_can_be_closed(desk: AccountDesk, admin: Account, clock: ManualClock) -> None:
    token = desk.open_session(admin)
    clock.advance(_WEEK - 1)
    assert desk.session(token) == admin
    clock.advance(1)
    assert desk.session(token) is None
    other = desk.open_session(admin)
    desk.close_session(other)
    assert desk.session(other) is None
    assert desk.session("") is None


def test_a_key_revoked_while_it_is_looked_up_is_not_remembered(
    desk: AccountDesk, admin: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, secret = desk.create("ann", Role.USER, "speech", admin)
    look = desk._store.by_hash

    def look_slowly(hash_: str) -> Account | None:
        found = look(hash_)
        desk.revoke(account.id, admin)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(desk._store, "by_hash", look_slowly)
        desk.authenticate(secret)  # it was good when it was looked up
    with pytest.raises(Denied):
        desk.authenticate(secret)
