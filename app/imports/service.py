"""From a document of Azure's to a run request: pure, so the same document gives the same run."""

from typing import Any

from pydantic import ValidationError

from app.imports import job_file
from app.imports.command_job import translate_command_job
from app.imports.given import Given
from app.imports.run_configuration import translate_run_configuration
from app.imports.schemas import RunImport
from app.imports.translation import JOB, Translation, below, invalid, invalid_at
from app.imports.yaml_text import read_yaml
from app.kernel.errors import FieldError, Invalid, invalid_field
from app.runs.schemas import RunCreate

_GIVEN = ("snapshot_id", "experiment_name", "cluster_name", "environment", "environment_name",
          "display_name")  # fmt: skip


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
        Invalid: something has no counterpart, or is no valid run; pointers are those of ``body``,
            and all that has no counterpart is named.
    """
    translation = examine(body, has_container_images=has_container_images)
    if translation.refused:
        raise invalid(translation.refused)
    try:
        return RunCreate.model_validate(translation.run), translation
    except ValidationError as error:
        wrong = invalid_at(error, translation.run, "")
        translation.retarget(wrong)
        raise wrong from None


def examine(body: RunImport, *, has_container_images: bool = False) -> Translation:
    """Translate as far as it goes; ``refused`` has what has no counterpart.

    Raises:
        Invalid: the document has not the form of any that is understood.
    """
    given = Given(
        datasets={name: item.model_dump() for name, item in body.datasets.items()},
        has_environment=body.environment is not None or body.environment_name is not None,
        has_cluster=body.cluster_name is not None,
        has_container_images=has_container_images,
    )
    job = read_yaml(body.job) if isinstance(body.job, str) else body.job
    translation = _translate_job(job, given)
    _put_given(body, translation)
    for name, what in (("experiment_name", "experiment"), ("cluster_name", "cluster")):
        if translation.run.get(name) is None:
            message = f"Name the {what} beside job: {name}."
            translation.refuse(f"/{name}", "missing", message)
    translation.refused = [
        FieldError(translation.sent_at(one.pointer), one.code, one.message)
        for one in translation.refused
    ]
    return translation


def _translate_job(job: dict[str, Any], given: Given) -> Translation:
    if "Configuration" in job:
        return translate_run_configuration(job["Configuration"], below(JOB, "Configuration"), given)
    if "script" in job:
        return translate_run_configuration(job, JOB, given)
    if "command" in job:
        return _translate_file(job, given)
    if "properties" in job:
        return translate_command_job(job["properties"], below(JOB, "properties"), given)
    message = (
        "This is neither a submission of the v1 SDK (with Configuration) nor a Command job of "
        "the v2 interface (with properties) or of its command line (with command)."
    )
    raise invalid_field(JOB, "import_format_unknown", message)


def _translate_file(job: dict[str, Any], given: Given) -> Translation:
    read = job_file.read_job_file(job)
    try:
        translation = translate_command_job(read.properties, job_file.PLACE, given)
    except Invalid as error:
        moved = Translation(moved=read.moved)
        raise invalid(
            [FieldError(moved.sent_at(one.pointer), one.code, one.message) for one in error.errors]
        ) from None
    translation.moved |= read.moved
    return translation


def _put_given(body: RunImport, translation: Translation) -> None:
    for name in _GIVEN:
        value = getattr(body, name)
        if value is not None:
            translation.put(name, value, f"/{name}")
    if body.tags:
        tags = translation.run.get("tags", {}) | body.tags
        translation.run["tags"] = tags
        translation.origins |= {below("/tags", name): below("/tags", name) for name in body.tags}
        translation.origins.setdefault("/tags", "/tags")
    if body.python_version is None:
        return
    environment = translation.run.get("environment")
    if not isinstance(environment, dict):
        message = "Say it in the environment itself: the job's own has no Python version."
        translation.refuse("/python_version", "python_version_misplaced", message)
        return
    environment["python_version"] = body.python_version
    translation.origins["/environment/python_version"] = "/python_version"
