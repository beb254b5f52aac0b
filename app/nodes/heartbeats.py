"""Heartbeats of nodes: noted in one round trip while all goes on, and answered when it does not.

A node wants to know at once that another one of its run has failed, or that the run is being
canceled; and most heartbeats tell and bring nothing new. So a node lets its answer wait until
there is something to do or the next heartbeat is due.
"""

from time import monotonic

from sqlalchemy import bindparam, func, or_, select, update

from app.auth.principal import Principal
from app.kernel.db import Database
from app.kernel.direct import Statement
from app.kernel.signals import Signals
from app.nodes.schemas import Heartbeat, NodeCommand
from app.nodes.work import find_work, is_of_run
from app.runs.attempts import run_of
from app.runs.states import Status
from app.runs.transitions import RUN_TOPIC
from app.tables.run import Run, RunNode

_PEER = RunNode.__table__.alias("peer")
# Of a run that runs, whose nodes all run and have told of no end: such a node has to go on.
# One that may be silent for only so long tells more, which is not noted here.
_NOTE_STEADY = Statement(
    update(RunNode)
    .where(
        RunNode.name == bindparam("node"),
        RunNode.state == "Running",
        RunNode.removed.is_(False),
        Run.id == RunNode.run_id,
        Run.attempt == RunNode.attempt,
        Run.status == Status.RUNNING,
        ~Run.request.has_key("silence_timeout_seconds"),
        ~select(_PEER.c.name)
        .where(
            _PEER.c.run_id == RunNode.run_id,
            _PEER.c.attempt == RunNode.attempt,
            or_(_PEER.c.state != "Running", _PEER.c.result.is_not(None)),
        )
        .exists(),
    )
    .values(heartbeat_at=func.clock_timestamp())
    .returning(RunNode.name)
)


async def take(
    database: Database, signals: Signals, principal: Principal, beat: Heartbeat
) -> NodeCommand:
    """Note that a node is alive, and say what it should do.

    Args:
        database: where nodes are.
        signals: tell of changes of the run.
        principal: the node.
        beat: what it says; with ``wait_seconds`` the answer waits until there is something to do.

    Raises:
        AttemptSuperseded: its work is over.
    """
    if not is_of_run(principal):
        return await _note(database, principal, beat)
    until = monotonic() + beat.wait_seconds
    with signals.subscribe(RUN_TOPIC, run_of(principal.id)) as news:
        if await database.direct.row(_NOTE_STEADY, node=principal.id):
            command = NodeCommand(command="continue")
        else:
            command = await _note(database, principal, beat)
        while command.command == "continue" and (left_seconds := until - monotonic()) > 0:
            if await news.wait(timeout_seconds=left_seconds):
                command = await _note(database, principal, beat)
    return command


async def _note(database: Database, principal: Principal, beat: Heartbeat) -> NodeCommand:
    async with database.session() as session:
        work = await find_work(session, principal)
        return await work.on_heartbeat(session, beat)
