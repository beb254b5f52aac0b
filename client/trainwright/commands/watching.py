"""Following a run to its end: its log, its phases, and what Ctrl-C means in between."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from trainwright.commands.describing import Run, log_prefix, phase
from trainwright.commands.output import print_line, print_record, say
from trainwright.connection import Connection
from trainwright.errors import ApiProblem, TrainwrightError
from trainwright.streams import TERMINAL, follow_events, follow_log
from trainwright.texts import clean_line

_LOOK_SECONDS = 1.0
_QUESTION = "Interrupted. [d]etach and let it run, [c]ancel the run, or Enter to go on"


class Detached(Exception):
    """The user goes away; the run goes on.

    Attributes:
        is_asked: whether that was chosen, rather than forced.
    """

    def __init__(self, *, is_asked: bool) -> None:
        super().__init__()
        self.is_asked = is_asked


def watch_run(server: Connection, run_id: str, *, as_json: bool) -> Run:
    """Print a run's log and phases until it is over.

    Args:
        server: where it runs.
        run_id: of the run.
        as_json: print records for programs.

    Returns:
        The run as it ended.

    Raises:
        Detached: Ctrl-C, and the user wants the run to go on.
    """
    watch = _Watch(server, run_id, as_json=as_json)
    is_asked = False
    with _phases(server, run_id, is_quiet=as_json) as paused:
        while True:
            try:
                if is_asked:
                    _ask(server, run_id)
                    is_asked = False
                    paused.clear()
                watch.follow()
                return watch.ended()
            except KeyboardInterrupt:
                paused.set()
                is_asked = True


def interrupted_before(server: Connection, run_id: str) -> None:
    """Ask what Ctrl-C meant that came while the run was being submitted.

    Raises:
        Detached: the user wants the run to go on alone.
    """
    _ask(server, run_id)


class _Watch:
    """Where one is in a run's log."""

    def __init__(self, server: Connection, run_id: str, *, as_json: bool) -> None:
        self._server = server
        self._path = server.path("runs", run_id)
        self._run_id = run_id
        self._as_json = as_json
        self._after = ""

    def follow(self) -> None:
        for record in follow_log(self._server, f"{self._path}/logs", after=self._after):
            self._after = record["id"]
            show_record(record, as_json=self._as_json)

    def ended(self) -> Run:
        # The log is complete a moment before the run is over.
        for _ in follow_events(self._server, self._run_id):
            pass
        run: Run = self._server.get(self._path)
        return run


def show_record(record: dict[str, Any], *, as_json: bool, timestamps: bool = False) -> None:
    """Print a line of a log."""
    if as_json:
        print_record({"kind": "log", **record})
        return
    time = f"{record['time']} " if timestamps else ""
    print_line(f"{time}{log_prefix(record)}{clean_line(record['text'])}")


@contextmanager
def _phases(server: Connection, run_id: str, *, is_quiet: bool) -> Iterator[threading.Event]:
    """Tell of a run's phases beside its log; the event that is given holds it back."""
    paused, stopped = threading.Event(), threading.Event()
    if is_quiet:
        yield paused
        return
    arguments = (server, run_id, paused, stopped)
    thread = threading.Thread(target=_tell_phases, args=arguments, daemon=True)
    thread.start()
    try:
        yield paused
    finally:
        stopped.set()


def _tell_phases(
    server: Connection, run_id: str, paused: threading.Event, stopped: threading.Event
) -> None:
    told: list[str] = []
    while not stopped.is_set():
        try:
            run = server.request("GET", server.path("runs", run_id), retry_seconds=0).json()
        except TrainwrightError:
            # Whoever follows the log tells of outages.
            stopped.wait(_LOOK_SECONDS)
            continue
        lines = phase(run)
        if run["status"] in TERMINAL or stopped.is_set():
            return
        if lines != told and not paused.is_set():
            told = lines
            for line in lines:
                say(line, style="dim")
        stopped.wait(_LOOK_SECONDS)


def _ask(server: Connection, run_id: str) -> None:
    """Ask what Ctrl-C meant; returns when following goes on."""
    if not sys.stdin.isatty():
        say(f"Interrupted. The run goes on: trainwright run cancel {run_id} ends it.")
        raise Detached(is_asked=False)
    while True:
        try:
            answer = typer.prompt(_QUESTION, default="", show_default=False, err=True)
        except (typer.Abort, KeyboardInterrupt):
            say(f"\nThe run goes on: trainwright run cancel {run_id} ends it.")
            raise Detached(is_asked=False) from None
        choice = answer.strip().lower()[:1]
        if choice == "":
            say("Following it again.", style="dim")
            return
        if choice == "d":
            say(f"The run goes on: trainwright logs -f {run_id} follows it.")
            raise Detached(is_asked=True)
        if choice == "c":
            cancel(server, run_id)
            return


def cancel(server: Connection, run_id: str) -> None:
    """Ask for a run's end; one that is over already is none the worse."""
    try:
        server.post(server.path("runs", run_id, "cancel"))
    except ApiProblem as problem:
        if problem.status != 409:
            raise
        say(problem.message)
    else:
        say(f"The end of {run_id} is asked for.")
