"""Encryption of values at rest: AES-256-GCM, each value under a key of its own.

A value's own key is encrypted by one of the keys of this installation (envelope encryption), which
lie in a file outside the database. Both are bound to what they are for, so that a row's bytes
decrypt nowhere but in that row.
"""

import base64
import binascii
import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import Depends, Request

from app.kernel.config import Settings

KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_FORMAT = b"\x01"
_WRAPPED_BYTES = _NONCE_BYTES + KEY_BYTES + _TAG_BYTES
_MODE = 0o600


class KeyUnknown(Exception):
    """A value was encrypted with a key that is not in the file of keys."""

    def __init__(self, key_id: str, path: Path) -> None:
        super().__init__(f"the key {key_id} is not in {path}; put that key back")


class ValueAltered(Exception):
    """Encrypted bytes are not those that were written for this purpose."""


@dataclass(frozen=True)
class Sealed:
    """An encrypted value as it is stored.

    Attributes:
        key_id: of the installation's key that its own key is encrypted with.
        data: format, encrypted key, encrypted value.
    """

    key_id: str
    data: bytes


class Keyring:
    """The keys of this installation: one a line of a file, base64; the last one encrypts.

    The file is read again when it has changed, so that no process has to be restarted when a key
    is added. Keys that went out of the file stay known to the processes that had read them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: dict[str, bytes] = {}
        self._current = ""
        self._state: tuple[int, int, int] | None = None

    @classmethod
    def load(cls, settings: Settings) -> "Keyring":
        """The keys of this installation; its first one is made on the first call.

        Raises:
            OSError: the file cannot be read, or not be made.
            ValueError: what is in it are no keys.
        """
        if settings.encryption_keys_file is not None:
            ring = cls(settings.encryption_keys_file)
        else:
            ring = cls(settings.data_dir / "secrets" / "encryption.keys")
            _make_first(ring.path)
        ring.refresh()
        return ring

    @property
    def current(self) -> str:
        """Id of the key that encrypts now."""
        self.refresh()
        return self._current

    def refresh(self) -> None:
        """Read the file again if it has changed.

        Raises:
            OSError: it cannot be read.
            ValueError: a line is no key, or there is none.
        """
        found = self.path.stat()
        state = (found.st_ino, found.st_mtime_ns, found.st_size)
        if state == self._state:
            return
        keys = [_parse(line, self.path) for line in self.path.read_text().split()]
        if not keys:
            raise ValueError(f"there is no key in {self.path}")
        self._keys |= {key_id(key): key for key in keys}
        self._current = key_id(keys[-1])
        self._state = state

    def ids(self) -> list[str]:
        """Ids of the keys in the file, oldest first."""
        return [key_id(_parse(line, self.path)) for line in self.path.read_text().split()]

    def seal(self, value: bytes, *, purpose: str) -> Sealed:
        """Encrypt a value.

        Args:
            value: the bytes.
            purpose: what they are for, such as the id of the row; needed again to decrypt.
        """
        current = self.current
        own_key = secrets.token_bytes(KEY_BYTES)
        wrapped = _encrypt(self._keys[current], own_key, f"key {purpose}")
        return Sealed(current, _FORMAT + wrapped + _encrypt(own_key, value, f"value {purpose}"))

    def open(self, sealed: Sealed, *, purpose: str) -> bytes:
        """Decrypt a value.

        Raises:
            KeyUnknown: its key is not there.
            ValueAltered: the bytes, or their purpose, are not those that were sealed.
        """
        if sealed.key_id not in self._keys:
            self.refresh()
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise KeyUnknown(sealed.key_id, self.path)
        if sealed.data[:1] != _FORMAT:
            raise ValueAltered(purpose)
        wrapped, data = sealed.data[1 : 1 + _WRAPPED_BYTES], sealed.data[1 + _WRAPPED_BYTES :]
        own_key = _decrypt(key, wrapped, f"key {purpose}")
        return _decrypt(own_key, data, f"value {purpose}")

    def add(self) -> str:
        """Add a key to the file, from now on the one that encrypts, and return its id.

        Raises:
            OSError: the file cannot be written.
        """
        key = new_key()
        _replace(self.path, [*self.path.read_text().split(), key])
        self.refresh()
        return self._current

    def forget(self, ids: set[str]) -> None:
        """Take keys out of the file; the current one stays.

        Raises:
            OSError: the file cannot be written.
        """
        lines = self.path.read_text().split()
        gone = ids - {self.current}
        kept = [line for line in lines if key_id(_parse(line, self.path)) not in gone]
        if kept != lines:
            _replace(self.path, kept)


def new_key() -> str:
    """A line for the file of keys."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def key_id(key: bytes) -> str:
    """What a key is called: it follows from the key, and tells nothing of it."""
    return hashlib.sha256(b"trainwright encryption key\0" + key).hexdigest()[:16]


async def _keyring(request: Request) -> Keyring:
    keyring: Keyring = request.app.state.keyring
    return keyring


KeyringDep = Annotated[Keyring, Depends(_keyring)]
"""The keys of the application that serves this request."""


def _parse(line: str, path: Path) -> bytes:
    try:
        key = base64.b64decode(line, validate=True)
    except binascii.Error as error:
        raise ValueError(f"a line of {path} is not base64") from error
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key in {path} has {len(key)} bytes, not {KEY_BYTES}")
    return key


def _encrypt(key: bytes, data: bytes, purpose: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, data, purpose.encode())


def _decrypt(key: bytes, data: bytes, purpose: str) -> bytes:
    try:
        return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], purpose.encode())
    except (InvalidTag, ValueError) as error:
        raise ValueAltered(purpose) from error


def _make_first(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists():
        return
    temporary = _written(path, [new_key()])
    try:
        # A link never replaces: of two processes that start at once, one key wins.
        path.hardlink_to(temporary)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def _replace(path: Path, lines: list[str]) -> None:
    _written(path, lines).replace(path)
    _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)


def _written(path: Path, lines: list[str]) -> Path:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    temporary.touch(mode=_MODE)
    temporary.write_text("".join(f"{line}\n" for line in lines))
    _sync(temporary, os.O_RDONLY)
    return temporary


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
