"""Which account PostgreSQL runs as."""

import os
import pwd
from pathlib import Path

import pytest

from app.embedded.account import account_for, may_reach
from app.embedded.errors import EmbeddedError

NOBODY = pwd.getpwnam("nobody")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to choose")


@as_root
def test_root_keeps_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY.pw_uid, NOBODY.pw_gid)
    account = account_for(tmp_path, needs=())
    assert account is not None
    assert account.uid == NOBODY.pw_uid


@as_root
def test_root_makes_an_account_that_is_not_root(tmp_path: Path) -> None:
    account = account_for(tmp_path / "absent", needs=())
    assert account is not None
    assert account.uid != 0


@as_root
def test_folder_of_an_unknown_user_is_an_error(tmp_path: Path) -> None:
    os.chown(tmp_path, 54_321, 54_321)
    with pytest.raises(EmbeddedError, match="user id 54321"):
        account_for(tmp_path, needs=())


def test_ordinary_user_runs_it_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = tmp_path.stat().st_uid or NOBODY.pw_uid
    os.chown(tmp_path, owner, -1)
    monkeypatch.setattr(os, "geteuid", lambda: owner)
    assert account_for(tmp_path, needs=()) is None
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(EmbeddedError, match=f"belongs to user id {owner}, not to you"):
        account_for(tmp_path, needs=())


def test_closed_folder_above_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "closed" / "data"
    folder.mkdir(parents=True)
    folder.parent.chmod(0o700)
    assert not may_reach(folder, NOBODY)
    assert may_reach(Path("/usr/bin/env"), NOBODY)
