"""The page of queues: bars that say what the numbers say, and only one's own tenant's queues."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stoker.account import Role
from stoker.console.queues import bar, scale_of
from stoker.queue import Queue
from stoker.queue_standing import Standing
from stoker.queue_window import Window
from tests.console.page import Page
from tests.console.platform import Platform
from tests.console.test_pages import check


@pytest.fixture
def queues(furnished: Platform) -> Iterator[None]:
    desk, admin = furnished.app.queues, furnished.admin
    night = Window("Mon-Sun 20:00-08:00", deserved=6, ceiling=8)
    desk.put([Queue("speech", tenants=("speech",), deserved=4, ceiling=6, windows=(night,))], admin)
    desk.put([Queue("asr", parent="speech", deserved=2), Queue("vision", tenants=("vision",))], admin)
    yield
    desk.put([], admin, prune=True)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_row_and_a_bar_for_each(furnished: Platform, queues: None, language: str) -> None:
    with furnished.visitor(language=language) as visitor:
        told = visitor.get("/queues").text
    check(Page(told), language)
    for name in ("speech", "asr", "vision"):
        assert f'id="queue-{name}"' in told
    assert told.count('class="q-within"') == 3
    assert 'class="queue-depth-1"' in told


def test_a_tenant_sees_its_own(furnished: Platform, queues: None) -> None:
    with furnished.visitor(furnished.key(Role.USER, "vision")) as visitor:
        told = visitor.get("/queues").text
    assert 'id="queue-vision"' in told
    assert "speech" not in told.partition("<main")[2]


def test_bars_share_a_scale() -> None:
    queue = Queue("a", deserved=4, ceiling=16)
    standing = Standing(queue, queue, held=6, borrowed=2, waiting=100, capacity=8)
    assert scale_of([standing]) == 8
    drawn = bar(standing, 8)
    assert (drawn.deserved, drawn.within, drawn.borrowed, drawn.waiting) == (50, 50, 25, 25)
    assert drawn.ceiling is None
    assert bar(standing, 32).ceiling == 50
