"""Where the embedded stack keeps things in its data folder."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from app.embedded.broker import BrokerServer
from app.embedded.postgres import PostgresServer
from app.embedded.sockets import socket_folder

_MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations" / "versions"


@dataclass(frozen=True)
class Layout:
    """The paths and addresses of the stack on `data_dir`, which has to be absolute."""

    data_dir: Path

    @property
    def lock_path(self) -> Path:
        """The file that the running supervisor holds locked."""
        return self.data_dir / "lock"

    @property
    def log_dir(self) -> Path:
        """The folder of the children's logs."""
        return self.data_dir / "logs"

    def is_migrated(self) -> bool:
        """Say whether this database has had this release's migrations (asking takes no process)."""
        try:
            return self._migrated_path.read_text() == self._schema_state()
        except FileNotFoundError:
            return False

    def remember_migrated(self) -> None:
        """Note that this database has had this release's migrations."""
        self._migrated_path.write_text(self._schema_state())

    def forget_migrated(self) -> None:
        """Have the next start look at the database's version."""
        self._migrated_path.unlink(missing_ok=True)

    @property
    def _migrated_path(self) -> Path:
        return self.data_dir / "migrated"

    def _schema_state(self) -> str:
        """Name the migrations together with the cluster: another of either has another name."""
        cluster = (self.postgres.data_dir / "PG_VERSION").stat()
        digest = hashlib.sha256(f"{cluster.st_dev}:{cluster.st_ino}:{cluster.st_mtime_ns}".encode())
        for path in sorted(_MIGRATIONS.glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()

    @cached_property
    def postgres(self) -> PostgresServer:
        """The database server."""
        return PostgresServer(
            data_dir=self.data_dir / "postgres", socket_dir=self._sockets / "postgres"
        )

    @cached_property
    def broker(self) -> BrokerServer:
        """The broker."""
        return BrokerServer(socket_path=self._sockets / "broker.sock")

    @cached_property
    def _sockets(self) -> Path:
        return socket_folder(self.data_dir)


def data_folder(given: Path) -> Path:
    """Make the data folder, closed to other users, and return its absolute path."""
    folder = given.expanduser().resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
