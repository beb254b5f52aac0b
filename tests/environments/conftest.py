"""A package index of our own, and uv pointed at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environments.index import PackageIndex, package_index


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    """Serve two packages, and have uv know of no other source and no cache."""
    with package_index() as served:
        served.add("bird", "1.0")
        served.add("fish", "2.1")
        monkeypatch.setenv("UV_DEFAULT_INDEX", served.url)
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        yield served
