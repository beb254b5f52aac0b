"""How the processes of a node are started once all nodes are ready: at once, or by a launcher."""

from __future__ import annotations

import os
from typing import Any, Protocol

from workers.runner.control import Control
from workers.runner.gloo import GlooLaunch
from workers.runner.mpi import MpiLaunch
from workers.runner.notes import Notes
from workers.runner.order import Order
from workers.runner.processes import NodeProcess, Prepared


class Launch(Protocol):
    """Starts a node's processes."""

    helpers: list[NodeProcess]
    """What runs besides them; may grow while they run."""

    def open(self, address: str, ports: list[int], environment: dict[str, str]) -> None:
        """Get ready to be called by other nodes, before this one says that it is ready."""

    def begin(self, prepared: list[Prepared], *, cwd: str, told: dict[str, Any]) -> None:
        """Start what this node has to start; in the main thread."""

    def close(self) -> None:
        """Take no more calls; everything has ended."""


class PlainLaunch:
    """Starts each process by itself."""

    def __init__(self) -> None:
        self.helpers: list[NodeProcess] = []

    def open(self, address: str, ports: list[int], environment: dict[str, str]) -> None:
        """There is nothing to do."""

    def begin(self, prepared: list[Prepared], *, cwd: str, told: dict[str, Any]) -> None:
        """Start all."""
        for process, environment in prepared:
            process.start(environment=environment, cwd=cwd)

    def close(self) -> None:
        """There is nothing to do."""


def make_launch(order: Order, *, node_dir: str, control: Control, notes: Notes) -> Launch:
    """Return the launch that the order asks for."""
    if order.launch is None:
        return PlainLaunch()
    folder = os.path.join(node_dir, "launch")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    kind = MpiLaunch if order.launch.kind == "mpi" else GlooLaunch
    return kind(order.launch, folder=folder, control=control, notes=notes)
