"""Commands of the command line that talk to the database: migrations and tokens.

They use TRAINWRIGHT_DATABASE_URL, or the running embedded stack of TRAINWRIGHT_DATA_DIR.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from alembic import command
from alembic.config import Config
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from app.auth import repository, service
from app.auth.audit import purge, record_operator
from app.auth.signing_keys import ALWAYS, SigningKey, SigningKeys, new_line
from app.auth.signing_uses import KeyUse, uses
from app.embedded.layout import Layout
from app.kernel.config import get_settings
from app.kernel.errors import NotFound
from app.kernel.keyring import Keyring, new_key
from app.kernel.pagination import MAX_PAGE_SIZE, PageQuery
from app.secrets import rotation

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
_DAY_SECONDS = 86_400

T = TypeVar("T")

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
tokens = typer.Typer(no_args_is_help=True, help="Create, list and revoke tokens of the API.")
cli.add_typer(tokens, name="token")
secrets = typer.Typer(no_args_is_help=True, help="The keys that secrets are encrypted with.")
cli.add_typer(secrets, name="secrets")

signing = typer.Typer(
    no_args_is_help=True, help="The keys that tokens of runs and nodes are signed with."
)
cli.add_typer(signing, name="signing")

audit = typer.Typer(no_args_is_help=True, help="The audit log: the API reads it.")
cli.add_typer(audit, name="audit")


@cli.command()
def migrate(
    *,
    first_token: Annotated[
        bool,
        typer.Option(
            "--first-token",
            help="Make a token if there never was one, and print it in a JSON object.",
        ),
    ] = False,
) -> None:
    """Bring the database to the newest version."""
    command.upgrade(_alembic(), "head")
    if first_token:
        typer.echo(json.dumps({"first_token": _run(_create_first_token())}))


@cli.command()
def revision(message: Annotated[str, typer.Argument(help="What changes, in a few words.")]) -> None:
    """Write a migration from the difference between the database and the tables."""
    command.revision(_alembic(), message=message, autogenerate=True)


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    *,
    days: Annotated[int | None, typer.Option(help="Days until it expires.", min=1)] = None,
) -> None:
    """Make a token and print it: it is stored hashed, so this is the only time."""
    typer.echo(_run(_create_token(name, days=days)))


@tokens.command("list")
def list_tokens() -> None:
    """List all tokens, without their secrets."""
    table = Table("ID", "NAME", "CREATED", "EXPIRES", "REVOKED", box=None)
    for row in _run(_all_tokens()):
        table.add_row(
            row.id,
            row.name,
            *(_shown(at) for at in (row.created_at, row.expires_at, row.revoked_at)),
        )
    Console(soft_wrap=True).print(table)


@tokens.command("revoke")
def revoke_token(token_id: Annotated[str, typer.Argument(help="Its id, from `list`.")]) -> None:
    """Revoke a token: from now on it is refused."""
    _run(_revoke_token(token_id))


@audit.command("purge")
def purge_audit(
    *,
    older_than_days: Annotated[int, typer.Option(help="Events of the last days stay.", min=1)],
) -> None:
    """Delete old events of the audit log for good; that it was done is an event itself."""
    count = _run(purge(_session, older_than_days=older_than_days))
    typer.echo(f"{count} events are deleted")


@secrets.command("rotate-key")
def rotate_key() -> None:
    """Encrypt all secrets with a new key, and forget the old ones; may be broken off and repeated.

    Where TRAINWRIGHT_ENCRYPTION_KEYS_FILE names a file of yours, that is only read: add a line from
    `new-key` at its end first, and take the old ones out afterwards.
    """
    settings = get_settings()
    keyring = _keyring()
    may_write = settings.encryption_keys_file is None
    done = _run(rotation.rotate(_session, keyring, may_write=may_write))
    begun = "a new key" if done.is_new else "the newest key"
    typer.echo(f"encrypted {done.values} values with {begun}, {done.key_id}")
    if done.unreadable:
        shown = ", ".join(done.unreadable)
        _fail(f"cannot be decrypted, for want of their keys or since they were altered: {shown}")
    if done.unused:
        said = "no longer in" if may_write else "may be taken out of"
        typer.echo(f"older keys that are {said} {keyring.path}: {', '.join(sorted(done.unused))}")


@secrets.command("new-key")
def make_key() -> None:
    """Print a key, to be added as the last line of TRAINWRIGHT_ENCRYPTION_KEYS_FILE."""
    typer.echo(new_key())


@signing.command("keys")
def list_signing_keys() -> None:
    """List the keys, and until when each of the old ones is needed."""
    for use in _run(_uses(_signing_keys())):
        typer.echo(f"{use.key.id}  from {_shown_start(use.key)}: {use.words}")


@signing.command("rotate-key")
def rotate_signing_key(
    *,
    leaked: Annotated[
        bool,
        typer.Option(
            "--leaked",
            help="Forget the old keys at once: runs under way lose their tokens, deployments get "
            "other keys, their replicas have to be started again.",
        ),
    ] = False,
) -> None:
    """Sign with a new key from now on, and forget those whose signatures have all ended.

    Where TRAINWRIGHT_SIGNING_KEY_FILE names a file of yours, that is only read: add a line from
    `new-key` at its end, and later take out those that `signing keys` calls unneeded.
    """
    keys = _signing_keys()
    if get_settings().signing_key_file is not None:
        _fail(
            f"{keys.path} is yours and only read: add a line of `trainwright signing new-key` to "
            "it; `trainwright signing keys` says which lines nothing needs any more"
        )
    added = keys.add()
    gone = _run(_forget(keys, is_leaked=leaked))
    typer.echo(f"signing with {added.id} from {_shown_start(added)}")
    if gone:
        typer.echo(f"forgotten: {', '.join(gone)}")


@signing.command("new-key")
def make_signing_key(
    *,
    minutes: Annotated[
        float, typer.Option(help="It signs in so many: by then every machine has to have it.")
    ] = 10.0,
) -> None:
    """Print a line to be added at the end of TRAINWRIGHT_SIGNING_KEY_FILE, on every machine."""
    typer.echo(new_line(seconds=minutes * 60))


@signing.command("name")
def show_installation() -> None:
    """Print the line that keeps the installation's name when its first signing key goes."""
    typer.echo(f"installation={_signing_keys().installation_id}")


