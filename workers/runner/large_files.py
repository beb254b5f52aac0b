"""Large files go on where their connection broke off: what came is asked for, the rest is sent."""

from __future__ import annotations

from contextlib import suppress
from typing import Callable, Iterator, Optional

from workers.runner.api import Channel
from workers.runner.errors import Away, Refused

# From this size on it is worth a request more to be able to go on.
LARGE_BYTES = 32 << 20
MOST_VAIN_TRIES = 20
"""So often, some half a minute, it is tried to go on with a file of which nothing arrives."""
_CONFLICT = 409

Chunks = Callable[[int], Iterator[bytes]]


class LargeFile:
    """One file on its way.

    Args:
        sha256: of the whole.
        size_bytes: of the whole.
        chunks: yields its bytes from an offset on.
    """

    def __init__(self, *, sha256: str, size_bytes: int, chunks: Chunks) -> None:
        self._path = f"/blobs/{sha256}/partial"
        self._size_bytes = size_bytes
        self._chunks = chunks
        self._come_bytes = -1
        self._vain_tries = 0

    def send_rest(self, channel: Channel) -> bool:
        """Send what is not there yet; False: it does not go like this, nothing of it arrives.

        Raises:
            Away: not all of it has come; to be called again.
            Refused, Fenced: as the control plane says.
        """
        start = self._where_to_go_on(channel)
        if start is None:
            return True
        if start > self._come_bytes:
            self._come_bytes, self._vain_tries = start, 0
        if self._vain_tries >= MOST_VAIN_TRIES:
            return False
        if not self._send_from(channel, start):
            raise Away("not all of it has come")
        return True

    def forget(self, channel: Channel) -> None:
        """Have removed what came of it, if somebody hears it."""
        with suppress(Away, Refused):
            channel.delete(self._path)

    def _where_to_go_on(self, channel: Channel) -> Optional[int]:
        """How many bytes are there; None: all, and they are stored."""
        try:
            here = channel.get_json(self._path)
        except Refused as refusal:
            if refusal.status != _CONFLICT:
                raise
            # A broken connection is not noticed there yet, or the whole is being stored.
            raise Away(str(refusal)) from refusal
        if here.get("is_complete"):
            return None
        return min(int(here.get("length_bytes", 0)), self._size_bytes)

    def _send_from(self, channel: Channel, start: int) -> bool:
        try:
            here = channel.patch_chunks(
                self._path,
                lambda: self._chunks(start),
                start=start,
                size_bytes=self._size_bytes,
            )
        except Refused as refusal:
            if refusal.status != _CONFLICT:
                raise
            self._vain_tries += 1
            raise Away(str(refusal)) from refusal
        except Away as away:
            # What it says itself, as that its disk is full, it would say of the whole file too.
            self._vain_tries += away.status is None
            raise
        return bool(here.get("is_complete"))
