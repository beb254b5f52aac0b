"""Registering, showing, changing and deleting models."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.blobs import repository as blobs
from app.kernel.clock import utc_now
from app.kernel.db import Database
from app.kernel.errors import FieldError, Invalid, invalid_field
from app.kernel.ids import new_id
from app.kernel.row_locks import locked
from app.kernel.tags import check_count, merged_tags
from app.kernel.wake import wake
from app.models import aliases, repository
from app.models.errors import ModelInUse, ModelNotFound, ModelVersionNotFound, PropertyImmutable
from app.models.kind import SERVABLE, Found, find_kind
from app.models.schemas import (
    Lineage,
    LineageDataset,
    LineageParent,
    ModelCaptureRead,
    ModelDescription,
    ModelFile,
    ModelRead,
    ModelUpdate,
    ModelVersionRead,
    ModelVersionUpdate,
    ParentNamed,
    ResourceConfiguration,
    Verification,
    parse_signature,
)
from app.runs import repository as runs
from app.storage.errors import PathRejected
from app.storage.objects import ObjectStore
from app.storage.paths import check_path, check_tree
from app.tables.model import Model, ModelCapture, ModelVersion
from app.tables.run import Run, RunFile
from app.tables.workspace import Workspace

_SHOWN = 20


async def add_version(
    session: AsyncSession,
    *,
    workspace: Workspace,
    name: str,
    about: ModelDescription,
    files: list[ModelFile],
    lineage: Lineage,
    actor: str,
) -> tuple[str, ModelVersion]:
    """Write a new version; its number is the next one.

    Returns:
        The model's name and the new row.
    """
    found = find_kind(file.path for file in files)
    model_id, version = await repository.next_version(session, workspace.id, name)
    row = ModelVersion(
        id=new_id("modelv"),
        model_id=model_id,
        version=version,
        description=about.description,
        tags=dict(about.tags),
        properties=dict(about.properties),
        framework=about.framework,
        framework_version=about.framework_version,
        resource_configuration=about.resource_configuration.model_dump(),
        kind=str(found.kind),
        files=[file.model_dump() for file in sorted(files, key=lambda file: file.path)],
        size_bytes=sum(file.size_bytes for file in files),
        run_id=lineage.run_id,
        lineage=lineage.model_dump(exclude_none=True),
        signature_state="Pending",
        created_by=actor,
    )
    session.add(row)
    await session.flush()
    await wake(session, ModelVersion, row.id)
    if found.is_servable:
        capture = ModelCapture(id=new_id("capture"), model_version_id=row.id)
        session.add(capture)
        await session.flush()
        await wake(session, ModelCapture, capture.id)
    await session.refresh(row)
    return name, row


async def files_of_run(
    session: AsyncSession, *, workspace: Workspace, run_id: str, path: str
) -> tuple[list[ModelFile], Lineage]:
    """Files below a path of a run's history, with paths relative to it, and the lineage.

    Raises:
        Invalid: there is no such run, or it has nothing there.
    """
    run = await repository.find_run(session, workspace.id, run_id)
    if run is None:
        message = f"There is no run {run_id!r} in this workspace."
        raise invalid_field("/run_id", "unknown_run", message)
    wanted = path.removeprefix("./").strip("/")
    folder = f"{wanted}/" if wanted else ""
    rows = await runs.all_files(session, run.id, prefix=wanted)
    chosen = [
        (row.path.removeprefix(folder), row) for row in rows if row.path.startswith(folder)
    ] or [(row.path.rpartition("/")[2], row) for row in rows if row.path == wanted]
    if not chosen:
        raise await _nothing_there(session, run, wanted)
    files = [
        ModelFile(path=relative, sha256=row.sha256, size_bytes=row.size_bytes)
        for relative, row in chosen
    ]
    return files, await _lineage(session, run, wanted)


async def find_parent(
    session: AsyncSession, workspace: Workspace, named: ParentNamed
) -> LineageParent:
    """The version that another was made from.

    Raises:
        Invalid: there is no such model or version.
    """
    try:
        _, row = await repository.get_version(session, workspace.id, named.model, named.version)
    except ModelNotFound as error:
        raise invalid_field("/parent/model", "unknown_model", error.detail) from error
    except ModelVersionNotFound as error:
        raise invalid_field("/parent/version", "unknown_model_version", error.detail) from error
    return LineageParent(model=named.model, version=row.version)


async def check_files(
    database: Database, objects: ObjectStore, *, workspace: Workspace, files: list[ModelFile]
) -> None:
    """Refuse a list of files with bad paths or with bytes that the workspace does not have.

    What it has is not collected for a while. No session is open while the store is asked.

    Raises:
        Invalid: names the files at fault.
    """
    try:
        check_tree(check_path(file.path) for file in files)
    except PathRejected as error:
        raise invalid_field("/files", error.code, error.message) from error
    async with database.session() as session:
        sizes = await blobs.touch(session, workspace.id, [file.sha256 for file in files])
    for sha256 in await objects.missing(sizes):
        del sizes[sha256]
    wrong = [
        (index, file)
        for index, file in enumerate(files)
        if sizes.get(file.sha256) != file.size_bytes
    ]
    if wrong:
        missing = sorted({file.sha256 for _, file in wrong if file.sha256 not in sizes})
        raise Invalid(
            f"The bytes of {len(wrong)} files are not here with the size announced: PUT them to"
            " /blobs first.",
            errors=[
                FieldError(
                    f"/files/{index}",
                    "blob_missing" if file.sha256 not in sizes else "size_mismatch",
                    f"{file.path}: {file.sha256}",
                )
                for index, file in wrong[:_SHOWN]
            ],
            extensions={"missing": missing},
        )


async def update(
    session: AsyncSession, row: ModelVersion, body: ModelVersionUpdate
) -> ModelVersion:
    """Change description and tags; add properties.

    Raises:
        PropertyImmutable: a property that is set would change.
        NotFound: it was deleted meanwhile.
    """
    row = await locked(session, row)
    for key, value in body.properties.items():
        if row.properties.get(key, value) != value:
            raise PropertyImmutable(
                f"Property {key!r} is {row.properties[key]!r}; properties never change."
            )
    if body.description is not None:
        row.description = body.description
    row.tags = merged_tags(row.tags, body.tags)
    properties = {**row.properties, **body.properties}
    check_count("properties", properties, row.properties)
    row.properties = properties
    row.updated_at = utc_now()
    await session.flush()
    return row


async def delete_version(session: AsyncSession, model: Model, row: ModelVersion) -> None:
    """Delete a version; its number is not given again.

    Raises:
        ModelInUse: a deployment serves it.
    """
    await session.execute(
        select(ModelVersion.id).where(ModelVersion.id == row.id).with_for_update()
    )
    users = await repository.deployments_of(session, [row.id])
    if users:
        raise ModelInUse(
            f"Version {row.version} of model {model.name!r} is served by: {', '.join(users)}."
            " Delete or change these deployments first."
        )
    await session.delete(row)


async def delete_model(session: AsyncSession, model: Model) -> None:
    """Delete a model with all its versions.

    Raises:
        ModelInUse: a deployment serves one of them.
    """
    ids = await repository.version_ids(session, model.id)
    users = await repository.deployments_of(session, ids)
    if users:
        raise ModelInUse(
            f"Model {model.name!r} is served by: {', '.join(users)}."
            " Delete or change these deployments first."
        )
    await session.delete(model)


def found_in(row: ModelVersion) -> Found:
    """What the version's files are."""
    return find_kind(file["path"] for file in row.files)


