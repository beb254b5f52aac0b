"""`Prefer: wait=SECONDS` (RFC 7240): how long a client likes to wait for an answer."""

import re
from typing import Annotated

from fastapi import Depends, Header

DEFAULT_SECONDS = 60.0
MAX_SECONDS = 600.0
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?", re.IGNORECASE)


async def _prefer_wait(
    prefer: Annotated[
        str, Header(description="wait=SECONDS: answer earlier, at the latest then")
    ] = "",
) -> float:
    match = _WAIT.search(prefer)
    return DEFAULT_SECONDS if match is None else min(float(match[1]), MAX_SECONDS)


PreferWaitDep = Annotated[float, Depends(_prefer_wait)]
"""Seconds to wait before the answer is 202; a preference that makes no sense is ignored."""
