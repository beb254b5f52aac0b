"""What is said of a version of a model, and changing it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainwright.azureml._unsupported import leave_aside, refuse
from trainwright.azureml.core.resource_configuration import ResourceConfiguration
from trainwright.azureml.exceptions import WebserviceException, raised_as

if TYPE_CHECKING:
    from trainwright.azureml.core.workspace import Workspace

NO_SAMPLES = "What a model takes is read from its signature."


class ModelRead:
    """What is said of a version, and the calls that change it."""

    workspace: "Workspace"
    _read: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._read["name"])

    @property
    def version(self) -> int:
        """Its version."""
        return int(self._read["version"])

    @property
    def id(self) -> str:
        """NAME:VERSION."""
        return f"{self.name}:{self.version}"

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return dict(self._read["tags"])

    @property
    def properties(self) -> dict[str, str]:
        """Its properties."""
        return dict(self._read["properties"])

    @property
    def description(self) -> str:
        """In words."""
        return str(self._read["description"])

    @property
    def created_time(self) -> str:
        """When it was registered."""
        return str(self._read["created_at"])

    @property
    def run_id(self) -> str | None:
        """Id of the run that it comes from."""
        found: str | None = self._read["lineage"].get("run_id")
        return found

    @property
    def model_framework(self) -> str:
        """What it was made with."""
        return str(self._read["framework"])

    @property
    def model_framework_version(self) -> str:
        """The version of the framework."""
        return str(self._read["framework_version"])

    @property
    def resource_configuration(self) -> ResourceConfiguration:
        """What one serving process may use."""
        return ResourceConfiguration.from_api(self._read["resource_configuration"])

    @property
    def url(self) -> str:
        """Its address at the server."""
        connection = self.workspace.connection
        return f"{connection.url}{self._path()}"

    def update(
        self,
        tags: Mapping[str, str] | None = None,
        description: str | None = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: ResourceConfiguration | None = None,
    ) -> None:
        """Change tags and description; the tags take the place of all that it has."""
        leave_aside(
            "Model.update", NO_SAMPLES, sample_input_dataset=sample_input_dataset,
            sample_output_dataset=sample_output_dataset,
        )  # fmt: skip
        refuse(
            "Model.update", "Say it when deploying.", resource_configuration=resource_configuration
        )
        body: dict[str, Any] = {}
        if tags is not None:
            body["tags"] = {**dict.fromkeys(self.tags), **tags}
        if description is not None:
            body["description"] = description
        self._change(body)

    def add_tags(self, tags: Mapping[str, str]) -> None:
        """Put tags on it."""
        self._change({"tags": dict(tags)})

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Take tags off it."""
        self._change({"tags": dict.fromkeys(tags)})

    def add_properties(self, properties: Mapping[str, str]) -> None:
        """Add properties, which cannot be changed afterwards."""
        self._change({"properties": dict(properties)})

    def delete(self) -> None:
        """Delete this version; refused while a service uses it."""
        with raised_as(WebserviceException):
            self.workspace.connection.delete(self._path())

    def _change(self, body: dict[str, Any]) -> None:
        with raised_as(WebserviceException):
            self._read = self.workspace.connection.patch(self._path(), body)

    def _path(self) -> str:
        return self.workspace.connection.path("models", self.name, "versions", self.version)


def said_of_model(
    tags: Mapping[str, Any] | None,
    properties: Mapping[str, Any] | None,
    description: str | None,
    framework: str | None,
    framework_version: str | None,
    resources: ResourceConfiguration | None,
) -> dict[str, Any]:
    """What is said about a version beside its files, as the API takes it."""
    body: dict[str, Any] = {
        "tags": {key: "" if value is None else str(value) for key, value in (tags or {}).items()},
        "properties": {key: str(value) for key, value in (properties or {}).items()},
        "description": description or "",
        "framework_version": framework_version or "",
    }
    if framework is not None:
        body["framework"] = framework
    if resources is not None:
        body["resource_configuration"] = resources.to_api()
    return body
