"""Whatever is sent to the API, it answers in its own forms and never fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from tests.api.platform import Site, open_site

EXAMPLES = 12  # for each operation, good ones and as many bad ones
ENDLESS = ["/api/v1/changes", "/api/v1/jobs/{job_id}/logs"]  # these wait or go on by design; asked in test_rest


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A platform of its own: what is made up here would crowd the other tests' lists."""
    with open_site(tmp_path_factory.mktemp("home")) as opened:
        yield opened


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_input_makes_the_server_fail(site: Site, mode: Any) -> None:
    schema = schemathesis.openapi.from_url(f"{site.url}/openapi.json").exclude(path=ENDLESS)
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if _takes_input(operation) or mode is GenerationMode.POSITIVE:
            _ask(operation, mode, site)
            asked += 1
    assert asked > 20


def _takes_input(operation: Any) -> bool:
    """Without fields there is nothing to get wrong."""
    return bool(list(operation.iter_parameters()) or operation.body)


def _ask(operation: Any, mode: Any, site: Site) -> None:
    key = {"Authorization": f"Bearer {site.admin_key}"}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        response = case.call(headers=key, timeout=30)
        assert response.status_code < 500 or response.status_code == 501, case.as_curl_command()
        if response.status_code >= 400:
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}, case.as_curl_command()

    ask()
