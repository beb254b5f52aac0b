"""Batch scorings: making, showing, canceling, ending."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from app.batch_scorings import repository
from app.batch_scorings.errors import BatchScoringFinished
from app.batch_scorings.program import (
    COUNTS,
    EXIT_TOO_MANY_FAILED,
    PREDICTIONS,
    SUFFIXES,
    run_of,
    source_of,
)
from app.batch_scorings.schemas import BatchScoringCreate, BatchScoringError, BatchScoringRead
from app.blobs import repository as blobs
from app.datasets import service as datasets
from app.datasets.made import MadeFile
from app.deployments.service import servable_version, serving_environment
from app.kernel.config import Settings
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.errors import FieldError, Invalid, invalid_field
from app.kernel.ids import new_id
from app.kernel.wake import wake
from app.runs import repository as runs
from app.runs import service as run_service
from app.runs import submission
from app.runs.errors import RunFinished
from app.runs.states import Status
from app.runs.transitions import BATCH_SCORING_PROPERTY, lock_run
from app.snapshots import repository as snapshots
from app.storage.writer import StoredObject
from app.tables.batch_scoring import BatchScoring
from app.tables.dataset import DatasetVersion
from app.tables.run import Run, RunFile
from app.tables.workspace import Workspace

RUNNING, CANCEL_REQUESTED = "Running", "CancelRequested"
COMPLETED, FAILED, CANCELED = "Completed", "Failed", "Canceled"
OVER = frozenset({COMPLETED, FAILED, CANCELED})
TOO_MANY_FAILED = "too_many_failed_rows"
_FIELDS = {"/inputs/data": "/dataset_version", "/environment": "/model_version"}
"""Where the request has what the run's request has elsewhere."""


def spec_of(row: BatchScoring) -> BatchScoringCreate:
    """The request of a batch scoring."""
    return BatchScoringCreate.model_validate(row.spec)


async def create(
    session: AsyncSession,
    settings: Settings,
    *,
    workspace: Workspace,
    body: BatchScoringCreate,
    program: Sequence[StoredObject],
    actor: str,
) -> BatchScoring:
    """Check a request, submit its run and write the batch scoring.

    Args:
        session: the transaction.
        settings: the operator's settings.
        workspace: where it runs.
        body: what is asked for.
        program: files of the program, which are in the object store.
        actor: who asks.

    Raises:
        ModelNotServable: this kind of model cannot be scored with.
        Invalid: something in it cannot be; the field and what to do are named.
    """
    version = await servable_version(session, workspace, body.model_name, body.model_version)
    data = await _dataset_version(session, workspace, body)
    await _check_files(session, data, body)
    environment, _ = await serving_environment(
        session, settings, workspace, version, use_gpu=body.use_gpu
    )
    await blobs.add(session, workspace.id, program)
    snapshot = await snapshots.get_or_create(session, workspace.id, source_of(version))
    row_id = new_id("batch")
    request = run_of(
        body,
        batch_scoring_id=row_id,
        snapshot_id=snapshot.id,
        version=version,
        dataset_version=data.version,
        environment=environment,
    )
    try:
        run = await submission.submit(
            session, settings, workspace=workspace, body=request, actor=actor
        )
    except Invalid as error:
        raise _of_this_request(error) from error
    reached(CrashPoint.SCORING_SUBMITTED)
    resolved = {"model_version": version.version, "dataset_version": data.version}
    row = BatchScoring(
        id=row_id,
        workspace_id=workspace.id,
        run_id=run.id,
        created_by=actor,
        spec=body.model_dump(mode="json", exclude_unset=True) | resolved,
        status=RUNNING,
    )
    session.add(row)
    await session.flush()
    await wake(session, BatchScoring, row.id)
    await session.refresh(row)
    return row


