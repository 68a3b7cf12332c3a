"""Models: what is registered, how versions compare, and who answers under which alias."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from stoker.account import Account, Role
from stoker.clock import Clock
from stoker.control.endpoints import EndpointDesk
from stoker.control.rights import require, sees
from stoker.errors import BadInput, Conflict, NotFound
from stoker.model import Comparison, ModelSummary, ModelVersion, Promotion
from stoker.store.promotions import PromotionJournal
from stoker.store.registry import Registry

CHAMPION = "champion"


class ModelDesk:
    def __init__(
        self, registry: Registry, journal: PromotionJournal, endpoints: EndpointDesk, clock: Clock
    ) -> None:
        self._registry = registry
        self._journal = journal
        self._endpoints = endpoints
        self._clock = clock
        self._recording = Lock()

    def models(self, who: Account) -> list[ModelSummary]:
        found = []
        for name, tenant in sorted(self._registry.tenants().items()):
            versions = self._registry.versions(name) if sees(who, tenant) else ()
            if versions:
                champion = next((one.version for one in versions if CHAMPION in one.aliases), None)
                found.append(ModelSummary(name, tenant, versions[0], champion, len(versions)))
        return found

    def versions(self, name: str, who: Account) -> list[ModelVersion]:
        """Newest first; raises NotFound with near names."""
        self._tenant(name, who)
        return list(self._registry.versions(name))

    def version(self, name: str, number: int, who: Account) -> ModelVersion:
        self._tenant(name, who)
        return self._registry.version(name, number)

    def compare(self, name: str, numbers: Sequence[int], who: Account) -> Comparison:
        """Metrics of the versions side by side, and the settings in which they differ."""
        if len(numbers) < 2:
            raise BadInput("comparing needs at least two versions", param="versions")
        versions = [self.version(name, number, who) for number in numbers]
        metrics = {
            key: tuple(one.metrics.get(key) for one in versions)
            for key in sorted({key for one in versions for key in one.metrics})
        }
        config = {
            key: tuple(one.config.get(key) for one in versions)
            for key in sorted({key for one in versions for key in one.config})
        }
        differing = {key: values for key, values in config.items() if len(set(values)) > 1}
        return Comparison(name, tuple(numbers), metrics, differing)

    def promote(self, name: str, number: int, who: Account, *, alias: str = CHAMPION) -> Promotion:
        """Let `number` be the `alias`; the champion also answers at the endpoint, once it is ready."""
        return self._move(name, number, who, alias, "promote")

    def rollback(self, name: str, who: Account) -> Promotion:
        """Back to the champion before the present one, as the journal tells."""
        self._tenant(name, who)
        present = self._registry.alias(name, CHAMPION)
        for line in self._journal.of(name):
            if line.alias == CHAMPION and line.version == present and line.action == "promote":
                if line.previous is not None:
                    return self._move(name, line.previous, who, CHAMPION, "rollback")
                break
        raise Conflict(f'model "{name}" has no earlier champion to go back to; see: stoker models journal {name}')

    def journal(self, name: str, who: Account) -> list[Promotion]:
        self._tenant(name, who)
        return self._journal.of(name)

    def _move(self, name: str, number: int, who: Account, alias: str, action: str) -> Promotion:
        require(who, Role.USER, f"{action} a model")
        tenant = self._tenant(name, who)
        self._registry.version(name, number)
        if alias == CHAMPION:
            self._endpoints.bring_up(name, number, tenant=tenant, owner=who.name, switch=True)
        return self.record(name, number, who.name, alias, action)

    def record(self, name: str, number: int, who: str, alias: str, action: str) -> Promotion:
        """Move the alias and write it down; nothing is written when it is there already."""
        with self._recording:  # of two at once the second follows on the first, as the journal must say
            previous = self._registry.alias(name, alias)
            promotion = Promotion(self._clock.now(), who, name, alias, number, previous, action)
            if previous != number:
                # The journal first: a line about a move that a crash prevented is mended by the next
                # promotion, a move without a line never is.
                self._journal.append(promotion)
                self._registry.set_alias(name, alias, number)
        return promotion

    def _tenant(self, name: str, who: Account) -> str:
        tenants = {model: tenant for model, tenant in self._registry.tenants().items() if sees(who, tenant)}
        if name not in tenants:
            raise NotFound.named("model", name, tenants)
        return tenants[name]
