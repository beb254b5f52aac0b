"""What a blocker is, and what a run says while nobody has looked at it yet."""

from typing import Any

from app.kernel.clock import utc_now
from app.runs.states import BlockerCode, Status


def blocker(code: BlockerCode, thing: str, clears_when: str, **more: Any) -> dict[str, Any]:
    """One reason why a run is not running.

    Args:
        code: from the closed list.
        thing: what is in the way, e.g. ``cluster gpucluster``.
        clears_when: what will clear it.
        more: further facts.
    """
    since = utc_now().isoformat()
    return {"code": str(code), "object": thing, "since": since, "clears_when": clears_when} | more


def at_first(status: Status) -> list[dict[str, Any]]:
    """What a run that has come to this state waits for, until somebody who knows more says it."""
    if status in (Status.STARTING, Status.PREPARING):
        clears = "a worker has looked at its data and its environment"
        return [blocker(BlockerCode.PREPARING, "data and environment", clears)]
    if status == Status.QUEUED:
        return [blocker(BlockerCode.WAITING_FOR_PLAN, "planner", "the next plan has been made")]
    return []
