"""How a run is, waiting for its end, and ending it."""

from typing import TYPE_CHECKING, Any

from trainwright.azureml._unsupported import leave_aside
from trainwright.azureml.core._run_tags import RunTags
from trainwright.azureml.exceptions import (
    ActivityFailedException,
    NotSupported,
    ServiceException,
    raised_as,
)
from trainwright.streams import TERMINAL, follow_events, follow_log

if TYPE_CHECKING:
    from trainwright.azureml.core.experiment import Experiment


class RunState(RunTags):
    """The calls of a run that tell how it is, and end it."""

    _experiment: "Experiment"

    @property
    def status(self) -> str:
        """How it is now."""
        return self.get_status()

    def get_status(self) -> str:
        """Look, and return how it is: Queued, Running, Completed …"""
        return str(self.refresh()["status"])

    def get_detailed_status(self) -> dict[str, Any]:
        """How it is, and why it is not running yet."""
        read = self.refresh()
        reasons = "; ".join(f"{one['code']}: {one['clears_when']}" for one in read["blockers"])
        return {"status": read["status"], "details": reasons or None, "blockers": read["blockers"]}

    @property
    def name(self) -> str:
        """What it is called; its id where it was given no name."""
        return self.display_name or self.id

    @property
    def type(self) -> str:
        """Kind of run: job, or tracked."""
        return str(self._read()["kind"])

    @property
    def number(self) -> int:
        """Which attempt it is on; runs have ids, not numbers, here."""
        return int(self._read()["attempt"])

    def get_portal_url(self) -> str:
        """Address of the run at the server."""
        return f"{self.connection.url}{self.connection.path('runs', self.id)}"

    def get_details(self) -> dict[str, Any]:
        """What is known of the run, by the v1 SDK's names."""
        read = self.refresh()
        request = read.get("request") or {}
        details: dict[str, Any] = {
            "runId": read["id"],
            "target": read["cluster_name"],
            "status": read["status"],
            "startTimeUtc": read["started_at"],
            "endTimeUtc": read["ended_at"],
            "services": {},
            "properties": read["properties"],
            "inputDatasets": [
                {
                    "dataset": {"name": one["dataset"], "version": one["version"]},
                    "consumptionDetails": {"inputName": one["name"], "mechanism": one["mode"]},
                }
                for one in read["input_datasets"]
            ],
            "outputDatasets": [],
            "runDefinition": {
                "script": request.get("entry_script"),
                "command": request.get("command"),
                "arguments": request.get("arguments", []),
                "target": read["cluster_name"],
                "nodeCount": read["node_count"],
                "environment": request.get("environment"),
                "environmentVariables": request.get("environment_variables", {}),
            },
            "logFiles": {name: f"{self._log_url()}?stream={name}" for name in self._log_names()},
            "submittedBy": read["created_by"],
        }
        if read["error"] is not None:
            details["error"] = {"error": read["error"]}
        if read["warnings"]:
            details["warnings"] = read["warnings"]
        return details

    def get_details_with_logs(self) -> dict[str, Any]:
        """As `get_details`, with the text of each log."""
        details = self.get_details()
        path = self.connection.path("runs", self.id, "logs")
        with raised_as(ServiceException):
            for name in details["logFiles"]:
                answer = self.connection.request("GET", path, params={"stream": name})
                details["logFiles"][name] = answer.text
        return details

    def wait_for_completion(
        self,
        show_output: bool = False,
        wait_post_processing: bool = False,
        raise_on_error: bool = True,
    ) -> dict[str, Any]:
        """Wait until the run is over.

        Args:
            show_output: print its log as it comes, and a summary.
            wait_post_processing: a run is over here when its outputs are there.
            raise_on_error: raise when it did not succeed.

        Returns:
            What `get_details` says.

        Raises:
            ActivityFailedException: it failed or was canceled.
        """
        try:
            self._watch(show_output)
        except KeyboardInterrupt:
            print("\nThe run goes on at the server; run.cancel() ends it.")
            raise
        details = self.get_details()
        if show_output:
            print(f"\nExecution Summary\n=================\nRunId: {self.id}")
            print(f"Status: {details['status']}\n", flush=True)
        if raise_on_error and details["status"] in ("Failed", "Canceled"):
            error = self._read()["error"] or {}
            raise ActivityFailedException(
                f"Run {self.id} is {details['status']}: {error.get('message') or 'no reason given'}"
            )
        return details

    def _watch(self, show_output: bool) -> None:
        with raised_as(ServiceException):
            if show_output:
                print(f"RunId: {self.id}\nWeb View: {self.get_portal_url()}\n", flush=True)
                path = self.connection.path("runs", self.id, "logs")
                for record in follow_log(self.connection, path):
                    print(record["text"].rstrip("\n"), flush=True)
            for _ in follow_events(self.connection, self.id):
                pass

    def cancel(self) -> None:
        """Ask for its end; what it left in ./outputs is kept."""
        if self._read()["kind"] == "tracked":
            self._end("KILLED")
            return
        with raised_as(ServiceException):
            self._last = self.connection.post(self.connection.path("runs", self.id, "cancel"))

    def complete(self, _set_status: bool = True) -> None:
        """End a run that `start_logging` began."""
        self._end("FINISHED")

    def fail(
        self, error_details: Any = None, error_code: Any = None, _set_status: bool = True
    ) -> None:
        """End a run that `start_logging` began, as failed."""
        leave_aside("Run.fail", "Log it instead.", error_code=error_code)
        if error_details is not None:
            self.set_tags({"error_details": str(error_details)[:1000]})
        self._end("FAILED")

    def __enter__(self) -> "RunState":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self.get_status() not in TERMINAL:
            self._end("FINISHED" if kind is None else "FAILED")

    def _end(self, status: str) -> None:
        if self._read()["kind"] != "tracked":
            raise NotSupported(
                "A run on a cluster ends with its script, whose exit code decides; run.cancel() "
                "ends it early."
            )
        path = self.connection.path("mlflow", "api", "2.0", "mlflow", "runs", "update")
        with raised_as(ServiceException):
            self.connection.post(path, {"run_id": self.id, "status": status})
        self.refresh()

    def _log_url(self) -> str:
        return f"{self.connection.url}{self.connection.path('runs', self.id, 'logs')}"

    def _log_names(self) -> list[str]:
        return [name for name in self._logs() if name]

    def _logs(self) -> list[str]:
        """Names of its logs; its files know them."""
        raise NotImplementedError
