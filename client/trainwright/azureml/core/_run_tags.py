"""Tags, properties and names of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainwright.azureml.core._run_base import RunBase
from trainwright.azureml.exceptions import ServiceException, raised_as


class RunTags(RunBase):
    """The calls of a run that change what is said about it."""

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return self.get_tags()

    def get_tags(self) -> dict[str, str]:
        """Look, and return its tags."""
        return dict(self.refresh()["tags"])

    @property
    def properties(self) -> dict[str, str]:
        """Its properties."""
        return self.get_properties()

    def get_properties(self) -> dict[str, str]:
        """Look, and return its properties."""
        return dict(self.refresh()["properties"])

    def tag(self, key: str, value: str | None = None) -> None:
        """Put a tag on the run."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Put tags on the run."""
        self._change({"tags": {key: _text(value) for key, value in tags.items()}})

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Take tags off the run."""
        self._change({"tags": dict.fromkeys([tags] if isinstance(tags, str) else tags)})

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Add properties, which cannot be changed afterwards."""
        self._change({"properties": {key: _text(value) for key, value in properties.items()}})

    @property
    def display_name(self) -> str:
        """What it is called."""
        return str(self._read()["display_name"])

    @display_name.setter
    def display_name(self, display_name: str) -> None:
        self._change({"display_name": display_name})

    @property
    def description(self) -> str:
        """In words."""
        return str(self._read()["description"])

    @description.setter
    def description(self, description: str) -> None:
        self._change({"description": description})

    def _change(self, body: dict[str, Any]) -> None:
        with raised_as(ServiceException):
            self._last = self.connection.patch(self.connection.path("runs", self.id), body)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
