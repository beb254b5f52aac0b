"""What can be wrong with the nodes of an attempt, and what is done about it."""

import structlog

from app.kernel.clock import database_now
from app.metrics import repository as metrics
from app.providers.base import HostLost, ProviderError
from app.runs import attempts, finalizing, gang
from app.runs.decide import (
    NodeView,
    hung_nodes,
    lost_nodes,
    nodes_of_lost_hosts,
    silent_nodes,
)
from app.runs.silence import Heard, silence
from app.runs.states import Status
from app.runs.transitions import add_event, lock_run, transition
from app.tables.run import Run, RunNode
from workers.context import WorkerContext
from workers.node_door import NodeDoor
from workers.reconciler import Guard

_ACTOR = "worker"
_FINISHED = frozenset({"Finished", "Failed", "Lost"})
_HEARD = frozenset({Status.RUNNING, Status.NOT_RESPONDING})
_log = structlog.get_logger(__name__)


class RunHealth:
    """Notices late, lost, silent and hanging nodes."""

    def __init__(self, context: WorkerContext) -> None:
        self._settings = context.settings
        self._database = context.database
        self._provider = context.provider
        self._door = NodeDoor(context.settings.nodes_base_url)

    async def look(self, nodes: list[RunNode]) -> tuple[list[NodeView], ProviderError | None]:
        """What is known of nodes, and why it is not more."""
        alive: dict[str, bool] = {}
        host_troubles: dict[str, str] = {}
        trouble: ProviderError | None = None
        for node in nodes:
            if node.state not in _FINISHED:
                try:
                    alive[node.name] = await self._provider.is_alive(node.name, host=node.host)
                except HostLost as error:
                    host_troubles[node.name] = str(error)
                except ProviderError as error:
                    trouble = error
        async with self._database.session() as session:
            ages = await finalizing.heartbeat_ages_seconds(session, [node.name for node in nodes])
        views = [
            NodeView(
                index=node.node_index,
                state=node.state,
                is_alive=alive.get(node.name),
                heartbeat_age_seconds=ages.get(node.name),
                result=node.result,
                host_trouble=host_troubles.get(node.name, ""),
            )
            for node in nodes
        ]
        return views, trouble

    async def is_start_overdue(self, run: Run, nodes: list[RunNode]) -> bool:
        """Whether nodes of a gang are not ready though they should be by now."""
        if run.node_count == 1 or not any(node.state in gang.NOT_READY for node in nodes):
            return False
        async with self._database.session() as session:
            age_seconds = await attempts.age_seconds(session, run)
        return age_seconds > self._settings.gang_start_timeout_seconds

    async def give_up_start(self, guard: Guard, run: Run) -> None:
        """Not all nodes became ready in time: none starts, and the run says which were late."""
        limit = self._settings.gang_start_timeout_seconds
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

    async def has_lost(self, guard: Guard, run: Run, views: list[NodeView]) -> bool:
        """Whether nodes went away or hang: then the attempt is over, and its rows say so."""
        if lost := lost_nodes(views):
            await self.lose(guard, run, lost, "went away")
            return True
        timeout = self._settings.heartbeat_timeout_seconds
        if gone := nodes_of_lost_hosts(views, timeout_seconds=timeout):
            troubles = {view.host_trouble for view in views if view.index in gone}
            await self.lose(guard, run, gone, f"is lost: {' '.join(sorted(troubles))}")
            return True
        limit = self._settings.lost_after_seconds
        if not silent_nodes(views, timeout_seconds=timeout):
            return False
        open_seconds = await self._door.open_seconds()
        if hung := hung_nodes(views, timeout_seconds=limit, could_report_seconds=open_seconds):
            await self.lose(guard, run, hung, f"sent no heartbeat for {limit:g} s")
            return True
        return False

    async def note_silence(self, guard: Guard, run: Run, views: list[NodeView]) -> None:
        """A run with a node that does not report is NotResponding, until all report again."""
        limit = self._settings.heartbeat_timeout_seconds
        silent = silent_nodes(views, timeout_seconds=limit)
        if bool(silent) != (run.status == Status.RUNNING) or run.status not in _HEARD:
            return
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            if silent and run.status == Status.RUNNING:
                reason = f"no heartbeat for {limit:g} s from {_names(silent)}"
                transition(session, run, Status.NOT_RESPONDING, actor=_ACTOR, reason=reason)
            elif not silent and run.status == Status.NOT_RESPONDING:
                nodes = await attempts.nodes_of(session, run.id, run.attempt)
                back = Status.FINALIZING if gang.are_all_over(nodes) else Status.RUNNING
                reason = "all nodes report again"
                transition(session, run, back, actor=_ACTOR, reason=reason)

    async def note_hang(self, guard: Guard, run: Run, views: list[NodeView]) -> None:
        """A run that was not to be silent for so long is ended; its heartbeats are told."""
        limit = run.request.get("silence_timeout_seconds")
        if limit is None or run.status != Status.RUNNING:
            return
        ages = {view.index: view.heartbeat_age_seconds for view in views}
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            nodes = await attempts.nodes_of(session, run.id, run.attempt)
            tasks = gang.tasks_of(run)
            if gang.verdict(tasks, nodes) is not gang.Verdict.GO:
                return
            heard = [
                Heard(node.node_index, ages[node.node_index] or 0.0, node.quiet)
                for node in nodes
                if node.state not in gang.OVER
            ]
            now = await database_now(session)
            error = silence(tasks, heard, timeout_seconds=limit, now=now)
            attempt = await attempts.current(session, run)
            if error is None or attempt is None or attempt.error is not None:
                return
            if await metrics.were_logged(session, run_id=run.id, within_seconds=limit):
                return  # through the API, of which the node knows nothing
            attempt.error = error
            add_event(session, run, kind="silent", actor=_ACTOR, reason=error["message"])
        _log.warning("run_hangs", run_id=run.id)

    async def lose(self, guard: Guard, run: Run, lost: list[int], what: str) -> None:
        """Nodes are lost: the others cannot go on without them, the attempt ends as a whole."""
        message = f"The runner of {_names(lost)} {what}."
        async with self._database.session() as session:
            await guard.check(session)
            run = await lock_run(session, run.id)
            rows = await attempts.nodes_of(session, run.id, run.attempt)
            # It may have finished between the look and this lock.
            if not any(node.state not in _FINISHED and node.node_index in lost for node in rows):
                return
            for node in rows:
                node.state = node.state if node.state in _FINISHED else "Lost"
            attempt = await attempts.current(session, run)
            if attempt is not None:
                attempt.error = {
                    "code": "node_lost",
                    "message": message,
                    "node": f"node {lost[0]}",
                    "host": next(row.host for row in rows if row.node_index == lost[0]),
                    "ended_at": (await database_now(session)).isoformat(),
                }
            if run.status in (Status.QUEUED, Status.RUNNING, Status.FINALIZING):
                transition(session, run, Status.NOT_RESPONDING, actor=_ACTOR, reason=message)
        _log.warning("node_lost", run_id=run.id, nodes=lost, what=what)


def _names(indices: list[int]) -> str:
    return ", ".join(f"node {index}" for index in indices)
