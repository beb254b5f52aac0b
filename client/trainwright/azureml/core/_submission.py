"""From what a notebook says of a run to a request: as v1's own document, which the server reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwright.azureml.core.runconfig import RunConfiguration
from trainwright.azureml.data.dataset_consumption_config import DatasetConsumptionConfig
from trainwright.azureml.exceptions import NotSupported, UserErrorException
from trainwright.uploads import upload_snapshot

if TYPE_CHECKING:
    from trainwright.azureml.core.workspace import Workspace

_DATASET = "DatasetConsumptionConfig:"


@dataclass
class Submission:
    """A run to be submitted.

    Attributes:
        source_directory: the folder with the source.
        configuration: everything else.
        arguments: of the script; a dataset as an input of the run becomes its folder.
        inputs: further ones.
    """

    source_directory: str
    configuration: RunConfiguration
    arguments: Sequence[Any] = ()
    inputs: Sequence[DatasetConsumptionConfig] = field(default_factory=tuple)

    def body(self, workspace: "Workspace") -> dict[str, Any]:
        """What `POST …/runs/import` takes; the source is sent on the way.

        Raises:
            UserErrorException: something cannot be submitted.
        """
        named = [*self.inputs, *self.configuration.data.values()]
        arguments = [_argument(item, named, f"{_DATASET}{{}}") for item in self.arguments]
        document = self.configuration.document() | {"arguments": arguments}
        command = self.configuration.command
        if isinstance(command, list):
            words = [str(_argument(item, named, "${{{{inputs.{}}}}}")) for item in command]
            document["command"] = words
        document["data"] = _data(named, workspace)
        environment = self.configuration.environment
        body: dict[str, Any] = {"job": {"Configuration": document}}
        if environment.registered_name() is not None:
            body["environment_name"] = environment.registered_name()
        else:
            document["environment"] = environment.to_document()
        folder = Path(self.source_directory)
        if not folder.is_dir():
            raise UserErrorException(f"source_directory: there is no folder {folder.absolute()}.")
        body["snapshot_id"] = upload_snapshot(workspace.connection, folder)["id"]
        return body


def _argument(item: Any, named: list[DatasetConsumptionConfig], template: str) -> str | int | float:
    """An argument as the document has it; a dataset becomes an input."""
    if isinstance(item, DatasetConsumptionConfig):
        named.append(item)
        return template.format(item.name)
    if hasattr(item, "as_named_input"):
        message = (
            f"{item!r} as an argument: say how the run gets it, .as_mount() or .as_download()."
        )
        raise NotSupported(message)
    return plain_argument(item)


def _data(
    named: Sequence[DatasetConsumptionConfig], workspace: "Workspace"
) -> dict[str, dict[str, Any]]:
    data: dict[str, dict[str, Any]] = {}
    for one in named:
        if not isinstance(one, DatasetConsumptionConfig):
            raise NotSupported(f"{one!r} cannot be an input; use a dataset's .as_mount().")
        document = one.to_document(workspace)
        if data.setdefault(one.name, document) != document:
            raise UserErrorException(f"Two different inputs are named {one.name!r}.")
    return data


def plain_argument(value: Any) -> str | int | float:
    """An argument as the script gets it."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    return str(value)


def arguments_of(script_params: Mapping[str, Any] | None) -> list[Any]:
    """An estimator's `script_params` as a list; a value of '' or None makes its name a flag."""
    arguments: list[Any] = []
    for name, value in (script_params or {}).items():
        arguments.append(name)
        if value is not None and not (isinstance(value, str) and value == ""):
            arguments.append(value)
    return arguments
