"""Headless Chromium that talks to nobody but the server under test, and tells what it asked for."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

T = TypeVar("T")
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en",
)  # fmt: skip
_NOT_YET = (
    ElementClickInterceptedException, ElementNotInteractableException, NoSuchElementException,
    StaleElementReferenceException,
)  # fmt: skip
_HARMLESS = "Password forms should have"  # keys have no user name


@dataclass(frozen=True)
class Chrome:
    driver: Any  # selenium has no types
    url: str

    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    def sign_in(self, secret: str) -> None:
        self.open("/login")
        self.one("#key").send_keys(secret, Keys.ENTER)
        self.wait(lambda: self.path == "/")

    @property
    def path(self) -> str:
        return str(self.script("return location.pathname"))

    def script(self, code: str, *arguments: object) -> Any:
        return self.driver.execute_script(code, *arguments)

    def all(self, css: str) -> list[Any]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, css))

    def one(self, css: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def clicks(self, css: str) -> bool:
        """Whether what `css` finds could be clicked; not while the page replaces or covers it."""
        try:
            self.one(css).click()
        except _NOT_YET:
            return False
        return True

    def click(self, css: str) -> None:
        """As soon as the page lets it: a live page replaces what one looks at."""
        self.wait(lambda: self.clicks(css))

    def text(self, css: str) -> str:
        """As one reads it, hidden parts too."""
        return str(self.script("return document.querySelector(arguments[0])?.textContent ?? ''", css))

    def press(self, *keys: str) -> None:
        """Type at whatever has the focus."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def wait(self, true: Callable[[], T], seconds: float = 60.0) -> T:
        """What `true` answers once it is truthy; fails loudly otherwise."""
        deadline = time.monotonic() + seconds
        while not (answer := true()):
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.05)
        return answer

    def one_window(self) -> None:
        """Only the first window stays, whatever an earlier test left open."""
        first, *others = self.driver.window_handles
        for other in others:
            self.driver.switch_to.window(other)
            self.driver.close()
        self.driver.switch_to.window(first)

    def width(self, pixels: int, height: int = 900) -> None:
        metrics = {"width": pixels, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def choose(self, language: str, theme: str) -> None:
        """The reader's settings, as the console's own buttons leave them."""
        for name, value in (("stoker_language", language), ("stoker_theme", theme)):
            self.driver.add_cookie({"name": name, "value": value})

    def photograph(self, name: str, pixels: int) -> None:
        """The whole page, kept as a build artifact."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        tall = int(self.script("return document.documentElement.scrollHeight"))
        self.width(pixels, min(max(tall, 600), 2600))
        self.driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))
        self.width(pixels)

    def complaints(self) -> list[str]:
        """What the console of the browser says went wrong since the last call."""
        entries = self.driver.get_log("browser")
        return [entry["message"] for entry in entries if _HARMLESS not in entry["message"]]

    def requests(self) -> list[str]:
        """Addresses asked for since the last call."""
        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]


@contextmanager
def chrome(url: str, profile: Path) -> Iterator[Chrome]:
    """Skips the test where Chromium is not installed."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Chrome(made, url)
    finally:
        made.quit()
