"""Workspaces: where everything else is found."""

import builtins
import json
import os
from pathlib import Path
from typing import Any, NoReturn

from trainwright.azureml._unsupported import leave_aside, refuse
from trainwright.azureml.core.authentication import AbstractAuthentication
from trainwright.azureml.core.compute import AmlCompute, ComputeTarget
from trainwright.azureml.core.dataset import Dataset
from trainwright.azureml.core.datastore import Datastore, all_datastores
from trainwright.azureml.core.environment import Environment
from trainwright.azureml.core.experiment import Experiment
from trainwright.azureml.core.model import Model
from trainwright.azureml.core.webservice import Webservice
from trainwright.azureml.data.file_dataset import FileDataset
from trainwright.azureml.exceptions import (
    NotSupported,
    UserErrorException,
    WorkspaceException,
    raised_as,
)
from trainwright.connection import Connection
from trainwright.settings import find_config_file

_OF_AZURE = "It is about Azure's own resources."
_CONFIG_FOLDER = ".azureml"


class Workspace:
    """A workspace of a server.

    The server is that of `config.json`, of `TRAINWRIGHT_URL`, or of `trainwright login`.

    Args:
        subscription_id: of Azure; left aside.
        resource_group: of Azure; left aside.
        workspace_name: name of the workspace.
        auth: left aside: the token is that of `trainwright login`.
    """

    def __init__(
        self,
        subscription_id: str | None,
        resource_group: str | None,
        workspace_name: str,
        auth: AbstractAuthentication | None = None,
        *,
        connection: Connection | None = None,
    ) -> None:
        with raised_as(WorkspaceException):
            self.connection = connection or Connection.open(workspace=workspace_name)
            self._config: dict[str, str] = self.connection.get(self.connection.path("config"))

    @staticmethod
    def from_config(
        path: str | os.PathLike[str] | None = None,
        auth: AbstractAuthentication | None = None,
        _logger: Any = None,
        _file_name: str | None = None,
    ) -> "Workspace":
        """Return the workspace that `config.json` names.

        Args:
            path: the file, or a folder in or above which it is; None: the current folder.
            auth: left aside: the token is that of `trainwright login`.
            _logger: not used.
            _file_name: another name of the file.

        Raises:
            UserErrorException: there is no such file.
            WorkspaceException: the server does not answer, or not to this user.
        """
        place = _config_file(Path(path or "."), _file_name)
        try:
            config = json.loads(place.read_text(encoding="utf-8"))
            name = str(config["workspace_name"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserErrorException(f"{place} is no workspace's file: {error}") from None
        with raised_as(WorkspaceException):
            # The file of an Azure workspace names no server: then the user's own is taken.
            connection = Connection.open(workspace=name, config_file=place)
        return Workspace(None, None, name, connection=connection)

    @staticmethod
    def get(
        name: str,
        auth: AbstractAuthentication | None = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        cloud: str = "AzureCloud",
        id: str | None = None,
    ) -> "Workspace":
        """Return a workspace by its name.

        Raises:
            WorkspaceException: there is none, or the server does not answer.
        """
        return Workspace(subscription_id, resource_group, name)

    @staticmethod
    def create(
        name: str,
        auth: AbstractAuthentication | None = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        location: str | None = None,
        create_resource_group: bool = True,
        sku: str = "basic",
        tags: dict[str, str] | None = None,
        friendly_name: str | None = None,
        storage_account: str | None = None,
        key_vault: str | None = None,
        app_insights: str | None = None,
        container_registry: str | None = None,
        adb_workspace: str | None = None,
        primary_user_assigned_identity: str | None = None,
        cmk_keyvault: str | None = None,
        resource_cmk_uri: str | None = None,
        hbi_workspace: bool = False,
        default_cpu_compute_target: Any = None,
        default_gpu_compute_target: Any = None,
        private_endpoint_config: Any = None,
        private_endpoint_auto_approval: bool = True,
        exist_ok: bool = False,
        show_output: bool = True,
        user_assigned_identity_for_cmk_encryption: str | None = None,
        system_datastores_auth_mode: str = "accessKey",
        v1_legacy_mode: bool | None = None,
    ) -> "Workspace":
        """Create a workspace.

        Args:
            name: its name.
            tags: tags to put on it.
            friendly_name: becomes its description.
            exist_ok: take the one that is there already.
            show_output: print what happens.

        The other arguments are about Azure's own resources: they are left aside with a warning.

        Raises:
            WorkspaceException: the name is taken, or the server does not answer.
        """
        leave_aside(
            "Workspace.create", _OF_AZURE, storage_account=storage_account, key_vault=key_vault,
            app_insights=app_insights, container_registry=container_registry,
            adb_workspace=adb_workspace, cmk_keyvault=cmk_keyvault,
            primary_user_assigned_identity=primary_user_assigned_identity,
            resource_cmk_uri=resource_cmk_uri, hbi_workspace=hbi_workspace,
            private_endpoint_config=private_endpoint_config, v1_legacy_mode=v1_legacy_mode,
            user_assigned_identity_for_cmk_encryption=user_assigned_identity_for_cmk_encryption,
        )  # fmt: skip
        refuse(
            "Workspace.create", "Create clusters with ComputeTarget.create.",
            default_cpu_compute_target=default_cpu_compute_target,
            default_gpu_compute_target=default_gpu_compute_target,
        )  # fmt: skip
        with raised_as(WorkspaceException):
            connection = Connection.open(workspace=name)
            known = {one["name"] for one in connection.pages(connection.server_path("workspaces"))}
            if name in known and not exist_ok:
                raise WorkspaceException(f"A workspace {name!r} exists; exist_ok=True takes it.")
            if name not in known:
                body = {"name": name, "description": friendly_name or "", "tags": tags or {}}
                connection.post(connection.server_path("workspaces"), body)
        if show_output:
            print(f"Workspace {name} is there.")
        return Workspace(subscription_id, resource_group, name, connection=connection)

    @staticmethod
    def list(
        subscription_id: str | None = None,
        auth: AbstractAuthentication | None = None,
        resource_group: str | None = None,
    ) -> "dict[str, builtins.list[Workspace]]":
        """Return all workspaces of the server, by name, each in a list of one."""
        with raised_as(WorkspaceException):
            connection = Connection.open()
            names = [one["name"] for one in connection.pages(connection.server_path("workspaces"))]
        return {name: [Workspace(None, None, name)] for name in names}

    @property
    def name(self) -> str:
        """Its name."""
        return self._config["workspace_name"]

    @property
    def subscription_id(self) -> str:
        """What `config.json` has for it; nothing is billed."""
        return self._config["subscription_id"]

    @property
    def resource_group(self) -> str:
        """What `config.json` has for it."""
        return self._config["resource_group"]

    @property
    def location(self) -> str:
        """Where it is: the address of the server."""
        return self.connection.url

    def write_config(self, path: str | None = None, file_name: str | None = None) -> None:
        """Write `PATH/.azureml/config.json`, which `from_config` reads; it has no secret."""
        folder = Path(path or ".") / _CONFIG_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self._config, indent=2)
        (folder / (file_name or "config.json")).write_text(text + "\n", encoding="utf-8")

    def get_details(self) -> dict[str, Any]:
        """What the server says of the workspace."""
        with raised_as(WorkspaceException):
            details: dict[str, Any] = self.connection.get(self.connection.path())
        return details | {"location": self.location}

    def get_mlflow_tracking_uri(self, _with_auth: bool = False) -> str:
        """The tracking address for MLflow's client; its token is `MLFLOW_TRACKING_TOKEN`."""
        return f"{self.connection.url}{self.connection.path('mlflow')}"

    @property
    def compute_targets(self) -> dict[str, AmlCompute]:
        """Clusters by name."""
        return {target.name: target for target in ComputeTarget.list(self)}

    @property
    def datasets(self) -> dict[str, FileDataset]:
        """Registered datasets, each in its latest version, by name."""
        return Dataset.get_all(self)

    @property
    def environments(self) -> dict[str, Environment]:
        """Registered environments by name."""
        return Environment.list(self)

    @property
    def experiments(self) -> dict[str, Experiment]:
        """Experiments by name."""
        return {one.name: one for one in Experiment.list(self)}

    @property
    def models(self) -> dict[str, Model]:
        """Models, each in its latest version, by name."""
        return {one.name: one for one in Model.list(self, latest=True)}

    @property
    def webservices(self) -> dict[str, Webservice]:
        """Web services by name."""
        return {one.name: one for one in Webservice.list(self)}

    def get_default_datastore(self) -> Datastore:
        """Return the datastore that is meant where none is named.

        Raises:
            UserErrorException: there is none; says how to make one.
        """
        return Datastore.get_default(self)

    def set_default_datastore(self, name: str) -> None:
        """Make a datastore the one that is meant where none is named.

        Raises:
            UserErrorException: there is none of that name.
        """
        Datastore(self, name).set_as_default()

    @property
    def datastores(self) -> dict[str, Datastore]:
        """Datastores by name."""
        return all_datastores(self)

    def get_default_keyvault(self) -> NoReturn:
        """Refuse, and say what to do instead.

        Raises:
            NotSupported: always.
        """
        raise NotSupported(
            "Workspace.get_default_keyvault: secrets are set with PUT …/secrets/NAME; a run gets "
            "them as files; see docs/secrets.md."
        )

    def delete(self, delete_dependent_resources: bool = False, no_wait: bool = False) -> None:
        """Delete the workspace."""
        with raised_as(WorkspaceException):
            self.connection.delete(self.connection.path())

    def __repr__(self) -> str:
        return f"Workspace(name={self.name!r}, server={self.connection.url!r})"


def _config_file(path: Path, name: str | None) -> Path:
    if path.is_file():
        return path
    if name:
        for place in (path / name, path / _CONFIG_FOLDER / name):
            if place.is_file():
                return place
    found = find_config_file(path) if not name else None
    if found is None:
        raise UserErrorException(
            f"There is no {name or 'config.json'} in {path.absolute()} or above it. Get it from "
            "GET /v1/workspaces/NAME/config, or with Workspace.get(NAME).write_config()."
        )
    return found
