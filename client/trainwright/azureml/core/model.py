"""Models: registered, found, downloaded, deployed."""

import builtins
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from trainwright.azureml._unsupported import leave_aside, refuse
from trainwright.azureml.core import _model_files
from trainwright.azureml.core._inference import InferenceConfig
from trainwright.azureml.core._model_read import NO_SAMPLES, ModelRead, said_of_model
from trainwright.azureml.core.resource_configuration import ResourceConfiguration
from trainwright.azureml.core.webservice import Webservice, deploy
from trainwright.azureml.exceptions import (
    ModelNotFoundException,
    NotSupported,
    UserErrorException,
    WebserviceException,
    raised_as,
)

if TYPE_CHECKING:
    from trainwright.azureml.core.workspace import Workspace

__all__ = ["InferenceConfig", "Model", "ResourceConfiguration"]

_WITHOUT_CODE = (
    "Scoring scripts are not there yet: a SavedModel is deployed without code. Leave "
    'inference_config out; the service takes {"data": [...]} as Azure\'s did.'
)


class Model(ModelRead):
    """A version of a model; `Model(workspace, name)` finds the latest.

    Args:
        workspace: where.
        name: of the model.
        id: NAME:VERSION, instead of a name.
        tags: that the version must have; the latest that has them is taken.
        properties: that the version must have.
        version: which one.
        run_id: of the run that it must come from.
        model_framework: that it must be of.

    Raises:
        ModelNotFoundException: there is none.
    """

    class Framework:
        """What a model was made with."""

        CUSTOM = "Custom"
        TENSORFLOW = "TensorFlow"
        SCIKITLEARN = "ScikitLearn"
        ONNX = "Onnx"

    def __init__(
        self,
        workspace: "Workspace",
        name: str | None = None,
        id: str | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        version: int | str | None = None,
        run_id: str | None = None,
        model_framework: str | None = None,
        *,
        _read: dict[str, Any] | None = None,
    ) -> None:
        self.workspace = workspace
        if id is not None:
            name, _, version = id.rpartition(":")
        if _read is None and not name:
            raise UserErrorException("Give the name of the model, or its id, NAME:VERSION.")
        wanted = _model_files.Wanted(tags, properties, run_id, model_framework)
        with raised_as(ModelNotFoundException):
            self._read = _read or _model_files.find(
                workspace.connection, str(name), version, wanted
            )

    @staticmethod
    def register(
        workspace: "Workspace",
        model_path: str,
        model_name: str,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str | None = None,
        datasets: Sequence[Any] | None = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        child_paths: Sequence[str] | None = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: ResourceConfiguration | None = None,
    ) -> "Model":
        """Register a file or folder of this machine as a new version.

        Args:
            workspace: where.
            model_path: the file or folder.
            model_name: name of the model.
            tags: tags to put on the version.
            properties: properties to put on it, for good.
            description: in words.
            datasets: left aside: register from a run to have lineage.
            model_framework: one of `Model.Framework`.
            model_framework_version: of the framework.
            child_paths: only these of the folder.
            sample_input_dataset: left aside.
            sample_output_dataset: left aside.
            resource_configuration: what one serving process may use.

        Raises:
            WebserviceException: the server refuses.
        """
        leave_aside(
            "Model.register", "Register from a run, whose lineage has its datasets.",
            datasets=datasets,
        )  # fmt: skip
        leave_aside(
            "Model.register", NO_SAMPLES, sample_input_dataset=sample_input_dataset,
            sample_output_dataset=sample_output_dataset,
        )  # fmt: skip
        body = said_of_model(
            tags, properties, description, model_framework, model_framework_version,
            resource_configuration,
        )  # fmt: skip
        files = _model_files.local_files(Path(model_path), child_paths)
        connection = workspace.connection
        with raised_as(WebserviceException):
            body["files"] = _model_files.send(connection, files)
            read = connection.post(connection.path("models", model_name, "versions"), body)
        return Model(workspace, _read=read)

    @staticmethod
    def list(
        workspace: "Workspace",
        name: str | None = None,
        tags: builtins.list[Any] | None = None,
        properties: builtins.list[Any] | None = None,
        run_id: str | None = None,
        latest: bool = False,
        dataset_id: str | None = None,
        expand: bool = True,
        page_count: int = 255,
        model_framework: str | None = None,
    ) -> "builtins.list[Model]":
        """Return versions of models, those that have all that is said, the newest first.

        Args:
            workspace: where.
            name: of one model; None: all.
            tags: names, or [name, value] pairs.
            properties: names, or [name, value] pairs.
            run_id: of the run that they come from.
            latest: only the latest version of each.
            dataset_id: has no counterpart.
            expand: everything is always there.
            page_count: pages are as long as the server likes.
            model_framework: that they must be of.
        """
        refuse("Model.list", "Look at lineage instead.", dataset_id=dataset_id)
        wanted = _model_files.Wanted(tags, properties, run_id, model_framework)
        with raised_as(WebserviceException):
            found = _model_files.all_versions(workspace.connection, name, wanted, latest)
            return [Model(workspace, _read=read) for read in found]

    @staticmethod
    def get_model_path(
        model_name: str, version: int | None = None, _workspace: "Workspace | None" = None
    ) -> str:
        """Return where a model's files are: in a serving process, or downloaded.

        Raises:
            ModelNotFoundException: it is neither here nor is a workspace given.
        """
        served = os.environ.get("AZUREML_MODEL_DIR")
        if served:
            return served
        if _workspace is None:
            raise ModelNotFoundException(
                "Outside of a serving process, use Model(ws, NAME).download()."
            )
        model = Model(_workspace, model_name, version=version)
        return model.download(f"azureml-models/{model_name}/{model.version}", exist_ok=True)

    @staticmethod
    def deploy(
        workspace: "Workspace",
        name: str,
        models: Sequence["Model"],
        inference_config: InferenceConfig | None = None,
        deployment_config: Any = None,
        deployment_target: Any = None,
        overwrite: bool = False,
        show_output: bool = False,
    ) -> Webservice:
        """Put a model behind an address, without code.

        Args:
            workspace: where.
            name: of the service.
            models: one model.
            inference_config: cannot be deployed yet.
            deployment_config: of `AciWebservice.deploy_configuration`.
            deployment_target: has no counterpart.
            overwrite: replace the service of that name.
            show_output: print how it goes, and wait.

        Raises:
            NotSupported: a scoring script, or a target, is asked for.
            WebserviceException: the server refuses, or there is a service of that name.
        """
        refuse("Model.deploy", _WITHOUT_CODE, inference_config=inference_config)
        refuse(
            "Model.deploy", "Services run on the server's own nodes.",
            deployment_target=deployment_target,
        )  # fmt: skip
        if len(models) != 1:
            raise NotSupported(f"Model.deploy: a service has one model, not {len(models)}.")
        read = models[0]._read
        body = {"model_name": read["name"], "model_version": read["version"]}
        service = deploy(workspace, name, body, deployment_config, overwrite=overwrite)
        if show_output:
            service.wait_for_deployment(show_output=True)
        return service

    @staticmethod
    def package(
        workspace: "Workspace",
        models: Sequence["Model"],
        inference_config: InferenceConfig | None = None,
        generate_dockerfile: bool = False,
        image_name: str | None = None,
        image_label: str | None = None,
    ) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported("Model.package: services are deployed, not packaged; see Model.deploy.")

    @staticmethod
    def profile(
        workspace: "Workspace",
        profile_name: str,
        models: Sequence["Model"],
        inference_config: InferenceConfig,
        input_dataset: Any,
        cpu: float | None = None,
        memory_in_gb: float | None = None,
        description: str | None = None,
    ) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported("Model.profile: deploy it and measure with the load that you expect.")

    def get_sas_urls(self) -> NoReturn:
        """Refuse: files are had with the token."""
        raise NotSupported("Model.get_sas_urls: use download(), or GET …/files with the token.")

    def download(
        self, target_dir: str = ".", exist_ok: bool = False, exists_ok: bool | None = None
    ) -> str:
        """Download its files, and return the path of what was registered.

        Raises:
            WebserviceException: something is there already.
        """
        with raised_as(WebserviceException):
            return _model_files.download(
                self.workspace.connection,
                self._path(),
                self._read,
                Path(target_dir),
                may_exist=exist_ok or bool(exists_ok),
            )

    def __repr__(self) -> str:
        return (
            f"Model(workspace={self.workspace.name!r}, name={self.name!r}, version={self.version})"
        )
