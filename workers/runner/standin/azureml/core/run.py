"""The run of this script."""

import json
import os
import posixpath
import time
import warnings

from azureml.core._files import RunFiles
from azureml.core._logging import MetricLogging
from azureml.core._metrics import fold
from azureml.core._not_offered import NotOffered
from azureml.core._offline import _OfflineRun
from azureml.core._records import RecordsFile
from azureml.core._service import file_path, versions_path
from azureml.core.experiment import Experiment
from azureml.core.model import Model
from azureml.core.workspace import Workspace
from azureml.exceptions import RunEnvironmentException, ServiceException

PROPERTIES_RETRY_SECONDS = 5.0
IMAGE_RETRY_SECONDS = 5.0
METRICS_FLUSH_SECONDS = 10.0


class Run(MetricLogging, RunFiles, NotOffered):
    """A run, as a script inside of it sees it.

    Values are recorded on the node and delivered by its runner, so logging goes on while the
    service is away. How the run ends is decided by the script's exit code alone.

    Args:
        experiment: its experiment.
        run_id: its id.
    """

    def __init__(self, experiment, run_id, outputs=None, **_ignored):
        self._experiment = experiment
        self._id = run_id
        own = run_id == os.environ.get("AZUREML_RUN_ID")
        self._records = RecordsFile(os.environ.get("TRAINWRIGHT_RECORDS") if own else None)
        self._tag_changes = {}
        self.input_datasets = json.loads(os.environ.get("TRAINWRIGHT_INPUTS", "{}")) if own else {}
        self.output_datasets = {}

    @classmethod
    def get_context(cls, allow_offline=True, used_for_context_manager=False, **_ignored):
        """Return the run of this process; outside of one, a stand-in that prints.

        Raises:
            RunEnvironmentException: this is no run, and `allow_offline` is false.
        """
        run_id = os.environ.get("AZUREML_RUN_ID")
        if run_id:
            workspace = Workspace()
            name = os.environ.get("AZUREML_ARM_PROJECT_NAME", "")
            return _SubmittedRun(Experiment(workspace, name), run_id)
        if allow_offline:
            return _OfflineRun()
        raise RunEnvironmentException("This process is not part of a run (no AZUREML_RUN_ID).")

    def __enter__(self):
        return self

    def __exit__(self, *_details):
        return False

    def __repr__(self):
        return "Run(Experiment: {}, Id: {})".format(self._experiment.name, self._id)

    @property
    def id(self):
        """Its id."""
        return self._id

    @property
    def experiment(self):
        """Its experiment."""
        return self._experiment

    @property
    def name(self):
        """Its display name; its id when it has none."""
        return self._document().get("display_name") or self._id

    @property
    def display_name(self):
        """Its display name; can be set."""
        return self.name

    @display_name.setter
    def display_name(self, display_name):
        self._service().send("PATCH", self._path(), {"display_name": display_name})

    @property
    def description(self):
        """Its description; can be set."""
        return self._document().get("description", "")

    @description.setter
    def description(self, description):
        self._service().send("PATCH", self._path(), {"description": description})

    @property
    def number(self):
        """Number of its attempt."""
        return self._document().get("attempt", 1)

    @property
    def type(self):
        """Always `azureml.scriptrun`."""
        return "azureml.scriptrun"

    @property
    def parent(self):
        """The run above it, None when there is none."""
        parent_id = self._document().get("parent_run_id")
        return Run(self._experiment, parent_id) if parent_id else None

    @property
    def status(self):
        """Its state."""
        return self.get_status()

    def get_status(self):
        """Return its state."""
        return self._document()["status"]

    def get_details(self):
        """Return what is known about it, under the names that clients know."""
        document = self._document()
        request = document.get("request") or {}
        return {
            "runId": self._id,
            "target": document.get("cluster_name"),
            "status": document.get("status"),
            "startTimeUtc": document.get("started_at"),
            "endTimeUtc": document.get("ended_at"),
            "properties": document.get("properties", {}),
            "inputDatasets": document.get("input_datasets", []),
            "runDefinition": {
                "script": request.get("entry_script"),
                "arguments": request.get("arguments", []),
            },
            "logFiles": {},
        }

    def get_children(self, recursive=False, tags=None, properties=None, type=None, status=None,
                     _rehydrate_runs=True):  # fmt: skip
        """Return nothing to iterate over: a run has no children here."""
        return iter(())

    def get_metrics(self, name=None, recursive=False, run_type=None, populate=False):
        """Return {name: value}, everything that this script logged before included."""
        self._records.flush(METRICS_FLUSH_SECONDS)
        return fold(self._service().get(self._path() + "/metrics", name=name)["items"])

    def tag(self, key, value=None):
        """Set a tag; without value it is just there."""
        value = None if value is None else str(value)
        self._tag_changes[str(key)] = (value,)
        self._records.append({"kind": "tag", "key": str(key), "value": value})

    def set_tags(self, tags):
        """Set tags; others stay."""
        for key, value in dict(tags).items():
            self.tag(key, value)

    def get_tags(self):
        """Return its tags, with what this script changed."""
        tags = dict(self._document().get("tags", {}))
        for key, change in self._tag_changes.items():
            if change is None:
                tags.pop(key, None)
            else:
                tags[key] = change[0]
        return tags

    tags = property(get_tags)

    def remove_tags(self, tags):
        """Remove the tags with these keys."""
        keys = [tags] if isinstance(tags, str) else [str(key) for key in tags]
        self._tag_changes.update(dict.fromkeys(keys))
        self._records.append({"kind": "remove_tags", "keys": keys})

    def add_properties(self, properties):
        """Add properties; one that is set keeps its value for ever.

        Raises:
            ServiceException: one of them has another value already.
        """
        properties = {str(key): str(value) for key, value in dict(properties).items()}
        try:
            document = {"properties": properties}
            self._service().send("PATCH", self._path(), document, PROPERTIES_RETRY_SECONDS)
        except ServiceException as error:
            if error.status_code is not None and error.status_code < 500:
                raise
            for key, value in properties.items():
                self._records.append({"kind": "property", "key": key, "value": value})

    def get_properties(self):
        """Return its properties."""
        return dict(self._document().get("properties", {}))

    properties = property(get_properties)

    def register_model(self, model_name, model_path=None, tags=None, properties=None,
                       model_framework=None, model_framework_version=None, description=None,
                       datasets=None, sample_input_dataset=None, sample_output_dataset=None,
                       resource_configuration=None, **_ignored):  # fmt: skip
        """Register a version of a model from the run's files; local ones are uploaded first."""
        address = versions_path(model_name)
        path = posixpath.normpath((model_path or model_name).replace(os.sep, "/"))
        self._ensure_uploaded(path)
        document = {
            "run_id": self._id,
            "path": path,
            "framework": model_framework,
            "framework_version": model_framework_version,
            "description": description,
            "tags": {key: str(value) for key, value in dict(tags or {}).items()},
            "properties": {key: str(value) for key, value in dict(properties or {}).items()},
        }
        if resource_configuration is not None:
            document["resource_configuration"] = resource_configuration.to_document()
        given = {key: value for key, value in document.items() if value not in (None, {})}
        answer = self._service().send("POST", address, given)
        return Model(self._experiment.workspace, model_name, document=answer)

    def start(self):
        """Do nothing: it runs."""

    def complete(self, _set_status=True):
        """Deliver what was logged; the run goes on until the script ends."""
        self.flush(METRICS_FLUSH_SECONDS)

    def fail(self, error_details=None, error_code=None, _set_status=True):
        """Warn: a script makes its run fail by its exit code."""
        warnings.warn(
            "Run.fail does not end the run; its exit code decides. Reason given: {} {}".format(
                error_code or "", error_details or ""
            ).strip()
        )

    def cancel(self):
        """Warn: a script ends its run by ending."""
        warnings.warn("Run.cancel does not end the run from inside; end the script instead.")

    def flush(self, timeout_seconds=300):
        """Wait until everything logged so far was delivered, at most that long."""
        self._records.flush(timeout_seconds)

    def wait_for_completion(self, show_output=False, wait_post_processing=False,
                            raise_on_error=True):  # fmt: skip
        """Return the details at once: a script cannot wait for its own end."""
        return self.get_details()

    def _emit(self, kind, name, value, step=None):
        self._records.append(
            {
                "kind": "metric",
                "name": str(name),
                "type": kind,
                "value": value,
                "step": None if step is None else int(step),
                "epoch": None,
                "time": time.time(),
            }
        )

    def _emit_image(self, name, path, data):
        suffix = ".png" if path is None else os.path.splitext(path)[1]
        stamp = int(time.time() * 1e6)
        artifact = "images/{}_{}{}".format(str(name).replace("/", "_"), stamp, suffix)
        if data is None:
            with open(path, "rb") as file:
                data = file.read()
        address = file_path(self._id, artifact)
        try:
            self._service().upload_bytes(address, data, IMAGE_RETRY_SECONDS)
        except ServiceException as error:
            warnings.warn("The image {} was not uploaded: {}".format(name, error))
        self._emit("image", name, artifact)

    def _service(self):
        return self._experiment.workspace.service

    def _path(self):
        return "/runs/" + self._id

    def _document(self):
        return self._service().get(self._path())


class _SubmittedRun(Run):
    """The run that Trainwright started for this script."""
