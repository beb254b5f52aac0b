"""Backup and restore of rows, objects and keys, through the commands."""

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.garbage import hold
from app.garbage.service import collect
from app.kernel.keyring import Keyring
from app.secrets.rotation import rotate
from app.storage.keys import object_key
from app.tables.blob import Blob
from tests.conftest import REPOSITORY
from tests.databases import own_database
from tests.live_api import LiveApi, live_api
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]


class Installation:
    """A database and a data folder, and the commands of an operator."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self.url = url
        self.data_dir = data_dir

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "app.backups.command", *words],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "TRAINWRIGHT_DATABASE_URL": self.url,
                "TRAINWRIGHT_DATA_DIR": str(self.data_dir),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    async def run(self, *words: str, code: int = 0) -> str:
        process = self.start(*words)
        said, _ = await anyio.to_thread.run_sync(process.communicate)
        assert process.returncode == code, said
        return said

    async def execute(self, statement: str) -> list[Any]:
        """Run a statement; the first column of what it gives."""
        engine = create_async_engine(self.url, poolclass=NullPool)
        try:
            async with engine.begin() as connection:
                result = await connection.execute(text(statement))
                return list(result.scalars()) if result.returns_rows else []
        finally:
            await engine.dispose()

    async def digests(self) -> list[str]:
        return sorted(await self.execute("SELECT sha256 FROM blobs"))

    async def has_table(self, name: str) -> bool:
        return await self.execute(f"SELECT to_regclass('{name}')") != [None]


@pytest.fixture
async def source(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    """An installation at work, on a database of its own."""
    async with (
        own_database(postgres_url) as url,
        live_api(tmp_path / "source", url, broker_url) as api,
    ):
        yield api


@pytest.fixture
def saving(source: LiveApi) -> Installation:
    return Installation(source.settings.database_url.get_secret_value(), source.settings.data_dir)


@pytest.fixture
async def empty(tmp_path: Path, postgres_url: str) -> AsyncIterator[Installation]:
    """An installation that is to be: an empty database, and no folder yet."""
    name = f"empty_{os.urandom(4).hex()}"
    server = create_async_engine(
        make_url(postgres_url).set(database="postgres"), isolation_level="AUTOCOMMIT"
    )
    async with server.connect() as connection:
        await connection.execute(text(f'CREATE DATABASE "{name}"'))
    url = make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    yield Installation(url, tmp_path / "empty")
    async with server.connect() as connection:
        await connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    await server.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


async def put(api: LiveApi, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    assert (await api.client.put(f"blobs/{sha256}", content=data)).status_code == 201
    return sha256


def modes(folder: Path) -> Iterator[tuple[str, int]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.name, stat.S_IMODE(path.stat().st_mode)


async def test_rows_objects_and_keys_come_back(
    source: LiveApi, saving: Installation, empty: Installation, folder: Path
) -> None:
    first = await put(source, b"first")
    said = await saving.run("backup", str(folder), "--with-keys")
    assert "1 of them are new here" in said
    (earlier,) = (path.name for path in (folder / "backups").iterdir())
    second = await put(source, b"second")
    said = await saving.run("backup", str(folder), "--with-keys")
    assert "objects  2" in said
    assert "1 of them are new here" in said
    kept = dict(modes(folder / "backups"))
    assert (kept["encryption.keys"], kept["signing.keys"]) == (0o600, 0o600)
    assert kept["database.dump"] == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    await empty.run("restore", str(folder))

    assert await empty.digests() == sorted([first, second])
    for digest, data in ((first, b"first"), (second, b"second")):
        assert (empty.data_dir / "objects" / object_key(digest)).read_bytes() == data
    for name in ("encryption.keys", "signing.keys"):
        put_back = empty.data_dir / "secrets" / name
        assert put_back.read_bytes() == (saving.data_dir / "secrets" / name).read_bytes()
        assert stat.S_IMODE(put_back.stat().st_mode) == 0o600

    said = await empty.run("restore", str(folder), "--backup", earlier, code=1)
    assert "--overwrite" in said
    ours = empty.data_dir / "secrets" / "encryption.keys"
    kept_keys = ours.read_bytes()
    manifest = folder / "backups" / earlier / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(json.dumps({**json.loads(whole), "encryption_keys": ["of nobody"]}))
    ours.write_bytes(b"other " + kept_keys)
    said = await empty.run("restore", str(folder), "--backup", earlier, "--overwrite", code=1)
    assert "of nobody" in said
    assert ours.read_bytes() == b"other " + kept_keys  # as the rows that are still here need it
    ours.write_bytes(kept_keys)
    manifest.write_text(whole)
    await empty.execute("CREATE TABLE of_a_later_release (id int)")
    await empty.run("restore", str(folder), "--backup", earlier, "--overwrite")
    assert await empty.digests() == [first]
    assert not await empty.has_table("of_a_later_release")

    async with source.database.session() as session:
        await session.delete(await session.get_one(Blob, (await workspace_id(source), first)))
    said = await saving.run("backup", str(folder), "--with-keys", "--keep", "1")
    assert "removed 2 older backups, and 1 objects of theirs alone" in said
    assert [path.name for path in (folder / "objects" / "sha256").glob("??/*")] == [second]


async def workspace_id(api: LiveApi) -> str:
    return str((await api.client.get(".")).json()["id"])


async def test_without_its_keys_it_is_refused_and_says_which(
    source: LiveApi, saving: Installation, empty: Installation, folder: Path
) -> None:
    await put(source, b"some")
    said = await saving.run("backup", str(folder), code=2)
    assert "--with-keys" in said
    said = await saving.run("backup", str(folder), "--without-keys")
    assert str(saving.data_dir / "secrets" / "encryption.keys") in said
    assert "encryption.keys" not in dict(modes(folder))
    said = await empty.run("restore", str(folder), code=1)
    assert str(empty.data_dir / "secrets" / "encryption.keys") in said
    # Kept elsewhere, and put in place first.
    secrets = empty.data_dir / "secrets"
    secrets.mkdir(parents=True)
    for name in ("encryption.keys", "signing.keys"):
        (secrets / name).write_bytes((saving.data_dir / "secrets" / name).read_bytes())
    assert "warning" not in await empty.run("restore", str(folder))


async def test_what_is_altered_is_found(
    source: LiveApi, saving: Installation, empty: Installation, folder: Path
) -> None:
    good, bad = await put(source, b"good"), await put(source, b"bad")
    path = saving.data_dir / "objects" / object_key(bad)
    path.chmod(0o600)
    path.write_bytes(b"BAD")
    said = await saving.run("backup", str(folder), "--with-keys", code=1)
    assert bad in said
    path.write_bytes(b"bad")
    await saving.run("backup", str(folder), "--with-keys")
    (folder / "objects" / object_key(good)).chmod(0o600)
    (folder / "objects" / object_key(good)).write_bytes(b"GOOD")
    said = await empty.run("restore", str(folder), code=1)
    assert good in said
    assert bad not in said
    (dump,) = sorted((folder / "backups").glob("*/database.dump"))[-1:]
    with dump.open("r+b") as file:
        file.seek(2000)
        file.write(b"altered")
    said = await empty.run("restore", str(folder), "--overwrite", code=1)
    assert "take another one" in said
    assert await empty.digests() == sorted([good, bad])  # as it was


async def test_keys_are_those_of_the_rows_though_they_are_rotated_meanwhile(
    source: LiveApi, saving: Installation, empty: Installation, folder: Path
) -> None:
    digest = await put(source, b"some")
    made = await source.client.put("secrets/db", json={"value": "pass"})
    assert made.status_code == 201, made.text
    ring = Keyring.load(source.settings)
    before = ring.current
    with never_read(saving.data_dir / "objects" / object_key(digest)) as being_read:
        process = saving.start("backup", str(folder), "--with-keys")
        await until(being_read)
        await rotate(source.database.session, ring, may_write=True)
    await anyio.to_thread.run_sync(process.communicate)
    await empty.run("restore", str(folder), code=1)  # the pipe was not the object
    assert await empty.execute("SELECT key_id FROM secret_versions") == [before]
    assert Keyring(empty.data_dir / "secrets" / "encryption.keys").ids() == [before]


async def test_keys_that_were_lost_before_are_named(
    source: LiveApi, saving: Installation, folder: Path
) -> None:
    await source.client.put("secrets/db", json={"value": "pass"})
    ring = Keyring.load(source.settings)
    lost = ring.current
    ring.add()
    ring.forget({lost})
    said = await saving.run("backup", str(folder), "--with-keys", code=1)
    assert lost in said
    assert len(list((folder / "backups").glob("*/manifest.json"))) == 1


async def test_a_restore_that_was_killed_is_run_again(
    source: LiveApi, saving: Installation, empty: Installation, folder: Path
) -> None:
    digests = sorted([await put(source, os.urandom(30_000)) for _ in range(20)])
    await saving.run("backup", str(folder), "--with-keys")
    with never_read(folder / "objects" / object_key(digests[-1])) as being_read:
        process = empty.start("restore", str(folder))
        await until(being_read)
        process.kill()
        await anyio.to_thread.run_sync(process.communicate)
    assert 0 < len(objects_in(empty.data_dir / "objects")) < len(digests)
    assert not await empty.has_table("blobs")

    await empty.run("restore", str(folder))

    assert await empty.digests() == digests
    assert objects_in(empty.data_dir / "objects") == digests


def objects_in(store: Path) -> list[str]:
    """The digests of what a store holds."""
    return sorted(path.name for path in (store / "sha256").glob("??/*"))


@contextmanager
def never_read(path: Path) -> Iterator[Callable[[], Awaitable[bool]]]:
    """Put a pipe in place of a file, so that whoever comes to it stays; gives whether one has."""
    aside = path.with_name(path.name + ".aside")
    path.rename(aside)
    os.mkfifo(path)
    writing: list[int] = []

    async def is_being_read() -> bool:
        try:
            writing.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno != errno.ENXIO:  # nobody has opened it
                raise
        return bool(writing)

    try:
        yield is_being_read
    finally:
        for descriptor in writing:
            os.close(descriptor)
        aside.replace(path)


async def test_a_backup_that_was_killed_counts_for_nothing(
    source: LiveApi, saving: Installation, folder: Path
) -> None:
    digests = sorted([await put(source, os.urandom(30_000)) for _ in range(10)])
    with never_read(saving.data_dir / "objects" / object_key(digests[-1])) as being_read:
        process = saving.start("backup", str(folder), "--with-keys")
        await until(being_read)
        process.kill()
        await anyio.to_thread.run_sync(process.communicate)
    assert 0 < len(objects_in(folder / "objects")) < len(digests)
    said = await saving.run("restore", str(folder), "--overwrite", code=1)
    assert "no whole backup" in said
    said = await saving.run("backup", str(folder), "--with-keys", "--keep", "1")
    assert "removed 1 older backups" in said
    said = await saving.run("restore", str(folder), "--overwrite", code=1)
    assert "stop API and workers" in said


async def test_nothing_is_collected_while_a_backup_is_made(source: LiveApi) -> None:
    digest = await put(source, b"old")
    path = source.objects.local_path(digest)
    assert path is not None
    os.utime(path, (0, path.stat().st_mtime))
    async with source.database.session() as session:
        row = await session.get_one(Blob, (await workspace_id(source), digest))
        row.used_at = row.used_at.replace(year=2020)
    async with source.database.engine.connect() as holding:
        await hold.keep_everything(holding)
        done = await collect(source.database, source.objects, unused_for_seconds=3600)
        assert (done.names_count, done.objects_count) == (0, 0)
    done = await collect(source.database, source.objects, unused_for_seconds=3600)
    assert done.names_count == 1


async def test_names_alone_where_a_bucket_keeps_the_bytes(
    source: LiveApi, saving: Installation, empty: Installation, folder: Path
) -> None:
    digest = await put(source, b"kept by the bucket")
    await saving.run("backup", str(folder), "--with-keys", "--no-objects")
    assert not list((folder / "objects" / "sha256").glob("??/*"))
    said = await empty.run("restore", str(folder), code=1)
    assert digest in said
    manifest = json.loads(next((folder / "backups").glob("*/manifest.json")).read_text())
    assert (manifest["has_objects"], manifest["objects_count"]) == (False, 1)
