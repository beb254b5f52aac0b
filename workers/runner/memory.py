"""What the kernel has killed for lack of memory, as far as a node can see."""

from __future__ import annotations

import os

OWN_GROUP_VARIABLE = "TRAINWRIGHT_OWN_CGROUP"
"""Set where the node has a control group to itself: its counter speaks of nothing else."""
# Both generations of control groups, each seen from inside a container.
_OF_THE_NODE = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
_OF_THE_MACHINE = "/proc/vmstat"
_COUNTER = "oom_kill"


def has_own_group() -> bool:
    """Whether `oom_kills` counts this node's processes alone."""
    return OWN_GROUP_VARIABLE in os.environ and _of_the_node() is not None


def oom_kills() -> int:
    """How many processes were killed so far: of this node, or else of the whole machine."""
    own = _of_the_node() if OWN_GROUP_VARIABLE in os.environ else None
    return own if own is not None else _counter(_OF_THE_MACHINE) or 0


def _of_the_node() -> int | None:
    found = [_counter(path) for path in _OF_THE_NODE]
    return next((count for count in found if count is not None), None)


def _counter(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            for line in file:
                name, _, count = line.partition(" ")
                if name == _COUNTER:
                    return int(count)
    except (OSError, ValueError):
        return None
    return None
