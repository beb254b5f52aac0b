"""Moves a run towards its end: one class, one method per phase of its life."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

import structlog
from sqlalchemy import Table
from structlog.contextvars import bind_contextvars

from app.kernel.crash_points import CrashPoint, reached
from app.providers.base import HostLost, NotYetRemoved, ProviderError
from app.runs import attempts, finalizing, interruptions, waiting
from app.runs.decide import (
    NODE_LOST,
    PREEMPTED,
    WORKER_DIED,
    NodeView,
    Outcome,
    is_tried_again,
    outcome,
)
from app.runs.states import TERMINAL, BlockerCode, Status
from app.runs.trace import log_names
from app.runs.transitions import lock_run, transition
from app.tables.run import Run, RunNode
from workers.context import WorkerContext
from workers.launch_run import Launch
from workers.prepare_run import Preparation
from workers.reconciler import Guard
from workers.run_health import RunHealth
from workers.tell_traces import tell_trace

ACTOR = "worker"
_WATCH_SECONDS = 2.0
_STEADY_SECONDS = 5.0
"""Between two looks at a run that runs: what happens on its nodes wakes it, but for their loss."""
_RETRY_SECONDS = 1.0
_STOP_DEADLINE_SECONDS = 60.0
_DELIVERY_DEADLINE_SECONDS = 300.0
"""So long after it was stopped, at most, a run waits for nodes that only deliver what they have."""
_FINISHED = frozenset({"Finished", "Failed", "Lost"})
_DELIVERING = "Exited"
_AWAY = BlockerCode.PROVIDER_UNAVAILABLE
_ENDED = {NODE_LOST: "Lost", PREEMPTED: "Preempted"}
_log = structlog.get_logger(__name__)

Step = Callable[[Guard, Run], Awaitable[float | None]]


class RunReconciler:
    """Each step looks at the rows, acts, and writes what came of it."""

    table = cast("Table", Run.__table__)

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._database = context.database
        self._provider = context.provider
        self._preparation = Preparation(context)
        self._health = RunHealth(context)
        self._launch = Launch(context, self._health)
        self._steps: dict[Status, Step] = {
            Status.STARTING: self._start,
            Status.PREPARING: self._preparation.prepare,
            Status.QUEUED: self._watch,
            Status.RUNNING: self._watch,
            Status.NOT_RESPONDING: self._watch,
            Status.FINALIZING: self._watch,
            Status.CANCEL_REQUESTED: self._cancel,
        }

    async def reconcile(self, guard: Guard) -> float | None:
        """Take steps as long as they change the run's state."""
        while True:
            async with self._database.session() as session:
                run = await session.get_one(Run, guard.lease.row_id)
            # For all that this task says from here on: it is about no other run.
            bind_contextvars(**log_names(run))
            again = await self._step(guard, run)
            if waiting.is_failing(run):
                await self._note_failing(guard, None)
            if run.status in TERMINAL or again != 0.0:
                return again

    async def say_failed(self, guard: Guard, error: str) -> None:
        """Let the run say that looks at it fail, as long as it has not ended."""
        await self._note_failing(guard, error)

    async def give_up(self, guard: Guard, turns: int) -> bool:
        """Fail the run; what it has at the provider is removed by the turns that follow."""
        words = (
            f"Work on the run has ended the worker that did it {turns} times in a row, as when it "
            "takes more memory than there is. The logs of the workers say more."
        )
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, guard.lease.row_id)
            if run.status in TERMINAL:
                return False
            await finalizing.give_up(session, run, {"code": WORKER_DIED, "message": words})
        return True

    async def _note_failing(self, guard: Guard, error: str | None) -> None:
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, guard.lease.row_id)
            if run.status not in TERMINAL:
                waiting.note_failing(session, run, error)

    async def _step(self, guard: Guard, run: Run) -> float | None:
        if run.status in TERMINAL:
            return await self._clean_up(guard, run)
        try:
            return await self._steps[Status(run.status)](guard, run)
        except ProviderError as error:
            return await self._note_provider(guard, run, error)

    async def _start(self, guard: Guard, run: Run) -> float | None:
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            if run.status == Status.STARTING:
                transition(session, run, Status.PREPARING, actor=ACTOR)
        return 0.0

    async def _watch(self, guard: Guard, run: Run) -> float | None:
        """See to it that the attempt's nodes run, and notice how they end."""
        async with self._database.session() as session:
            nodes = list(await attempts.nodes_of(session, run.id, run.attempt))
            attempt = await attempts.current(session, run)
        if attempt is None or attempt.ended_at is not None:
            return None  # it queues, and the planner wakes it
        if attempt.gives_way_because is not None:
            return await self._give_way(guard, run, nodes)
        if await self._health.is_start_overdue(run, nodes):
            await self._health.give_up_start(guard, run)
            return 0.0
        if any(node.state == "Assigned" for node in nodes):
            return await self._launch.launch(guard, run, nodes)
        views, trouble = await self._health.look(nodes)
        if await self._health.has_lost(guard, run, views):
            return 0.0
        if all(node.state in _FINISHED for node in nodes):
            return await self._finish(guard, run)
        await self._health.note_silence(guard, run, views)
        await self._health.note_hang(guard, run, views)
        return await self._note_provider(guard, run, trouble)

    async def _note_provider(self, guard: Guard, run: Run, error: ProviderError | None) -> float:
        """Let the run say whether its nodes can be looked after; says when to look again."""
        if error is not None or any(b["code"] == _AWAY for b in run.blockers):
            async with self._database.session() as session:
                await guard.check(session)
                row = await lock_run(session, run.id)
                if row.status not in TERMINAL:
                    words = None if error is None else str(error)
                    waiting.note_provider(session, row, self._provider.name, words)
        if error is not None:
            return _RETRY_SECONDS
        return _STEADY_SECONDS if run.status == Status.RUNNING else _WATCH_SECONDS

    async def _finish(self, guard: Guard, run: Run) -> float | None:
        """All nodes of the attempt have ended: publish and seal, or try again."""
        if not await self._remove_nodes(guard, run):
            return _RETRY_SECONDS
        # Until they were gone they could report, and the run could be told to give way.
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            attempt = await attempts.current(session, run)
            nodes = await attempts.nodes_of(session, run.id, run.attempt)
        end = outcome(
            [_removed(node) for node in nodes],
            is_cancel_requested=run.status == Status.CANCEL_REQUESTED,
            ended_because=attempt.error if attempt else None,
            gives_way_because=attempt.gives_way_because if attempt else None,
        )
        if run.attempt < run.max_attempts and is_tried_again(
            end, retry_on=run.request.get("retry_on", [])
        ):
            await self._begin_again(guard, run, end)
            return 0.0
        await finalizing.publish_and_end(
            self._database, self._context.objects, guard.check, run_id=run.id, end=end
        )
        return 0.0

    async def _begin_again(self, guard: Guard, run: Run, end: Outcome) -> None:
        error = end.error or {}
        ended = _ENDED.get(error.get("code", ""), str(end.status))
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            if run.status == Status.CANCEL_REQUESTED:
                return
            await attempts.end(session, run, outcome=ended, error=end.error)
            reason = f"attempt {run.attempt} has ended, another one begins: " + error["message"]
            for status in (Status.NOT_RESPONDING, Status.QUEUED):
                # The one state from which a run may go back is passed through.
                if run.status != status:
                    transition(session, run, status, actor=ACTOR, reason=reason)
            await attempts.release_nodes(session, run)
            reached(CrashPoint.ATTEMPT_GIVEN_UP)

    async def _cancel(self, guard: Guard, run: Run) -> float | None:
        """Stop what runs, wait for its partial outputs, and end the run."""
        async with self._database.session() as session:
            nodes = list(await attempts.nodes_of(session, run.id, run.attempt))
            waiting_seconds = await finalizing.seconds_in_state(session, run.id)
        views, _ = await self._health.look([node for node in nodes if not node.removed])
        if _has_time(views, waiting_seconds):
            for node in nodes:
                if node.state not in _FINISHED | {_DELIVERING}:
                    with suppress(HostLost):
                        await self._provider.stop(node.name, host=node.host)
                        reached(CrashPoint.NODE_STOPPED)
            return _WATCH_SECONDS
        return await self._finish(guard, run)

    async def _give_way(self, guard: Guard, run: Run, nodes: list[RunNode]) -> float | None:
        """Stop what runs, wait until its checkpoint is kept, and let the run queue again."""
        async with self._database.session() as session:
            stopping_seconds = await interruptions.seconds_since_told_to_give_way(session, run)
        views, _ = await self._health.look([node for node in nodes if not node.removed])
        if _has_time(views, stopping_seconds):
            for node in nodes:
                # What has not been started yet is not going to be.
                if node.state not in _FINISHED | {"Assigned", _DELIVERING}:
                    with suppress(HostLost):
                        await self._provider.stop(node.name, host=node.host)
            if any(node.state not in _FINISHED | {"Assigned"} for node in nodes):
                return _WATCH_SECONDS
        return await self._finish(guard, run)

    async def _remove_nodes(self, guard: Guard, run: Run) -> bool:
        """Remove what is left at the provider; whether all of it is gone.

        Raises:
            ProviderError: it is away, or cannot remove one; the others went all the same.
        """
        async with self._database.session() as session:
            nodes = [n for n in await attempts.nodes_of(session, run.id) if not n.removed]
        are_gone = True
        failures: list[ProviderError] = []
        for node in nodes:
            try:
                await self._provider.remove(node.name, host=node.host)
                reached(CrashPoint.NODE_REMOVED)
            except NotYetRemoved:
                are_gone = False
                continue
            except HostLost as error:
                # Nobody owns what is left there; it is collected when the host is back.
                _log.warning("node_abandoned", node=node.name, error=str(error))
            except ProviderError as error:
                failures.append(error)
                continue
            async with self._database.session() as session:
                await guard.check(session)
                row = await session.get_one(RunNode, node.name)
                row.removed = True
        if failures:
            raise failures[0]
        return are_gone

    async def _clean_up(self, guard: Guard, run: Run) -> float | None:
        """Leave nothing behind."""
        try:
            is_clean = await self._remove_nodes(guard, run)
        except ProviderError as error:
            _log.warning("provider_unavailable", error=str(error))
            is_clean = False
        if not is_clean:
            return _RETRY_SECONDS
        async with self._database.session() as session:
            await guard.check(session)
            await attempts.release_nodes(session, run)
        if run.sealed_at is None:
            # Of one that was given up; its nodes cost no more, whatever becomes of its logs.
            await finalizing.seal_logs(
                self._database, self._context.objects, guard.check, run_id=run.id
            )
        await tell_trace(self._database, self._context.tracing, run)
        return None


def _removed(node: RunNode) -> NodeView:
    """A node of which nothing more is to come."""
    return NodeView(
        index=node.node_index,
        state=node.state,
        is_alive=False,
        heartbeat_age_seconds=None,
        result=node.result,
    )


def _has_time(views: list[NodeView], seconds: float) -> bool:
    """Whether to wait for nodes that were told to stop so many seconds ago."""
    left = [
        view
        for view in views
        if not (view.state in _FINISHED or view.is_alive is False or view.host_trouble)
    ]
    if all(view.state == _DELIVERING for view in left):
        return bool(left) and seconds < _DELIVERY_DEADLINE_SECONDS
    return seconds < _STOP_DEADLINE_SECONDS
