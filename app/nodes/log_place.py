"""Where the log of a node goes: asked for with every piece of it, so with few columns."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.principal import Principal
from app.kernel.direct import DirectPool, Statement
from app.nodes.work import find_work, is_of_run
from app.runs.errors import AttemptSuperseded
from app.runs.states import TERMINAL
from app.runs.transitions import add_event, lock_run
from app.tables.run import Run, RunEvent, RunNode

_LOG_FULL = "log_full"


class LogPlace(NamedTuple):
    """Whose log it is, of which attempt and node."""

    owner: str
    attempt: int
    node_index: int | None


async def find_log_place(session: AsyncSession, principal: Principal) -> LogPlace:
    """Where the log of the node that holds this token goes.

    Raises:
        AttemptSuperseded: its work is over.
    """
    if is_of_run(principal):
        found = await session.execute(_PLACE, {"node": principal.id})
        return _checked(cast("Mapping[str, Any] | None", found.mappings().one_or_none()))
    work = await find_work(session, principal)
    return LogPlace(work.log_owner, work.attempt, None)


async def note_full_log(session: AsyncSession, principal: Principal) -> None:
    """Tell in an event, once a run, that no more of the run's log is kept."""
    place = await find_log_place(session, principal)
    run = await lock_run(session, place.owner)
    known = select(RunEvent.seq).where(RunEvent.run_id == run.id, RunEvent.type == _LOG_FULL)
    if (await session.execute(known.limit(1))).first() is None:
        add_event(session, run, kind=_LOG_FULL, actor=principal.id)


_PLACE = (
    select(
        RunNode.run_id, RunNode.attempt, RunNode.node_index, RunNode.state, RunNode.removed,
        Run.status, Run.attempt.label("current_attempt"),
    )
    .join(Run, Run.id == RunNode.run_id)
    .where(RunNode.name == bindparam("node"))
)  # fmt: skip
_PLACE_DIRECTLY = Statement(_PLACE)


async def find_run_log_place(direct: DirectPool, principal: Principal) -> LogPlace:
    """The same for a node that works for a run, in one round trip.

    Raises:
        AttemptSuperseded: its work is over.
    """
    return _checked(await direct.row(_PLACE_DIRECTLY, node=principal.id))


def _checked(row: Mapping[str, Any] | None) -> LogPlace:
    if (
        row is None
        or row["attempt"] != row["current_attempt"]
        or row["status"] in TERMINAL
        or row["state"] == "Lost"
        or row["removed"]
    ):
        raise AttemptSuperseded("This attempt is over; end yourself.")
    return LogPlace(row["run_id"], row["attempt"], row["node_index"])
