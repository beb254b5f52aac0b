"""Signals: streams that wait for a change are told to look again.

Within a process directly, between processes over the broker's publish and subscribe.
With the broker away the waiting streams fall back to looking once a second.
"""

import asyncio
from collections import defaultdict
from contextlib import suppress

import redis.asyncio as redis
from redis.exceptions import RedisError

CHANNEL = "trainwright:signals"


class Signals:
    """The waiting places of this process."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)
        self.is_listening = False

    def notify(self, topic: str, row_id: str) -> None:
        """Wake whoever waits for this topic and row in this process."""
        for event in self._waiters.get(f"{topic}:{row_id}", ()):
            event.set()

    def subscribe(self, topic: str, row_id: str) -> "Subscription":
        """A place to wait; open it before reading the state that it is about."""
        return Subscription(self._waiters, f"{topic}:{row_id}")

    async def listen(self, broker_url: str) -> None:
        """Pass on the signals of other processes, for ever; reconnects by itself."""
        while True:
            client = redis.Redis.from_url(broker_url, socket_connect_timeout=2)
            try:
                async with client.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    self.is_listening = True
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            topic, _, row_id = message["data"].decode().partition(":")
                            self.notify(topic, row_id)
            except (RedisError, OSError):
                self.is_listening = False
                await asyncio.sleep(1)
            finally:
                self.is_listening = False
                with suppress(RedisError, OSError):
                    await client.aclose()


class Subscription:
    """One waiting place; a context manager."""

    def __init__(self, waiters: dict[str, set[asyncio.Event]], key: str) -> None:
        self._waiters = waiters
        self._key = key
        self._event = asyncio.Event()

    def __enter__(self) -> "Subscription":
        self._waiters[self._key].add(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        waiting = self._waiters[self._key]
        waiting.discard(self._event)
        if not waiting:
            del self._waiters[self._key]

    async def wait(self, *, timeout_seconds: float) -> bool:
        """Wait for the next signal; False when none came in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True
