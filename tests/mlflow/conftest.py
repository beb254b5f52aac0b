"""A live server on a real socket, and the real client of MLflow."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from mlflow import MlflowClient

from tests.served import Served, served_api

os.environ |= {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class Space:
    """A workspace of one test.

    Attributes:
        name: of the workspace.
        tracking: its tracking address.
        http: a client of our own API, whose addresses begin at the workspace.
        client: the client of MLflow.
    """

    name: str
    tracking: str
    http: httpx2.Client
    client: MlflowClient

    def call(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """Call MLflow's protocol as curl would."""
        return self.http.request(method, f"{self.tracking}/api/2.0/mlflow/{path}", **more)


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, broker_url: str
) -> Iterator[Served]:
    """Return a server that lives as long as the session."""
    folder = tmp_path_factory.mktemp("mlflow").resolve()
    with served_api(folder, postgres_url, broker_url) as server:
        yield server


@contextmanager
def new_space(served: Served) -> Iterator[Space]:
    """A workspace of its own, and the real client for it, as long as the block lasts."""
    name = f"ws-{uuid.uuid4().hex[:12]}"
    native = f"{served.address}/v1/workspaces/{name}"
    tracking = f"{native}/mlflow"
    headers = {"Authorization": f"Bearer {served.token}"}
    with (
        pytest.MonkeyPatch.context() as patch,
        httpx2.Client(base_url=native, headers=headers, timeout=60, trust_env=False) as http,
    ):
        patch.setenv("MLFLOW_TRACKING_TOKEN", served.token)
        http.put(native).raise_for_status()
        client = MlflowClient(tracking_uri=tracking, registry_uri=tracking)
        yield Space(name=name, tracking=tracking, http=http, client=client)


@pytest.fixture
def space(served: Served) -> Iterator[Space]:
    """Return a workspace of this test's own."""
    with new_space(served) as space:
        yield space
