"""A node that works for a run."""

from typing import Any

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.signing import Signer
from app.kernel.clock import utc_now
from app.kernel.config import Settings
from app.kernel.errors import invalid_field
from app.kernel.keyring import Keyring
from app.kernel.plain_text import mended
from app.kernel.tags import TooManyTags
from app.kernel.wake import signal, wake
from app.metrics import service as metrics
from app.metrics.schemas import MetricRecord
from app.metrics.writing import TooManyMetrics
from app.nodes.errors import RecordsGap
from app.nodes.host_values import HOST_NAMESPACE, host_values
from app.nodes.measures import RUN_WAIT_SECONDS
from app.nodes.refusals import Refused, refused, shortened, tell
from app.nodes.run_reports import exit_result, noted_end
from app.nodes.schemas import (
    Checkpoint,
    Heartbeat,
    HostSamples,
    NodeCommand,
    NodeEvent,
    NodePeer,
    OutputFile,
    Outputs,
    RecordBatch,
)
from app.runs import attempts, gang
from app.runs.errors import AttemptSuperseded, PropertyImmutable
from app.runs.file_limit import check_room
from app.runs.order import build_order
from app.runs.run_secrets import values_for_node
from app.runs.service import apply_properties, apply_tags
from app.runs.silence import SILENT
from app.runs.states import TERMINAL, Status
from app.runs.transitions import RUN_TOPIC, add_event, lock_run, transition
from app.storage.errors import PathRejected
from app.storage.paths import check_path
from app.tables.blob import Blob
from app.tables.run import Run, RunNode

_ENDED_NODE_STATES = frozenset({"Finished", "Failed", "Lost"})
_OVER = _ENDED_NODE_STATES | {"Exited"}