async def _dataset_version(
    session: AsyncSession, workspace: Workspace, body: BatchScoringCreate
) -> DatasetVersion:
    number = None if body.dataset_version == "latest" else body.dataset_version
    found = await runs.find_dataset_version(session, workspace.id, body.dataset_name, number)
    if found is None:
        what = "no version" if number is None else f"no version {number}"
        message = f"Dataset {body.dataset_name!r} has {what} in this workspace."
        raise invalid_field("/dataset_version", "unknown_dataset_version", message)
    return found


async def _check_files(
    session: AsyncSession, data: DatasetVersion, body: BatchScoringCreate
) -> None:
    paths = [file.path for file in await runs.dataset_files(session, data.id)]
    chosen = [
        path
        for path in paths
        if not body.files or any(fnmatchcase(path, pattern) for pattern in body.files)
    ]
    pointer = "/files" if body.files else "/dataset_name"
    if not chosen:
        message = f"No file of the dataset matches. It has: {_some(paths)}."
        raise invalid_field(pointer, "no_files", message)
    others = [path for path in chosen if PurePosixPath(path).suffix.lower() not in SUFFIXES]
    if others:
        message = (
            f"{_some(others)} cannot be scored: only {', '.join(sorted(SUFFIXES))} can. Name the"
            " files that are meant in `files`."
        )
        raise invalid_field(pointer, "unsupported_file", message)


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:10]) + (", …" if len(paths) > 10 else "")


def _of_this_request(error: Invalid) -> Invalid:
    errors = [
        FieldError(_FIELDS.get(field.pointer, field.pointer), field.code, field.message)
        for field in error.errors
    ]
    return Invalid(error.detail, errors=errors, extensions=error.extensions)


async def reader(
    session: AsyncSession, rows: Sequence[BatchScoring]
) -> Callable[[BatchScoring], BatchScoringRead]:
    """Makes what the API shows of each of these batch scorings."""
    run_ids = [row.run_id for row in rows if row.run_id is not None]
    states = await repository.run_states(session, run_ids)
    going_on = [row.run_id for row in rows if row.run_id is not None and row.status not in OVER]
    progress = await repository.progress(session, going_on)

    def read_one(row: BatchScoring) -> BatchScoringRead:
        return _read(row, states.get(row.run_id or ""), progress.get(row.run_id or "", {}))

    return read_one


async def read(session: AsyncSession, row: BatchScoring) -> BatchScoringRead:
    """A batch scoring as the API shows it."""
    read_one = await reader(session, [row])
    return read_one(row)


def _read(row: BatchScoring, run_status: str | None, progress: dict[str, int]) -> BatchScoringRead:
    spec = spec_of(row)
    scored, failed = row.rows_scored, row.rows_failed
    return BatchScoringRead(
        id=row.id,
        status=row.status,
        error=None if row.error is None else BatchScoringError.model_validate(row.error),
        run_id=row.run_id,
        run_status=run_status,
        experiment_name=spec.experiment_name,
        cluster_name=spec.cluster_name,
        model_name=spec.model_name,
        model_version=int(spec.model_version),
        dataset_name=spec.dataset_name,
        dataset_version=int(spec.dataset_version),
        files=spec.files,
        columns=spec.columns,
        output_dataset_name=spec.output_dataset_name,
        output_dataset_version=row.output_version,
        output_format=spec.output_format,
        mini_batch_rows=spec.mini_batch_rows,
        max_failed_rows=spec.max_failed_rows,
        node_count=spec.node_count,
        rows_scored=progress.get(repository.SCORED, 0) if scored is None else scored,
        rows_failed=progress.get(repository.FAILED, 0) if failed is None else failed,
        display_name=spec.display_name,
        description=spec.description,
        tags=spec.tags,
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
    )


