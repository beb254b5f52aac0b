"""The same request for many things, over a few connections at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from workers.runner.api import Channel, Endpoint

T = TypeVar("T")
CONNECTIONS = 6
ITEMS_PER_CONNECTION = 4


def for_each(endpoint: Endpoint, items: Sequence[T], work: Callable[[Channel, T], None]) -> None:
    """Call `work(channel, item)` for every item, on as many connections as the count deserves.

    Raises:
        The first error that `work` raised, after all connections have stopped.
    """
    pending: queue.SimpleQueue[T] = queue.SimpleQueue()
    for item in items:
        pending.put(item)
    errors: list[Exception] = []

    def drain() -> None:
        channel = endpoint.channel()
        try:
            while not errors:
                work(channel, pending.get_nowait())
        except queue.Empty:
            return
        except Exception as error:  # whatever it is, the calling thread gets it
            errors.append(error)
        finally:
            channel.close()

    count = min(CONNECTIONS, 1 + (len(items) - 1) // ITEMS_PER_CONNECTION) if items else 0
    helpers = [threading.Thread(target=drain, daemon=True) for _ in range(count - 1)]
    for helper in helpers:
        helper.start()
    if count:
        drain()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]
