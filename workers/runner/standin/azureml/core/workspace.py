"""The workspace of the run."""

import os

from azureml.core._service import Service
from azureml.exceptions import RunEnvironmentException, not_offered


class Workspace(object):
    """The workspace in which this script runs; others cannot be reached from here.

    Args:
        subscription_id: as in config.json.
        resource_group: as in config.json.
        workspace_name: its name.
    """

    def __init__(self, subscription_id=None, resource_group=None, workspace_name=None, **_ignored):
        own = os.environ.get("AZUREML_ARM_WORKSPACE_NAME")
        if own is None or workspace_name not in (None, own):
            raise RunEnvironmentException(
                "Only the workspace of the run can be reached, from inside the run."
            )
        self.name = own
        self.subscription_id = os.environ.get("AZUREML_ARM_SUBSCRIPTION", "")
        self.resource_group = os.environ.get("AZUREML_ARM_RESOURCEGROUP", "")
        self.service = Service(
            os.environ.get("TRAINWRIGHT_API"), os.environ.get("AZUREML_RUN_TOKEN")
        )

    @classmethod
    def from_config(cls, path=None, auth=None, _logger=None, _file_name=None):
        """Return the workspace of the run, whatever a config file says."""
        return cls()

    @classmethod
    def get(cls, name, auth=None, subscription_id=None, resource_group=None, **_ignored):
        """Return the workspace of the run when that is its name."""
        return cls(workspace_name=name)

    @classmethod
    def create(cls, name, *_ignored, **_also_ignored):
        """Raise: workspaces are made through the API."""
        raise not_offered("Workspace.create")

    def get_details(self):
        """Return its names."""
        return {
            "name": self.name,
            "subscriptionId": self.subscription_id,
            "resourceGroup": self.resource_group,
        }

    def get_mlflow_tracking_uri(self, _with_auth=False):
        """Return the address of the tracking server, if the run was given one."""
        return os.environ.get("MLFLOW_TRACKING_URI", "")

    def get_default_datastore(self):
        """Raise: a run gets its data as inputs."""
        raise not_offered("Workspace.get_default_datastore")

    def __repr__(self):
        return "Workspace({!r})".format(self.name)
