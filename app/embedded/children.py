"""What the supervisor has to know of a child, and how the child's command line is made."""

import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_EXEC_CHILD = Path(__file__).with_name("exec_child.py")


@dataclass(frozen=True, kw_only=True)
class Account:
    """The system account that a child runs as; `keep_file_access` lets it pass closed folders."""

    uid: int
    gid: int
    keep_file_access: bool = False


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """One program of the embedded stack.

    `prepare` is called before every start, `is_ready` is polled after it until it answers true
    (for at most `ready_seconds`, which begin once `needs` has come back); a child without
    `is_ready` counts as ready once started.
    To stop it, `stop_signal` is sent, after `stop_seconds` `force_signal`, at last SIGKILL.
    `death_signal` is what the kernel sends when the supervisor is gone.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    account: Account | None = None
    pass_fds: tuple[int, ...] = ()
    prepare: Callable[[], Awaitable[None]] | None = None
    needs: Callable[[], Awaitable[object]] | None = None
    is_ready: Callable[[], Awaitable[bool]] | None = None
    ready_seconds: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    force_signal: signal.Signals = signal.SIGKILL
    stop_seconds: float = 10.0
    death_signal: signal.Signals = signal.SIGKILL


def command_line(
    argv: tuple[str, ...],
    *,
    account: Account | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> list[str]:
    """Wrap `argv` so that the program drops root where asked and dies with this process."""
    options = {
        "uid": account.uid if account else None,
        "gid": account.gid if account else None,
        "keep_file_access": account.keep_file_access if account else False,
        "death_signal": int(death_signal),
        "supervisor_pid": os.getpid(),
    }
    return [sys.executable, "-I", "-S", str(_EXEC_CHILD), json.dumps(options), *argv]
