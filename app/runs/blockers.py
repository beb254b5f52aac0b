"""What a blocker is, and what a run says while nobody has looked at it yet."""

from datetime import datetime
from typing import Any

from app.kernel.clock import utc_now
from app.runs.states import BlockerCode, Status

STARTS = ("starts_after", "starts_before")
"""Fields of a blocker that say when the run is thought to start."""
_TEXTS = ("code", "object", "clears_when")


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


def readable(said: Any) -> list[dict[str, Any]]:
    """The blockers in a run's row; none when nothing that writes them has written it so.

    They are only what was said: the next who says something replaces them.
    """
    if isinstance(said, list) and all(_is_blocker(one) for one in said):
        return said
    return []


def _is_blocker(one: Any) -> bool:
    if not isinstance(one, dict) or not isinstance(one.get("position", 1), int):
        return False
    moments = [one.get("since"), *(one[key] for key in STARTS if one.get(key) is not None)]
    return all(isinstance(one.get(key), str) for key in _TEXTS) and all(map(_is_moment, moments))


def _is_moment(text: Any) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except (TypeError, ValueError):
        return False
