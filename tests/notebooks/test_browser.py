"""A person with a browser: from the console into JupyterLab, a cell, and what a page there cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from stoker.account import Role
from stoker.job import JobState, Resources
from stoker.notebook import NotebookRequest, Site
from tests.console.chrome import Chrome, chrome
from tests.console.platform import Platform, platform

pytest.importorskip("jupyterlab")
pytestmark = [pytest.mark.slow, pytest.mark.browser]

_EDITOR = ".jp-Notebook .jp-Cell .cm-content"
ASK = """
    const answer = arguments[arguments.length - 1];
    fetch(...arguments).then(async (r) => answer([r.status, await r.text()]), (e) => answer(["no", `${e}`]));
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform(tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture(scope="module")
def browser(site: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chrome(site.url, tmp_path_factory.mktemp("chrome")) as made:
        made.sign_in(site.secret)
        yield made


def test_from_the_console_to_a_cell(site: Platform, browser: Chrome, tmp_path: Path) -> None:
    request = NotebookRequest(
        name="explore", folder=str(tmp_path), idle=3600.0, resources=Resources(accelerators=1)
    )
    job = site.app.notebooks.start(request, site.admin).job.id
    browser.one_window()
    browser.open("/notebooks")
    browser.wait(lambda: browser.all("td .st-ready"), seconds=180)  # the page looks again by itself
    browser.choose("zh", "dark")
    browser.open("/notebooks")
    browser.photograph("notebooks-zh-dark", 1100)
    browser.choose("en", "light")
    browser.open("/notebooks")
    browser.photograph("notebooks-en-light", 1440)
    browser.width(420)
    assert browser.script("return document.documentElement.scrollWidth") <= 420
    browser.width(1440)
    assert "in use" in browser.text("main")
    browser.click(f'a[href="/notebooks/{job}/open"]')
    browser.wait(lambda: len(browser.driver.window_handles) == 2)
    console, lab = browser.driver.window_handles
    browser.driver.switch_to.window(lab)
    browser.wait(lambda: browser.all(".jp-LauncherCard"), seconds=240)
    assert "token" not in browser.script("return location.href")
    _run_a_cell(browser)
    browser.photograph("jupyterlab", 1440)
    _cannot_reach_the_console(browser, site.url)
    browser.driver.switch_to.window(console)
    browser.open("/notebooks")  # the console's session is what it was
    browser.click(f"#stop-{job} summary")
    browser.click(f"#stop-{job} form button")
    browser.wait(lambda: site.app.jobs.get(job, site.admin).state is JobState.CANCELLED, seconds=180)
    browser.driver.switch_to.window(lab)
    browser.driver.refresh()
    browser.wait(lambda: "has ended" in browser.text("main"))


def _run_a_cell(browser: Chrome) -> None:
    browser.click('.jp-LauncherCard[data-category="Notebook"]')
    browser.wait(lambda: browser.all(_EDITOR), seconds=180)
    browser.wait(lambda: "Idle" in browser.text(".jp-StatusBar-Widget, #jp-main-statusbar"), seconds=180)
    browser.click(_EDITOR)  # a notebook that is being laid out replaces its cells
    browser.press("6 * 7", Keys.SHIFT + Keys.ENTER)
    browser.wait(lambda: browser.text(".jp-OutputArea-output pre").strip() == "42", seconds=180)


def _cannot_reach_the_console(browser: Chrome, console: str) -> None:
    """The console's cookie goes along, as cookies know no ports; its pages stay closed all the same."""
    status, told = browser.driver.execute_async_script(ASK, f"{console}/keys", {"credentials": "include"})
    assert status == "no", told
    form = {"method": "POST", "credentials": "include", "mode": "no-cors", "body": "name=evil&role=admin&tenant=x"}
    form["headers"] = {"Content-Type": "application/x-www-form-urlencoded"}  # type: ignore[assignment]
    browser.driver.execute_async_script(ASK, f"{console}/keys", form)
    readable = browser.script("return document.cookie")
    assert "stoker_session" not in readable
    assert "stoker_notebook" not in readable


def test_with_a_name_of_its_own_an_admin_opens_somebody_elses(
    site: Platform, browser: Chrome, tmp_path: Path
) -> None:
    """Browsers know every name below localhost as this machine. The tab stays open and nobody is at it."""
    zhang = site.app.accounts.authenticate(site.key(Role.USER))
    job = site.app.notebooks.start(NotebookRequest(folder=str(tmp_path), idle=30.0), zhang).job.id
    site.app.notebooks.site = Site(f"http://*.localhost:{site.app.notebooks.site.port}")
    browser.one_window()
    browser.wait(lambda: site.app.notebooks.get(job, site.admin).ready, seconds=180)
    browser.open(f"/notebooks/{job}/open")
    browser.wait(lambda: browser.all(".jp-LauncherCard"), seconds=240)
    assert browser.script("return location.hostname") == f"notebook-{job}.localhost"
    assert "stoker" not in browser.script("return document.cookie")  # not even what says the language
    _run_a_cell(browser)
    browser.wait(lambda: site.app.jobs.get(job, site.admin).state.final, seconds=240)
    assert "nobody used it for" in site.app.jobs.get(job, site.admin).message


def test_no_such_key_was_made(site: Platform) -> None:
    assert "evil" not in [account.name for account in site.app.accounts.list(site.admin)]
