"""Where things came from, and what became of them."""

from pydantic import BaseModel, Field

from app.models.schemas import LineageParent


class DatasetInLineage(BaseModel):
    """A dataset version that a run read."""

    dataset: str
    version: int
    fingerprint: str | None = Field(description="Over all files; null: it was deleted")


class InputInLineage(BaseModel):
    """What an input of a run was."""

    name: str
    dataset: str
    version: int


class RunInLineage(BaseModel):
    """A run: what it was made of."""

    id: str
    display_name: str
    experiment_name: str
    status: str
    inputs: list[InputInLineage]
    snapshot_id: str | None
    snapshot_sha256: str | None = Field(description="Hash of the source's manifest")
    image_hash: str | None = Field(description="Of the environment")
    image_reference: str | None = Field(description="The container image; null without containers")
    sweep_id: str | None
    trial_number: int | None
    creator_run_id: str | None = Field(description="The run whose script made it")


class ModelVersionInLineage(BaseModel):
    """A model version."""

    model: str
    version: int
    aliases: list[str]
    kind: str
    run_id: str | None = Field(description="As it was registered; the run may have been deleted")
    path: str | None = Field(description="In the run's files")
    parent: LineageParent | None


class DeploymentInLineage(BaseModel):
    """A deployment."""

    name: str
    state: str
    model: str
    version: int


class LineageRead(BaseModel):
    """Everything that one thing was made of, and everything that was made of it."""

    dataset_versions: list[DatasetInLineage]
    runs: list[RunInLineage] = Field(description="The newest first")
    model_versions: list[ModelVersionInLineage]
    deployments: list[DeploymentInLineage]
    is_cut: bool = Field(description="Whether there is more than is listed here")
