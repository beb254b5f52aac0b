"""Errors of the calls of the ``azureml-core`` package."""

from app.kernel.errors import Invalid, NotFound


class WorkspaceNotFound(NotFound):
    """The parts of the path do not name a workspace."""

    code = "workspace_not_found"


class ExperimentNotFound(NotFound):
    """The run does not belong to the experiment in the path."""

    code = "experiment_not_found"


class CallNotServed(NotFound):
    """The package asks for something that has no counterpart here."""

    code = "azureml_call_not_served"


class ArtifactNotFound(NotFound):
    """The run has no such file."""

    code = "file_not_found"


class AssetUnknown(Invalid):
    """A model is to be made of something that is no file of a run."""

    code = "asset_unknown"


class MetricNotFound(NotFound):
    """The run has no such metric."""

    code = "metric_not_found"
