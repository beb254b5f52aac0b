"""The unprivileged account of PostgreSQL, which refuses to run as root.

An ordinary user runs everything as itself. Root needs a second account: whoever owns the
database folder already, else a system account made once.
"""

import os
import pwd
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path

from app.embedded.children import Account
from app.embedded.errors import EmbeddedError

SYSTEM_ACCOUNT = "trainwright-db"


def account_for(folder: Path, *, needs: Iterable[Path]) -> Account | None:
    """Return the account to run a server on `folder` as; None means: as the user we are.

    Args:
        folder: the server's data folder; its present owner, unless root, is kept.
        needs: further paths (programs, socket folders) that the account must reach.

    Raises:
        EmbeddedError: we are root and no account can be made, or we are not and the folder
            belongs to somebody else.
    """
    owner = folder.stat().st_uid if folder.exists() else None
    if os.geteuid() != 0:
        if owner not in (None, os.geteuid()):
            raise EmbeddedError(
                f"{folder} belongs to user id {owner}, not to you (user id {os.geteuid()}): "
                f"start as the user who started it first, or choose another data folder."
            )
        return None
    entry = _entry(owner) if owner else _system_account()
    closed = any(not may_reach(path, entry) for path in (folder, *needs))
    return Account(uid=entry.pw_uid, gid=entry.pw_gid, keep_file_access=closed)


def may_reach(path: Path, entry: pwd.struct_passwd) -> bool:
    """Say whether the account may enter every folder above `path`."""
    return all(_may_enter(parent, entry) for parent in path.resolve().parents)


def _may_enter(folder: Path, entry: pwd.struct_passwd) -> bool:
    status = folder.stat()
    if status.st_uid == entry.pw_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == entry.pw_gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _entry(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise EmbeddedError(
            f"the database folder belongs to user id {uid}, which this machine does not know"
        ) from None


def _system_account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_ACCOUNT)
    except KeyError:
        pass
    command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_ACCOUNT]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        reason = "there is no useradd here"
    except subprocess.CalledProcessError as error:
        reason = str(error.stderr).strip()
    else:
        return pwd.getpwnam(SYSTEM_ACCOUNT)
    try:
        # Somebody else may have made it in between.
        return pwd.getpwnam(SYSTEM_ACCOUNT)
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL refuses to run as root, and its account {SYSTEM_ACCOUNT} cannot be made "
            f"({reason}): start as an ordinary user instead."
        ) from None
