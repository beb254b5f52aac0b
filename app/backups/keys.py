"""The keys: what secrets are encrypted with, and what tokens of runs and nodes are signed with."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from app.auth.signing_keys import SigningKeys
from app.backups.errors import BackupError
from app.backups.folder import Backup, Manifest
from app.kernel.config import Settings
from app.kernel.keyring import Keyring

_MODE = 0o600


@dataclass(frozen=True)
class KeyFiles:
    """Where this installation's keys lie; `*_is_ours`: not a file that the operator keeps."""

    encryption: Path
    signing: Path
    encryption_is_ours: bool
    signing_is_ours: bool


@dataclass(frozen=True)
class Saved:
    """Ids of the keys of a backup; `lost`: of those that secrets need and that were not there."""

    encryption: list[str]
    signing: list[str]
    lost: list[str]


@dataclass(frozen=True)
class _Pair:
    """A file of this installation, and the backup's of its kind."""

    target: Path
    source: Path
    is_ours: bool

    @property
    def afterwards(self) -> Path:
        """The one that counts once the backup's keys are in place."""
        return self.source if self.is_ours and self.source.exists() else self.target


def key_files(settings: Settings) -> KeyFiles:
    """Where the keys lie, whether or not they are there."""
    own = settings.data_dir.expanduser().resolve() / "secrets"
    return KeyFiles(
        encryption=settings.encryption_keys_file or own / "encryption.keys",
        signing=settings.signing_key_file or own / "signing.keys",
        encryption_is_ours=settings.encryption_keys_file is None,
        signing_is_ours=settings.signing_key_file is None,
    )


def ids(encryption: Path, signing: Path) -> tuple[list[str], list[str]]:
    """Ids of the keys in both files; they tell nothing of the keys. Of no file: none.

    Raises:
        BackupError: what is there are no keys.
    """
    try:
        encrypting = Keyring(encryption).ids() if encryption.exists() else []
        keys = SigningKeys.load(signing.parent, signing).all() if signing.exists() else []
    except (OSError, ValueError) as error:
        raise BackupError(f"the keys cannot be read: {error}") from None
    return encrypting, [key.id for key in keys]


def save(settings: Settings, backup: Backup, *, with_copies: bool, used: set[str]) -> Saved:
    """Note the keys of this moment, and copy them into a backup, for its owner's eyes only.

    Args:
        settings: of the installation.
        backup: where to.
        with_copies: whether the keys are copied, or only their ids noted.
        used: ids of the keys that secrets are encrypted with.

    Raises:
        BackupError: what is there are no keys.
    """
    pairs = _pairs(key_files(settings), backup)
    if with_copies:
        backup.keys_path.mkdir(mode=0o700)
        for pair in pairs:
            if pair.target.exists():
                _write(pair.source, pair.target.read_bytes())
    encryption, signing = ids(*[pair.source if with_copies else pair.target for pair in pairs])
    return Saved(encryption, signing, lost=sorted(used - set(encryption)))


def check(settings: Settings, backup: Backup, *, overwrite: bool) -> None:
    """See whether the keys of a backup may be put in place; changes nothing.

    Raises:
        BackupError: other keys are there, and `overwrite` is not said.
    """
    for change in _changes(settings, backup):
        if change.is_ours and change.target.exists() and not overwrite:
            raise BackupError(f"{change.target} holds other keys: --overwrite sets them aside")


def operators(settings: Settings, backup: Backup) -> list[Path]:
    """The files of the operator's own that hold other keys than the backup."""
    return [change.target for change in _changes(settings, backup) if not change.is_ours]


def put_back(settings: Settings, backup: Backup) -> list[Path]:
    """Put the keys of a backup where this installation has its own; no file of the operator's.

    Keys that are there and are others are kept beside, as ``NAME.before-TIME``
    (with a number behind where there is one already).

    Returns:
        The files that were set aside.
    """
    aside = []
    for change in _changes(settings, backup):
        if not change.is_ours:
            continue
        target = change.target
        if target.exists():
            aside.append(_set_aside(target, f"{target.name}.before-{backup.name}"))
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(target, change.source.read_bytes())
    return aside


def _changes(settings: Settings, backup: Backup) -> list[_Pair]:
    """Key files of a backup whose like is not here."""
    return [
        pair
        for pair in _pairs(key_files(settings), backup)
        if pair.source.exists()
        and not (pair.target.exists() and pair.target.read_bytes() == pair.source.read_bytes())
    ]


def _set_aside(path: Path, name: str) -> Path:
    """Rename a file; never onto one that was set aside earlier, which may be the only copy."""
    aside = path.with_name(name)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{name}-{number}")
    return path.rename(aside)


def missing(settings: Settings, backup: Backup, manifest: Manifest) -> list[str]:
    """What a backup was made with and this installation will not have, in words."""
    files = key_files(settings)
    encrypting, signing = ids(*[pair.afterwards for pair in _pairs(files, backup)])
    lacking = [
        f"encryption key {key_id} ({files.encryption})"
        for key_id in manifest.encryption_keys
        if key_id not in encrypting
    ]
    return lacking + [
        f"signing key {key_id} ({files.signing})"
        for key_id in manifest.signing_keys
        if key_id not in signing
    ]


def _pairs(files: KeyFiles, backup: Backup) -> list[_Pair]:
    folder = backup.keys_path
    return [
        _Pair(files.encryption, folder / "encryption.keys", is_ours=files.encryption_is_ours),
        _Pair(files.signing, folder / "signing.keys", is_ours=files.signing_is_ours),
    ]


def _write(path: Path, content: bytes) -> None:
    """Write a file whole, or not at all."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
