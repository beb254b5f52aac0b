"""What a sweep's trials share, fixed when the sweep is made: versions of data, the environment."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.runs import repository, submission
from app.runs.schemas import RunCreate
from app.tables.workspace import Workspace


async def pinned(session: AsyncSession, workspace: Workspace, trial: RunCreate) -> RunCreate:
    """The run of the trials with the versions of data and the environment that there are now.

    Else a trial that is submitted later might read other data than those it is compared with.

    Raises:
        Invalid: there is no environment of its name.
    """
    document = trial.model_dump(mode="json", exclude_unset=True)
    places: list[Any] = [
        *document.get("inputs", {}).values(),
        *document.get("script_params", {}).values(),
        *document.get("arguments", []),
    ]
    for place in places:
        if isinstance(place, dict) and place.get("version", "latest") == "latest":
            name = place["dataset"]
            found = await repository.find_dataset_version(session, workspace.id, name, None)
            if found is not None:
                place["version"] = found.version
    name = document.pop("environment_name", None)
    if name is not None:
        spec = await submission.named_environment(session, workspace, name)
        document["environment"] = spec.model_dump(mode="json")
    return RunCreate.model_validate(document)