async def cancel(session: AsyncSession, row: BatchScoring, *, actor: str) -> BatchScoring:
    """Ask for the end of a batch scoring and of its run; doing it again changes nothing.

    Raises:
        BatchScoringFinished: it has completed or failed, or is about to.
    """
    row = await repository.lock(session, row.id)
    if row.status in (CANCEL_REQUESTED, CANCELED):
        return row
    if row.status in OVER:
        message = f"The batch scoring is {row.status}; there is nothing left to cancel."
        raise BatchScoringFinished(message)
    if row.run_id is not None:
        try:
            run = await lock_run(session, row.run_id)
            await run_service.cancel(session, run, actor=actor, reason=f"{row.id} was canceled")
        except RunFinished as error:
            raise BatchScoringFinished(f"Its run is over: {error.detail}") from error
    row.status = CANCEL_REQUESTED
    await session.flush()
    await wake(session, BatchScoring, row.id)
    await session.refresh(row)
    return row


async def finish(
    session: AsyncSession, row: BatchScoring, run: Run | None, counts: dict[str, int] | None
) -> None:
    """Write the end of a batch scoring whose run is over; its dataset version with it.

    Args:
        session: the transaction, in which the row is locked.
        row: the batch scoring, which is not over.
        run: its run; None: it was deleted.
        counts: rows that were scored and that failed, of all shards; None: some are unknown.
    """
    row.ended_at = func.clock_timestamp()
    row.rows_scored = (counts or {}).get(repository.SCORED, 0)
    row.rows_failed = (counts or {}).get(repository.FAILED, 0)
    if run is None or run.deleted_at is not None or run.status == Status.CANCELED:
        row.status = CANCELED
        row.error = None if run is None else run.error
        return
    if run.status != Status.COMPLETED:
        row.status, row.error = FAILED, _failure(run.error or {})
        return
    spec = spec_of(row)
    if spec.max_failed_rows is not None and row.rows_failed > spec.max_failed_rows:
        message = f"{row.rows_failed} rows failed on all nodes, {spec.max_failed_rows} may."
        row.status, row.error = FAILED, {"code": TOO_MANY_FAILED, "message": message}
        return
    left = [await repository.outputs(session, run.id, name) for name in (PREDICTIONS, COUNTS)]
    if counts is None or any(len(files) != spec.node_count for files in left):
        message = "The run did not leave one file of predictions and one of counts for each node."
        row.status, row.error = FAILED, {"code": "outputs_incomplete", "message": message}
        return
    version = await _register(session, row, run, spec, left[0])
    row.status = COMPLETED
    row.output_version_id, row.output_version = version.id, version.version


async def _register(
    session: AsyncSession,
    row: BatchScoring,
    run: Run,
    spec: BatchScoringCreate,
    predictions: Sequence[RunFile],
) -> DatasetVersion:
    folder = f"outputs/{PREDICTIONS}/"
    files = [
        MadeFile(
            path=file.path.removeprefix(folder),
            origin=f"runs/{run.id}/{file.path}",
            sha256=file.sha256,
            size_bytes=file.size_bytes,
        )
        for file in predictions
    ]
    lineage = {
        BATCH_SCORING_PROPERTY: row.id,
        "run_id": run.id,
        "model": {"name": spec.model_name, "version": spec.model_version},
        "dataset_versions": [{"dataset": spec.dataset_name, "version": spec.dataset_version}],
    }
    return await datasets.add_made(
        session,
        workspace_id=row.workspace_id,
        name=spec.output_dataset_name,
        description=spec.description,
        files=files,
        lineage=lineage,
    )


def _failure(error: dict[str, Any]) -> dict[str, Any]:
    lines = [line for line in error.get("last_lines", []) if line.strip()]
    if error.get("exit_code") == EXIT_TOO_MANY_FAILED:
        message = lines[-1] if lines else "More rows failed than may."
        return {"code": TOO_MANY_FAILED, "message": message}
    code, message = error.get("code", "run_failed"), error.get("message", "The run failed.")
    return {"code": code, "message": f"{message} {lines[-1]}" if lines else message}
