"""Calls of a run that have no counterpart here; each says what to do instead."""

from typing import Any, NoReturn

from trainwright.azureml.exceptions import NotSupported

_CHILDREN = (
    "runs of a run's own are made by its script, with MLflow (nested=True); see docs/mlflow.md."
)
_SECRETS = "secrets are not read back; a run gets them as files: docs/secrets.md."


class RunRefused:
    """What would be silently wrong if it did nothing."""

    def submit_child(self, config: Any, tags: Any = None, **kwargs: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported(f"Run.submit_child: {_CHILDREN}")

    def child_run(self, name: Any = None, run_id: Any = None, outputs: Any = None) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported(f"Run.child_run: {_CHILDREN}")

    def create_children(
        self, count: Any = None, tag_key: Any = None, tag_values: Any = None
    ) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported(f"Run.create_children: {_CHILDREN}")

    def start(self) -> NoReturn:
        """Refuse: a run starts by itself."""
        raise NotSupported("Run.start: a run starts by itself, as soon as it can.")

    def clean(self) -> NoReturn:
        """Refuse: a run's files are its history."""
        raise NotSupported("Run.clean: a run's files are its history; delete the run instead.")

    def take_snapshot(self, file_or_folder_path: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported("Run.take_snapshot: use run.upload_folder(NAME, PATH).")

    def get_secret(self, name: str) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported(f"Run.get_secret: {_SECRETS}")

    def get_secrets(self, secrets: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported(f"Run.get_secrets: {_SECRETS}")

    @staticmethod
    def add_type_provider(runtype: Any, run_factory: Any) -> NoReturn:
        """Refuse: there are no other kinds of runs."""
        raise NotSupported("Run.add_type_provider: there are no other kinds of runs here.")

    @classmethod
    def get_submitted_run(cls, **kwargs: Any) -> NoReturn:
        """Refuse: it is the name of get_context before 1.0."""
        raise NotSupported("Run.get_submitted_run: use Run.get_context() inside of the script.")

    @classmethod
    def get_context(
        cls, allow_offline: bool = True, used_for_context_manager: bool = False, **kwargs: Any
    ) -> NoReturn:
        """Refuse: this package is for notebooks.

        Raises:
            NotSupported: always.
        """
        raise NotSupported(
            "Run.get_context: this package is for notebooks. In the script of a run, leave "
            "`from azureml.core import Run` as it is: it works there without installing anything."
        )