class RunWork:
    """The work of one node of a run's current attempt."""

    def __init__(self, node: RunNode, run: Run) -> None:
        self._node_name = node.name
        self._run_id = run.id
        self.workspace_id = run.workspace_id
        self.log_owner = run.id
        self.attempt = node.attempt

    @classmethod
    async def find(cls, session: AsyncSession, node_name: str) -> "RunWork":
        """The work of the node of this name.

        Raises:
            AttemptSuperseded: a newer attempt is current, or the run or the node is over.
        """
        node = await session.get(RunNode, node_name)
        run = await session.get(Run, node.run_id) if node else None
        _check_current(node, run)
        assert node is not None
        assert run is not None
        return cls(node, run)

    async def order(
        self, session: AsyncSession, settings: Settings, signer: Signer
    ) -> dict[str, Any]:
        """The work order."""
        node = await session.get_one(RunNode, self._node_name)
        return await build_order(session, settings, signer, node=node)

    async def secrets(self, session: AsyncSession, keyring: Keyring) -> list[dict[str, str]]:
        """The secrets of the run with their values; an event tells that they were handed out."""
        run, node = await self._lock(session)
        return await values_for_node(session, keyring, run, node)

    async def on_heartbeat(self, session: AsyncSession, beat: Heartbeat) -> NodeCommand:
        """Note the time; a run that did not respond responds again."""
        run, node = await self._lock(session)
        node.heartbeat_at = func.clock_timestamp()
        if "silence_timeout_seconds" in run.request:
            node.quiet = beat.quiet.model_dump() if beat.quiet else None
        # Of several nodes another may be the silent one: the reconciler looks at all of them.
        if run.status == Status.NOT_RESPONDING and run.node_count == 1:
            back = Status.FINALIZING if node.state == "Exited" else Status.RUNNING
            transition(session, run, back, actor=node.name, reason="the node reports again")
        return await _command(session, run, node)

    async def on_event(self, session: AsyncSession, event: NodeEvent) -> NodeCommand:
        """Move the node, and the run with it; an event that comes again changes nothing."""
        run, node = await self._lock(session)
        node.heartbeat_at = func.clock_timestamp()
        # The other nodes may have to start, or to stop.
        signal(session, RUN_TOPIC, run.id)
        if event.event == "ready" and node.state in ("Assigned", "Launched"):
            node.state = "Ready"
            node.address = None if event.address is None else str(event.address)
            node.ports = event.ports
            add_event(session, run, kind="node_ready", actor=node.name)
        elif event.event == "started" and node.state in ("Assigned", "Launched", "Ready"):
            node.state = "Running"
            if run.status in (Status.QUEUED, Status.NOT_RESPONDING):
                _start(session, run, node)
        elif event.event == "process_ended" and node.state not in _OVER:
            node.result = noted_end(node.result, event)
        elif event.event == "exited" and node.state not in _OVER:
            node.state = "Exited"
            node.result = exit_result(run, node, event)
            await self._finalize(session, run, node)
        elif event.event == "failed" and node.state not in _ENDED_NODE_STATES:
            node.state = "Failed"
            node.result = {"failed": {"code": event.code, "message": event.message}}
            await wake(session, Run, run.id)
        elif event.event == "finished" and node.state not in _ENDED_NODE_STATES:
            node.state = "Finished"
            await wake(session, Run, run.id)
        command = await _command(session, run, node)
        if event.event == "exited":
            command.keeps_checkpoint = await _may_go_on(session, run)
        return command

    async def _finalize(self, session: AsyncSession, run: Run, node: RunNode) -> None:
        await session.flush()
        if not gang.are_all_over(await attempts.nodes_of(session, run.id, run.attempt)):
            return
        has_run = (node.result or {}).get("reason") != gang.PEER_FAILED
        if run.status == Status.QUEUED and has_run:
            # "started" and "exited" may come in one breath, or "started" may have been lost.
            _start(session, run, node)
        if run.status in (Status.RUNNING, Status.NOT_RESPONDING):
            transition(session, run, Status.FINALIZING, actor=node.name)

    async def on_records(self, session: AsyncSession, batch: RecordBatch) -> int:
        """Store metrics, tags and properties; numbers that are known already are skipped.

        Raises:
            RecordsGap: numbers before the first have not come.
        """
        run, node = await self._lock(session)
        expected = node.records_seq
        if batch.first_seq > expected:
            raise RecordsGap(expected=expected)
        fresh = list(enumerate(batch.records, start=batch.first_seq))[expected - batch.first_seq :]
        values, without = [], list[Refused]()
        for seq, record in fresh:
            try:
                if record.get("kind") == "metric":
                    values.append((seq, MetricRecord.model_validate(record)))
                else:
                    _apply(run, record)
            except (ValidationError, PropertyImmutable, TooManyTags, KeyError, TypeError) as error:
                # A bad record must not hold up those behind it; the user learns of it.
                without.append(refused(seq, record, error))
        beyond = await metrics.store_what_fits(
            session, run_id=run.id, attempt=node.attempt, source=f"n{node.node_index}",
            numbered=values,
        )  # fmt: skip
        first = {record.name: seq for seq, record in reversed(values)}
        reason = str(TooManyMetrics())
        without += [Refused(first[name], "metric", shortened(name), reason) for name in beyond]
        if without:
            await tell(session, run, node, without)
        node.records_seq = max(expected, batch.first_seq + len(batch.records))
        return node.records_seq

    async def on_host_metrics(self, session: AsyncSession, samples: HostSamples) -> None:
        """Store what the node used, beside what its scripts logged; needs no lock on the run."""
        index = (await session.get_one(RunNode, self._node_name)).node_index
        await metrics.store(
            session,
            run_id=self._run_id,
            attempt=self.attempt,
            source=f"n{index}-{HOST_NAMESPACE}",
            numbered=host_values(samples, node_index=index),
            namespace=HOST_NAMESPACE,
        )

    async def on_checkpoint(self, session: AsyncSession, checkpoint: Checkpoint) -> None:
        """Note what the scripts saved; the next attempt starts with it."""
        run, node = await self._lock(session)
        await self._check_files(session, checkpoint.files)
        files = [file.model_dump() for file in checkpoint.files]
        if files != node.checkpoint:
            node.checkpoint = files
            data = {"files": len(files)}
            add_event(session, run, kind="checkpoint_kept", actor=node.name, data=data)

    async def on_outputs(self, session: AsyncSession, outputs: Outputs) -> None:
        """Note the manifest; publishing it is the reconciler's last step."""
        _, node = await self._lock(session)
        await self._check_files(session, outputs.files)
        await check_room(session, self._run_id, more=len(outputs.files), but_node=self._node_name)
        node.outputs = [file.model_dump() for file in outputs.files]
        node.outputs_partial = outputs.partial

    async def _check_files(self, session: AsyncSession, files: list[OutputFile]) -> None:
        wanted = {file.sha256 for file in files}
        found = await session.execute(
            select(Blob.sha256).where(
                Blob.workspace_id == self.workspace_id, Blob.sha256.in_(wanted)
            )
        )
        missing = wanted - set(found.scalars())
        if missing:
            message = f"{len(missing)} files of the manifest have not been uploaded."
            raise invalid_field("/files", "blobs_missing", message)
        for file in files:
            try:
                check_path(file.path)
            except PathRejected as error:
                raise invalid_field("/files", error.code, error.message) from error

    async def _lock(self, session: AsyncSession) -> tuple[Run, RunNode]:
        run = await lock_run(session, self._run_id)
        node = await session.get(RunNode, self._node_name, populate_existing=True)
        _check_current(node, run)
        assert node is not None
        return run, node