async def _uses(keys: SigningKeys) -> list[KeyUse]:
    async with _session() as session:
        return await uses(session, keys.all())


async def _forget(keys: SigningKeys, *, is_leaked: bool) -> list[str]:
    async with _session() as session:
        found = await uses(session, keys.all())
        gone = [use.key.id for use in found[:-1] if is_leaked or not use.is_needed]
        keys.forget(set(gone))
        record_operator(session, "signing rotate-key", {"forgotten": gone, "leaked": is_leaked})
        return gone


def _signing_keys() -> SigningKeys:
    settings = get_settings()
    try:
        return SigningKeys.load(settings.data_dir, settings.signing_key_file)
    except (OSError, ValueError) as error:
        _fail(f"the signing keys cannot be read: {error}")


def _shown_start(key: SigningKey) -> str:
    return "the beginning" if key.signs_from == ALWAYS else _shown(key.signs_from)


async def _create_first_token() -> str | None:
    async with _session() as session:
        return await service.create_first_token(session)


async def _create_token(name: str, *, days: int | None) -> str:
    async with _session() as session:
        seconds = None if days is None else days * _DAY_SECONDS
        row, secret = await service.create_token(session, name=name, expires_in_seconds=seconds)
        record_operator(session, "token create", {"token_id": row.id, "name": name})
        return secret


async def _all_tokens() -> list[Any]:
    rows = []
    page = PageQuery(page_size=MAX_PAGE_SIZE, page_token="")
    async with _session() as session:
        while True:
            found, following = await repository.list_page(session, page)
            rows += found
            if not following:
                return rows
            page = PageQuery(page_size=MAX_PAGE_SIZE, page_token=following)


async def _revoke_token(token_id: str) -> None:
    async with _session() as session:
        await repository.get(session, token_id)
        await repository.revoke(session, token_id)
        record_operator(session, "token revoke", {"token_id": token_id})


@asynccontextmanager
async def _session() -> AsyncIterator[AsyncSession]:
    """One transaction on a connection of its own."""
    engine = create_async_engine(_database_url(), poolclass=NullPool)
    try:
        async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
            yield session
    finally:
        await engine.dispose()


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run one command's work; what can go wrong outside of it becomes a line of text."""
    try:
        return asyncio.run(work)
    except NotFound as error:
        _fail(str(error))
    except OperationalError as error:
        _fail(f"the database does not answer: {error.orig}\nIs the stack running?")
    except ProgrammingError as error:
        _fail(f"the database is of another version ({error.orig}): run `trainwright migrate`.")


def _keyring() -> Keyring:
    try:
        return Keyring.load(get_settings())
    except (OSError, ValueError) as error:
        _fail(f"the encryption keys cannot be read: {error}")


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option(
        "file_template",
        "%%(year)d_%%(month).2d_%%(day).2d_%%(hour).2d%%(minute).2d_%%(rev)s_%%(slug)s",
    )
    config.attributes["url"] = _database_url()
    return config


def _database_url() -> str:
    settings = get_settings()
    given = settings.database_url.get_secret_value()
    return given or Layout(settings.data_dir.expanduser().resolve()).postgres.url()


def _shown(at: datetime | None) -> str:
    return "" if at is None else at.isoformat(timespec="seconds")


if __name__ == "__main__":
    cli(prog_name="trainwright")
