"""Moves a run towards its end: one class, one method per phase of its life."""

from collections.abc import Awaitable, Callable
from typing import cast

import structlog
from sqlalchemy import Table

from app.providers.base import NotYetRemoved, ProviderError
from app.runs import attempts, finalizing, gang
from app.runs.decide import NodeView, is_silent, lost_nodes, outcome
from app.runs.states import TERMINAL, BlockerCode, Status
from app.runs.transitions import lock_run, transition
from app.tables.run import Run, RunNode
from workers.context import WorkerContext
from workers.launch_run import Launch
from workers.prepare_run import Preparation
from workers.reconciler import Guard

ACTOR = "worker"
_WATCH_SECONDS = 2.0
_RETRY_SECONDS = 1.0
_STOP_DEADLINE_SECONDS = 60.0
_FINISHED = frozenset({"Finished", "Failed", "Lost"})
_AWAY = BlockerCode.PROVIDER_UNAVAILABLE
_HEARD = frozenset({Status.RUNNING, Status.NOT_RESPONDING})
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
        self._launch = Launch(context)
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
            if run.status in TERMINAL:
                return await self._clean_up(guard, run)
            try:
                again = await self._steps[Status(run.status)](guard, run)
            except ProviderError as error:
                return await self._note_provider(guard, run, error)
            if again != 0.0:
                return again

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
        if not nodes or all(node.removed for node in nodes):
            return None
        if await self._is_start_overdue(run, nodes):
            await self._give_up_start(guard, run)
            return 0.0
        if any(node.state == "Assigned" for node in nodes):
            return await self._launch.launch(guard, run, nodes)
        views, trouble = await self._look(nodes)
        if lost := lost_nodes(views):
            return await self._lose(guard, run, nodes, lost)
        if all(node.state in _FINISHED for node in nodes):
            return await self._finish(guard, run, views)
        await self._note_silence(guard, run, views)
        return await self._note_provider(guard, run, trouble)

    async def _note_provider(self, guard: Guard, run: Run, error: ProviderError | None) -> float:
        """Let the run say whether its nodes can be looked after; says when to look again."""
        if error is not None or any(b["code"] == _AWAY for b in run.blockers):
            async with self._database.session() as session:
                await guard.check(session)
                row = await lock_run(session, run.id)
                if row.status not in TERMINAL:
                    words = None if error is None else str(error)
                    attempts.note_provider(session, row, self._provider.name, words)
        return _WATCH_SECONDS if error is None else _RETRY_SECONDS

    async def _is_start_overdue(self, run: Run, nodes: list[RunNode]) -> bool:
        if run.node_count == 1 or not any(node.state in gang.NOT_READY for node in nodes):
            return False
        async with self._database.session() as session:
            age_seconds = await attempts.age_seconds(session, run)
        return age_seconds > self._context.settings.gang_start_timeout_seconds

    async def _give_up_start(self, guard: Guard, run: Run) -> None:
        """Not all nodes became ready in time: none starts, and the run says which were late."""
        limit = self._context.settings.gang_start_timeout_seconds
        async with self._database.session() as session:
            await guard.check(session)
            await lock_run(session, run.id)
            nodes = await attempts.nodes_of(session, run.id, run.attempt)
            late = [node for node in nodes if node.state in gang.NOT_READY]
            names = ", ".join(f"node {node.node_index}" for node in late)
            message = f"Not all nodes were ready within {limit:g} s; missing: {names}."
            for node in late:
                node.state = "Failed"
                node.result = {"failed": {"code": "gang_not_ready", "message": message}}

    async def _look(self, nodes: list[RunNode]) -> tuple[list[NodeView], ProviderError | None]:
        """What is known of nodes, and why it is not more."""
        views: list[NodeView] = []
        trouble: ProviderError | None = None
        for node in nodes:
            is_alive: bool | None = None
            if node.state not in _FINISHED:
                try:
                    is_alive = await self._provider.is_alive(node.name)
                except ProviderError as error:
                    trouble = error
            async with self._database.session() as session:
                age = await finalizing.heartbeat_age_seconds(session, node.name)
            view = NodeView(
                index=node.node_index,
                state=node.state,
                is_alive=is_alive,
                heartbeat_age_seconds=age,
                result=node.result,
            )
            views.append(view)
        return views, trouble

    async def _lose(
        self, guard: Guard, run: Run, nodes: list[RunNode], lost: list[int]
    ) -> float | None:
        """A node went away by itself: end what is left of the attempt, and begin another."""
        names = ", ".join(node.name for node in nodes if node.node_index in lost)
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            rows = await attempts.nodes_of(session, run.id, run.attempt)
            # It may have finished between the look and this lock.
            if any(node.state not in _FINISHED and node.node_index in lost for node in rows):
                # The others cannot go on without it: the attempt ends as a whole.
                for node in rows:
                    node.state = node.state if node.state in _FINISHED else "Lost"
            if run.status in (Status.QUEUED, Status.RUNNING, Status.FINALIZING):
                reason = f"the runner of {names} went away"
                transition(session, run, Status.NOT_RESPONDING, actor=ACTOR, reason=reason)
        _log.warning("node_lost", run_id=run.id, nodes=names)
        return 0.0

    async def _note_silence(self, guard: Guard, run: Run, views: list[NodeView]) -> None:
        limit = self._context.settings.heartbeat_timeout_seconds
        silent = is_silent(views, timeout_seconds=limit)
        if silent != (run.status == Status.RUNNING) or run.status not in _HEARD:
            return
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            if silent and run.status == Status.RUNNING:
                reason = "no heartbeat came for a while"
                transition(session, run, Status.NOT_RESPONDING, actor=ACTOR, reason=reason)
            elif not silent and run.status == Status.NOT_RESPONDING:
                nodes = await attempts.nodes_of(session, run.id, run.attempt)
                back = Status.FINALIZING if gang.are_all_over(nodes) else Status.RUNNING
                reason = "all nodes report again"
                transition(session, run, back, actor=ACTOR, reason=reason)

    async def _finish(self, guard: Guard, run: Run, views: list[NodeView]) -> float | None:
        """All nodes of the attempt have ended: publish and seal, or try again."""
        was_lost = any(view.state == "Lost" for view in views)
        if not await self._remove_nodes(guard, run):
            return _RETRY_SECONDS
        is_canceled = run.status == Status.CANCEL_REQUESTED
        if was_lost and not is_canceled and run.attempt < run.max_attempts:
            await self._begin_again(guard, run)
            return 0.0
        end = outcome(views, is_cancel_requested=is_canceled)
        if was_lost and not is_canceled:
            end = finalizing.gave_up(run.attempt)
        await finalizing.publish_and_end(
            self._database, self._context.objects, guard.check, run_id=run.id, end=end
        )
        return 0.0

    async def _begin_again(self, guard: Guard, run: Run) -> None:
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            await attempts.end(session, run, outcome="Lost", error=None)
            if run.status == Status.NOT_RESPONDING:
                reason = f"attempt {run.attempt} lost its node; another one begins"
                transition(session, run, Status.QUEUED, actor=ACTOR, reason=reason)
            await attempts.release_nodes(session, run)

    async def _cancel(self, guard: Guard, run: Run) -> float | None:
        """Stop what runs, wait for its partial outputs, and end the run."""
        async with self._database.session() as session:
            nodes = list(await attempts.nodes_of(session, run.id, run.attempt))
            waiting_seconds = await finalizing.seconds_in_state(session, run.id)
        views, _ = await self._look([node for node in nodes if not node.removed])
        is_over = all(v.state in _FINISHED or v.is_alive is False for v in views)
        if not is_over and waiting_seconds < _STOP_DEADLINE_SECONDS:
            for node in nodes:
                if node.state not in _FINISHED:
                    await self._provider.stop(node.name)
            return _WATCH_SECONDS
        return await self._finish(guard, run, views)

    async def _remove_nodes(self, guard: Guard, run: Run) -> bool:
        """Remove what is left at the provider; whether all of it is gone.

        Raises:
            ProviderError: it is away.
        """
        async with self._database.session() as session:
            nodes = [n for n in await attempts.nodes_of(session, run.id) if not n.removed]
        for node in nodes:
            try:
                await self._provider.remove(node.name)
            except NotYetRemoved:
                return False
            async with self._database.session() as session:
                await guard.check(session)
                row = await session.get_one(RunNode, node.name)
                row.removed = True
        return True

    async def _clean_up(self, guard: Guard, run: Run) -> float | None:
        """Leave nothing behind."""
        try:
            is_clean = await self._remove_nodes(guard, run)
        except ProviderError as error:
            _log.warning("provider_unavailable", run_id=run.id, error=str(error))
            is_clean = False
        if not is_clean:
            return _RETRY_SECONDS
        async with self._database.session() as session:
            await guard.check(session)
            await attempts.release_nodes(session, run)
        return None
