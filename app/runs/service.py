"""Runs: showing, changing, canceling, adding files."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.blobs import repository as blobs
from app.costs import charges
from app.kernel.pagination import Page, PageQuery
from app.kernel.tags import check_count, merged_tags
from app.kernel.wake import wake
from app.logs import repository as logs
from app.runs import attempts, repository
from app.runs.blockers import readable
from app.runs.errors import (
    AttemptSuperseded,
    FileImmutable,
    FileInTheWay,
    PropertyImmutable,
    RunFinished,
    RunNotOver,
)
from app.runs.file_limit import check_room
from app.runs.schemas import (
    AttemptNodeRead,
    AttemptRead,
    Blocker,
    InputDataset,
    RunError,
    RunRead,
    RunUpdate,
    estimate_of,
)
from app.runs.states import TERMINAL, TRACKED, Status
from app.runs.trace import context_of
from app.runs.transitions import add_event, lock_run, transition
from app.storage.writer import StoredObject
from app.tables.run import Attempt, Run, RunFile


async def read(session: AsyncSession, run: Run) -> RunRead:
    """A run as the API shows it."""
    experiments, clusters = await repository.names(session, [run])
    params = await repository.params_of(session, [run.id])
    cost = await charges.cost_of(session, run.id)
    return _read(run, experiments, clusters, params.get(run.id, {}), cost)


def read_new(run: Run, *, experiment_name: str, cluster_name: str) -> RunRead:
    """A run of this transaction, which has nothing yet but what it was submitted with."""
    experiments = {run.experiment_id: experiment_name}
    clusters = {} if run.cluster_id is None else {run.cluster_id: cluster_name}
    return _read(run, experiments, clusters, {}, 0.0)


async def read_attempts(session: AsyncSession, run_id: str, page: PageQuery) -> Page[AttemptRead]:
    """The tries at executing a run, with their nodes."""
    rows, following = await repository.list_attempts(session, run_id, page)
    numbers = [row.number for row in rows]
    nodes = await attempts.nodes_of(session, run_id, *numbers) if numbers else []

    def read_one(row: Attempt) -> AttemptRead:
        return AttemptRead(
            number=row.number,
            created_at=row.created_at,
            ended_at=row.ended_at,
            outcome=row.outcome,
            error=RunError.model_validate(row.error) if row.error else None,
            nodes=[AttemptNodeRead.model_validate(n) for n in nodes if n.attempt == row.number],
        )

    return Page.of(rows, read_one, following, name_of=lambda row: str(row.number))


async def cancel(
    session: AsyncSession,
    run: Run,
    *,
    actor: str,
    reason: str = "asked for by a client",
    attempt: int = 0,
) -> Run:
    """Ask for the end of a run; doing it again changes nothing.

    Args:
        session: the transaction to write in.
        run: the run.
        actor: who asks.
        reason: why, for a person.
        attempt: whose script asks; 0: a client from outside, whatever attempt there is.

    Raises:
        RunFinished: it has completed or failed, or its script is over.
        AttemptSuperseded: the script's attempt was given up meanwhile.
    """
    run = await lock_run(session, run.id)
    _check_attempt(run, attempt)
    if run.status in (Status.CANCEL_REQUESTED, Status.CANCELED):
        return run
    if run.status in TERMINAL or run.status == Status.FINALIZING:
        raise RunFinished(f"The run is {run.status}; there is nothing left to cancel.")
    if run.kind == TRACKED:
        # Nothing here executes it: there is nobody to ask.
        transition(session, run, Status.CANCELED, actor=actor, reason=reason)
        await session.flush()
        await session.refresh(run)
        return run
    transition(session, run, Status.CANCEL_REQUESTED, actor=actor, reason=reason)
    await session.flush()
    await wake(session, Run, run.id)
    await session.refresh(run)
    return run


async def update(
    session: AsyncSession, run: Run, body: RunUpdate, *, actor: str, attempt: int
) -> Run:
    """Change names, tags and properties.

    Args:
        session: the transaction to write in.
        run: the run.
        body: what changes.
        actor: who asks.
        attempt: whose script asks; 0: a client from outside, whatever attempt there is.

    Raises:
        PropertyImmutable: a property that is set would change.
        AttemptSuperseded: the script's attempt was given up meanwhile.
    """
    run = await lock_run(session, run.id)
    _check_attempt(run, attempt)
    held = set(run.properties)
    if body.display_name is not None:
        run.display_name = body.display_name
    if body.description is not None:
        run.description = body.description
    apply_tags(run, body.tags)
    apply_properties(run, body.properties)
    data: dict[str, Any] = {"fields": sorted(body.model_fields_set)}
    if attempt:
        # A later attempt takes these back if this one is lost.
        data |= {"attempt": attempt, "added_properties": sorted(set(run.properties) - held)}
    add_event(session, run, kind="updated", actor=actor, data=data)
    await session.flush()
    await session.refresh(run)
    return run


def apply_tags(run: Run, tags: dict[str, str | None]) -> None:
    """Set tags; one whose value is None is removed.

    Raises:
        TooManyTags: there would be too many.
    """
    run.tags = merged_tags(run.tags, tags)


def apply_properties(run: Run, properties: dict[str, str]) -> None:
    """Add properties.

    Raises:
        PropertyImmutable: one that is set would change.
        TooManyTags: there would be too many.
    """
    for key, value in properties.items():
        if run.properties.get(key, value) != value:
            raise PropertyImmutable(
                f"Property {key!r} is {run.properties[key]!r}; properties never change."
            )
    merged = {**run.properties, **properties}
    check_count("properties", merged, run.properties)
    run.properties = merged


async def add_file(
    session: AsyncSession, run: Run, *, path: str, stored: StoredObject, attempt: int
) -> tuple[RunFile, bool]:
    """Add an uploaded file to the run's history; the same content again changes nothing.

    Args:
        session: the transaction to write in.
        run: the run.
        path: its name.
        stored: its content.
        attempt: whose script sends it; 0: a client from outside, whatever attempt there is.

    Returns:
        The file's row and whether it is new.

    Raises:
        FileImmutable: the name has other content.
        FileInTheWay: the name is a folder, or below a file.
        RunFinished: the run is over.
        TooManyFiles: it has as many as it may.
        AttemptSuperseded: the script's attempt was given up meanwhile.
    """
    run = await lock_run(session, run.id)
    _check_attempt(run, attempt)
    found = await repository.find_file(session, run.id, path)
    if found is not None:
        if found.sha256 != stored.sha256:
            raise FileImmutable(f"{path!r} exists with other content; files never change.")
        return found, False
    if run.status in TERMINAL:
        raise RunFinished(f"The run is {run.status}; no file can be added.")
    other = await repository.file_in_the_way(session, run.id, path)
    if other is not None:
        raise FileInTheWay(path, other)
    await check_room(session, run.id)
    row = RunFile(
        run_id=run.id,
        path=path,
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        origin="upload",
        attempt=attempt,
    )
    session.add(row)
    await blobs.add(session, run.workspace_id, [stored])
    await session.flush()
    await session.refresh(row)
    return row, True


async def delete(session: AsyncSession, run: Run) -> None:
    """Delete a run with everything that is its own; models made of it stay.

    Raises:
        RunNotOver: it goes on, or the provider has not confirmed that its nodes are gone.
    """
    run = await lock_run(session, run.id)
    is_written_to = run.kind == "job" and run.sealed_at is None
    if run.status not in TERMINAL or is_written_to:
        raise RunNotOver(f"The run is {run.status}: cancel it, or wait for its end.")
    if await repository.has_nodes_left(session, run.id):
        raise RunNotOver("Nodes of the run are still being removed; try again in a moment.")
    await logs.delete_all(session, run.id)
    await session.delete(run)
    await session.flush()


def _check_attempt(run: Run, attempt: int) -> None:
    if attempt and attempt != run.attempt:
        raise AttemptSuperseded("This attempt of the run was given up; its script has no say.")


def _read(
    run: Run,
    experiments: dict[str, str],
    clusters: dict[str, str],
    params: dict[str, str],
    cost: float,
) -> RunRead:
    said = readable(run.blockers)
    blockers = [Blocker.model_validate(b) for b in said]
    positions = [b["position"] for b in said if "position" in b]
    context = context_of(run)
    inputs = [
        InputDataset(
            name=name, dataset=value["dataset"], version=value["version"], mode=value["mode"]
        )
        for name, value in run.request["inputs"].items()
    ]
    return RunRead(
        id=run.id,
        kind=run.kind,
        status=run.status,
        experiment_name=experiments[run.experiment_id],
        cluster_name=clusters.get(run.cluster_id) if run.cluster_id else None,
        display_name=run.display_name,
        description=run.description,
        tags=run.tags,
        properties=run.properties,
        params=params,
        blockers=blockers,
        queue_position=positions[0] if positions else None,
        estimate=estimate_of(said),
        warnings=run.warnings,
        error=RunError.model_validate(run.error) if run.error else None,
        attempt=run.attempt,
        max_attempts=run.max_attempts,
        node_count=run.node_count,
        priority=run.priority,
        snapshot_id=run.snapshot_id,
        image_hash=run.image_id,
        image_reference=run.image_reference,
        input_datasets=inputs,
        request=_shown_request(run),
        outputs_partial=run.outputs_partial,
        cost=cost,
        trace_id=context.trace_id if context else None,
        creator_run_id=run.creator_run_id,
        created_by=run.created_by,
        created_at=run.created_at,
        updated_at=run.updated_at,
        queued_at=run.queued_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        logs_sealed_at=run.sealed_at,
        deleted_at=run.deleted_at,
    )


def _shown_request(run: Run) -> dict[str, object]:
    return {key: value for key, value in run.request.items() if key != "argv"}
