"""The end of a run: outputs published, logs sealed, the terminal state written."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, Text, any_, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.blobs import repository as blobs
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.db import Database
from app.logs import sealing
from app.runs import attempts
from app.runs.children import end_children
from app.runs.decide import Outcome
from app.runs.states import TERMINAL, Status
from app.runs.transitions import add_event, lock_run, transition
from app.storage.objects import ObjectStore
from app.storage.writer import StoredObject
from app.tables.log import LogStream
from app.tables.run import Run, RunEvent, RunFile, RunNode

_ACTOR = "worker"
_MOST_NAMED = 10
"""So many names an event gives."""
Check = Callable[[AsyncSession], Awaitable[None]]


def merge_outputs(
    manifests: Sequence[Sequence[dict[str, Any]]], taken: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """One tree out of what all nodes collected.

    What was uploaded wins a name, then node 0; the same name with other content from a node goes
    under ``nodes/<index>/``, so that nothing is lost.

    Args:
        manifests: per node, in order: ``[{path, sha256, size_bytes}]``.
        taken: names that the run has already, and the hashes of their files.
    """
    names = dict(taken)
    merged: dict[str, dict[str, Any]] = {}
    for index, manifest in enumerate(manifests):
        for file in manifest:
            path = file["path"]
            while names.get(path, file["sha256"]) != file["sha256"]:
                path = f"nodes/{index}/{path}"
            if path not in names:
                names[path] = file["sha256"]
                merged[path] = file
    return merged


def renamed_outputs(
    manifests: Sequence[Sequence[dict[str, Any]]], taken: Mapping[str, str]
) -> list[str]:
    """Names, sorted, that some node collected with other content than what was uploaded.

    Args:
        manifests, taken: as of `merge_outputs`.
    """
    files = (file for manifest in manifests for file in manifest)
    return sorted(
        {file["path"] for file in files if taken.get(file["path"]) not in (None, file["sha256"])}
    )


async def publish_and_end(
    database: Database, objects: ObjectStore, check: Check, *, run_id: str, end: Outcome
) -> None:
    """Seal the logs, publish outputs and end the run, in an order that a crash cannot break.

    Sealing may be repeated; publishing and the terminal state are one transaction, so readers
    see all of the outputs or none, and Completed means that they are there.

    Args:
        database: for short transactions.
        objects: where sealed logs go.
        check: proves that the caller still owns the run.
        run_id: the run, all of whose nodes have ended and are gone.
        end: how.
    """
    hashes = await sealing.store_streams(database, objects, run_id)
    reached(CrashPoint.LOGS_STORED)
    async with database.session() as session:
        await check(session)
        run = await lock_run(session, run_id)
        if run.status in TERMINAL:
            return
        await _seal(session, run, hashes)
        nodes = await attempts.nodes_of(session, run.id, run.attempt)
        manifests = [node.outputs or [] for node in nodes]
        taken = await _taken(session, run, manifests)
        merged = merge_outputs(manifests, taken)
        await _add_files(session, run, merged, origin="outputs")
        run.outputs_partial = any(manifests) and (
            end.status != Status.COMPLETED or any(node.outputs_partial for node in nodes)
        )
        # What it had before is why the control plane asked for its end.
        stopped_because, run.error = run.error, end.error
        status = end.status
        if run.status == Status.CANCEL_REQUESTED:
            # A cancel that came while the run was being finalized wins: it was accepted.
            status, run.error = Status.CANCELED, stopped_because
        if run.attempt:
            await attempts.end(session, run, outcome=str(status), error=run.error)
        _pass_through_finalizing(session, run, status)
        await _end(session, run, status)
        await attempts.release_nodes(session, run)
        reached(CrashPoint.RUN_ENDING)


async def give_up(session: AsyncSession, run: Run, error: dict[str, Any]) -> None:
    """End a locked run that cannot be worked on; nodes, outputs and logs stay as they are.

    Args:
        session: the transaction that holds the lock.
        run: that has not ended.
        error: why.
    """
    status = Status.FAILED
    if run.status == Status.CANCEL_REQUESTED:
        status = Status.CANCELED
    else:
        run.error = error
    attempt = await attempts.current(session, run)
    if attempt is not None and attempt.ended_at is None:
        await attempts.end(session, run, outcome=str(status), error=run.error)
    await _end(session, run, status)


async def seal_logs(database: Database, objects: ObjectStore, check: Check, *, run_id: str) -> None:
    """Seal the logs of a run that was given up, when its nodes are gone.

    Args:
        database: for short transactions.
        objects: where sealed logs go.
        check: proves that the caller still owns the run.
        run_id: the run, which has ended.
    """
    hashes = await sealing.store_streams(database, objects, run_id)
    async with database.session() as session:
        await check(session)
        await _seal(session, await lock_run(session, run_id), hashes)


async def _end(session: AsyncSession, run: Run, status: Status) -> None:
    reason = (run.error or {}).get("message", "")
    transition(session, run, status, actor=_ACTOR, reason=reason)
    reason = f"the script of run {run.id}, which kept it, has ended"
    await end_children(session, run, status, actor=_ACTOR, reason=reason)


async def _seal(session: AsyncSession, run: Run, hashes: sealing.Hashes) -> None:
    sealed = await sealing.mark_sealed(session, run.id, hashes)
    await _add_files(session, run, _log_files(sealed, run.attempt), origin="log")
    run.sealed_at = func.clock_timestamp()


def _pass_through_finalizing(session: AsyncSession, run: Run, status: Status) -> None:
    if run.status in (Status.RUNNING, Status.NOT_RESPONDING) and status != Status.FAILED:
        transition(session, run, Status.FINALIZING, actor=_ACTOR)


async def heartbeat_ages_seconds(
    session: AsyncSession, node_names: Sequence[str]
) -> dict[str, float]:
    """Seconds since each node was last heard of, by database time; without those not begun."""
    heard_at = func.coalesce(RunNode.heartbeat_at, RunNode.launched_at)
    age = func.extract("epoch", func.clock_timestamp() - heard_at)
    statement = select(RunNode.name, age).where(RunNode.name.in_(node_names), heard_at.is_not(None))
    return {name: float(seconds) for name, seconds in await session.execute(statement)}


async def seconds_in_state(session: AsyncSession, run_id: str) -> float:
    """Seconds since the run's last change of state, by database time."""
    age = func.extract("epoch", func.clock_timestamp() - func.max(RunEvent.created_at))
    statement = select(age).where(RunEvent.run_id == run_id, RunEvent.type == "state_changed")
    return float((await session.execute(statement)).scalar_one() or 0.0)


