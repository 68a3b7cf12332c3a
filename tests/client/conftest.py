from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.platform import Site, open_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("home")) as opened:
        yield opened
