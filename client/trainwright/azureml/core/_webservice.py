"""What can be done with a web service."""

import builtins
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from trainwright.azureml._unsupported import leave_aside, refuse

# The kinds are made of this class: the module, whose names are looked up when they are used.
from trainwright.azureml.core import webservice as kinds
from trainwright.azureml.exceptions import NotSupported, WebserviceException, raised_as
from trainwright.connection import Connection

if TYPE_CHECKING:
    from trainwright.azureml.core.workspace import Workspace

_POLL_SECONDS = 1.0
_FINAL = ("Healthy", "Failed")
SAME_PLACE = "Services run on the server's own nodes."


class WebserviceDeploymentConfiguration:
    """What a service gets and how it is described.

    Attributes:
        body: as the API takes it.
    """

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body


class Webservice:
    """A service that is there; `Webservice(workspace, name)` finds one.

    Raises:
        WebserviceException: there is none of that name.
    """

    workspace: "Workspace"
    name: str
    _read: dict[str, Any]

    def __new__(cls, workspace: "Workspace", name: str) -> "Webservice":
        found = object.__new__(kinds.AciWebservice if cls is Webservice else cls)
        found.workspace, found.name = workspace, name
        found.update_deployment_state()
        return found

    def __init__(self, workspace: "Workspace", name: str) -> None:
        """Everything is done in `__new__`, as in the v1 SDK."""

    @staticmethod
    def deploy_from_model(
        workspace: "Workspace",
        name: str,
        models: Any,
        image_config: Any,
        deployment_config: Any = None,
        deployment_target: Any = None,
        overwrite: bool = False,
    ) -> NoReturn:
        """Refuse: images of one's own are not deployed."""
        raise NotSupported("Webservice.deploy_from_model: use Model.deploy(ws, NAME, [model]).")

    @staticmethod
    def check_for_existing_webservice(
        workspace: "Workspace",
        name: str,
        overwrite: bool = False,
        request_func: Any = None,
        check_func: Any = None,
    ) -> None:
        """Raise when there is a service of that name.

        Raises:
            WebserviceException: there is, and it is not to be replaced.
        """
        refuse(
            "Webservice.check_for_existing_webservice", "Leave them out.",
            request_func=request_func, check_func=check_func,
        )  # fmt: skip
        if not overwrite and any(one.name == name for one in Webservice.list(workspace)):
            raise WebserviceException(
                f"There is a service {name!r}; overwrite=True replaces it.", code="conflict"
            )

    @staticmethod
    def list(
        workspace: "Workspace",
        compute_type: str | None = None,
        image_name: str | None = None,
        image_id: str | None = None,
        model_name: str | None = None,
        model_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        image_digest: str | None = None,
    ) -> "builtins.list[Webservice]":
        """Return services that have all that is said."""
        refuse(
            "Webservice.list", "There are no images of services here.", image_name=image_name,
            image_id=image_id, image_digest=image_digest, properties=properties,
        )  # fmt: skip
        leave_aside("Webservice.list", SAME_PLACE, compute_type=compute_type)
        connection = workspace.connection
        with raised_as(WebserviceException):
            found = list(connection.pages(connection.path("deployments")))
        return [
            Webservice(workspace, read["name"])
            for read in found
            if model_name in (None, read["model_name"])
            and model_id in (None, f"{read['model_name']}:{read['model_version']}")
            and all(read["tags"].get(key) == value for key, value in (tags or {}).items())
        ]

    def update_deployment_state(self) -> None:
        """Look again."""
        with raised_as(WebserviceException):
            self._read = self._connection.get(self._path())

    @property
    def state(self) -> str:
        """Transitioning, Healthy, Unhealthy, Unschedulable or Failed, as it was seen last."""
        return str(self._read["state"])

    @property
    def error(self) -> dict[str, Any] | None:
        """Why it is not healthy."""
        found: dict[str, Any] | None = self._read["error"]
        return found

    @property
    def scoring_uri(self) -> str:
        """Where it is asked."""
        return str(self._read["scoring_uri"])

    @property
    def swagger_uri(self) -> str:
        """Where its description is."""
        return str(self._read["swagger_uri"])

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return dict(self._read["tags"])

    @property
    def description(self) -> str:
        """In words."""
        return str(self._read["description"])

    @property
    def compute_type(self) -> str:
        """Where it runs, by the v1 SDK's name."""
        return "ACI"

    @property
    def auth_enabled(self) -> bool:
        """Whether it asks for a key: it always does."""
        return True

    def wait_for_deployment(
        self, show_output: bool = False, timeout_sec: float | None = None
    ) -> None:
        """Wait until it is healthy, which it is after a real inference.

        Args:
            show_output: print states as they change.
            timeout_sec: after which waiting is an error; None: never.

        Raises:
            WebserviceException: it failed, or is not there in time.
        """
        deadline = None if timeout_sec is None else time.monotonic() + timeout_sec
        shown = ""
        while True:
            self.update_deployment_state()
            if show_output and self.state != shown:
                print(self.state, flush=True)
                shown = self.state
            if self.state in _FINAL:
                break
            if deadline is not None and time.monotonic() > deadline:
                raise WebserviceException(f"{self.name} is {self.state} after {timeout_sec} s.")
            time.sleep(_POLL_SECONDS)
        if self.state == "Failed":
            raise WebserviceException(f"{self.name} failed: {(self.error or {}).get('message')}")

    def run(self, input: Any) -> Any:
        """Ask the service.

        Args:
            input: JSON as text or bytes, or what becomes JSON.

        Returns:
            What it answers.

        Raises:
            WebserviceException: it refuses, or cannot be reached.
        """
        content = input if isinstance(input, str | bytes) else json.dumps(input)
        with (
            raised_as(WebserviceException),
            Connection(self._connection.url, token=self.get_keys()[0]) as asked,
        ):
            answer = asked.request(
                "POST",
                f"{self._path()}/score",
                content=content.encode() if isinstance(content, str) else content,
                headers={"Content-Type": "application/json"},
            )
            return answer.json()

    def get_logs(self, num_lines: int = 5000, init: bool = False) -> str:
        """Return the last lines of its log."""
        leave_aside("Webservice.get_logs", "There is one log.", init=init)
        with raised_as(WebserviceException):
            answer = self._connection.request(
                "GET", f"{self._path()}/logs", params={"tail": num_lines}
            )
        return str(answer.text)

    def get_keys(self) -> tuple[str, str]:
        """Return the two keys that it takes."""
        with raised_as(WebserviceException):
            keys = self._connection.get(f"{self._path()}/keys")
        return keys["primary"], keys["secondary"]

    def regen_key(self, key: str, set_key: str | None = None) -> None:
        """Replace a key, `Primary` or `Secondary`, by a new one."""
        refuse("Webservice.regen_key", "Keys are made by the server.", set_key=set_key)
        with raised_as(WebserviceException):
            self._connection.post(f"{self._path()}/keys/regenerate", {"key": key.lower()})

    def get_token(self) -> NoReturn:
        """Refuse: services take keys.

        Raises:
            NotSupported: always.
        """
        raise NotSupported("Webservice.get_token: services take keys; use get_keys().")

    def delete(self) -> None:
        """Delete the service, and wait until it is gone, so that its name is free."""
        with raised_as(WebserviceException):
            self._connection.delete(self._path())
        try:
            while True:
                self.update_deployment_state()
                time.sleep(_POLL_SECONDS)
        except WebserviceException as error:
            if error.status_code != 404:
                raise

    @property
    def _connection(self) -> Connection:
        return self.workspace.connection

    def _path(self) -> str:
        return self._connection.path("deployments", self.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, state={self.state!r})"
