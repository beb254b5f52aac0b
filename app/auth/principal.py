"""Who is asking."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Principal:
    """An authenticated caller.

    Attributes:
        kind: ``user`` (API token), ``run`` (a script), ``node`` (a runner),
            ``deployment`` (an unverified deployment key, good for scoring only),
            ``discovery`` (good for asking where the services are, and nothing else).
        id: token id; run id; node name; for a deployment key the key itself.
        workspace_id: the workspace that a run or node belongs to.
        attempt: the attempt that a run or node token was made for.
        name: what to show in events.
    """

    kind: Literal["user", "run", "node", "deployment", "discovery"]
    id: str
    name: str
    workspace_id: str = ""
    attempt: int = 0
