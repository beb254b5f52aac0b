"""From a node's token to its work."""

from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.access import NodeAccess
from app.auth.principal import Principal
from app.kernel.db import DatabaseDep
from app.model_captures.order import NODE_PREFIX as _CAPTURE_NODE_PREFIX
from app.nodes.base import NodeWork
from app.nodes.capture_work import CaptureWork
from app.nodes.replica_work import ReplicaWork
from app.nodes.run_work import RunWork

_RUN_NODE_PREFIX = "tw-run_"


def is_of_run(principal: Principal) -> bool:
    """Whether the node works for a run."""
    return principal.id.startswith(_RUN_NODE_PREFIX)


def is_of_capture(principal: Principal) -> bool:
    """Whether the node loads a registered model once."""
    return principal.id.startswith(_CAPTURE_NODE_PREFIX)


async def find_work(session: AsyncSession, principal: Principal) -> NodeWork:
    """What the node that holds this token works for.

    Raises:
        AttemptSuperseded: its work is over.
    """
    if is_of_run(principal):
        return await RunWork.find(session, principal.id)
    if is_of_capture(principal):
        return await CaptureWork.find(session, principal.id)
    return await ReplicaWork.find(session, principal.id)


async def _work(principal: NodeAccess, database: DatabaseDep) -> NodeWork:
    async with database.session() as session:
        return await find_work(session, principal)


WorkDep = Annotated[NodeWork, Depends(_work)]
"""The work of the calling node; 410 when it is over."""
