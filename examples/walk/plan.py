"""What one walk is about: its names, its job, and what it has learnt so far."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.walk.talk import Talk


@dataclass(frozen=True)
class Job:
    """What the walk submits.

    Attributes:
        source: the folder that is uploaded.
        launch: ``entry_script`` or ``command``, ``script_params`` …, as in ``POST /runs``.
        environment: the environment's specification.
        seconds: how long the run may take, building included.
    """

    source: Path
    launch: dict[str, Any]
    environment: dict[str, Any]
    seconds: float = 900.0


@dataclass
class Walk:
    """One walk: where it goes, and what the later steps need from the earlier ones."""

    talk: Talk
    job: Job
    folder: Path
    digits: Path
    digits_address: str
    workspace: str = "demo"
    experiment: str = "tf-mnist"
    dataset: str = "digits"
    cluster: str = "gpucluster"
    model: str = "tf-dnn-mnist"
    deployment: str = "tf-mnist-svc"
    snapshot_id: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    model_version: int = 0
    accuracy: float = 0.0

    @property
    def base(self) -> str:
        """The workspace's address."""
        return f"/v1/workspaces/{self.workspace}"

    @property
    def run_path(self) -> str:
        """The run's address."""
        return f"{self.base}/runs/{self.run['id']}"
