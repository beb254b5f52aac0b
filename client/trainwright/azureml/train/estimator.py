"""Estimators: a script with its packages in one call, as before ScriptRunConfig."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trainwright.azureml._unsupported import leave_aside, refuse
from trainwright.azureml.core._submission import Submission, arguments_of
from trainwright.azureml.core.conda_dependencies import CondaDependencies
from trainwright.azureml.core.environment import Environment
from trainwright.azureml.core.runconfig import (
    Distribution,
    MpiConfiguration,
    RunConfiguration,
)
from trainwright.azureml.exceptions import NotSupported, UserErrorException
from trainwright.azureml.train._estimator_packages import image_of, packages_of

if TYPE_CHECKING:
    from trainwright.azureml.core.workspace import Workspace

__all__ = ["Estimator"]


class Estimator:
    """A script, where it runs, and with which packages.

    Args:
        source_directory: the folder with the source; all of it is sent.
        compute_target: the cluster, or its name.
        vm_size: cannot be had: create a cluster.
        vm_priority: cannot be had: create a cluster.
        entry_script: the script.
        script_params: its arguments by name; a dataset's `.as_mount()` may be a value.
        node_count: nodes.
        process_count_per_node: processes on each, with MPI.
        distributed_backend: 'mpi', as older notebooks say it.
        distributed_training: how the processes work together.
        use_gpu: say it with the framework.
        use_docker: left aside: where nodes are containers is the operator's choice.
        custom_docker_base_image: as `custom_docker_image`.
        custom_docker_image: an image to begin with.
        image_registry_details: where the image is.
        user_managed: the image has all packages already.
        conda_packages: of conda.
        pip_packages: for pip.
        conda_dependencies_file_path: as `conda_dependencies_file`.
        pip_requirements_file_path: as `pip_requirements_file`.
        conda_dependencies_file: a conda environment file.
        pip_requirements_file: a file of pip's requirements.
        environment_variables: for the script.
        environment_definition: an environment, instead of all packages.
        inputs: further datasets.
        source_directory_data_store: left aside.
        shm_size: size of /dev/shm, such as '2g'.
        resume_from: cannot be had.
        max_run_duration_seconds: after which the run is ended.
    """

    def __init__(
        self,
        source_directory: str,
        *,
        compute_target: Any = None,
        vm_size: str | None = None,
        vm_priority: str | None = None,
        entry_script: str | None = None,
        script_params: Mapping[str, Any] | None = None,
        node_count: int = 1,
        process_count_per_node: int = 1,
        distributed_backend: str | None = None,
        distributed_training: Distribution | None = None,
        use_gpu: bool = False,
        use_docker: bool = True,
        custom_docker_base_image: str | None = None,
        custom_docker_image: str | None = None,
        image_registry_details: Any = None,
        user_managed: bool = False,
        conda_packages: Sequence[str] | None = None,
        pip_packages: Sequence[str] | None = None,
        conda_dependencies_file_path: str | None = None,
        pip_requirements_file_path: str | None = None,
        conda_dependencies_file: str | None = None,
        pip_requirements_file: str | None = None,
        environment_variables: Mapping[str, str] | None = None,
        environment_definition: Environment | None = None,
        inputs: Sequence[Any] | None = None,
        source_directory_data_store: Any = None,
        shm_size: str | None = None,
        resume_from: Any = None,
        max_run_duration_seconds: int | None = None,
        _disable_validation: bool = True,
        _show_lint_warnings: bool = False,
        _show_package_warnings: bool = False,
    ) -> None:
        where = type(self).__name__
        refuse(
            where, "Create a cluster with ComputeTarget.create and name it as compute_target.",
            vm_size=vm_size, vm_priority=vm_priority,
        )  # fmt: skip
        refuse(where, "Give the script the earlier outputs as a dataset.", resume_from=resume_from)
        leave_aside(
            where, "The source goes to the workspace, not to a datastore.",
            source_directory_data_store=source_directory_data_store,
        )  # fmt: skip
        leave_aside(
            where, "Whether nodes are containers is the operator's choice.",
            use_docker=not use_docker and "False",
        )  # fmt: skip
        if not entry_script:
            raise UserErrorException(f"{where}: name the entry_script in the source_directory.")
        self.source_directory = source_directory
        self._arguments = arguments_of(script_params)
        self._inputs = list(inputs or [])
        environment = environment_definition or _environment_of(
            packages=packages_of(
                self._framework_packages(),
                pip_packages,
                conda_packages,
                pip_requirements_file or pip_requirements_file_path,
                conda_dependencies_file or conda_dependencies_file_path,
            ),
            image=custom_docker_image or custom_docker_base_image,
            registry=image_registry_details,
            user_managed=user_managed,
        )
        if environment_definition is None and use_gpu and not self._framework_packages():
            leave_aside(where, "Say it with the framework: TensorFlow(use_gpu=True).", use_gpu=True)
        self.run_config = RunConfiguration(
            script=entry_script,
            target=compute_target,
            environment=environment,
            node_count=node_count,
            environment_variables=dict(environment_variables or {}),
            max_run_duration_seconds=max_run_duration_seconds,
        )
        self.run_config.docker.shm_size = shm_size
        distribution = distributed_training or self._distribution_of(
            distributed_backend, process_count_per_node
        )
        if distribution is not None:
            self.run_config.set_distribution(distribution)
        elif process_count_per_node > 1:
            raise UserErrorException(
                f"{where}: process_count_per_node needs distributed_training=MpiConfiguration()."
            )

    @property
    def conda_dependencies(self) -> CondaDependencies:
        """The packages; they may be changed before it is submitted."""
        return self.run_config.environment.python.conda_dependencies

    @property
    def source(self) -> str:
        """The folder with the source."""
        return self.source_directory

    def to_submission(self, workspace: "Workspace") -> Submission:
        """What `Experiment.submit` takes."""
        return Submission(self.source_directory, self.run_config, self._arguments, self._inputs)

    def _framework_packages(self) -> list[str]:
        """Packages that the kind of estimator brings."""
        return []

    def _distribution_of(self, backend: str | None, processes: int) -> Distribution | None:
        """What older notebooks say by a word."""
        if backend is None:
            return None
        if backend.lower() == "mpi":
            return MpiConfiguration(processes)
        raise NotSupported(f"distributed_backend={backend!r}: use distributed_training.")


def _environment_of(
    *, packages: CondaDependencies, image: str | None, registry: Any, user_managed: bool
) -> Environment:
    environment = Environment("estimator")
    environment.python.conda_dependencies = packages
    environment.python.user_managed_dependencies = user_managed
    image_of(environment.docker, image, registry)
    return environment
