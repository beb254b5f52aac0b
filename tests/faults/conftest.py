"""Small installations of real processes for all tests of this folder."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import docker_engine
from tests.databases import own_database
from tests.environments.index import PackageIndex, package_index
from tests.faults.small_stack import SmallStack


@pytest.fixture(scope="package")
def index() -> Iterator[PackageIndex]:
    with package_index() as index:
        # Large, and nothing here needs what is in it: a model that does cannot be loaded.
        index.add("tensorflow_cpu", "2.21.0")
        index.add("tensorflow", "2.21.0")
        index.add("tensorboard", "2.21.0")
        yield index


@contextmanager
def small_stack(
    folder: Path,
    postgres_url: str,
    broker_url: str,
    listener: socket.socket | None = None,
    /,
    **settings: str,
) -> Iterator[SmallStack]:
    """Run an installation with a database of its own for the block."""
    database = own_database(postgres_url)
    with asyncio.Runner() as runner:
        url = runner.run(database.__aenter__())
        stack = SmallStack(
            folder.resolve(), database_url=url, broker_url=broker_url, listener=listener
        )
        try:
            stack.start(**settings)
            yield stack
        finally:
            stack.stop()
            runner.run(database.__aexit__(None, None, None))


@pytest.fixture(scope="package")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_url: str,
    broker_url: str,
    index: PackageIndex,
) -> Iterator[SmallStack]:
    folder = tmp_path_factory.mktemp("points")
    # What the small index does not have comes from the usual one.
    with small_stack(folder, postgres_url, broker_url, UV_INDEX=index.url) as stack:
        yield stack


@pytest.fixture(scope="module")
def stack_of_containers(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, broker_url: str
) -> Iterator[SmallStack]:
    folder = tmp_path_factory.mktemp("containers")
    settings = {
        "TRAINWRIGHT_PROVIDER": "docker",
        "TRAINWRIGHT_DOCKER_URL": docker_engine.DOCKER_URL,
    }
    with small_stack(folder, postgres_url, broker_url, **settings) as stack:
        yield stack


@pytest.fixture(autouse=True)
def nothing_goes_on(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test that failed left would be found by all that follow."""
    yield
    for name in ("stack", "stack_of_containers"):
        if name in request.fixturenames:
            request.getfixturevalue(name).end_all()
