"""Secrets in files: passwords of the database and the broker, and the signing key."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy.engine import make_url

from app.auth.principal import Principal
from app.auth.signing import Signer
from app.kernel.config import Settings
from app.kernel.errors import Unauthorized

PASSWORD = "p@ss/w:rd #1"
DATABASE = SecretStr("postgresql+psycopg://trainwright@db:5432/trainwright")


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    return path


def test_the_passwords_in_files_complete_the_addresses(password_file: Path) -> None:
    settings = Settings(
        database_url=DATABASE,
        database_password_file=password_file,
        broker_url=SecretStr("redis://broker:6379/0"),
        broker_password_file=password_file,
    )

    database = make_url(settings.database_url.get_secret_value())
    broker = make_url(settings.redis_url)
    assert (database.username, database.password, database.host) == ("trainwright", PASSWORD, "db")
    assert (database.port, database.database) == (5432, "trainwright")
    assert (broker.password, broker.host, broker.database) == (PASSWORD, "broker", "0")


def test_two_passwords_are_refused_and_neither_is_shown(password_file: Path) -> None:
    doubled = SecretStr("postgresql+psycopg://trainwright:other-7@db/trainwright")

    with pytest.raises(ValidationError, match="another one in the address") as refusal:
        Settings(database_url=doubled, database_password_file=password_file)

    assert PASSWORD not in str(refusal.value)
    assert "other-7" not in str(refusal.value)


def test_an_empty_or_missing_file_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")

    with pytest.raises(ValidationError, match=str(empty)):
        Settings(database_url=DATABASE, database_password_file=empty)
    with pytest.raises(FileNotFoundError, match="missing"):
        Settings(database_url=DATABASE, database_password_file=tmp_path / "missing")


def test_a_password_for_a_socket_is_refused(password_file: Path) -> None:
    with pytest.raises(ValidationError, match="without a host"):
        Settings(
            broker_url=SecretStr("redis+socket:///run/broker.sock"),
            broker_password_file=password_file,
        )


def test_processes_with_the_same_key_file_believe_each_other(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("0123456789abcdef" * 4 + "\n")
    run = Principal(kind="run", id="run_1", name="run run_1", workspace_id="ws_1", attempt=1)

    token = Signer.load(tmp_path / "one", key_file).issue(run)

    assert Signer.load(tmp_path / "two", key_file).verify(token) == run
    with pytest.raises(Unauthorized):
        Signer.load(tmp_path / "two").verify(token)


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("short\n")

    with pytest.raises(ValueError, match="has 5 bytes"):
        Signer.load(tmp_path, key_file)