def not_servable_reason(row: ModelVersion) -> str:
    """Why the version cannot be deployed without code, in words; empty when it can."""
    found = found_in(row)
    if found.reason:
        return found.reason
    if found.kind == "saved_model" and row.signature_state == "Unavailable":
        return row.signature_reason
    return ""


async def update_model(session: AsyncSession, model: Model, body: ModelUpdate) -> Model:
    """Change a model's description and tags."""
    row = await aliases.lock(session, model.id)
    if body.description is not None:
        row.description = body.description
    row.tags = merged_tags(row.tags, body.tags)
    await session.flush()
    await session.refresh(row)
    return row


async def reader_of_models(
    session: AsyncSession, rows: Sequence[Model]
) -> Callable[[Model], ModelRead]:
    """Makes what the API shows of each of these models."""
    found = await aliases.of_models(session, [row.id for row in rows])

    def read_one(row: Model) -> ModelRead:
        return ModelRead(
            name=row.name,
            description=row.description,
            tags=row.tags,
            latest_version=row.latest_version,
            aliases=found.get(row.id, {}),
            created_at=row.created_at,
            updated_at=row.updated_at,
        )

    return read_one


async def reader(
    session: AsyncSession, name: str, rows: Sequence[ModelVersion]
) -> Callable[[ModelVersion], ModelVersionRead]:
    """Makes what the API shows of each of these versions of a model."""
    found = await aliases.of_versions(session, [row.id for row in rows])
    captures = await repository.captures(session, [row.id for row in rows])
    for row in rows:
        capture = captures.get(row.id)
        if row.signature_state == "Pending" and capture is not None and capture.ended_at:
            # Both were written in one transaction, of which only the second half was seen.
            await session.refresh(row)
    return lambda row: _read(name, row, found.get(row.id, []), captures.get(row.id))


