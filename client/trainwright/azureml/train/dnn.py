"""The TensorFlow estimator, and how its processes work together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainwright.azureml.core.environment import Environment
from trainwright.azureml.core.runconfig import (
    Distribution,
    MpiConfiguration,
    PyTorchConfiguration,
    TensorflowConfiguration,
)
from trainwright.azureml.exceptions import NotSupported, UserErrorException
from trainwright.azureml.train.estimator import Estimator

__all__ = [
    "Chainer",
    "Gloo",
    "Mpi",
    "MpiConfiguration",
    "Nccl",
    "ParameterServer",
    "PyTorch",
    "TensorFlow",
    "TensorflowConfiguration",
]


@dataclass(slots=True)
class Mpi(MpiConfiguration):
    """Ranks that are started together."""


@dataclass(slots=True)
class ParameterServer(TensorflowConfiguration):
    """Workers and parameter servers."""


@dataclass(slots=True)
class Nccl(PyTorchConfiguration):
    """Processes that find each other by PyTorch's variables."""


@dataclass(slots=True)
class Gloo(PyTorchConfiguration):
    """Processes that find each other by PyTorch's variables."""


class TensorFlow(Estimator):
    """A TensorFlow script, where it runs, and with which packages; see `Estimator`.

    Args:
        worker_count: of `distributed_backend='ps'`, as older notebooks say it.
        parameter_server_count: of `distributed_backend='ps'`.
        framework_version: of TensorFlow, such as '2.2'; None: the newest at the server.
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
        worker_count: int = 1,
        parameter_server_count: int = 1,
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
        framework_version: str | None = None,
        _enable_optimized_mode: bool = False,
        _disable_validation: bool = True,
        _show_lint_warnings: bool = False,
        _show_package_warnings: bool = False,
    ) -> None:
        self._framework_version = framework_version
        self._use_gpu = use_gpu
        self._user_managed = user_managed
        self._worker_count = worker_count
        self._parameter_server_count = parameter_server_count
        super().__init__(
            source_directory,
            compute_target=compute_target,
            vm_size=vm_size,
            vm_priority=vm_priority,
            entry_script=entry_script,
            script_params=script_params,
            node_count=node_count,
            process_count_per_node=process_count_per_node,
            distributed_backend=distributed_backend,
            distributed_training=distributed_training,
            use_gpu=use_gpu,
            use_docker=use_docker,
            custom_docker_base_image=custom_docker_base_image,
            custom_docker_image=custom_docker_image,
            image_registry_details=image_registry_details,
            user_managed=user_managed,
            conda_packages=conda_packages,
            pip_packages=pip_packages,
            conda_dependencies_file_path=conda_dependencies_file_path,
            pip_requirements_file_path=pip_requirements_file_path,
            conda_dependencies_file=conda_dependencies_file,
            pip_requirements_file=pip_requirements_file,
            environment_variables=environment_variables,
            environment_definition=environment_definition,
            inputs=inputs,
            source_directory_data_store=source_directory_data_store,
            shm_size=shm_size,
            resume_from=resume_from,
            max_run_duration_seconds=max_run_duration_seconds,
            _disable_validation=_disable_validation,
            _show_lint_warnings=_show_lint_warnings,
            _show_package_warnings=_show_package_warnings,
        )

    def _framework_packages(self) -> list[str]:
        if self._user_managed:
            return []
        if self._framework_version is None:
            return ["tensorflow"]
        name = "tensorflow-gpu" if self._use_gpu else "tensorflow"
        return [f"{name}=={self._framework_version}"]

    def _distribution_of(self, backend: str | None, processes: int) -> Distribution | None:
        if backend is not None and backend.lower() == "ps":
            return TensorflowConfiguration(self._worker_count, self._parameter_server_count)
        if backend is None and (self._worker_count > 1 or self._parameter_server_count > 1):
            raise UserErrorException(
                "TensorFlow: worker_count and parameter_server_count need distributed_training="
                "TensorflowConfiguration(...), or distributed_backend='ps'."
            )
        return super()._distribution_of(backend, processes)


class _OtherFramework:
    """An estimator of a framework that has none here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotSupported(
            f"{type(self).__name__}: there is no estimator of it here; use Estimator with its "
            "pip_packages, or ScriptRunConfig with an Environment."
        )


class PyTorch(_OtherFramework):
    """PyTorch."""


class Chainer(_OtherFramework):
    """Chainer."""
