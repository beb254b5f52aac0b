"""The run of a batch scoring: what its source is, and its command. Pure."""

from app.batch_scorings.schemas import BatchScoringCreate
from app.deployments.program import PACKAGE, program_files
from app.environments.spec import EnvironmentSpec
from app.models.kind import Kind, files_below, find_kind
from app.runs.schemas import DatasetInput, RunCreate
from app.runs.transitions import BATCH_SCORING_PROPERTY
from app.snapshots.manifest import Manifest, ManifestFile
from app.storage.entries import ArchiveLimits
from app.tables.model import ModelVersion

PREDICTIONS, COUNTS = "predictions", "counts"
"""Folders in the run's outputs."""
EXIT_TOO_MANY_FAILED = 4
SUFFIXES = frozenset(
    {".bmp", ".csv", ".gif", ".jpeg", ".jpg", ".jsonl", ".ndjson", ".npy", ".npz", ".png"}
)
"""Files that the program reads."""
_DATA, _MODEL = "data", "model"
_ANY = 1 << 62


def source_of(version: ModelVersion) -> Manifest:
    """The program and the model as one folder."""
    by_path = {file["path"]: file for file in version.files}
    chosen = files_below(by_path, find_kind(by_path))
    files = [
        ManifestFile(f"{_MODEL}/{relative}", found["sha256"], found["size_bytes"], executable=False)
        for relative, path in chosen.items()
        if (found := by_path[path])
    ]
    files += [
        ManifestFile(file.path, file.sha256, file.size_bytes, executable=False)
        for file in program_files()
    ]
    # A model was let in already, however large it is.
    return Manifest(files, limits=ArchiveLimits(max_files=_ANY, max_total_bytes=_ANY))


def run_of(
    body: BatchScoringCreate,
    *,
    batch_scoring_id: str,
    snapshot_id: str,
    version: ModelVersion,
    dataset_version: int,
    environment: EnvironmentSpec,
) -> RunCreate:
    """The request for the run that does it.

    Args:
        body: what is asked for.
        batch_scoring_id: whose run it is.
        snapshot_id: of `source_of`.
        version: the model's.
        dataset_version: number of the dataset's version.
        environment: which the model is served in.
    """
    found = find_kind(file["path"] for file in version.files)
    below = "" if found.kind == Kind.SAVED_MODEL else f"/{found.root.rpartition('/')[2]}"
    options = {
        "--model-dir": f"{_MODEL}{below}",
        "--data": f"${{{{inputs.{_DATA}}}}}",
        "--outputs": "outputs",
        "--output-format": body.output_format,
        "--mini-batch-rows": str(body.mini_batch_rows),
        "--node-count": str(body.node_count),
    }
    if body.max_failed_rows is not None:
        options["--max-failed-rows"] = str(body.max_failed_rows)
    command = ["python", "-m", f"{PACKAGE}.score_dataset"]
    for name, value in options.items():
        command += [name, value]
    arguments = [f"--file={pattern}" for pattern in body.files]
    arguments += [f"--column={column}" for column in body.columns]
    return RunCreate(
        experiment_name=body.experiment_name,
        snapshot_id=snapshot_id,
        cluster_name=body.cluster_name,
        command=command,
        arguments=list(arguments),
        inputs={_DATA: DatasetInput(dataset=body.dataset_name, version=dataset_version)},
        environment=environment,
        environment_variables={"TF_CPP_MIN_LOG_LEVEL": "2"},
        node_count=body.node_count,
        max_run_duration_seconds=body.max_run_duration_seconds,
        max_cost=body.max_cost,
        max_attempts=body.max_attempts,
        priority=body.priority,
        display_name=body.display_name or f"{body.model_name} over {body.dataset_name}"[:256],
        description=body.description,
        tags=body.tags,
        properties={BATCH_SCORING_PROPERTY: batch_scoring_id},
    )
