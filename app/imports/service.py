"""From a document of Azure's to a run request: pure, so the same document gives the same run."""

from typing import Any

from pydantic import ValidationError

from app.imports.command_job import translate_command_job
from app.imports.given import Given
from app.imports.run_configuration import translate_run_configuration
from app.imports.schemas import RunImport
from app.imports.translation import JOB, Translation, below, invalid_at
from app.kernel.errors import invalid_field
from app.runs.schemas import RunCreate


def translate(
    body: RunImport, *, has_container_images: bool = False
) -> tuple[RunCreate, Translation]:
    """The run that a document asks for.

    Args:
        body: the document and what belongs to it.
        has_container_images: whether environments are container images here.

    Returns:
        The run request, and the translation, which says where each of its fields comes from.

    Raises:
        Invalid: something has no counterpart, or is no valid run; pointers are those of ``body``.
    """
    given = Given(
        datasets={name: item.model_dump() for name, item in body.datasets.items()},
        has_environment=body.environment is not None or body.environment_name is not None,
        has_cluster=body.cluster_name is not None,
        has_container_images=has_container_images,
    )
    translation = _translate_job(body.job, given)
    _put_given(body, translation)
    _require(translation, "experiment_name", "Name the experiment beside job: experiment_name.")
    _require(translation, "cluster_name", "Name the cluster beside job: cluster_name.")
    try:
        return RunCreate.model_validate(translation.run), translation
    except ValidationError as error:
        invalid = invalid_at(error, translation.run, "")
        translation.retarget(invalid)
        raise invalid from None


def _translate_job(job: dict[str, Any], given: Given) -> Translation:
    if "Configuration" in job:
        return translate_run_configuration(job["Configuration"], below(JOB, "Configuration"), given)
    if "properties" in job:
        return translate_command_job(job["properties"], below(JOB, "properties"), given)
    if "script" in job:
        return translate_run_configuration(job, JOB, given)
    message = (
        "This is neither a submission of the v1 SDK (with Configuration) nor a Command job of "
        "the v2 interface (with properties)."
    )
    raise invalid_field(JOB, "import_format_unknown", message)


def _put_given(body: RunImport, translation: Translation) -> None:
    named = ("snapshot_id", "experiment_name", "cluster_name", "environment", "environment_name")
    for name in named:
        value = getattr(body, name)
        if value is not None:
            translation.put(name, value, f"/{name}")
    if body.python_version is None:
        return
    environment = translation.run.get("environment")
    if not isinstance(environment, dict):
        message = "Say it in the environment itself: the job's own has no Python version."
        raise invalid_field("/python_version", "python_version_misplaced", message)
    environment["python_version"] = body.python_version
    translation.origins["/environment/python_version"] = "/python_version"


def _require(translation: Translation, name: str, message: str) -> None:
    if translation.run.get(name) is None:
        raise invalid_field(f"/{name}", "missing", message)
