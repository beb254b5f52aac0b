"""`trainwright.yaml`: what to run, in the words of the API.

The keys are the fields of `POST /v1/workspaces/{workspace}/runs`; `snapshot_id` is not among them:
the folder is sent for it.
"""

import datetime
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from trainwright.errors import TrainwrightError

FILE_NAME = "trainwright.yaml"
_MAX_BYTES = 1024 * 1024
_TEXTS = (("environment", "framework_version"), ("environment", "python_version"))

Job = dict[str, Any]


class JobInvalid(TrainwrightError):
    """The file, or an override of it, cannot be used."""


def load_job(path: Path) -> Job:
    """Read a job.

    Raises:
        JobInvalid: it is no YAML mapping, or has values that JSON has not.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise JobInvalid(f"{path} is larger than {_MAX_BYTES} bytes.")
        job = yaml.safe_load(content.decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise JobInvalid(f"{path} cannot be read: {error}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise JobInvalid(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(job, dict):
        raise JobInvalid(f"{path} is no mapping.", hint="Write lines such as cluster_name: cpu.")
    _check(job, str(path))
    return job


def set_values(job: Job, assignments: Iterable[str]) -> None:
    """Change a job as `--set KEY.KEY=YAML` says.

    Raises:
        JobInvalid: it is no such assignment.
    """
    for assignment in assignments:
        keys, equals, text = assignment.partition("=")
        *parents, last = keys.split(".")
        if not equals or not all([*parents, last]):
            raise JobInvalid(f"--set {assignment}: write it as KEY.KEY=VALUE.")
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError, ValueError):
            raise JobInvalid(f"--set {assignment}: the value is no YAML.") from None
        place: Any = job
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise JobInvalid(f"--set {assignment}: {parent} holds no further keys.")
        place[last] = value
    _check(job, "--set")


def put_pairs(job: Job, field: str, pairs: Iterable[str], *, option: str, parse: bool) -> None:
    """Add `NAME=VALUE` pairs to a mapping of the job.

    Args:
        job: it.
        field: which mapping.
        pairs: as they were typed.
        option: that they were given with.
        parse: read values as YAML, so that numbers are numbers; else they are texts.

    Raises:
        JobInvalid: one is no pair.
    """
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise JobInvalid(f"{option} {pair}: write it as NAME=VALUE.")
        target = job.setdefault(field, {})
        if not isinstance(target, dict):
            raise JobInvalid(f"{field} is no mapping.")
        target[name] = _scalar(text) if parse else text


def _scalar(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return text
    return value if isinstance(value, int | float | bool | dict) else text


def _check(job: Mapping[str, Any], source: str) -> None:
    if "snapshot_id" in job:
        raise JobInvalid(f"{source} has snapshot_id: the folder is sent for it; leave it out.")
    for first, second in _TEXTS:
        inner = job.get(first)
        value = inner.get(second) if isinstance(inner, dict) else None
        if isinstance(value, int | float):
            # YAML reads 2.10 as the number 2.1.
            raise JobInvalid(
                f"{source}: {first}.{second} is a number.", hint=f"Quote it: '{value}'."
            )
    try:
        json.dumps(job, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        place = _odd(job) or str(error)
        raise JobInvalid(f"{source} has a value that JSON has not: {place}.") from None


def _odd(value: Any, path: str = "", depth: int = 0) -> str:
    if isinstance(value, datetime.date):
        return f"{path} is a date; quote it"
    if isinstance(value, dict) and depth < 20:
        found = (_odd(inner, f"{path}.{key}".strip("."), depth + 1) for key, inner in value.items())
        return next(filter(None, found), "")
    if isinstance(value, list) and depth < 20:
        found = (_odd(inner, f"{path}.{index}", depth + 1) for index, inner in enumerate(value))
        return next(filter(None, found), "")
    return ""
