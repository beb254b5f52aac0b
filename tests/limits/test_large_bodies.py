"""Whoever sends too much learns why, also with a client that sends all of it first."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.served import Served, served_api

LARGE = b" " * 40_000_000


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, broker_url: str
) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("large")
    with served_api(folder, postgres_url, broker_url) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("experiments", True, 413),
        ("experiments", False, 413),
        ("blobs/" + "0" * 64, False, 401),
        ("blobs/" + "0" * 64, True, 422),
    ],
)
def test_a_client_that_closes_afterwards_sees_the_refusal(
    served: Served, path: str, token: bool, status: int
) -> None:
    url = f"{served.address}/v1/workspaces/{served.api.workspace}/{path}"
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {served.token}"
    method = "PUT" if path.startswith("blobs") else "POST"
    for _ in range(3):
        request = urllib.request.Request(  # noqa: S310 - it is on loopback
            url, data=LARGE, headers=headers, method=method
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=60)  # noqa: S310 - as above
        assert caught.value.code == status
        assert json.load(caught.value)["status"] == status
