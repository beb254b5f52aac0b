"""Models that the ``azureml-core`` package registers from a run's files."""

import base64
import binascii
import re
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.principal import Principal
from app.azureml.artifacts import run_with_files
from app.azureml.errors import AssetUnknown
from app.azureml.schemas import AssetSent, ModelSent
from app.azureml.service import read_as
from app.models import repository, service
from app.models.errors import ModelVersionNotFound
from app.models.kind import find_kind, framework_of
from app.models.schemas import ModelDescription
from app.tables.model import ModelVersion
from app.tables.workspace import Workspace

_ASSET = "aml://asset/"


def asset_document(sent: AssetSent) -> dict[str, Any]:
    """An asset: nothing is kept of it, its id says which files it stands for.

    Raises:
        AssetUnknown: it stands for several files or folders, or for none.
    """
    places = [item.prefix or item.id for item in sent.artifacts]
    if len(places) != 1 or not places[0]:
        raise AssetUnknown("A model is made of one file or one folder of a run.")
    asset_id = base64.urlsafe_b64encode(places[0].encode()).decode().rstrip("=")
    return {"id": asset_id, "name": sent.name, "artifacts": [{"prefix": places[0]}]}


async def register(
    session: AsyncSession, workspace: Workspace, caller: Principal, sent: ModelSent
) -> tuple[str, ModelVersion]:
    """Register an asset's files as the next version of a model.

    Returns:
        The model's name and the version.

    Raises:
        AssetUnknown: the model is not made of an asset.
        Invalid: the run has no files there, or something is said that cannot be.
        RunNotFound: the files are not those of the caller's run.
    """
    origin, container, path = _place(sent.url)
    run = await run_with_files(session, workspace, origin, container, caller)
    files, lineage = await service.files_of_run(
        session, workspace=workspace, run_id=run.id, path=path
    )
    kind = find_kind(file.path for file in files).kind
    resources = sent.resource_requirements
    given: dict[str, Any] = {
        "framework": sent.framework or framework_of(kind),
        "framework_version": sent.framework_version or "",
        "description": sent.description or "",
        "tags": _texts(sent.kv_tags),
        "properties": _texts(sent.properties),
        "resource_configuration": {
            "cpu": resources.cpu if resources else None,
            "memory_gb": resources.memory_in_gb if resources else None,
            "gpu": resources.gpu if resources else None,
        },
    }
    given["resource_configuration"] = {
        key: value for key, value in given["resource_configuration"].items() if value is not None
    }
    return await service.add_version(
        session,
        workspace=workspace,
        name=sent.name,
        about=read_as(ModelDescription, given),
        files=files,
        lineage=lineage,
        actor=caller.name,
    )


async def get(
    session: AsyncSession, workspace: Workspace, model_id: str
) -> tuple[str, ModelVersion]:
    """The version of this id: ``NAME:VERSION``.

    Raises:
        ModelNotFound: there is no such model.
        ModelVersionNotFound: it has no such version, or the id is no such id.
    """
    name, _, version = model_id.rpartition(":")
    if not re.fullmatch("[1-9][0-9]{0,8}", version):
        raise ModelVersionNotFound(name, version)
    model, row = await repository.get_version(session, workspace.id, name, version)
    return model.name, row


def model_document(name: str, row: ModelVersion) -> dict[str, Any]:
    """A version as the package reads it."""
    resources = row.resource_configuration
    return {
        "id": f"{name}:{row.version}",
        "name": name,
        "version": row.version,
        "framework": row.framework,
        "frameworkVersion": row.framework_version,
        "description": row.description,
        "url": "",
        "mimeType": "application/x-python",
        "createdTime": row.created_at.isoformat(),
        "modifiedTime": row.updated_at.isoformat(),
        "unpack": False,
        "runId": row.run_id,
        "experimentName": row.lineage.get("experiment_name"),
        "kvTags": row.tags,
        "properties": row.properties,
        "resourceRequirements": {
            "cpu": resources.get("cpu"),
            "memoryInGB": resources.get("memory_gb"),
            "gpu": resources.get("gpu"),
        },
        "createdBy": {"userName": row.created_by},
        "datasets": [],
        "derivedModelIds": [],
    }


def _place(url: str) -> tuple[str, str, str]:
    encoded = url.removeprefix(_ASSET)
    try:
        place = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, ValueError) as error:
        raise AssetUnknown(f"{url!r} is no asset that was made here.") from error
    origin, _, rest = place.partition("/")
    container, _, path = rest.partition("/")
    if not url.startswith(_ASSET) or not path:
        raise AssetUnknown(f"{url!r} is no asset that was made here.")
    return origin, container, path


def _texts(mapping: dict[str, Any] | None) -> dict[str, str]:
    return {key: "" if value is None else str(value) for key, value in (mapping or {}).items()}
