"""What counts as use of a notebook."""

from __future__ import annotations

import pytest

from stoker.recipes.notebook_use import Look, Use, last_use, touches

START = Use(100.0, "start")
PAGE = {"Accept": "text/html,application/xhtml+xml"}


def test_a_cell_that_runs_is_use_however_quiet_it_is() -> None:
    assert last_use(START, Look(at=9000.0, executing=1, since=8970.0)) == Use(9000.0, "a cell runs")


def test_processes_that_compute_are_use_and_those_that_wait_are_not() -> None:
    assert last_use(START, Look(at=130.0, cpu_s=4.0, since=100.0)) == Use(130.0, "processes compute")
    assert last_use(START, Look(at=130.0, cpu_s=2.9, since=100.0)) == START


def test_the_latest_of_keys_and_browser_counts() -> None:
    look = Look(at=500.0, since=470.0, typed_at=300.0, touched_at=400.0)
    assert last_use(START, look) == Use(400.0, "browser")
    assert last_use(Use(450.0, "a cell runs"), look) == Use(450.0, "a cell runs")


@pytest.mark.parametrize(
    ("method", "path", "headers", "counts"),
    [
        ("GET", "/notebooks/1/lab", PAGE, True),
        ("PUT", "/notebooks/1/api/contents/a.ipynb", {}, True),
        ("POST", "/notebooks/1/api/kernels/x/interrupt", {}, True),
        # what an open tab asks all day
        ("GET", "/notebooks/1/api/kernels", {"Accept": "*/*"}, False),
        ("GET", "/notebooks/1/api/contents", {}, False),
        ("PUT", "/notebooks/1/lab/api/workspaces/default", {}, False),
        ("POST", "/notebooks/1/api/security/csp-report", {}, False),
    ],
)
def test_requests_that_somebody_made(method: str, path: str, headers: dict[str, str], counts: bool) -> None:
    assert touches(method, path, headers) is counts
