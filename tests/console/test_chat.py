"""The chat box, through the platform's own gateway."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from stoker.endpoint import Endpoint, Replica, ReplicaState
from tests.console.chrome import Chrome, chrome
from tests.console.engines import engine
from tests.console.platform import Platform

pytestmark = pytest.mark.browser


def serve(platform: Platform, name: str, url: str) -> None:
    """An endpoint whose one replica is ready at `url`."""
    endpoint = Endpoint(name, platform.admin.tenant, "maria", version=1, wanted=1, created_at=1.0)
    ready = Replica(job=1, version=1, state=ReplicaState.READY, url=url)
    platform.app.endpoint_book.add(dataclasses.replace(endpoint, replicas=(ready,)))


@pytest.fixture(scope="module")
def talking(furnished: Platform) -> Iterator[Platform]:
    """Two endpoints that answer, one that takes its time, and one whose engine is gone."""
    with (
        engine("Xid", " 79:", " <b>fallen</b>", " off", " the", " bus") as new,
        engine("I", " am", " the", " base") as base,
        engine(*[f"word{number} " for number in range(2000)], pause_s=0.02) as slow,
    ):
        gone = "http://127.0.0.1:9"  # the discard port: nobody listens
        for name, url in {"chat-new": new, "chat-base": base, "chat-slow": slow, "chat-gone": gone}.items():
            serve(furnished, name, url)
        yield furnished


@pytest.fixture(scope="module")
def window(talking: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chrome(talking.url, tmp_path_factory.mktemp("chrome")) as made:
        made.sign_in(talking.secret)
        made.width(1440)
        yield made


def test_an_answer_comes_as_it_is_made_with_its_speed(window: Chrome) -> None:
    window.open("/endpoints/chat-new")
    window.one("#prompt").send_keys("What is Xid 79?", Keys.ENTER)
    window.wait(lambda: window.all(".said-note"))
    assert [item.text for item in window.all(".said")] == [
        "What is Xid 79?",
        "Xid 79: <b>fallen</b> off the bus [What is Xid 79?]",
    ]
    assert "7 tokens" in window.text(".said-note")
    window.one("#prompt").send_keys("line one", Keys.SHIFT + Keys.ENTER)
    window.one("#prompt").send_keys("line two", Keys.ENTER)
    window.wait(lambda: len(window.all(".said")) == 4)
    assert window.all(".said")[2].text == "line one\nline two"


def test_base_and_new_answer_side_by_side(window: Chrome) -> None:
    window.open("/endpoints/chat-new")
    window.script("const box = document.querySelector('#beside'); box.value = 'chat-base'; "
                  "box.dispatchEvent(new Event('change', {bubbles: true}))")  # fmt: skip
    window.wait(lambda: len(window.all(".thread")) == 2)
    window.one("#prompt").send_keys("Who are you?", Keys.ENTER)
    window.wait(lambda: len(window.all(".said-note")) == 2)
    window.photograph("chat-en-light-1440", 1440)
    assert "fallen" in window.text("[data-thread=chat-new]")
    assert "I am the base" in window.text("[data-thread=chat-base]")


def test_an_answer_is_stopped_and_the_next_one_goes_on(window: Chrome) -> None:
    window.open("/endpoints/chat-slow")
    window.one("#prompt").send_keys("Tell me everything", Keys.ENTER)
    window.wait(lambda: "word5" in window.text(".said.assistant"))
    window.click("#send")
    window.wait(lambda: "stopped" in window.text(".said-note"))
    assert "word1999" not in window.text(".said.assistant")
    window.click("#clear")
    assert not window.all(".said")


def test_an_engine_that_is_gone_is_told_in_one_line(window: Chrome) -> None:
    window.open("/endpoints/chat-gone")
    window.one("#prompt").send_keys("Anybody there?", Keys.ENTER)
    window.wait(lambda: window.all(".said-note.wrong"))
    assert window.text(".said-note.wrong")


def test_a_refresh_keeps_the_conversation(window: Chrome, talking: Platform) -> None:
    window.open("/endpoints/chat-base")
    window.one("#prompt").send_keys("Remember this", Keys.ENTER)
    window.wait(lambda: window.all(".said-note"))
    window.script("document.addEventListener('stoker:refreshed', () => { window.refreshed = true })")
    talking.app.changes.bump()
    window.wait(lambda: window.script("return window.refreshed"))
    assert "I am the base" in window.text(".said.assistant")