async def read(session: AsyncSession, name: str, row: ModelVersion) -> ModelVersionRead:
    """A version as the API shows it."""
    read_one = await reader(session, name, [row])
    return read_one(row)


def _read(
    name: str, row: ModelVersion, names: list[str], capture: ModelCapture | None
) -> ModelVersionRead:
    reason = not_servable_reason(row)
    return ModelVersionRead(
        name=name,
        version=row.version,
        id=row.id,
        aliases=names,
        description=row.description,
        tags=row.tags,
        properties=row.properties,
        framework=row.framework,
        framework_version=row.framework_version,
        resource_configuration=ResourceConfiguration.model_validate(row.resource_configuration),
        kind=row.kind,
        is_deployable=row.kind in SERVABLE and not reason,
        not_deployable_reason=reason,
        files_count=len(row.files),
        size_bytes=row.size_bytes,
        lineage=Lineage.model_validate(row.lineage),
        signature_state=row.signature_state,
        signature_reason=row.signature_reason,
        signature=parse_signature(row.signature),
        capture=None if capture is None else ModelCaptureRead.model_validate(capture),
        verification=(
            None if row.verification is None else Verification.model_validate(row.verification)
        ),
        stage=row.stage,
        created_by=row.created_by,
        created_at=row.created_at,
    )


async def _lineage(session: AsyncSession, run: Run, path: str) -> Lineage:
    inputs: dict[str, dict[str, Any]] = run.request.get("inputs", {})
    return Lineage(
        run_id=run.id,
        experiment_name=await repository.experiment_name(session, run.experiment_id),
        path=path,
        snapshot_id=run.snapshot_id,
        image_hash=run.image_id,
        dataset_versions=[
            LineageDataset(name=name, dataset=value["dataset"], version=value["version"])
            for name, value in inputs.items()
        ],
    )


async def _nothing_there(session: AsyncSession, run: Run, path: str) -> Invalid:
    statement = select(RunFile.path).where(RunFile.run_id == run.id).order_by(RunFile.path)
    found = (await session.execute(statement.limit(_SHOWN + 1))).scalars().all()
    shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    has = f"It has: {shown}." if found else "It has no files yet."
    ended = "" if run.ended_at else f" Outputs are published when a run ends; it is {run.status}."
    return invalid_field(
        "/path", "path_not_found", f"The run has no files at {path!r}. {has}{ended}"
    )
