"""On which host the next nodes of a cluster go: a pure function of the room that hosts have."""

from collections.abc import Sequence
from dataclasses import dataclass

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Size:
    """What one node of the cluster gets on a host."""

    cores: float
    memory_bytes: int
    gpus: int


@dataclass(frozen=True)
class Room:
    """What a host has left to hand out.

    Attributes:
        host: its name.
        size: of a node of the cluster there.
        cores: left, with what may be handed out more than once counted so.
        memory_bytes: left.
        gpu_ids: those that no node has.
    """

    host: str
    size: Size
    cores: float
    memory_bytes: int
    gpu_ids: tuple[str, ...]

    @property
    def node_count(self) -> int:
        """How many nodes fit."""
        fits = [
            int(self.cores / self.size.cores + _ROUNDING),
            int(self.memory_bytes / self.size.memory_bytes + _ROUNDING),
        ]
        if self.size.gpus:
            fits.append(len(self.gpu_ids) // self.size.gpus)
        return max(0, min(fits))


@dataclass(frozen=True)
class Place:
    """Where a new node is to be."""

    host: str
    size: Size
    gpu_ids: tuple[str, ...]


def spread(rooms: Sequence[Room], *, count: int) -> list[Place]:
    """Places for so many nodes, or for as many as fit.

    The next node goes where most fit, so that nodes that work together share a host's cores,
    memory and network card with as few others as can be; among equals, to the first by name.
    """
    left = {room.host: room.node_count for room in rooms}
    by_name = {room.host: room for room in rooms}
    taken = dict.fromkeys(left, 0)
    places: list[Place] = []
    while len(places) < count and any(left.values()):
        name = min(left, key=lambda host: (-left[host], host))
        room = by_name[name]
        first = taken[name] * room.size.gpus
        places.append(Place(name, room.size, room.gpu_ids[first : first + room.size.gpus]))
        left[name] -= 1
        taken[name] += 1
    return places
