"""One small installation of real processes for all tests of this folder."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.databases import own_database
from tests.environments.index import PackageIndex, package_index
from tests.faults.small_stack import SmallStack


@pytest.fixture(scope="package")
def index() -> Iterator[PackageIndex]:
    with package_index() as index:
        yield index


@pytest.fixture(scope="package")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_url: str,
    broker_url: str,
    index: PackageIndex,
) -> Iterator[SmallStack]:
    database = own_database(postgres_url)
    with asyncio.Runner() as runner:
        url = runner.run(database.__aenter__())
        folder = tmp_path_factory.mktemp("points").resolve()
        stack = SmallStack(folder, database_url=url, broker_url=broker_url)
        try:
            stack.start(UV_DEFAULT_INDEX=index.url)
            yield stack
        finally:
            stack.stop()
            runner.run(database.__aexit__(None, None, None))
