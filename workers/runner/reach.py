"""Find out whether the other nodes of an attempt can be reached, before any script waits for them.

What nodes send each other may be dropped on its way without a word (a firewall, an encrypted
overlay on a kernel that cannot encrypt); a script would then hang at its first connection.
"""

from __future__ import annotations

import socket
import time
from typing import List, NamedTuple

from workers.runner.control import Control

TRY_SECONDS = 2.0
_PAUSE_SECONDS = 0.2


class Peer(NamedTuple):
    """Another node of the attempt: its number, its address, and a port that it keeps free."""

    node: int
    address: str
    port: int


def unanswering(peers: List[Peer], *, seconds: float, control: Control) -> List[Peer]:
    """Return those that gave no answer; a refusal is one, for nobody has to listen there yet.

    Args:
        peers: whom to ask.
        seconds: for how long to ask again.
        control: says when to stop asking.

    Raises:
        Fenced, Stopped: why there is nothing to ask any more.
    """
    ends_at = time.monotonic() + seconds
    left = peers
    while left:
        left = [peer for peer in left if not _answers(peer)]
        if not left or time.monotonic() >= ends_at:
            break
        control.rest(_PAUSE_SECONDS)
    return left


def _answers(peer: Peer) -> bool:
    try:
        socket.create_connection((peer.address, peer.port), TRY_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True
