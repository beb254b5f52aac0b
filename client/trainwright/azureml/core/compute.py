"""Clusters: created, found, waited for, changed."""

import builtins
import time
from typing import TYPE_CHECKING, Any

from trainwright.azureml._unsupported import leave_aside
from trainwright.azureml.core._compute_elsewhere import (
    AksCompute,
    ComputeInstance,
    DatabricksCompute,
    DataFactoryCompute,
    HDInsightCompute,
    RemoteCompute,
)
from trainwright.azureml.core._compute_status import (
    AmlComputeProvisioningConfiguration,
    AmlComputeStatus,
    Sizes,
    sizes_of,
)
from trainwright.azureml.exceptions import ComputeTargetException, NotSupported, raised_as

if TYPE_CHECKING:
    from trainwright.azureml.core.workspace import Workspace

__all__ = [
    "AksCompute",
    "AmlCompute",
    "ComputeInstance",
    "ComputeTarget",
    "DataFactoryCompute",
    "DatabricksCompute",
    "HDInsightCompute",
    "RemoteCompute",
]

_POLL_SECONDS = 1.0
_V1_IDLE_SECONDS = 1800


class ComputeTarget:
    """A cluster that is there; `ComputeTarget(workspace, name)` finds one.

    Raises:
        ComputeTargetException: there is none of that name.
    """

    name: str
    workspace: "Workspace"
    type = "AmlCompute"
    _read: dict[str, Any]

    def __new__(cls, workspace: "Workspace", name: str) -> "AmlCompute":
        return _found(workspace, name)

    def __init__(self, workspace: "Workspace", name: str) -> None:
        """Everything is done in `__new__`, as in the v1 SDK."""

    @staticmethod
    def create(
        workspace: "Workspace",
        name: str,
        provisioning_configuration: AmlComputeProvisioningConfiguration,
    ) -> "AmlCompute":
        """Create a cluster; one of that name that is there takes the new settings.

        Raises:
            ComputeTargetException: the server refuses.
        """
        body = getattr(provisioning_configuration, "body", None)
        if body is None:
            raise ComputeTargetException(
                "Only AmlCompute.provisioning_configuration(...) can be created here."
            )
        connection = workspace.connection
        with raised_as(ComputeTargetException):
            connection.put(connection.path("clusters", name), body)
        return _found(workspace, name)

    @staticmethod
    def attach(workspace: "Workspace", name: str, attach_configuration: Any) -> "AmlCompute":
        """Refuse: machines of one's own are the operator's to add.

        Raises:
            NotSupported: always.
        """
        raise NotSupported(
            "ComputeTarget.attach: machines are added by the operator (docs/engines.md); create a "
            "cluster on them with ComputeTarget.create."
        )

    @staticmethod
    def list(workspace: "Workspace") -> "builtins.list[AmlCompute]":
        """Return all clusters."""
        connection = workspace.connection
        with raised_as(ComputeTargetException):
            names = [one["name"] for one in connection.pages(connection.path("clusters"))]
        return [_found(workspace, name) for name in names]

    def wait_for_completion(
        self, show_output: bool = False, is_delete_operation: bool = False
    ) -> None:
        """Wait until it is there, or gone; each kind of target knows how."""
        raise NotImplementedError

    @property
    def provisioning_state(self) -> str:
        """Creating, Succeeded, Failed or Deleting, as it was when last looked at."""
        return str(self._read["provisioning_state"])

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return dict(self._read["tags"])

    def delete(self) -> None:
        """Delete the cluster; its nodes go away by themselves."""
        connection = self.workspace.connection
        with raised_as(ComputeTargetException):
            connection.delete(connection.path("clusters", self.name))

    def serialize(self) -> dict[str, Any]:
        """The cluster as a dictionary."""
        return {
            "name": self.name,
            "computeType": self.type,
            "provisioningState": self.provisioning_state,
            "tags": self.tags,
            "properties": {"status": AmlComputeStatus(self._read).serialize()},
        }


