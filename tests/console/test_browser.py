"""The console as people meet it: in a browser, by keyboard, while things move."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from stoker.job import JobSpec
from tests.console import scene
from tests.console.chrome import Chrome, chrome
from tests.console.crowd import crowded
from tests.console.platform import Platform, listening

pytestmark = pytest.mark.browser

PAGES = {
    "overview": "/",
    "jobs": "/jobs",
    "job": "/jobs/finetune-asr",
    "job-waiting": "/jobs/pretrain-13b",
    "job-failed": "/jobs/train-vit",
    "shipments": "/shipments",
    "shipment": "/shipments/ship-5e1f00d00d",
    "shipment-done": "/shipments/ship-0000000003",
    "models": "/models",
    "model": "/models/gpu-ops",
    "compare": "/models/gpu-ops/compare?v=1&v=2&v=3",
    "endpoints": "/endpoints",
    "endpoint": "/endpoints/gpu-ops?beside=smollm2-base",
    "plans": "/plans?count=1016",
    "plan-training": "/plans/training?count=16",
    "plan-purchase": "/plans/purchase?cards=H100&serve=llama-3.1-8b&train=–",
    "notebooks": "/notebooks",
    "queues": "/queues",
    "keys": "/keys",
}
LOOKS = [("en", "light", 1440), ("zh", "dark", 1440), ("zh", "light", 1100), ("en", "light", 420)]


_SPILLS = """
    return [...document.querySelectorAll(".panel, .figures > div")].filter((panel) =>
        panel.scrollWidth > panel.clientWidth + 1 && getComputedStyle(panel).overflowX === "visible"
    ).map((panel) => panel.textContent.trim().slice(0, 60))
