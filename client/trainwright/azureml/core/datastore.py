"""Datastores, which this package does not reach: the API and `docs/datastores.md` do."""

from typing import Any, NoReturn

from trainwright.azureml.exceptions import NotSupported

ADVICE = (
    "This package does not reach datastores. Register data by its web addresses, "
    "Dataset.File.from_files([...]).register(...); any web server that you have will do."
)


class Datastore:
    """A place for data; every call says what to do instead."""

    def __new__(cls, workspace: Any, name: str | None = None) -> "Datastore":
        raise NotSupported(f"Datastore: {ADVICE}")

    @staticmethod
    def get(workspace: Any, datastore_name: str) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported(f"Datastore.get: {ADVICE}")

    @staticmethod
    def get_default(workspace: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported(f"Datastore.get_default: {ADVICE}")

    @staticmethod
    def register_azure_blob_container(*args: Any, **kwargs: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported(f"Datastore.register_azure_blob_container: {ADVICE}")
