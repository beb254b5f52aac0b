"""``trainwright backup`` and ``trainwright restore``."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy.exc import DBAPIError

from app.backups import keys
from app.backups.database import database_to_fill, database_to_save
from app.backups.errors import BackupError
from app.backups.folder import BackupFolder
from app.backups.restoring import restore as bring_back
from app.backups.saving import save
from app.embedded.errors import EmbeddedError
from app.kernel.config import get_settings
from app.storage.errors import StorageError

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Argument(help="Folder of backups.", metavar="FOLDER")]
_SHOWN = 5


@cli.command()
def backup(
    folder: Folder,
    *,
    with_keys: Annotated[
        bool,
        typer.Option(
            "--with-keys/--without-keys",
            help="Whether the keys of secrets and of tokens are put beside the rows that they "
            "guard; without, keep them elsewhere.",
        ),
    ],
    with_objects: Annotated[
        bool,
        typer.Option(
            "--objects/--no-objects",
            help="Whether bytes are copied; without, your bucket has to keep them.",
        ),
    ] = True,
    keep: Annotated[
        int | None, typer.Option(help="Afterwards, remove all but so many backups.", min=1)
    ] = None,
) -> None:
    """Save database, objects and, if asked for, keys; everything goes on meanwhile."""
    settings = get_settings()
    store = BackupFolder(folder)
    with _said_plainly(), database_to_save(settings) as url, store.claimed(), _progress() as shown:
        saved = asyncio.run(
            save(
                settings,
                url,
                store,
                with_keys=with_keys,
                with_objects=with_objects,
                progress=shown,
            )
        )
        gone = store.keep_last(keep) if keep is not None else (0, 0)
    manifest = saved.manifest
    typer.echo(f"saved {saved.backup.name} in {folder}")
    if with_objects:
        typer.echo(
            f"  objects  {manifest.objects_count}, {manifest.objects_bytes} bytes; "
            f"{saved.copied.count} of them are new here"
        )
    else:
        typer.echo(f"  objects  none of {manifest.objects_count}: only their names")
    if with_keys:
        typer.echo(f"  keys     in {saved.backup.keys_path}: whoever has these reads all secrets")
    else:
        files = keys.key_files(settings)
        typer.echo(f"  keys     not in it; keep {files.encryption} and {files.signing} elsewhere")
    if gone[0]:
        typer.echo(f"removed {gone[0]} older backups, and {gone[1]} objects of theirs alone")
    if manifest.lost_keys:
        typer.echo(
            "error: secrets cannot be read for want of the encryption keys "
            f"{', '.join(manifest.lost_keys)}; the rest is done",
            err=True,
        )
    _fail_for_lost(manifest.lost, "the object store had lost already")
    if manifest.lost_keys:
        raise typer.Exit(1)


@cli.command()
def restore(
    folder: Folder,
    *,
    name: Annotated[
        str | None, typer.Option("--backup", help="Which one; else the last.", metavar="TIME")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what the database holds.")
    ] = False,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Go on though keys are missing.")
    ] = False,
) -> None:
    """Bring a backup back to this installation, which must not be running; may be repeated."""
    settings = get_settings()
    store = BackupFolder(folder)
    with _said_plainly(), _progress() as shown:
        store.named(name)  # before a database is made for it
        with database_to_fill(settings) as url:
            done = asyncio.run(
                bring_back(
                    settings,
                    url,
                    store,
                    name=name,
                    overwrite=overwrite,
                    without_keys=without_keys,
                    progress=shown,
                )
            )
    typer.echo(f"restored {done.backup.name}: rows as of {done.manifest.made_at.isoformat()}")
    for path in done.your_files:
        typer.echo(
            f"warning: {path} is yours and stays; the backup's is in {done.backup.keys_path}"
        )
    for words in done.missing_keys:
        typer.echo(f"warning: missing: {words}", err=True)
    _fail_for_lost(done.lost, "are nowhere")


def _fail_for_lost(lost: list[str], words: str) -> None:
    if not lost:
        return
    shown = ", ".join(lost[:_SHOWN]) + (", …" if len(lost) > _SHOWN else "")
    typer.echo(f"error: {len(lost)} objects {words}, the rest is done: {shown}", err=True)
    raise typer.Exit(1)


@contextmanager
def _said_plainly() -> Iterator[None]:
    try:
        yield
    except (BackupError, EmbeddedError, OSError, StorageError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    except DBAPIError as error:
        typer.echo(f"error: the database does not answer as it should: {error.orig}", err=True)
        raise typer.Exit(1) from None


@contextmanager
def _progress() -> Iterator[Callable[[str, int], Callable[[], None]]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:

        def begin(what: str, steps: int) -> Callable[[], None]:
            task = progress.add_task(what, total=steps)
            return lambda: progress.advance(task)

        yield begin


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    # As Ctrl-C: a server that was started for this is stopped, a half backup counts for nothing.
    signal.signal(signal.SIGTERM, _interrupt)
    cli(prog_name="trainwright")
