"""Where the log of a node goes: asked for with every piece of it, so with few columns."""

from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.auth.principal import Principal
from app.nodes.work import RUN_NODE_PREFIX, find_work
from app.runs.errors import AttemptSuperseded
from app.runs.states import TERMINAL
from app.tables.run import Run, RunNode


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
        return await find_run_log_place(session, principal)
    work = await find_work(session, principal)
    return LogPlace(work.log_owner, work.attempt, None)


def is_of_run(principal: Principal) -> bool:
    """Whether the node works for a run."""
    return principal.id.startswith(RUN_NODE_PREFIX)


async def find_run_log_place(
    connection: AsyncConnection | AsyncSession, principal: Principal
) -> LogPlace:
    """The same for a node that works for a run.

    Raises:
        AttemptSuperseded: its work is over.
    """
    statement = (
        select(
            RunNode.run_id, RunNode.attempt, RunNode.node_index, RunNode.state, RunNode.removed,
            Run.status, Run.attempt.label("current_attempt"),
        )
        .join(Run, Run.id == RunNode.run_id)
        .where(RunNode.name == principal.id)
    )  # fmt: skip
    row = (await connection.execute(statement)).one_or_none()
    if (
        row is None
        or row.attempt != row.current_attempt
        or row.status in TERMINAL
        or row.state == "Lost"
        or row.removed
    ):
        raise AttemptSuperseded("This attempt is over; end yourself.")
    return LogPlace(row.run_id, row.attempt, row.node_index)
