"""What all parts of a run share: which one it is, and looking at it."""

from typing import Any

from trainwright.azureml.exceptions import ServiceException, raised_as
from trainwright.connection import Connection


class RunBase:
    """A run by its id."""

    connection: Connection
    _id: str
    _last: dict[str, Any] | None

    @property
    def id(self) -> str:
        """Its id."""
        return self._id

    def refresh(self) -> dict[str, Any]:
        """Look at the run again, and return it as the API shows it."""
        with raised_as(ServiceException):
            read: dict[str, Any] = self.connection.get(self.connection.path("runs", self.id))
        self._last = read
        return read

    def _read(self) -> dict[str, Any]:
        return self._last if self._last is not None else self.refresh()
