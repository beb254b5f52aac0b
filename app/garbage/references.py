"""Which rows refer to which bytes: the one list of it.

Whatever keeps a SHA-256 of the object store in a table belongs in here; without that, its bytes
are taken away some time after they were stored.
"""

from typing import Any

from sqlalchemy import Select, Subquery, func, select, union_all
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import InstrumentedAttribute

from app.tables.capture import CaptureFile
from app.tables.dataset import Dataset, DatasetFile, DatasetVersion
from app.tables.deployment import Deployment
from app.tables.log import LogStream
from app.tables.model import Model, ModelVersion
from app.tables.run import Run, RunFile, RunNode
from app.tables.snapshot import Snapshot
from app.tables.tracking import LoggedModel, LoggedModelFile, WorkspaceArtifact


def of_workspaces() -> Subquery:
    """Pairs of workspace_id and sha256 that rows of that workspace refer to."""
    run_files = select(Run.workspace_id, RunFile.sha256).join(Run, Run.id == RunFile.run_id)
    dataset_files = (
        select(Dataset.workspace_id, DatasetFile.sha256)
        .join(DatasetVersion, DatasetVersion.id == DatasetFile.version_id)
        .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
    )
    captures = select(Deployment.workspace_id, CaptureFile.sha256).join(
        Deployment, Deployment.id == CaptureFile.deployment_id
    )
    logged_models = select(LoggedModel.workspace_id, LoggedModelFile.sha256).join(
        LoggedModel, LoggedModel.id == LoggedModelFile.model_id
    )
    artifacts = select(WorkspaceArtifact.workspace_id, WorkspaceArtifact.sha256)
    snapshots = _listed(Snapshot.workspace_id, Snapshot.files)
    models = _listed(Model.workspace_id, ModelVersion.files).join_from(
        ModelVersion, Model, Model.id == ModelVersion.model_id
    )
    return union_all(
        run_files,
        dataset_files,
        captures,
        logged_models,
        artifacts,
        snapshots,
        models,
        _of_nodes(RunNode.outputs),
        _of_nodes(RunNode.checkpoint),
    ).subquery("referenced")


def of_logs() -> Subquery:
    """Every sha256 of sealed logs, whoever they belong to."""
    kept = LogStream.expired_at.is_(None)
    bytes_ = select(LogStream.sha256).where(kept, LogStream.sha256.is_not(None))
    times = select(LogStream.times_sha256.label("sha256")).where(
        kept, LogStream.times_sha256.is_not(None)
    )
    return union_all(bytes_, times).subquery("logged")


def _listed(
    workspace_id: InstrumentedAttribute[str], files: InstrumentedAttribute[Any]
) -> Select[tuple[str, str]]:
    """Digests in a JSON column of the form ``[{sha256, …}]``."""
    elements = func.jsonb_array_elements(files, type_=JSONB)
    file = elements.column_valued("file", joins_implicitly=True)
    return select(workspace_id, file["sha256"].astext.label("sha256"))


def _of_nodes(files: InstrumentedAttribute[Any]) -> Select[tuple[str, str]]:
    return _listed(Run.workspace_id, files).join_from(RunNode, Run, Run.id == RunNode.run_id)