class AmlCompute(ComputeTarget):
    """A cluster of nodes that grows and shrinks."""

    @staticmethod
    def provisioning_configuration(
        vm_size: str = "",
        vm_priority: str = "dedicated",
        min_nodes: int = 0,
        max_nodes: int | None = None,
        idle_seconds_before_scaledown: int = _V1_IDLE_SECONDS,
        admin_username: str | None = None,
        admin_user_password: str | None = None,
        admin_user_ssh_key: str | None = None,
        vnet_resourcegroup_name: str | None = None,
        vnet_name: str | None = None,
        subnet_name: str | None = None,
        tags: dict[str, str] | None = None,
        description: str | None = None,
        remote_login_port_public_access: str = "NotSpecified",
        identity_type: str | None = None,
        identity_id: Any = None,
        location: str | None = None,
        enable_node_public_ip: bool = True,
    ) -> AmlComputeProvisioningConfiguration:
        """Say what a cluster should be.

        Args:
            vm_size: one of `GET /v1/vm-sizes`.
            vm_priority: dedicated or lowpriority.
            min_nodes: that are always there.
            max_nodes: at most; None: the server's default.
            idle_seconds_before_scaledown: after which an idle node goes.
            tags: tags to put on it.
            description: in words.

        Logins, networks, identities and locations are left aside with a warning.
        """
        leave_aside(
            "AmlCompute.provisioning_configuration", "Nodes here have no logins or networks.",
            admin_username=admin_username, admin_user_password=admin_user_password,
            admin_user_ssh_key=admin_user_ssh_key, vnet_name=vnet_name, subnet_name=subnet_name,
            vnet_resourcegroup_name=vnet_resourcegroup_name, identity_type=identity_type,
            identity_id=identity_id, location=location,
            remote_login_port_public_access=remote_login_port_public_access == "Enabled",
            enable_node_public_ip=not enable_node_public_ip and "False",
        )  # fmt: skip
        body: dict[str, Any] = {
            "vm_size": vm_size or "STANDARD_NC6",
            "vm_priority": vm_priority,
            "min_nodes": min_nodes,
            "idle_seconds_before_scaledown": idle_seconds_before_scaledown,
            "tags": tags or {},
            "description": description or "",
        }
        if max_nodes is not None:
            body["max_nodes"] = max_nodes
        return AmlComputeProvisioningConfiguration(body)

    @property
    def vm_size(self) -> str:
        """Size of its nodes."""
        return str(self._read["vm_size"])

    @staticmethod
    def supported_vmsizes(workspace: "Workspace", location: str | None = None) -> Sizes:
        """Return the sizes of nodes that the server has."""
        leave_aside("AmlCompute.supported_vmsizes", "There is one place.", location=location)
        connection = workspace.connection
        with raised_as(ComputeTargetException):
            found = connection.get(connection.server_path("vm-sizes"))
        return sizes_of(found["items"])

    def refresh_state(self) -> None:
        """Look again."""
        connection = self.workspace.connection
        self._read = connection.get(connection.path("clusters", self.name))

    def get_status(self) -> AmlComputeStatus:
        """Look, and say how it is."""
        with raised_as(ComputeTargetException):
            self.refresh_state()
        return AmlComputeStatus(self._read)

    def wait_for_completion(  # type: ignore[override]  # as in the v1 SDK
        self,
        show_output: bool = False,
        min_node_count: int | None = None,
        timeout_in_minutes: float = 25,
        is_delete_operation: bool = False,
    ) -> None:
        """Wait until the cluster is there, and has so many nodes.

        Args:
            show_output: print states as they change.
            min_node_count: None: `min_nodes` of the cluster.
            timeout_in_minutes: after which waiting ends, without an error, as in v1.
            is_delete_operation: wait until it is gone.

        Raises:
            ComputeTargetException: it failed.
        """
        deadline = time.monotonic() + timeout_in_minutes * 60
        shown = ""
        while time.monotonic() < deadline:
            state, is_done = self._progress(min_node_count, is_delete_operation)
            if show_output and state != shown:
                print(state, flush=True)
                shown = state
            if is_done:
                return
            time.sleep(_POLL_SECONDS)
        if show_output:
            print(f"Not there yet after {timeout_in_minutes} minutes; it goes on by itself.")

    def _progress(self, min_node_count: int | None, is_delete: bool) -> tuple[str, bool]:
        try:
            status = self.get_status()
        except ComputeTargetException as error:
            if is_delete and error.status_code == 404:
                return "Deleted", True
            raise
        if status.provisioning_state == "Failed":
            raise ComputeTargetException(f"Cluster {self.name} failed: {status.errors}")
        wanted = status.scale_settings["min_nodes"] if min_node_count is None else min_node_count
        is_there = status.provisioning_state == "Succeeded" and status.current_node_count >= wanted
        words = f"{status.provisioning_state}, {status.current_node_count} nodes"
        return words, is_there and not is_delete

    def update(
        self,
        min_nodes: int | None = None,
        max_nodes: int | None = None,
        idle_seconds_before_scaledown: int | None = None,
    ) -> None:
        """Change how it grows and shrinks; None leaves a setting as it is."""
        wanted = {
            "min_nodes": min_nodes,
            "max_nodes": max_nodes,
            "idle_seconds_before_scaledown": idle_seconds_before_scaledown,
        }
        connection = self.workspace.connection
        changes = {name: value for name, value in wanted.items() if value is not None}
        with raised_as(ComputeTargetException):
            self._read = connection.patch(connection.path("clusters", self.name), changes)

    def list_nodes(self) -> list[dict[str, Any]]:
        """Its nodes: id, index, state, run_id, host …"""
        connection = self.workspace.connection
        with raised_as(ComputeTargetException):
            found = connection.get(connection.path("clusters", self.name, "nodes"))
        return list(found["items"])

    def __repr__(self) -> str:
        return f"AmlCompute(workspace={self.workspace!r}, name={self.name!r})"


def _found(workspace: "Workspace", name: str) -> AmlCompute:
    found = object.__new__(AmlCompute)
    found.workspace, found.name = workspace, name
    with raised_as(ComputeTargetException):
        found.refresh_state()
    return found
