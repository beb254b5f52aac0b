"""What goes wrong at the fake provider, and when: a script that a test writes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from app.providers.base import ProviderError


class Verb(StrEnum):
    """What can go wrong."""

    CAPACITY = "capacity"
    ENSURE = "ensure"
    STOP = "stop"
    REMOVE = "remove"
    IS_ALIVE = "is_alive"
    ADDRESS = "address"
    LIST = "list"
    FILL = "fill"


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        verb: which call.
        delay_seconds: how long the call takes more than it would.
        error: what it raises; None: it is only slow.
        is_carried_out: whether the call does its work although it raises, as when an answer is
            lost on its way.
        times: how many calls; afterwards the fault is over. None: every call, for ever.
        node: for which nodes, as a pattern of the shell.
    """

    verb: Verb
    delay_seconds: float = 0.0
    error: ProviderError | None = None
    is_carried_out: bool = False
    times: int | None = 1
    node: str = "*"


class Faults:
    """The script: of the faults that fit a call, the first that is not over happens."""

    def __init__(self, script: Sequence[Fault] = ()) -> None:
        self.calls: Counter[Verb] = Counter()
        """How often each verb was called."""
        self._script: list[tuple[Fault, int | None]] = []
        self.add(*script)

    def add(self, *faults: Fault) -> None:
        """Let these happen from now on, after those that are there."""
        self._script += [(fault, fault.times) for fault in faults]

    def clear(self) -> None:
        """Let all go well again."""
        self._script.clear()

    def take(self, verb: Verb, node: str) -> Fault | None:
        """The fault of this call, which is thereby used up once."""
        self.calls[verb] += 1
        for place, (fault, left) in enumerate(self._script):
            if fault.verb == verb and fnmatchcase(node, fault.node):
                if left == 1:
                    del self._script[place]
                elif left is not None:
                    self._script[place] = (fault, left - 1)
                return fault
        return None
