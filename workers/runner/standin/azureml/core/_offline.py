"""A script outside of any run: nothing is kept, what would be logged is printed."""

import sys
import uuid

from azureml.core._logging import MetricLogging

_WORDS = {"scalar": "scalar", "string": "string", "list": "list", "row": "row", "table": "table"}


def _say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class _OfflineRun(MetricLogging):
    """What `Run.get_context` gives outside of a run."""

    def __init__(self):
        self._id = "OfflineRun_" + str(uuid.uuid4())
        self._tags = {}
        self._properties = {}
        self.input_datasets = {}
        self.output_datasets = {}
        self.display_name = self._id
        self.description = ""

    def __enter__(self):
        return self

    def __exit__(self, *_details):
        return False

    def __getattr__(self, name):
        raise AttributeError(
            "{!r} is not there outside of a run; run.id begins with 'OfflineRun'".format(name)
        )

    @property
    def id(self):
        """Begins with `OfflineRun_`."""
        return self._id

    @property
    def name(self):
        """The id."""
        return self._id

    number = 1
    status = "Running"
    type = "offline"

    def _emit(self, kind, name, value, step=None):
        _say("Attempted to log {} metric {}:\n{}".format(_WORDS.get(kind, kind), name, value))

    def _emit_image(self, name, path, data):
        _say("Attempted to log image metric {}:\n{}".format(name, path or "plot"))

    def tag(self, key, value=None):
        """Keep a tag for this process."""
        self._tags[key] = None if value is None else str(value)

    def set_tags(self, tags):
        """Keep tags for this process."""
        for key, value in dict(tags).items():
            self.tag(key, value)

    def get_tags(self):
        """Return the tags of this process."""
        return dict(self._tags)

    tags = property(get_tags)

    def remove_tags(self, tags):
        """Drop tags."""
        for key in [tags] if isinstance(tags, str) else tags:
            self._tags.pop(key, None)

    def add_properties(self, properties):
        """Keep properties for this process."""
        self._properties.update({key: str(value) for key, value in dict(properties).items()})

    def get_properties(self):
        """Return the properties of this process."""
        return dict(self._properties)

    properties = property(get_properties)

    def upload_file(self, name, path_or_stream, datastore_name=None):
        """Upload nothing."""
        _say("Attempted to upload file {}".format(name))

    def upload_files(self, names, paths, return_artifacts=False, timeout_seconds=None,
                     datastore_name=None):  # fmt: skip
        """Upload nothing."""
        _say("Attempted to upload files {}".format(", ".join(names)))

    def upload_folder(self, name, path, datastore_name=None):
        """Upload nothing."""
        _say("Attempted to upload folder {} from {}".format(name, path))

    def register_model(self, model_name, model_path=None, **_details):
        """Register nothing."""
        _say("Attempted to register model {}".format(model_name))

    def get_metrics(self, name=None, recursive=False, run_type=None, populate=False):
        """Return no metrics."""
        return {}

    def get_details(self):
        """Return what there is to say: the id and the status."""
        return {"runId": self._id, "status": self.status, "properties": self.get_properties()}

    def get_status(self):
        """Return `Running`."""
        return self.status

    def get_file_names(self):
        """Return no names."""
        return []

    def wait_for_completion(self, show_output=False, wait_post_processing=False,
                            raise_on_error=True):  # fmt: skip
        """Wait for nothing."""
        return self.get_details()

    def start(self):
        """Do nothing."""

    def complete(self, _set_status=True):
        """Do nothing."""

    def fail(self, error_details=None, error_code=None, _set_status=True):
        """Do nothing."""

    def cancel(self):
        """Do nothing."""

    def flush(self, timeout_seconds=300):
        """Do nothing."""
