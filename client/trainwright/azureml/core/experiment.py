"""Experiments: runs are submitted to them and listed under them."""

import builtins
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, runtime_checkable

from trainwright.azureml._unsupported import leave_aside, refuse
from trainwright.azureml.core._submission import Submission
from trainwright.azureml.core.run import Run
from trainwright.azureml.core.script_run import ScriptRun
from trainwright.azureml.exceptions import (
    ExperimentExecutionException,
    NotSupported,
    ServiceException,
    UserErrorException,
    raised_as,
)

if TYPE_CHECKING:
    from trainwright.azureml.core.workspace import Workspace


class Submittable(Protocol):
    """An estimator, a ScriptRunConfig, or whatever else becomes a run."""

    def to_submission(self, workspace: "Workspace") -> Submission:
        """The run that it asks for."""
        ...


@runtime_checkable
class Startable(Protocol):
    """What submits itself, such as a sweep."""

    def start(self, experiment: "Experiment", tags: Mapping[str, str]) -> Any:
        """Submit it."""
        ...


class Experiment:
    """An experiment; it is made when it is not there yet.

    Args:
        workspace: where.
        name: its name.
    """

    def __init__(
        self,
        workspace: "Workspace",
        name: str,
        _skip_name_validation: bool = False,
        _id: str | None = None,
        _archived_time: Any = None,
        _create_in_cloud: bool = True,
        _experiment_dto: Any = None,
        **kwargs: Any,
    ) -> None:
        leave_aside("Experiment", "It is not known here.", **kwargs)
        self.workspace = workspace
        self.name = name
        if _create_in_cloud:
            self._read()

    def submit(
        self, config: Submittable | Startable, tags: Mapping[str, str] | None = None, **kwargs: Any
    ) -> Any:
        """Submit a run, or a sweep; the answer comes at once.

        Args:
            config: an estimator, a ScriptRunConfig or a HyperDriveConfig.
            tags: tags to put on it.

        Returns:
            A ScriptRun; of a HyperDriveConfig a HyperDriveRun.

        Raises:
            ExperimentExecutionException: the server refuses it; the message says why.
            NotSupported: it asks for something that there is not.
        """
        refuse("Experiment.submit", "Say it in the configuration.", **kwargs)
        if isinstance(config, Startable):
            return config.start(self, texts(tags))
        if not hasattr(config, "to_submission"):
            raise UserErrorException(
                f"{type(config).__name__} cannot be submitted; use ScriptRunConfig or an estimator."
            )
        submission = config.to_submission(self.workspace)
        connection = self.workspace.connection
        with raised_as(ExperimentExecutionException):
            body = submission.body(self.workspace)
            body |= {"experiment_name": self.name, "tags": texts(tags)}
            read = connection.post(connection.path("runs", "import"), body)
        for warning in read["warnings"]:
            print(f"Note: {warning['message']}")
        return ScriptRun(self, read["id"], _run_dto=read)

    def start_logging(self, *args: Any, **kwargs: Any) -> Run:
        """Start a run that this very program is; end it with `complete()` or `fail()`.

        Args:
            display_name: what it is called.
            outputs: a folder; upload it with `run.upload_folder`.
            snapshot_directory: left aside: the source is not sent.
        """
        name = kwargs.pop("display_name", "")
        leave_aside(
            "Experiment.start_logging", "Send files with run.upload_folder.",
            snapshot_directory=kwargs.pop("snapshot_directory", None) not in (None, "."),
            outputs=kwargs.pop("outputs", None), arguments=args, **kwargs,
        )  # fmt: skip
        connection = self.workspace.connection
        with raised_as(ExperimentExecutionException):
            body = {"experiment_id": self.id, "run_name": name}
            path = connection.path("mlflow", "api", "2.0", "mlflow", "runs", "create")
            made = connection.post(path, body)
        return Run(self, made["run"]["info"]["run_id"])

    @property
    def id(self) -> str:
        """The id that the server gave it."""
        return str(self._read()["id"])

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return dict(self._read()["tags"])

    def tag(self, key: str, value: str | None = None) -> None:
        """Put a tag on it."""
        self.set_tags({key: value or ""})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Put tags on it."""
        read = self._read()
        connection = self.workspace.connection
        body = {"description": read["description"], "tags": {**read["tags"], **texts(tags)}}
        with raised_as(ServiceException):
            connection.put(connection.path("experiments", self.name), body)

    def archive(self) -> NoReturn:
        """Refuse: experiments are not archived here.

        Raises:
            NotSupported: always.
        """
        raise NotSupported("Experiment.archive: experiments are not archived here; tag it instead.")

    @staticmethod
    def list(
        workspace: "Workspace",
        experiment_name: str | None = None,
        view_type: str = "ActiveOnly",
        tags: Mapping[str, str] | None = None,
    ) -> "builtins.list[Experiment]":
        """Return experiments, all or those of a name and with tags."""
        refuse("Experiment.list", "There is no archive.", view_type=view_type != "ActiveOnly")
        connection = workspace.connection
        with raised_as(ServiceException):
            found = list(connection.pages(connection.path("experiments")))
        return [
            Experiment(workspace, read["name"], _create_in_cloud=False)
            for read in found
            if experiment_name in (None, read["name"]) and _has(read["tags"], tags)
        ]

    def get_runs(
        self,
        type: str | None = None,
        tags: Mapping[str, str] | str | None = None,
        properties: Mapping[str, str] | None = None,
        include_children: bool = False,
    ) -> Iterator[Run]:
        """Return its runs, the newest first.

        Args:
            type: kind of run.
            tags: that they must have; a text alone is a tag of any value.
            properties: that they must have.
            include_children: those that the script of another run has made as well.
        """
        return Run.list(self, type, tags, properties, include_children=include_children)

    def get_docs_url(self) -> str:
        """Address of the experiment at the server."""
        connection = self.workspace.connection
        return f"{connection.url}{connection.path('experiments', self.name)}"

    def _read(self) -> dict[str, Any]:
        connection = self.workspace.connection
        path = connection.path("experiments", self.name)
        try:
            with raised_as(ServiceException):
                read: dict[str, Any] = connection.get(path)
        except ServiceException as error:
            if error.status_code != 404:
                raise
            with raised_as(ServiceException):
                read = connection.put(path, {})
        return read

    def __repr__(self) -> str:
        return f"Experiment(name={self.name!r}, workspace={self.workspace.name!r})"


def texts(tags: Mapping[str, Any] | None) -> dict[str, str]:
    """Tags as the API takes them; v1 takes numbers, and None for no value."""
    return {str(key): "" if value is None else str(value) for key, value in (tags or {}).items()}


def _has(tags: Mapping[str, str], wanted: Mapping[str, str] | None) -> bool:
    return all(tags.get(key) == value for key, value in (wanted or {}).items())