"""


@pytest.fixture(scope="module")
def window(furnished: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chrome(furnished.url, tmp_path_factory.mktemp("chrome")) as made:
        made.sign_in(furnished.secret)
        yield made


@pytest.fixture
def browser(window: Chrome) -> Chrome:
    """The signed-in window, back in English at desk width, with what it said before forgotten."""
    window.choose("en", "light")
    window.width(1440)
    window.complaints()
    window.requests()
    return window


@pytest.mark.parametrize(("language", "theme", "width"), LOOKS)
def test_every_page_fits_and_asks_nobody_else(browser: Chrome, language: str, theme: str, width: int) -> None:
    browser.choose(language, theme)
    browser.width(width)
    for name, path in PAGES.items():
        browser.open(path)
        browser.wait(lambda: browser.script("return document.readyState") == "complete")
        wide = browser.script("return document.documentElement.scrollWidth")
        browser.photograph(f"{name}-{language}-{theme}-{width}", width)
        assert wide <= width, f"{path} is {wide} px wide in a window of {width}"
        assert not browser.script(_SPILLS), f"{path} spills out of a panel at {width}"
    outside = [url for url in browser.requests() if not url.startswith(browser.url)]
    assert not outside
    assert not browser.complaints(), "errors, refused programs or styles"


@pytest.mark.parametrize("width", [1440, 420])
def test_a_hundred_nodes_fit_on_one_page(
    bare: Platform, tmp_path_factory: pytest.TempPathFactory, width: int
) -> None:
    profile = tmp_path_factory.mktemp("chrome")
    with listening(crowded(bare.app)) as url, chrome(url, profile) as window:
        window.sign_in(bare.secret)
        window.width(width)
        window.open("/")
        window.photograph(f"crowd-en-light-{width}", width)
        assert len(window.all(".cell")) == 800
        assert window.script("return document.documentElement.scrollWidth") <= width


def test_the_keyboard_reaches_every_page(browser: Chrome) -> None:
    browser.open("/")
    for letter, path in (("j", "/jobs"), ("s", "/shipments"), ("m", "/models"), ("e", "/endpoints"), ("o", "/")):
        browser.press("g", letter)
        browser.wait(lambda path=path: browser.path == path)  # type: ignore[misc]
    browser.press("?")
    browser.wait(lambda: browser.one("#shortcuts").get_attribute("open"))
    assert "Jobs" in browser.one("#shortcuts").text


def test_the_first_tab_skips_to_the_content(browser: Chrome) -> None:
    browser.open("/jobs")
    browser.press(Keys.TAB)
    skip = browser.driver.switch_to.active_element
    assert skip.get_attribute("href").endswith("#main")
    assert skip.is_displayed()
    skip.send_keys(Keys.ENTER)
    assert browser.script("return document.activeElement.id") == "main"


def test_rows_are_walked_with_arrows_and_opened_with_enter(browser: Chrome) -> None:
    browser.open("/jobs?show=failed")
    browser.press(Keys.ARROW_DOWN)
    assert browser.script("return document.activeElement.closest('tr') !== null")
    browser.press(Keys.ENTER)
    browser.wait(lambda: browser.path.startswith("/jobs/"))


def test_slash_searches_and_typing_there_is_no_shortcut(browser: Chrome) -> None:
    browser.open("/jobs")
    browser.press("/")
    assert browser.script("return document.activeElement.id") == "name"
    browser.press("g", "m", Keys.ENTER)
    browser.wait(lambda: "name=gm" in browser.driver.current_url)


def test_a_new_job_appears_by_itself_and_nothing_that_was_open_closes(browser: Chrome, furnished: Platform) -> None:
    browser.open("/jobs")
    browser.script("window.mark = 'the same document'")
    browser.one("#name").send_keys("half typed")
    (job,) = furnished.app.jobs.submit([JobSpec("just-submitted", ("sleep", "600"))], furnished.admin)
    browser.wait(lambda: "just-submitted" in browser.text("main"))
    assert browser.script("return window.mark") == "the same document"
    assert browser.one("#name").get_attribute("value") == "half typed"
    assert browser.script("return document.activeElement.id") == "name"
    furnished.app.jobs.cancel([job.id], furnished.admin)
    browser.wait(lambda: "Cancelled" in browser.text(f"#job-{job.id}"))


def test_a_job_page_follows_the_job_to_its_end(browser: Chrome, furnished: Platform) -> None:
    program = r"""
        import sys, time
        for done in range(40):
            print(f"\r{done}/40 \x1b[32mgreen\x1b[0m", end="", flush=True)
        print("\nlast line <b>not bold</b>", flush=True)
        sys.stdin.read()
        while True: time.sleep(0.1)
    """
    spec = JobSpec("talker", scene.program(program), time_limit=600)
    (job,) = furnished.app.jobs.submit([spec], furnished.admin)
    browser.open(f"/jobs/{job.id}")
    browser.wait(lambda: "last line <b>not bold</b>" in browser.text("#log"))
    assert browser.text("#log").splitlines()[0] == "39/40 green"
    browser.click("#cancel summary")
    browser.click("#cancel button")
    browser.wait(lambda: "Cancelled" in browser.text("h1"), 45)
    assert not browser.all("#cancel")


def test_what_was_opened_stays_open_through_a_refresh(browser: Chrome, furnished: Platform) -> None:
    browser.open("/jobs/finetune-asr")
    browser.click("#events summary")
    browser.click("#follow")
    browser.script("document.addEventListener('stoker:refreshed', () => { window.refreshed = true })")
    furnished.app.jobs.submit([JobSpec("a-change", ("true",))], furnished.admin)
    browser.wait(lambda: browser.script("return window.refreshed"))
    assert browser.one("#events").get_attribute("open")
    assert not browser.one("#follow").is_selected()
    assert "step  610" in browser.text("#log")


def test_the_cursor_of_a_chart_moves_by_keyboard(browser: Chrome) -> None:
    browser.open("/jobs/finetune-asr")
    latest = browser.text("#chart-tokens_per_s output")
    browser.script("document.querySelector('#chart-tokens_per_s').focus()")
    browser.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    moved = browser.text("#chart-tokens_per_s output")
    assert moved != latest
    assert " @ 60" in moved
    assert moved.endswith("steps")
    browser.press(Keys.TAB)
    browser.wait(lambda: browser.text("#chart-tokens_per_s output") == latest)


def test_a_version_is_promoted_after_a_question(browser: Chrome) -> None:
    browser.open("/models/gpu-ops")
    browser.one("#promote-1 summary").send_keys(Keys.ENTER)
    assert "Version 1 becomes champion" in browser.one("#promote-1").text
    browser.press(Keys.ESCAPE)
    assert not browser.one("#promote-1").get_attribute("open")
    browser.click("#promote-1 summary")
    browser.click("#promote-1 button")
    browser.wait(lambda: "v2 → v1" in browser.text("[aria-labelledby=journal-title]"))
    browser.click("#rollback summary")
    browser.click("#rollback button")
    browser.wait(lambda: "back: v1 → v2" in browser.text("[aria-labelledby=journal-title]"))


def test_a_key_is_made_and_shown_once(browser: Chrome, furnished: Platform) -> None:
    browser.open("/keys")
    browser.one("#key-name").send_keys("notebook", Keys.ENTER)
    secret = browser.wait(lambda: browser.text("#secret"))
    assert furnished.app.accounts.authenticate(secret).name == "notebook"
    browser.open("/keys")
    assert not browser.all("#secret")


def test_language_and_theme_change_with_their_buttons(browser: Chrome) -> None:
    browser.open("/jobs")
    browser.click(".prefs [name=language]")
    browser.wait(lambda: browser.text("h1") == "作业")
    browser.click(".prefs [name=theme]")
    browser.wait(lambda: browser.script("return document.documentElement.dataset.theme") == "dark")
    background = browser.script("return getComputedStyle(document.body).getPropertyValue('background-color')")
    page = browser.script("return getComputedStyle(document.documentElement).backgroundColor")
    assert "rgb(19, 18, 16)" in (background, page)
    browser.click(".prefs [name=language]")
    browser.wait(lambda: browser.text("h1") == "Jobs")


def test_text_is_readable_on_its_ground(browser: Chrome) -> None:
    """WCAG AA: 4.5 to 1, for every colour of text on every ground that the two themes have."""
    browser.open("/")
    inks, grounds = ("ink", "ink-2", "run", "wait", "good", "bad", "accent"), ("bg", "panel", "sunk")
    for theme, ink, ground in itertools.product(("light", "dark"), inks, grounds):
        ratio = browser.script(_CONTRAST, theme, ink, ground)
        assert ratio >= 4.5, f"--{ink} on --{ground} in {theme}: {ratio:.2f}"


_CONTRAST = """
    document.documentElement.dataset.theme = arguments[0];
    const spot = document.createElement("i");
    document.body.append(spot);
    const light = (name) => {
        spot.style.color = `var(--${name})`;
        const parts = getComputedStyle(spot).color.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255);
        const [r, g, b] = parts.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const [high, low] = [light(arguments[1]), light(arguments[2])].sort((a, b) => b - a);
    spot.remove();
    return (high + 0.05) / (low + 0.05);
"""
