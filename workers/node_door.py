"""Whether nodes could report if they wanted to: the API answers where they look for it."""

import time

import httpx2

_ANSWER_SECONDS = 5.0
_FORGOTTEN_SECONDS = 60.0


class NodeDoor:
    """Looks at the address that nodes report to; asked only when some node is silent.

    Silence means nothing while the door is shut: training goes on, and is told about later.
    """

    def __init__(self, url: str) -> None:
        """Make it.

        Args:
            url: of the API as nodes reach it.
        """
        self._url = url
        self._open_since: float | None = None
        self._looked_at = 0.0

    async def open_seconds(self) -> float:
        """For how long the door has been open at every look; 0 when it is not."""
        is_open = await self._is_open()
        now = time.monotonic()
        if not is_open:
            self._open_since = None
        elif self._open_since is None or now - self._looked_at > _FORGOTTEN_SECONDS:
            self._open_since = now
        self._looked_at = now
        return 0.0 if self._open_since is None else now - self._open_since

    async def _is_open(self) -> bool:
        try:
            async with httpx2.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as client:
                return (await client.get(f"{self._url}/readyz")).status_code == 200
        except httpx2.TransportError:
            return False
