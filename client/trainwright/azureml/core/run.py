"""Runs: watched, read, tagged, ended, and what becomes of their outputs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainwright.azureml._unsupported import leave_aside, refuse
from trainwright.azureml.core import _run_lists
from trainwright.azureml.core._model_read import said_of_model
from trainwright.azureml.core._run_files import RunFiles
from trainwright.azureml.core._run_log import RunLogging, metrics_of
from trainwright.azureml.core._run_refused import RunRefused
from trainwright.azureml.core._run_state import RunState
from trainwright.azureml.core._run_tags import RunTags
from trainwright.azureml.core.model import Model
from trainwright.azureml.exceptions import (
    ServiceException,
    UserErrorException,
    WebserviceException,
    raised_as,
)

if TYPE_CHECKING:
    from trainwright.azureml.core.experiment import Experiment
    from trainwright.azureml.core.workspace import Workspace


class Run(RunFiles, RunLogging, RunState, RunTags, RunRefused):
    """A run.

    Args:
        experiment: the experiment it belongs to.
        run_id: its id.
        outputs: left aside: upload files with `upload_folder`.
    """

    def __init__(
        self,
        experiment: "Experiment",
        run_id: str,
        outputs: Any = None,
        _run_dto: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        leave_aside("Run", "Upload files with run.upload_folder.", outputs=outputs, **kwargs)
        self._experiment = experiment
        self._id = run_id
        self.connection = experiment.workspace.connection
        self._last = _run_dto
        if _run_dto is None:
            self.refresh()

    @staticmethod
    def get(workspace: "Workspace", run_id: str) -> "Run":
        """Return a run by its id.

        Raises:
            ServiceException: there is none.
        """
        return _run_lists.one(Run, workspace, run_id)

    @staticmethod
    def list(
        experiment: "Experiment",
        type: str | None = None,
        tags: Mapping[str, str] | str | None = None,
        properties: Mapping[str, str] | None = None,
        status: str | None = None,
        include_children: bool = False,
        _rehydrate_runs: bool = True,
    ) -> "Iterator[Run]":
        """Return runs of an experiment, the newest first, that have all that is said.

        Args:
            experiment: the experiment.
            type: job or tracked.
            tags: tags; a text alone is a tag of any value.
            properties: properties.
            status: status.
            include_children: those that the script of another run has made as well.
            _rehydrate_runs: not used.
        """
        params = {"experiment_name": experiment.name}
        wanted = _run_lists.Wanted(type, tags, properties, status, include_children)
        return _run_lists.found(Run, experiment.workspace, params, wanted)

    @staticmethod
    def list_by_compute(
        compute: Any,
        type: str | None = None,
        tags: Mapping[str, str] | str | None = None,
        properties: Mapping[str, str] | None = None,
        status: str | None = None,
    ) -> "Iterator[Run]":
        """Return the runs of a cluster, the newest first."""
        wanted = _run_lists.Wanted(type, tags, properties, status, True)
        return _run_lists.found(Run, compute.workspace, {"cluster_name": compute.name}, wanted)

    def get_children(
        self,
        recursive: bool = False,
        tags: Mapping[str, str] | str | None = None,
        properties: Mapping[str, str] | None = None,
        type: str | None = None,
        status: str | None = None,
        _rehydrate_runs: bool = True,
    ) -> "Iterator[Run]":
        """Return the runs that the script of this one has made."""
        params = {"experiment_name": self._experiment.name}
        wanted = _run_lists.Wanted(type, tags, properties, status, True)
        of = {self.id}
        for run in _run_lists.found(Run, self._experiment.workspace, params, wanted):
            if run._read().get("creator_run_id") in of:
                yield run

    @property
    def parent(self) -> "Run | None":
        """The run whose script made this one."""
        parent = self._read().get("creator_run_id")
        return None if parent is None else Run.get(self._experiment.workspace, parent)

    @property
    def experiment(self) -> "Experiment":
        """The experiment it belongs to."""
        return self._experiment

    def get_metrics(
        self,
        name: str | None = None,
        recursive: bool = False,
        run_type: Any = None,
        populate: bool = False,
    ) -> dict[str, Any]:
        """Return what the run has logged, by name: one value, or a list of several.

        Args:
            name: of one metric.
            recursive: those of child runs as well.
            run_type: has no counterpart.
            populate: images are not fetched; their files are in `get_file_names`.
        """
        refuse("Run.get_metrics", "Choose among the runs themselves.", run_type=run_type)
        leave_aside("Run.get_metrics", "Download images by their names.", populate=populate)
        path = self.connection.path("runs", self.id, "metrics")
        params = {"name": name} if name else {}
        with raised_as(ServiceException):
            found = metrics_of(self.connection.get(path, params=params)["items"])
        if recursive:
            for child in self.get_children():
                found = child.get_metrics(name, True) | found
        return found

    def register_model(
        self,
        model_name: str,
        model_path: str | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        description: str | None = None,
        datasets: Sequence[Any] | None = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: Any = None,
        **kwargs: Any,
    ) -> Model:
        """Register a model from the run's files.

        Args:
            model_name: its name.
            model_path: a file or folder of the run; None: `outputs/NAME`.
            tags: tags to put on the version.
            properties: properties to put on it, for good.
            model_framework: one of `Model.Framework`.
            model_framework_version: of the framework.
            description: in words.
            datasets: left aside: lineage has what the run read.
            sample_input_dataset: left aside.
            sample_output_dataset: left aside.
            resource_configuration: what one serving process may use.

        Raises:
            WebserviceException: the run has no such files, or the server refuses.
        """
        leave_aside(
            "Run.register_model", "Lineage has the datasets that the run read.",
            datasets=datasets, sample_input_dataset=sample_input_dataset,
            sample_output_dataset=sample_output_dataset, **kwargs,
        )  # fmt: skip
        body = said_of_model(
            tags, properties, description, model_framework, model_framework_version,
            resource_configuration,
        )  # fmt: skip
        body |= {"run_id": self.id, "path": model_path or f"outputs/{model_name}"}
        with raised_as(WebserviceException):
            read = self.connection.post(
                self.connection.path("models", model_name, "versions"), body
            )
        return Model(self._experiment.workspace, _read=read)

    def restore_snapshot(self, snapshot_id: str | None = None, path: str | None = None) -> str:
        """Download the source that the run executes, into a folder, and return the folder."""
        wanted = snapshot_id or self.get_snapshot_id()
        if wanted is None:
            raise UserErrorException("The run has no source of its own.")
        with raised_as(ServiceException):
            return _run_lists.restore(self.connection, wanted, path or ".")

    def get_snapshot_id(self) -> str | None:
        """Id of the source that the run executes."""
        found: str | None = self._read().get("snapshot_id")
        return found

    def get_environment(self) -> dict[str, Any]:
        """The environment that the run executes in, as the API shows it."""
        return dict(self._read().get("request", {}).get("environment") or {})

    def __repr__(self) -> str:
        return f"Run(experiment={self._experiment.name!r}, id={self.id!r}, status={self.status!r})"
