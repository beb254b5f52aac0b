"""Records of a script that are refused, and the events that tell of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.plain_text import mended
from app.metrics.schemas import LONGEST_NAME
from app.runs.transitions import add_event
from app.tables.run import Run, RunEvent, RunNode

MOST_EVENTS = 100
"""So many events of an attempt tell what is refused: scripts log in loops, under made names too."""
_KIND = "record_refused"
_MOST_NAMES_TOLD = 20
_LONGEST_TOLD = 100
_LENGTH_ERRORS = frozenset({"string_too_short", "string_too_long"})


class Refused(NamedTuple):
    """A record that is not stored.

    Attributes:
        seq: its number.
        kind: of record.
        name: of the metric, or key; shortened.
        reason: for the user.
    """

    seq: int
    kind: str
    name: str
    reason: str


def refused(seq: int, record: dict[str, Any], error: Exception) -> Refused:
    """What is told of a record that cannot be stored, and why it cannot."""
    kind = mended(str(record.get("kind")))
    name = shortened(str(record.get("name" if kind == "metric" else "key", "")))
    if isinstance(error, ValidationError):
        reason = f"{kind} {name!r}: {_broken_rule(error)}"
    elif isinstance(error, KeyError):
        reason = f"a record of the kind {kind!r} needs {error}"
    else:
        reason = mended(str(error).splitlines()[0])
    return Refused(seq, kind, name, reason)


def shortened(name: str) -> str:
    """As much of a name as is told."""
    plain = mended(name)
    return plain if len(plain) <= _LONGEST_TOLD else f"{plain[:_LONGEST_TOLD]}…"


async def tell(session: AsyncSession, run: Run, node: RunNode, records: Sequence[Refused]) -> None:
    """Write events of refused records; one for each name and reason of the attempt.

    Args:
        session: the transaction.
        run: locked.
        node: that sent them.
        records: what is refused.
    """
    events = (
        await session.execute(
            select(RunEvent.reason, RunEvent.data).where(
                RunEvent.run_id == run.id,
                RunEvent.type == _KIND,
                RunEvent.data["attempt"].as_integer() == node.attempt,
            )
        )
    ).all()
    told = {(reason, name) for reason, data in events for name in data["names"]}
    fresh: dict[tuple[str, str], list[Refused]] = {}
    for record in records:
        if (record.reason, record.name) not in told:
            told.add((record.reason, record.name))
            fresh.setdefault((record.kind, record.reason), []).append(record)
    for place, ((kind, reason), group) in enumerate(fresh.items(), start=len(events)):
        if place > MOST_EVENTS:
            return
        is_last = place == MOST_EVENTS
        data = {
            "attempt": node.attempt,
            "seq": group[0].seq,
            "kind": kind,
            "names": [] if is_last else [record.name for record in group[:_MOST_NAMES_TOLD]],
        }
        add_event(
            session, run, kind=_KIND, actor=node.name, data=data,
            reason="More is refused, of which no event tells any more." if is_last else reason,
        )  # fmt: skip


def _broken_rule(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    if place == "name" and first["type"] in _LENGTH_ERRORS:
        return f"a name has 1 to {LONGEST_NAME} characters"
    if "error" in first.get("ctx", {}):
        return str(first["ctx"]["error"])
    return f"{place}: {first['msg']}"
