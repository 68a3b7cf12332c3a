"""The page of notebooks: who sees, opens and stops what."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from stoker.account import Role
from stoker.job import JobState, Resources
from stoker.notebook import NotebookRequest
from tests.console.page import Page
from tests.console.platform import Platform
from tests.console.test_pages import check


@pytest.fixture
def zhang(furnished: Platform) -> str:
    return furnished.key(Role.USER)


@pytest.fixture
def notebook(furnished: Platform, zhang: str) -> int:
    """One that waits: more devices are asked for than are free."""
    who = furnished.app.accounts.authenticate(zhang)
    request = NotebookRequest(name="explore", resources=Resources(accelerators=8), idle=1800.0)
    return furnished.app.notebooks.start(request, who).job.id


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_row_for_each(furnished: Platform, notebook: int, zhang: str, language: str) -> None:
    with furnished.visitor(zhang, language) as visitor:
        told = visitor.get("/notebooks").text
    check(Page(told), language)
    assert "explore" in told
    assert f'href="/notebooks/{notebook}/open"' in told


def test_open_leads_to_another_origin_and_only_its_owner(furnished: Platform, notebook: int, zhang: str) -> None:
    with furnished.visitor(zhang) as visitor:
        answer = visitor.get(f"/notebooks/{notebook}/open")
    assert answer.status_code == 303
    target = urlsplit(answer.headers["location"])
    assert target.hostname == "127.0.0.1"
    assert target.netloc != urlsplit(furnished.url).netloc
    assert (target.path, target.query[:6]) == (f"/notebooks/{notebook}/lab", "token=")
    with furnished.visitor() as admin:
        assert f"/notebooks/{notebook}/open" not in admin.get("/notebooks").text
        refused = admin.get(f"/notebooks/{notebook}/open")
    assert refused.status_code == 403
    assert "belongs to" in refused.text
    with furnished.visitor(furnished.key(Role.USER, "vision")) as stranger:
        assert stranger.get(f"/notebooks/{notebook}/open").status_code == 404
        assert "explore" not in stranger.get("/notebooks").text


def test_stop_ends_it(furnished: Platform, notebook: int, zhang: str) -> None:
    with furnished.visitor(furnished.key(Role.VIEWER)) as viewer:
        assert viewer.post(f"/notebooks/{notebook}/stop").status_code == 403
    with furnished.visitor(zhang) as visitor:
        foreign = visitor.post(f"/notebooks/{notebook}/stop", headers={"origin": another_port(furnished.url)})
        assert foreign.status_code == 403
        assert visitor.post(f"/notebooks/{notebook}/stop").status_code == 303
    assert furnished.app.jobs.get(notebook, furnished.admin).state is JobState.CANCELLED


def another_port(url: str) -> str:
    return f"{url[:-1]}{(int(url[-1]) + 1) % 10}"
