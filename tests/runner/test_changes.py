"""Waiting for files to change."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.runner import changes
from workers.runner.changes import Changes

LONG_SECONDS = 30.0


@pytest.fixture(autouse=True)
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "SELDOM_SECONDS", LONG_SECONDS)


@pytest.fixture
def watching() -> Iterator[Changes]:
    watching = Changes(often_seconds=LONG_SECONDS)
    yield watching
    watching.close()


def waited_seconds(watching: Changes) -> float:
    began = time.monotonic()
    watching.wait()
    return time.monotonic() - began


def test_what_is_written_before_or_during_the_wait_ends_it(
    tmp_path: Path, watching: Changes
) -> None:
    log = tmp_path / "log"
    log.touch()
    watching.watch(str(log))
    with log.open("a", buffering=1) as file:
        print("before", file=file)
        assert waited_seconds(watching) < LONG_SECONDS / 2
        threading.Timer(0.05, lambda: print("during", file=file)).start()
        assert waited_seconds(watching) < LONG_SECONDS / 2


def test_what_is_made_in_a_folder_ends_the_wait(tmp_path: Path, watching: Changes) -> None:
    watching.watch(str(tmp_path))
    (tmp_path / "new").mkdir()
    assert waited_seconds(watching) < LONG_SECONDS / 2


def test_it_can_be_woken(watching: Changes) -> None:
    threading.Timer(0.05, watching.wake).start()
    assert waited_seconds(watching) < LONG_SECONDS / 2


def test_where_the_kernel_cannot_tell_it_is_looked_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        """A kernel that has nothing to spare."""

        def inotify_init1(self, _: int) -> int:
            return -1

    monkeypatch.setattr(changes, "_LIBC", Full())
    blind = Changes(often_seconds=0.01)
    blind.watch(str(tmp_path))
    assert waited_seconds(blind) < LONG_SECONDS / 2
    blind.close()
