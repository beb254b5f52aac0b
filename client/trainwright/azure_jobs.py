"""Files of jobs written for Azure ML: the server says what they mean here."""

from pathlib import Path
from typing import Any

import yaml

from trainwright.connection import Connection
from trainwright.job_file import Job, JobInvalid

_AZURES = frozenset(
    {
        "$schema",
        "Configuration",
        "code",
        "compute",
        "limits",
        "outputs",
        "resources",
        "script",
        "type",
    }
)
_LATER = "sent-later"


def is_azures(job: Job) -> bool:
    """Whether a file has keys that only Azure's have: a `job.yml`, or a request of its clients."""
    properties = job.get("properties")
    is_request = isinstance(properties, dict) and "jobType" in properties
    return is_request or isinstance(job.get("environment"), str) or bool(_AZURES & set(job))


def source_folder(job: Job, file: Path) -> Path:
    """The folder that a job file means: `code`, from where the file is; else the file's own."""
    code = job.get("code")
    is_local = isinstance(code, str) and ":" not in code
    return (file.parent / code).resolve() if is_local and isinstance(code, str) else file.parent


def translated(
    server: Connection, job: Job, file: Path, *, experiment: str, cluster: str | None
) -> tuple[Job, list[str]]:
    """Ask the server what a job means.

    Args:
        server: the connection.
        job: what the file holds.
        file: the file, beside which a conda file may be.
        experiment: where the job names none.
        cluster: instead of the job's.

    Returns:
        The job in the words of the API, and what was left aside.

    Raises:
        JobInvalid: something in it has no counterpart.
    """
    body: dict[str, Any] = {"job": _with_conda_file(job, file), "snapshot_id": _LATER}
    if "experiment_name" not in job and "properties" not in job:
        body["experiment_name"] = experiment
    if cluster is not None:
        body["cluster_name"] = cluster
    report = server.post(server.path("runs", "import"), body, params={"validate_only": True})
    notes = report["notes"]
    if report["run"] is None:
        lines = [f"{one['pointer']}: {one['message']}" for one in notes
                 if one["kind"] == "unsupported"]  # fmt: skip
        raise JobInvalid(f"{file} cannot be run here as it is:\n" + "\n".join(lines))
    run: Job = report["run"]
    run.pop("snapshot_id", None)
    aside = [one for one in notes if one["kind"] == "left_aside" and one["code"] != "azure_only"]
    return run, [f"{one['pointer'].removeprefix('/job')}: {one['message']}" for one in aside]


def _with_conda_file(job: Job, file: Path) -> Job:
    """The job with the content of its conda file, which a request must have."""
    environment = job.get("environment")
    named = environment.get("conda_file") if isinstance(environment, dict) else None
    if not isinstance(environment, dict) or not isinstance(named, str):
        return job
    place = file.parent / named
    try:
        content = yaml.safe_load(place.read_text(encoding="utf-8-sig"))
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise JobInvalid(f"{place} cannot be read: {' '.join(str(error).split())}") from None
    return {**job, "environment": {**environment, "conda_file": content}}
