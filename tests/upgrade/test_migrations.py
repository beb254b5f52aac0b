"""Migrations: up, down, offline, by several at once, killed in the middle; they only expand."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.conftest import REPOSITORY
from tests.upgrade.schema import (
    contractions,
    downgrade,
    dumped,
    empty_database,
    execute_sql,
    offline_sql,
    released_revision,
    schema_of,
    upgrade,
    version,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

EXCEPTIONS: frozenset[str] = frozenset()
"""Contractions since the release that it does not stumble over, each with its reason beside."""


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    with empty_database(postgres_url) as address:
        yield address


@pytest.fixture(scope="module")
def wanted(postgres_url: str) -> str:
    """A migrated database, as text."""
    return dumped(postgres_url)


def start_migrating(url: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=REPOSITORY,
        env={**os.environ, "TRAINWRIGHT_DATABASE_URL": url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_up_to_the_release_then_on_then_down_and_up_again(url: str, wanted: str) -> None:
    upgrade(url, released_revision())
    before = schema_of(url)
    upgrade(url)
    assert dumped(url) == wanted
    assert set(contractions(before, schema_of(url))) == EXCEPTIONS
    downgrade(url, released_revision())
    assert contractions(schema_of(url), before) == []
    downgrade(url, "base")
    assert set(schema_of(url).columns) == {"alembic_version"}
    upgrade(url)
    assert dumped(url) == wanted


def test_offline_it_is_the_same(url: str, wanted: str) -> None:
    execute_sql(url, offline_sql(url))
    assert dumped(url) == wanted


@pytest.mark.fault(22)
@pytest.mark.fault(23)
def test_several_at_once_and_killed_ones_end_in_the_same(url: str, wanted: str) -> None:
    killed_at = []
    for _ in range(2):
        reached = version(url)
        process = start_migrating(url)
        deadline = time.monotonic() + 180
        while version(url) == reached and process.poll() is None:
            assert time.monotonic() < deadline
        process.kill()
        process.wait()
        killed_at.append(version(url))
    at_once = [start_migrating(url) for _ in range(3)]
    assert [process.wait(timeout=240) for process in at_once] == [0, 0, 0]
    assert dumped(url) == wanted
    assert killed_at[0] != version(url), "it was killed too late to say anything"


STUMBLES = {
    "DROP TABLE quotas": "table quotas is gone",
    "ALTER TABLE runs RENAME COLUMN description TO words": "column runs.description is gone",
    "ALTER TABLE runs ALTER COLUMN attempt TYPE numeric": "column runs.attempt has another type",
    "ALTER TABLE runs ADD COLUMN more text NOT NULL": "column runs.more has to be given",
    "ALTER TABLE runs ALTER COLUMN priority DROP DEFAULT": "column runs.priority has to be given",
    "ALTER TABLE runs ALTER COLUMN image_id SET NOT NULL": "column runs.image_id has to be given",
    "ALTER TABLE runs ADD CONSTRAINT low CHECK (priority < 9)": "low limits runs",
    "CREATE UNIQUE INDEX one ON runs (display_name)": "one limits runs",
}


def test_what_the_previous_release_would_stumble_over_is_found(url: str) -> None:
    upgrade(url)
    before = schema_of(url)
    execute_sql(url, "ALTER TABLE runs ADD COLUMN fine text; CREATE TABLE more (id int)")
    assert contractions(before, schema_of(url)) == []
    for statement, words in STUMBLES.items():
        execute_sql(url, statement)
        assert words in contractions(before, schema_of(url)), statement
