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


def save(settings: Settings, backup: Backup) -> None:
    """Copy the keys into a backup, for its owner's eyes only."""
    files = key_files(settings)
    backup.keys_path.mkdir(mode=0o700)
    for source, target in _pairs(files, backup):
        if source.exists():
            _write(target, source.read_bytes())


def put_back(settings: Settings, backup: Backup, *, overwrite: bool) -> list[Path]:
    """Put the keys of a backup where this installation has its own.

    Keys that are there and are others are kept beside, as ``NAME.before-TIME``
    (with a number behind where there is one already).

    Returns:
        The files of the operator's own, which are not written: they have to be put in place.

    Raises:
        BackupError: other keys are there, and `overwrite` is not said.
    """
    files = key_files(settings)
    theirs = []
    for target, source in _pairs(files, backup):
        if not source.exists():
            continue
        content = source.read_bytes()
        if target.exists() and target.read_bytes() == content:
            continue
        is_ours = files.encryption_is_ours if target == files.encryption else files.signing_is_ours
        if not is_ours:
            theirs.append(target)
            continue
        if target.exists():
            if not overwrite:
                raise BackupError(f"{target} holds other keys: --overwrite sets them aside")
            _set_aside(target, f"{target.name}.before-{backup.name}")
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(target, content)
    return theirs


def _set_aside(path: Path, name: str) -> None:
    """Rename a file; never onto one that was set aside earlier, which may be the only copy."""
    aside = path.with_name(name)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{name}-{number}")
    path.rename(aside)


def missing(settings: Settings, manifest: Manifest) -> list[str]:
    """What a backup was made with and this installation has not, in words."""
    files = key_files(settings)
    encrypting, signing = ids(files.encryption, files.signing)
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


def _pairs(files: KeyFiles, backup: Backup) -> list[tuple[Path, Path]]:
    return [
        (files.encryption, backup.keys_path / "encryption.keys"),
        (files.signing, backup.keys_path / "signing.keys"),
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
