"""The command line: `trainwright up | api | worker | grpc | migrate | backup | restore | …`.

The supervisor lives in this process for as long as the stack runs, so what it does not need
(SQLAlchemy, Alembic: see :mod:`app.admin`) is executed, not imported.
"""

import ipaddress
import os
import shlex
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from app.embedded.errors import EmbeddedError
from app.embedded.stack import Started, serve_until_stopped
from app.kernel.http_protocol import BoundedHttpProtocol

DEFAULT_DATA_DIR = "~/.trainwright"
_GRACEFUL_SECONDS = 3

cli = typer.Typer(
    name="trainwright", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

Host = Annotated[
    str, typer.Option(envvar="TRAINWRIGHT_HOST", help="Address to listen on.", metavar="HOST")
]
Port = Annotated[
    int,
    typer.Option(
        envvar="TRAINWRIGHT_PORT", help="Port to listen on; 0 takes a free one.", min=0, max=65535
    ),
]


@cli.command()
def up(
    *,
    data_dir: Annotated[
        Path,
        typer.Option(envvar="TRAINWRIGHT_DATA_DIR", help="Folder that everything is kept in."),
    ] = Path(DEFAULT_DATA_DIR),
    host: Host = "127.0.0.1",
    port: Port = 8470,
    grpc_port: Annotated[
        int,
        typer.Option(
            envvar="TRAINWRIGHT_GRPC_PORT",
            help="Port of the Open Inference Protocol over gRPC; 0: it is not spoken.",
            min=0,
            max=65535,
        ),
    ] = 0,
) -> None:
    """Start the whole stack on this machine: database, broker, API, worker. Ctrl-C stops it."""
    if not _is_loopback(host):
        typer.echo(
            f"warning: listening on {host}, so other machines reach this server, without TLS. "
            f"Name what they call it in TRAINWRIGHT_ALLOWED_HOSTS.",
            err=True,
        )
    try:
        serve_until_stopped(
            data_dir=data_dir,
            host=host,
            port=port,
            grpc_port=grpc_port,
            announce=_announce,
            report=_report,
        )
    except EmbeddedError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


@cli.command()
def api(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8470,
    fd: Annotated[
        list[int] | None, typer.Option(help="A listening socket that the caller has opened.")
    ] = None,
) -> None:
    """Run the API alone; database and broker come from the environment."""
    config = uvicorn.Config(
        "app.main:create_app",
        factory=True,
        host=host,
        port=port,
        loop="uvloop",
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # app.kernel.proxies hears them
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
    )
    sockets = [socket.socket(fileno=number) for number in fd] if fd else None
    uvicorn.Server(config).run(sockets=sockets)


_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True}


@cli.command(context_settings=_PASSED_ON)
def worker(context: typer.Context) -> None:
    """Run the worker alone; database and broker come from the environment.

    Further options are Celery's.
    """
    _execute(
        "celery",
        *("--app", "workers.celery_app", "worker", "--loglevel", "INFO"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        *context.args,
    )


@cli.command(context_settings=_PASSED_ON, add_help_option=False)
def grpc(context: typer.Context) -> None:
    """Speak the Open Inference Protocol over gRPC; calls are passed on to the API."""
    _execute("app.open_inference.server", *context.args)


@cli.command(context_settings=_PASSED_ON, add_help_option=False)
def migrate(context: typer.Context) -> None:
    """Bring the database to the newest version."""
    _execute("app.admin", "migrate", *context.args)


@cli.command(context_settings=_PASSED_ON, add_help_option=False)
def revision(context: typer.Context) -> None:
    """Write a migration from the difference between database and tables."""
    _execute("app.admin", "revision", *context.args)


@cli.command(context_settings=_PASSED_ON, add_help_option=False)
def audit(context: typer.Context) -> None:
    """Delete old events of the audit log."""
    _execute("app.admin", "audit", *context.args)


@cli.command(context_settings=_PASSED_ON, add_help_option=False)
def backup(context: typer.Context) -> None:
    """Save database, objects and keys in a folder; everything goes on meanwhile."""
    _execute("app.backups.command", "backup", *context.args)


@cli.command(context_settings=_PASSED_ON, add_help_option=False)
def restore(context: typer.Context) -> None:
    """Bring a backup back."""
    _execute("app.backups.command", "restore", *context.args)


@cli.command(context_settings=_PASSED_ON, add_help_option=False)
def token(context: typer.Context) -> None:
    """Create, list and revoke tokens of the API."""
    _execute("app.admin", "token", *context.args)


@cli.command(context_settings=_PASSED_ON, add_help_option=False)
def signing(context: typer.Context) -> None:
    """Rotate the key that tokens of runs and nodes are signed with."""
    _execute("app.admin", "signing", *context.args)


@cli.command(context_settings=_PASSED_ON, add_help_option=False)
def secrets(context: typer.Context) -> None:
    """Rotate the key that secrets are encrypted with."""
    _execute("app.admin", "secrets", *context.args)


@cli.command(context_settings=_PASSED_ON, add_help_option=False)
def simulate(context: typer.Context) -> None:
    """Replay a workload through the planner in virtual time, beside FIFO and EASY backfill."""
    _execute("app.simulation.command", *context.args)


def main() -> None:
    """Run the command line."""
    cli(prog_name="trainwright")


def _execute(module: str, *arguments: str) -> None:
    """Become another program; it keeps our process id, so signals meant for us reach it."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _announce(started: Started) -> None:
    create = _token_command(started.data_dir)
    lines = [
        f"Trainwright is ready at {started.address}",
        f"  data folder  {started.data_dir}",
        f"  logs         {started.data_dir / 'logs'}",
    ]
    if started.grpc_address is not None:
        lines.append(f"  gRPC         {started.grpc_address}")
    if started.first_token is not None:
        lines.append(f"  first token  {started.first_token}")
        lines.append(f"               shown only now; for another one: {create}")
    else:
        lines.append(f"  new token    {create}")
    lines.append("Ctrl-C stops it.")
    typer.echo("\n".join(lines))
    sys.stdout.flush()


def _token_command(data_dir: Path) -> str:
    """Return what to type, in this folder, for another token of this stack."""
    program = Path(sys.executable).with_name("trainwright")
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    command = f"{shlex.quote(str(program))} token create NAME"
    if data_dir == Path(DEFAULT_DATA_DIR).expanduser().resolve():
        return command
    return f"TRAINWRIGHT_DATA_DIR={shlex.quote(str(data_dir))} {command}"


def _report(line: str) -> None:
    typer.echo(f"trainwright: {line}", err=True)


if __name__ == "__main__":
    main()