async def _taken(
    session: AsyncSession, run: Run, manifests: Sequence[Sequence[dict[str, Any]]]
) -> dict[str, str]:
    """Which names of collected files the run has already, with the hashes of their files.

    Those under which something else was collected are told of in an event.
    """
    collected = list({file["path"] for files in manifests for file in files})
    statement = select(RunFile.path, RunFile.sha256).where(
        RunFile.run_id == run.id, RunFile.path == any_(literal(collected, ARRAY(Text)))
    )
    taken = {path: sha256 for path, sha256 in await session.execute(statement)}  # noqa: C416
    if others := renamed_outputs(manifests, taken):
        data = {"files": len(others), "first": others[:_MOST_NAMED]}
        add_event(session, run, kind="outputs_renamed", actor=_ACTOR, data=data)
    return taken


async def _add_files(
    session: AsyncSession, run: Run, files: dict[str, dict[str, Any]], *, origin: str
) -> None:
    rows = [
        {
            "run_id": run.id,
            "path": path,
            "sha256": file["sha256"],
            "size_bytes": file["size_bytes"],
            "origin": origin,
            "attempt": run.attempt,
        }
        for path, file in files.items()
    ]
    stored = [StoredObject(sha256=f["sha256"], size_bytes=f["size_bytes"]) for f in files.values()]
    await blobs.add(session, run.workspace_id, stored)
    for start in range(0, len(rows), 1000):
        batch = insert(RunFile).values(rows[start : start + 1000])
        await session.execute(batch.on_conflict_do_nothing())


def _log_files(sealed: Sequence[LogStream], attempt: int) -> dict[str, dict[str, Any]]:
    files = {}
    for stream in sealed:
        if not stream.name or stream.sha256 is None:
            continue
        is_current = stream.attempt == max(1, attempt)
        path = stream.name if is_current else f"attempts/{stream.attempt}/{stream.name}"
        files[path] = {"sha256": stream.sha256, "size_bytes": stream.length_bytes}
    return files
