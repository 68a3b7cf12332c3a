"""Accounts: keys are made, checked and taken back; the console's sessions hang on them."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection
from threading import Lock

from stoker.account import Account, Role
from stoker.clock import Clock
from stoker.control.rights import require
from stoker.errors import BadInput, Conflict, Denied, NotFound
from stoker.store.accounts import AccountStore

LENT = "nb-"  # how ids of lent keys begin
_PREFIX = "sk-stk-"
_STRONG = re.compile(rf"^{_PREFIX}[A-Za-z0-9_-]{{32,200}}$")
_NAME = re.compile(r"^[\w.@ -]{1,64}$")
_SESSION_SECONDS = 7 * 86400.0
_REMEMBERED = 10_000  # keys kept in memory
_RECHECK_S = 5.0


class AccountDesk:
    """`authenticate` is asked with every request of the gateway: known keys are answered from memory."""

    def __init__(self, store: AccountStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, Account] = {}  # hash -> account
        self._revocations = 0
        self._revoking = Lock()

    def bootstrap(self, given: str = "") -> str | None:
        """The secret of the first admin key, made when there is no account yet; None ever after.

        `given` becomes that key instead of a fresh one; raises BadInput when it is easy to guess.
        """
        account, secret = self._fresh("admin", Role.ADMIN, "default")
        if given and not _STRONG.match(given):
            raise BadInput(f"the first admin's key must be {_PREFIX} and 32 to 200 letters, digits, - or _")
        secret = given or secret
        return secret if self._store.add_first(account, _hash(secret)) else None

    def recover(self) -> str:
        """The secret of a further admin key, for who holds the home itself and has lost every other way in."""
        account, secret = self._fresh("admin", Role.ADMIN, "default")
        self._store.add(account, _hash(secret))
        return secret

    def any(self) -> bool:
        """Whether there is a key that lets somebody in."""
        return any(not account.revoked for account in self._store.all())

    def authenticate(self, secret: str) -> Account:
        """Raises Denied (401) for a key that is missing, unknown or revoked."""
        if not secret:
            raise Denied("no API key was given; send Authorization: Bearer sk-stk-...", known=False)
        hash_ = _hash(secret)
        account = self._known.get(hash_)
        if account is None:
            seen = self._revocations
            account = self._store.by_hash(hash_)
            if account is None or account.revoked:
                raise Denied("this API key is unknown or revoked; ask an admin for a new one", known=False)
            self._remember(hash_, account, seen)
        return account

    def _remember(self, hash_: str, account: Account, seen: int) -> None:
        with self._revoking:
            if seen != self._revocations:
                return  # it may have been revoked since it was read, and would be let in for ever
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[hash_] = account

    def create(self, name: str, role: Role, tenant: str, who: Account) -> tuple[Account, str]:
        """The account and its secret, which is not kept and cannot be shown again."""
        require(who, Role.ADMIN, "manage keys")
        self.check_name("name", name)
        self.check_name("tenant", tenant)
        account, secret = self._fresh(name, role, tenant)
        self._store.add(account, _hash(secret))
        return account, secret

    @staticmethod
    def check_name(what: str, given: str) -> None:
        """Raises BadInput for what is no name of a key or tenant."""
        if not _NAME.match(given):
            allowed = "1 to 64 letters, digits, spaces or . _ @ -"
            raise BadInput(f"{given!r} is no {what} of a key; allowed is {allowed}", param=what)

    def lend(self, account_id: str, secret: str, name: str, tenant: str) -> None:
        """Let `secret` act as a user `name` of `tenant` until it is taken back. Safe to repeat."""
        if self._store.get(account_id) is None:
            self._store.add(Account(account_id, name, Role.USER, tenant, self._clock.now()), _hash(secret))

    def gone(self) -> set[tuple[str, str]]:
        """Names and tenants of those who had keys and have none left that is good."""
        made = [account for account in self._store.all() if not account.id.startswith(LENT)]
        good = {(account.name, account.tenant) for account in made if not account.revoked}
        return {(account.name, account.tenant) for account in made} - good

    def lent(self) -> list[str]:
        """Ids of the keys that are lent now."""
        return [account.id for account in self._store.all() if account.id.startswith(LENT)]

    def take_back(self, account_ids: Collection[str]) -> None:
        """Remove lent keys. They leave no trace: what was done with them bears the owner's name."""
        if not account_ids:
            return
        with self._revoking:
            for account_id in account_ids:
                self._store.remove(account_id)
            self._revocations += 1
            self._known.clear()

    def list(self, who: Account) -> list[Account]:
        """All keys that were made; those lent to notebooks come and go by themselves."""
        require(who, Role.ADMIN, "manage keys")
        return [account for account in self._store.all() if not account.id.startswith(LENT)]

    def recheck(self) -> float:
        """Forget the keys that another process on the database has revoked; seconds until this is wanted again."""
        good = {account.id for account in self._store.all() if not account.revoked}
        with self._revoking:
            self._known = {hash_: account for hash_, account in self._known.items() if account.id in good}
        return _RECHECK_S

    def revoke(self, account_id: str, who: Account) -> Account:
        """Takes effect at once, in other processes on the database within seconds.

        Raises Conflict for the last admin key: nobody could get in any more.
        """
        require(who, Role.ADMIN, "manage keys")
        with self._revoking:  # of the last two admins not both at once
            return self._revoke(account_id)

    def _revoke(self, account_id: str) -> Account:
        accounts = self._store.all()
        account = next((each for each in accounts if each.id == account_id), None)
        if account is None:
            raise NotFound.named("key", account_id, (each.id for each in accounts))
        admins = [each for each in accounts if each.role is Role.ADMIN and not each.revoked]
        if admins == [account]:
            raise Conflict(f"{account_id} is the last admin key; create another one first")
        self._store.revoke(account_id)
        self._revocations += 1
        self._known.clear()
        revoked = self._store.get(account_id)
        assert revoked is not None  # noqa: S101  # accounts are never removed
        return revoked

    def open_session(self, account: Account) -> str:
        """A token for the console's cookie, good for a week."""
        token = secrets.token_urlsafe(32)
        now = self._clock.now()
        self._store.open_session(_hash(token), account.id, now=now, expires_at=now + _SESSION_SECONDS)
        return token

    def session(self, token: str) -> Account | None:
        return self._store.session(_hash(token), now=self._clock.now()) if token else None

    def close_session(self, token: str) -> None:
        self._store.close_session(_hash(token))

    def _fresh(self, name: str, role: Role, tenant: str) -> tuple[Account, str]:
        account = Account(f"ak-{secrets.token_hex(6)}", name, role, tenant, self._clock.now())
        return account, _PREFIX + secrets.token_urlsafe(32)


def _hash(secret: str) -> str:
    """Plain SHA-256 is enough: the secrets are 256 random bits, there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()