def _start(session: AsyncSession, run: Run, node: RunNode) -> None:
    if run.status == Status.QUEUED and run.queued_at is not None:
        RUN_WAIT_SECONDS.observe(max(0.0, (utc_now() - run.queued_at).total_seconds()))
    transition(session, run, Status.RUNNING, actor=node.name)


def _check_current(node: RunNode | None, run: Run | None) -> None:
    if node is None or run is None or run.attempt != node.attempt or run.status in TERMINAL:
        raise AttemptSuperseded("This attempt is over; end yourself.")
    if node.state == "Lost" or node.removed:
        raise AttemptSuperseded("This node was given up; end yourself.")


async def _command(session: AsyncSession, run: Run, node: RunNode) -> NodeCommand:
    if run.status == Status.CANCEL_REQUESTED:
        return NodeCommand(command="stop", reason="stopped")
    if (hang := await _hang(session, run)) is not None:
        return NodeCommand(command="stop", reason=SILENT, because=hang)
    if not gang.is_gang(run):
        return NodeCommand(command="start" if node.state == "Ready" else "continue")
    await session.flush()
    nodes = await attempts.nodes_of(session, run.id, run.attempt)
    tasks = gang.tasks_of(run)
    verdict = gang.verdict(tasks, nodes)
    if verdict is gang.Verdict.FAILED:
        because = gang.first_failure(tasks, nodes)
        return NodeCommand(command="stop", reason=gang.PEER_FAILED, because=because)
    if verdict is gang.Verdict.DONE:
        return NodeCommand(command="stop", reason=gang.PEERS_DONE)
    if verdict is gang.Verdict.GO and node.state == "Ready":
        environments = gang.launch_environments(run, nodes, node.node_index)
        hosts = gang.told_hosts(run, nodes)
        peers = [NodePeer(**peer) for peer in gang.peers_of(nodes, node.node_index)]
        return NodeCommand(command="start", environments=environments, hosts=hosts, peers=peers)
    return NodeCommand(command="continue")


async def _may_go_on(session: AsyncSession, run: Run) -> bool:
    """Whether another attempt may follow, should this one have ended badly or been stopped."""
    if run.status == Status.CANCEL_REQUESTED:
        return False
    attempt = await attempts.current(session, run)
    if attempt is not None and attempt.gives_way_because is not None:
        return True
    if run.attempt >= run.max_attempts:
        return False
    nodes = await attempts.nodes_of(session, run.id, run.attempt)
    # As when its machine is shut down, which counts as lost.
    is_stopped = any((node.result or {}).get("reason") == "stopped" for node in nodes)
    return is_stopped or bool(run.request.get("retry_on"))


async def _hang(session: AsyncSession, run: Run) -> str | None:
    """Why the run is being ended for its silence; None when it is not."""
    if "silence_timeout_seconds" not in run.request:
        return None
    attempt = await attempts.current(session, run)
    error = (attempt.error if attempt else None) or {}
    return str(error["message"]) if error.get("code") == SILENT else None


def _apply(run: Run, record: dict[str, Any]) -> None:
    if record["kind"] == "tag":
        value = record.get("value")
        apply_tags(run, {mended(str(record["key"])): "" if value is None else mended(str(value))})
    elif record["kind"] == "property":
        apply_properties(run, {mended(str(record["key"])): mended(str(record["value"]))})
    elif record["kind"] == "remove_tags":
        apply_tags(run, {str(key): None for key in record["keys"]})
    else:
        raise TypeError(f"There is no kind of record {record['kind']!r}.")
