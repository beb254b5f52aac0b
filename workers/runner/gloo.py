"""Ranks of Horovod that find each other by Gloo, without MPI.

Each runner starts its own ranks, which are told by variables who they are. On node 0 Horovod's own
meeting point runs besides them, in their environment: there they learn each other's addresses.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from workers.runner.control import Control
from workers.runner.interfaces import interface_name
from workers.runner.mpi_line import launch_hosts
from workers.runner.notes import LazyStream, Notes
from workers.runner.order import OrderLaunch
from workers.runner.processes import NodeProcess, Prepared

STREAM_NAME = "system_logs/rendezvous.txt"
_MAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py")


class GlooLaunch:
    """The launch of one node of a run whose ranks use Gloo.

    Args:
        order: whether this is node 0.
        folder: of its own files.
        control: told of ends.
        notes: opens the stream of what the meeting point says, when it says something.
    """

    def __init__(self, order: OrderLaunch, *, folder: str, control: Control, notes: Notes) -> None:
        self.helpers: list[NodeProcess] = []
        self._order = order
        self._folder = folder
        self._control = control
        self._notes = notes
        self._address = ""

    def open(self, address: str, ports: list[int], environment: dict[str, str]) -> None:
        """Remember where this node is."""
        self._address = address

    def begin(self, prepared: list[Prepared], *, cwd: str, told: dict[str, Any]) -> None:
        """Start the meeting point, on node 0, and this node's ranks."""
        if self._order.is_first:
            self._start_meeting_point(prepared[0].environment, told)
        name = interface_name(self._address)
        own = {} if name is None else {"HOROVOD_GLOO_IFACE": name, "NCCL_SOCKET_IFNAME": name}
        for process, environment in prepared:
            process.start(environment={**own, **environment}, cwd=cwd)

    def close(self) -> None:
        """There is nothing to do."""

    def _start_meeting_point(self, environment: dict[str, str], told: dict[str, Any]) -> None:
        hosts = launch_hosts(told["hosts"])
        places = ",".join(f"{host.address}:{host.slots}" for host in hosts)
        process = NodeProcess(
            argv=["python", "-I", _MAIN, "rendezvous", str(hosts[0].port), places],
            stream=LazyStream(self._notes, STREAM_NAME),
            control=self._control,
        )
        self.helpers.append(process)
        process.start(environment=environment, cwd=self._folder)


def rendezvous(arguments: list[str]) -> int:
    """Be the meeting point until ended; ``[port, host:slots,…]``, where there is Horovod."""
    port, places = arguments
    http = importlib.import_module("horovod.runner.http.http_server")
    plan = importlib.import_module("horovod.runner.common.util.hosts")
    hosts = plan.parse_hosts(places)
    count = sum(host.slots for host in hosts)
    server = http.RendezvousHTTPServer(("", int(port)), http.RendezvousHandler, 0)
    server.init(plan.get_host_assignments(hosts, count))
    server.serve_forever()
    return 0
