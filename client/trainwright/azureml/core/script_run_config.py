"""A script, or a command, to be submitted."""

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from trainwright.azureml._unsupported import refuse
from trainwright.azureml.core._submission import Submission
from trainwright.azureml.core.environment import Environment
from trainwright.azureml.core.runconfig import (
    Distribution,
    DockerConfiguration,
    RunConfiguration,
)
from trainwright.azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from trainwright.azureml.core.workspace import Workspace

MAX_DURATION_SECONDS_DEFAULT = 30 * 24 * 60 * 60


class ScriptRunConfig:
    """A script, where it runs and with what.

    Args:
        source_directory: the folder with the source; all of it is sent.
        script: an entry script in it.
        arguments: of the script; a value may be a dataset's `.as_mount()`.
        run_config: everything else, where it is not said here.
        _telemetry_values: not used.
        compute_target: the cluster, or its name.
        environment: packages and image.
        distributed_job_config: how its processes work together.
        resume_from: has no counterpart.
        max_run_duration_seconds: after which the run is ended.
        command: instead of a script.
        docker_runtime_config: size of the shared memory.
    """

    def __init__(
        self,
        source_directory: str,
        script: str | None = None,
        arguments: Sequence[Any] | None = None,
        run_config: RunConfiguration | None = None,
        _telemetry_values: Any = None,
        compute_target: Any = None,
        environment: Environment | None = None,
        distributed_job_config: Distribution | None = None,
        resume_from: Any = None,
        max_run_duration_seconds: int | None = MAX_DURATION_SECONDS_DEFAULT,
        command: str | Sequence[str] | None = None,
        docker_runtime_config: DockerConfiguration | None = None,
    ) -> None:
        refuse(
            "ScriptRunConfig", "Give the script the folder of the earlier outputs as a dataset.",
            resume_from=resume_from,
        )  # fmt: skip
        if script is not None and command is not None:
            raise UserErrorException("Give either script or command.")
        # A configuration may serve several runs: what is said here is not said of the others.
        settings = copy(run_config) if run_config is not None else RunConfiguration()
        self.source_directory = source_directory or "."
        self.script = script or settings.script
        self.arguments = list(arguments) if arguments is not None else list(settings.arguments)
        self.run_config = settings
        if compute_target is not None:
            settings.target = compute_target
        if environment is not None:
            settings.environment = environment
        if distributed_job_config is not None:
            settings.set_distribution(distributed_job_config)
        if docker_runtime_config is not None:
            settings.docker = docker_runtime_config
        if command is not None:
            settings.command = command if isinstance(command, str) else list(command)
        if max_run_duration_seconds != MAX_DURATION_SECONDS_DEFAULT:
            settings.max_run_duration_seconds = max_run_duration_seconds

    def to_submission(self, workspace: "Workspace") -> Submission:
        """What `Experiment.submit` takes."""
        settings = copy(self.run_config)
        settings.script = None if settings.command else self.script
        if not settings.command and not self.script:
            raise UserErrorException("ScriptRunConfig needs a script or a command.")
        return Submission(self.source_directory, settings, self.arguments)
