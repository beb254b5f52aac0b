"""The keys that this installation signs with: one a line of a file, the newest last."""

import base64
import binascii
import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.kernel.clock import utc_now

SHORTEST_KEY_BYTES = 32
OWN_DELAY_SECONDS = 5.0
"""A key that is added here signs after so long: by then every process has seen the file change."""
_MODE = 0o600
_BASE64 = "base64:"
_FROM = "from="
_INSTALLATION = "installation="
ALWAYS = datetime.min.replace(tzinfo=UTC)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SigningKey:
    """One key.

    Attributes:
        secret: its bytes.
        signs_from: since when it signs; until then, and for what was made until then, the one
            before it is taken.
    """

    secret: bytes
    signs_from: datetime = ALWAYS

    @property
    def id(self) -> str:
        """What it is called: that follows from the key, and tells nothing of it."""
        return hashlib.sha256(b"trainwright signing key\0" + self.secret).hexdigest()[:16]


class SigningKeys:
    """The keys in a file, which is read again when it has changed.

    Each line is a key, ``base64:…`` or any text of at least 32 bytes, and ``from=TIME``, which the
    first may lack. A line ``installation=…`` keeps the installation's name when its first key goes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: tuple[int, int, int] | None = None
        self._keys: list[SigningKey] = []
        self._installation_id = ""

    @classmethod
    def load(cls, data_dir: Path, key_file: Path | None = None) -> "SigningKeys":
        """The keys of this installation; its first one is made on the first call.

        Args:
            data_dir: where they lie.
            key_file: where the operator keeps them instead.

        Raises:
            OSError: the operator's file cannot be read.
            ValueError: what is in it are no keys, or a key is too short.
        """
        keys = cls(key_file or data_dir / "secrets" / "signing.keys")
        if key_file is None:
            _make_first(keys.path, before=data_dir / "secrets" / "signing.key")
        keys._read()
        return keys

    @property
    def installation_id(self) -> str:
        """What this installation writes on things outside its data folder that are its own."""
        self._refresh()
        return self._installation_id

    def all(self) -> list[SigningKey]:
        """All of them, oldest first."""
        self._refresh()
        return list(self._keys)

    def at(self, moment: datetime) -> SigningKey:
        """The one that signs, or signed, at a moment; the oldest for what was before it."""
        self._refresh()
        return next(
            (key for key in reversed(self._keys) if key.signs_from <= moment), self._keys[0]
        )

    def named(self, key_id: str) -> SigningKey | None:
        """The one of this id."""
        self._refresh()
        return next((key for key in self._keys if key.id == key_id), None)

    def add(self) -> SigningKey:
        """Add a key to the file; in a moment it is the one that signs.

        Raises:
            OSError: the file cannot be written.
        """
        line = new_line(seconds=OWN_DELAY_SECONDS)
        self._write([*_lines(self.path), line])
        return self.all()[-1]

    def forget(self, gone: set[str]) -> None:
        """Take keys out of the file: what they signed is refused from now on.

        Args:
            gone: their ids; the newest one stays in any case.

        Raises:
            OSError: the file cannot be written.
        """
        kept = [key for key in self.all()[:-1] if key.id not in gone] + self.all()[-1:]
        self._write([f"{_INSTALLATION}{self._installation_id}", *map(_line, kept)])

    def _refresh(self) -> None:
        """Read the file again if it has changed; what cannot be read changes nothing."""
        try:
            self._read()
        except (OSError, ValueError) as error:
            _log.error("the signing keys stay as they were: %s", error)

    def _read(self) -> None:
        found = self.path.stat()
        state = (found.st_ino, found.st_mtime_ns, found.st_size)
        if state == self._state:
            return
        lines = _lines(self.path)
        names = [line.removeprefix(_INSTALLATION) for line in lines if _is_name(line)]
        keys = [_parse(line, self.path) for line in lines if not _is_name(line)]
        if not keys:
            raise ValueError(f"the secret in {self.path} is empty: there is no signing key")
        times = [key.signs_from for key in keys]
        if times != sorted(set(times)):
            raise ValueError(
                f"each signing key in {self.path} but the first needs a later from= than the one"
                " before it: `trainwright signing new-key` prints such a line"
            )
        self._keys = keys
        self._installation_id = names[0] if names else _installation_id(keys[0].secret)
        self._state = state

    def _write(self, lines: Sequence[str]) -> None:
        _written(self.path, lines).replace(self.path)
        self._read()


def new_line(*, seconds: float) -> str:
    """A line for the file of keys, with a key that signs in so many seconds."""
    moment = utc_now() + timedelta(seconds=seconds)
    return _line(SigningKey(secrets.token_bytes(32), moment))


def _line(key: SigningKey) -> str:
    text = _BASE64 + base64.b64encode(key.secret).decode()
    return text if key.signs_from == ALWAYS else f"{text} {_FROM}{key.signs_from.isoformat()}"


def _parse(line: str, path: Path) -> SigningKey:
    signs_from = ALWAYS
    before, _, last = line.rpartition(" ")
    if last.startswith(_FROM):
        line = before.strip()
        signs_from = datetime.fromisoformat(last.removeprefix(_FROM))
        if signs_from.tzinfo is None:
            raise ValueError(f"a time in {path} has no time zone: {last}")
    secret = line.encode()
    if line.startswith(_BASE64):
        try:
            secret = base64.b64decode(line.removeprefix(_BASE64), validate=True)
        except binascii.Error as error:
            raise ValueError(f"a signing key in {path} is not base64") from error
    if len(secret) < SHORTEST_KEY_BYTES:
        raise ValueError(
            f"the signing key in {path} has {len(secret)} bytes; at least "
            f"{SHORTEST_KEY_BYTES} random ones are needed"
        )
    return SigningKey(secret, signs_from)


def _is_name(line: str) -> bool:
    return line.startswith(_INSTALLATION)


def _installation_id(secret: bytes) -> str:
    return f"tw-{hmac.digest(secret, b'installation', hashlib.sha256).hex()[:16]}"


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def _make_first(path: Path, *, before: Path) -> None:
    """Make the file; the key of a version that had only one, as bare bytes, goes into it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists():
        return
    try:
        secret = before.read_bytes()
    except FileNotFoundError:
        secret = secrets.token_bytes(32)
    temporary = _written(path, [_line(SigningKey(secret))])
    try:
        # A link never replaces: of two processes that start at once, one key wins.
        path.hardlink_to(temporary)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    before.unlink(missing_ok=True)


def _written(path: Path, lines: Sequence[str]) -> Path:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    temporary.touch(mode=_MODE)
    with temporary.open("w") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    return temporary
