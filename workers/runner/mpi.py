"""Ranks by Open MPI, without a remote shell and without passwords.

`mpirun` runs on node 0. For the daemon of each other node it calls its agent, a program of ours,
which asks the runner of that node to start it. For each rank, Open MPI starts a stand-in, again a
program of ours, which gives the rank's variables to its node's runner. The runner starts the rank
as it starts every process, so that its output, its end and its last lines are known, and tells
the stand-in how it ended. So Open MPI sees the ranks end as they do, and ends the others.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from workers.runner.calls import (
    CONTACT_VARIABLE,
    CallRefused,
    Ending,
    receive_call,
    send_ending,
    send_output,
)
from workers.runner.control import Control
from workers.runner.mpi_line import (
    AGENT,
    LaunchHost,
    check_programs,
    daemon_argv,
    host_file,
    launch_hosts,
    mpirun_argv,
    node_variables,
    rank_lines,
    rank_places,
)
from workers.runner.notes import LazyStream, Notes
from workers.runner.order import OrderLaunch
from workers.runner.processes import NodeProcess, Prepared

STREAM_NAME = "system_logs/mpirun.txt"
_MAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py")
_PROGRAM = [sys.executable, "-I", _MAIN]


class MpiLaunch:
    """The launch of one node of an MPI run.

    Args:
        order: the secret of the attempt, and whether this is node 0.
        folder: of its own files; nobody else may read it.
        control: runs in the main thread what has to be started there.
        notes: opens the stream of what mpirun says, when it says something.
    """

    def __init__(self, order: OrderLaunch, *, folder: str, control: Control, notes: Notes) -> None:
        self.helpers: list[NodeProcess] = []
        self._order = order
        self._folder = folder
        self._control = control
        self._notes = notes
        self._address = ""
        self._port = 0
        self._listener: socket.socket | None = None
        self._ranks: list[Prepared] = []
        self._first_rank = 0
        self._is_alone = False
        self._cwd = ""

    def open(self, address: str, ports: list[int], environment: dict[str, str]) -> None:
        """Take calls from now on.

        Raises:
            PrepareError: this node has no Open MPI.
        """
        names = ["mpirun", "orted"] if self._order.is_first else ["orted"]
        check_programs(names, environment.get("PATH", os.defpath))
        self._address, self._port = address, ports[0]
        self._listener = socket.create_server((address, self._port), backlog=128)
        threading.Thread(target=self._listen, name="calls", daemon=True).start()

    def begin(self, prepared: list[Prepared], *, cwd: str, told: dict[str, Any]) -> None:
        """Let ranks be started, and on node 0 start `mpirun`, which asks for them."""
        hosts = launch_hosts(told["hosts"])
        self._cwd = cwd
        self._is_alone = len(hosts) == 1
        self._first_rank = rank_places(hosts).index((self._address, self._port))
        self._write_contact(hosts)
        hosts_path = self._write("hosts", host_file(hosts))
        for _, environment in prepared:
            environment["AZ_BATCHAI_MPI_HOST_FILE"] = hosts_path
        self._ranks = prepared
        rank_path = self._write("ranks", rank_lines(hosts, first_name=socket.gethostname()))
        if not self._order.is_first:
            return
        process = NodeProcess(
            argv=mpirun_argv(hosts, [*_PROGRAM, "rank"], rank_file=rank_path),
            stream=LazyStream(self._notes, STREAM_NAME),
            control=self._control,
            winds_down=True,
        )
        self.helpers.append(process)
        process.start(environment=self._helper_environment(), cwd=self._folder)

    def close(self) -> None:
        """Take no more calls."""
        if self._listener is not None:
            self._listener.close()

    def _write_contact(self, hosts: list[LaunchHost]) -> None:
        contact = {
            "secret": self._order.secret,
            # Of nodes that have one address the first one is the daemon's.
            "places": {host.address: [host.address, host.port] for host in reversed(hosts)},
            "ranks": rank_places(hosts),
        }
        self._write("contact.json", json.dumps(contact))
        # Open MPI splits the agent's command line at blanks, which these paths may have.
        words = " ".join("'" + word.replace("'", "'\\''") + "'" for word in _PROGRAM)
        path = self._write(AGENT, f'#!/bin/sh\nexec {words} agent "$@"\n')
        os.chmod(path, 0o700)

    def _write(self, name: str, text: str) -> str:
        path = os.path.join(self._folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def _helper_environment(self) -> dict[str, str]:
        environment = dict(self._ranks[0].environment)
        environment.update(self._node_variables(environment))
        environment[CONTACT_VARIABLE] = os.path.join(self._folder, "contact.json")
        environment["PATH"] = self._folder + os.pathsep + environment.get("PATH", os.defpath)
        return environment

    def _node_variables(self, given: dict[str, str]) -> dict[str, str]:
        return node_variables(self._address, given, folder=self._folder, is_alone=self._is_alone)

    def _listen(self) -> None:
        assert self._listener is not None
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        started: list[NodeProcess] = []
        with connection:
            try:
                start = self._understood(receive_call(connection, self._order.secret), connection)
                self._control.inbox.put(lambda: start(started))
                self._control.nudge()
                # Nothing more comes. The other side goes away when it has been told of the end,
                # or because Open MPI has ended it.
                while connection.recv(1):
                    continue
            except CallRefused as error:
                self._notes.write(f"a call was refused: {error}")
            except (ValueError, KeyError, TypeError) as error:
                self._notes.write(f"a call cannot be obeyed: {error!r}")
            except OSError:
                pass  # it went away
        self._control.inbox.put(lambda: _terminate(started))

    def _understood(
        self, wanted: dict[str, Any], connection: socket.socket
    ) -> Callable[[list[NodeProcess]], None]:
        if wanted["want"] == "daemon":
            argv = daemon_argv(str(wanted["command"]))
            return functools.partial(self._start_daemon, argv, connection)
        number = int(wanted["rank"])
        variables = {str(name): str(value) for name, value in wanted["variables"].items()}
        return functools.partial(self._start_rank, number, variables, connection)

    def _start_daemon(
        self, argv: list[str], connection: socket.socket, started: list[NodeProcess]
    ) -> None:
        process = NodeProcess(
            argv=argv, stream=_Wire(connection), control=self._control, winds_down=True
        )
        self.helpers.append(process)
        started.append(process)

        def tell() -> None:
            process.finish_reading()
            _tell_ending(process, connection)

        process.start(environment=self._helper_environment(), cwd=self._folder, on_end=tell)

    def _start_rank(
        self,
        number: int,
        variables: dict[str, str],
        connection: socket.socket,
        started: list[NodeProcess],
    ) -> None:
        local_rank = number - self._first_rank
        if not 0 <= local_rank < len(self._ranks) or self._ranks[local_rank].process.has_started:
            self._notes.write(f"Open MPI asked for rank {number}, which is not to start here")
            connection.close()
            return
        process, environment = self._ranks[local_rank]
        started.append(process)
        whole = {**environment, **variables}
        whole.update(self._node_variables(environment))
        process.start(
            environment=whole, cwd=self._cwd, on_end=lambda: _tell_ending(process, connection)
        )


class _Wire:
    """Passes what a daemon says on to the agent that asked for it, and so to mpirun."""

    name = ""
    grown_at = 0.0

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def append(self, data: bytes) -> None:
        """Send bytes; nobody may be there any more."""
        with contextlib.suppress(OSError):
            send_output(self._connection, data)

    def last_lines(self) -> list[str]:
        """Nothing is kept."""
        return []


def _tell_ending(process: NodeProcess, connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        send_ending(connection, Ending(*process.exit_status))


def _terminate(started: list[NodeProcess]) -> None:
    for process in started:
        process.terminate()
