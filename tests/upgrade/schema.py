"""What a database looks like, and what of it the previous release could stumble over."""

import io
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, inspect, make_url, text

from app.embedded.postgres import program
from tests.conftest import REPOSITORY

MIGRATIONS = REPOSITORY / "migrations"


def released_revision() -> str:
    """The database's version of the last release."""
    return (MIGRATIONS / "released.txt").read_text().strip()


@contextmanager
def empty_database(postgres_url: str) -> Iterator[str]:
    """A database without anything in it, for the block; its address."""
    name = f"empty_{uuid.uuid4().hex}"
    server = create_engine(
        make_url(postgres_url).set(database="postgres"), isolation_level="AUTOCOMMIT"
    )
    with server.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    try:
        yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        server.dispose()


def config_of(url: str) -> Config:
    """Alembic, on a database."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    return config


def upgrade(url: str, revision: str = "head") -> None:
    command.upgrade(config_of(url), revision)


def downgrade(url: str, revision: str) -> None:
    command.downgrade(config_of(url), revision)


def offline_sql(url: str) -> str:
    """The SQL of all migrations."""
    config = config_of(url)
    config.output_buffer = io.StringIO()
    command.upgrade(config, "head", sql=True)
    return config.output_buffer.getvalue()


def execute_sql(url: str, sql: str) -> None:
    """Run a script as an operator does."""
    done = subprocess.run(
        [str(program("psql")), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", _plain(url)],
        input=sql,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def dumped(url: str) -> str:
    """Everything of a database but its rows."""
    done = subprocess.run(
        [str(program("pg_dump")), "--schema-only", "--restrict-key=same", "-d", _plain(url)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def version(url: str) -> str | None:
    """The database's version."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
                return None
            found = connection.scalar(text("SELECT version_num FROM alembic_version"))
            return None if found is None else str(found)
    finally:
        engine.dispose()


@dataclass(frozen=True)
class Column:
    """What matters of a column to a program that writes its row."""

    type: str
    may_be_null: bool
    has_default: bool


@dataclass
class Schema:
    """Tables, and what limits the rows in them."""

    columns: dict[str, dict[str, Column]] = field(default_factory=dict)
    limits: dict[str, set[str]] = field(default_factory=dict)


def schema_of(url: str) -> Schema:
    """What tables there are now."""
    engine = create_engine(url)
    found = Schema()
    try:
        look = inspect(engine)
        for table in look.get_table_names():
            found.columns[table] = {
                str(column["name"]): Column(
                    type=str(column["type"]),
                    may_be_null=bool(column["nullable"]),
                    has_default=bool(column["default"] or column.get("identity")),
                )
                for column in look.get_columns(table)
            }
            unique = [index["name"] for index in look.get_indexes(table) if index["unique"]]
            found.limits[table] = {
                str(name)
                for name in (
                    *unique,
                    *(one["name"] for one in look.get_unique_constraints(table)),
                    *(one["name"] for one in look.get_check_constraints(table)),
                    *(one["name"] for one in look.get_foreign_keys(table)),
                )
            }
    finally:
        engine.dispose()
    return found


def contractions(before: Schema, after: Schema) -> list[str]:
    """What a program that knows `before` could stumble over in `after`."""
    found = []
    for table, columns in before.columns.items():
        now = after.columns.get(table)
        if now is None:
            found.append(f"table {table} is gone")
            continue
        found += [f"column {table}.{name} is gone" for name in columns if name not in now]
        found += [
            f"column {table}.{name} has another type"
            for name, column in columns.items()
            if name in now and now[name].type != column.type
        ]
        found += [
            f"column {table}.{name} has to be given"
            for name, column in now.items()
            if not column.may_be_null
            and not column.has_default
            and (name not in columns or columns[name].may_be_null or columns[name].has_default)
        ]
        limits = after.limits[table] - before.limits[table]
        found += [f"{name} limits {table}" for name in sorted(limits)]
    return found


def _plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
