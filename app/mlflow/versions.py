"""New versions of registered models: which files an address stands for."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.errors import Invalid
from app.mlflow import artifacts, logged_models, names, places, registry, registry_aliases
from app.mlflow.access import Caller, find_run
from app.mlflow.errors import InvalidParameter, NoPermission, NoSuchResource
from app.mlflow.places import Place
from app.mlflow.registry_schemas import VersionCreate
from app.models import service
from app.models.kind import find_kind, framework_of
from app.models.schemas import Lineage, LineageParent, ModelDescription, ModelFile
from app.tables.model import Model, ModelVersion
from app.tables.run import Run

_MODELS = "models:/"


@dataclass(frozen=True)
class _Source:
    """What a version is made of; no files where they are not kept here."""

    files: list[ModelFile] = field(default_factory=list)
    lineage: Lineage = field(default_factory=Lineage)
    run_id: str = ""
    logged_model_id: str = ""


async def create(
    session: AsyncSession, caller: Caller, body: VersionCreate
) -> tuple[Model, ModelVersion]:
    """Register the files at an address as the next version.

    The version has its own list of files: what becomes of the run's later does not touch it. An
    address elsewhere, or one where nothing lies, is noted, and such a version has no files that
    could be deployed here.

    Raises:
        InvalidParameter: the address leads out of where it begins, or to this server's own disk.
        NoPermission: a script may register what its own run has made only.
        NoSuchResource: there is no such model, or the address names a model that is not there.
    """
    model = await registry.get(session, caller, body.name)
    # The text of a prompt is in its tags, and its source is any word.
    is_prompt = any(tag.key == names.PROMPT_TAG and tag.value == "true" for tag in body.tags)
    if not is_prompt:
        _check_source(body.source)
    if body.model_id:
        # What is registered may be read by scripts: nobody opens so what is not theirs.
        logged = await logged_models.get(session, caller, body.model_id)
        if caller.is_script:
            await logged_models.check_writable(session, caller, logged)
    source = await _source(session, caller, body)
    kind = find_kind(file.path for file in source.files).kind
    _, row = await service.add_version(
        session,
        workspace=caller.workspace,
        name=model.name,
        about=ModelDescription(framework=framework_of(kind)),
        files=source.files,
        lineage=source.lineage,
        actor=caller.principal.name,
    )
    row.description = body.description
    row.tags = {tag.key: tag.value for tag in body.tags}
    row.source = body.source
    row.source_run_id = body.run_id or source.run_id
    row.run_link = body.run_link
    row.logged_model_id = body.model_id or source.logged_model_id
    await session.flush()
    await session.refresh(row)
    return model, row


def _check_source(source: str) -> None:
    try:
        parts = urlsplit(source)
    except ValueError as error:
        raise InvalidParameter(f"Invalid model version source: '{source}': {error}.") from error
    if parts.scheme in ("", "file"):
        raise InvalidParameter(
            f"Invalid model version source: '{source}'. To use a local path as a model version "
            "source, the run_id request parameter has to be specified and the local path has to be "
            "contained within the artifact directory of the run specified by the run_id. Here, "
            "artifacts have no local path: use runs:/RUN_ID/PATH."
        )
    if not places.is_safe(unquote(parts.path)):
        raise InvalidParameter(
            f"Invalid model version source: '{source}'. If supplying a source as an http, https, "
            "local file path, ftp, objectstore, or mlflow-artifacts uri, an absolute path must be "
            "provided without relative path references present."
        )


async def _source(session: AsyncSession, caller: Caller, body: VersionCreate) -> _Source:
    place = places.place_of_address(body.source)
    if place is None and body.source.startswith(_MODELS):
        return await _of_registered(session, caller, body.source)
    if place is None:
        return _Source()
    if place.kind == "version":
        return await _of_version(session, caller, place.id)
    if place.kind == "workspace":
        # A script sees none of these, and other servers have such addresses as well.
        is_elsewhere = urlsplit(body.source).scheme != places.SCHEME
        if is_elsewhere or caller.is_script or not place.path:
            return _Source()
        return await _of_rows(session, caller, place)
    if place.kind == "model":
        model = await logged_models.get(session, caller, place.id)
        if model.run_id is None:
            return await _of_rows(session, caller, place)
        folder = places.model_folder(model.id)
        place = Place("run", model.run_id, f"{folder}/{place.path}".rstrip("/"))
        return await _of_run(session, caller, place, logged_model_id=model.id)
    known = select(Run.id).where(Run.id == place.id, Run.workspace_id == caller.workspace.id)
    if (await session.execute(known)).scalar_one_or_none() is None:
        return _Source(run_id=place.id)
    return await _of_run(session, caller, place)


async def _of_rows(session: AsyncSession, caller: Caller, place: Place) -> _Source:
    """Of files that belong to no run."""
    if caller.is_script:
        raise NoPermission("A script may register what its own run has made only.")
    found = await artifacts.files_below(session, caller, place)
    files = [
        ModelFile(path=path, sha256=stored.sha256, size_bytes=stored.size_bytes)
        for path, stored in found
    ]
    return _Source(files, logged_model_id=place.id if place.kind == "model" else "")


async def _of_run(
    session: AsyncSession, caller: Caller, place: Place, *, logged_model_id: str = ""
) -> _Source:
    try:
        run = await find_run(session, caller, place.id)
    except NoSuchResource as error:
        raise NoPermission("A script may register what its own run has made only.") from error
    try:
        files, lineage = await service.files_of_run(
            session, workspace=caller.workspace, run_id=run.id, path=place.path
        )
    except Invalid:
        # MLflow's servers do not look either; the version says that it has no files.
        files, lineage = [], Lineage()
    return _Source(files, lineage, run.id, logged_model_id)


async def _of_registered(session: AsyncSession, caller: Caller, address: str) -> _Source:
    """Of ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``."""
    numbered = registry.OF_REGISTERED.fullmatch(address)
    if numbered is not None:
        found = await registry.get_version(session, caller, numbered["name"], numbered["version"])
        return _copied(*found)
    name, at, alias = address.removeprefix(_MODELS).partition("@")
    if at:
        model, row = await registry_aliases.by_alias(session, caller, name, alias)
        return _copied(model, row)
    raise NoSuchResource(f"There is no model at {address}.")


async def _of_version(session: AsyncSession, caller: Caller, version_id: str) -> _Source:
    statement = (
        select(Model, ModelVersion)
        .join(ModelVersion, ModelVersion.model_id == Model.id)
        .where(Model.workspace_id == caller.workspace.id, ModelVersion.id == version_id)
    )
    found = (await session.execute(statement)).one_or_none()
    if found is None:
        raise NoSuchResource(f"There is no registered version {version_id}.")
    return _copied(*found)


def _copied(model: Model, row: ModelVersion) -> _Source:
    lineage = Lineage.model_validate(row.lineage)
    lineage.parent = LineageParent(model=model.name, version=row.version)
    return _Source(
        [ModelFile.model_validate(file) for file in row.files],
        lineage,
        row.source_run_id,
        row.logged_model_id,
    )
