"""Web services: deployed, waited for, asked, deleted."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from trainwright.azureml._unsupported import leave_aside, refuse
from trainwright.azureml.core._webservice import (
    SAME_PLACE,
    Webservice,
    WebserviceDeploymentConfiguration,
)
from trainwright.azureml.core.resource_configuration import ResourceConfiguration
from trainwright.azureml.exceptions import NotSupported, WebserviceException, raised_as

if TYPE_CHECKING:
    from trainwright.azureml.core.workspace import Workspace

__all__ = [
    "AciWebservice",
    "AksWebservice",
    "LocalWebservice",
    "Webservice",
    "WebserviceDeploymentConfiguration",
]


class AciWebservice(Webservice):
    """A service; where Azure ran containers, the server's nodes do."""

    @staticmethod
    def deploy_configuration(
        cpu_cores: float | None = None,
        memory_gb: float | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str | None = None,
        location: str | None = None,
        auth_enabled: bool | None = None,
        ssl_enabled: bool | None = None,
        enable_app_insights: bool | None = None,
        ssl_cert_pem_file: str | None = None,
        ssl_key_pem_file: str | None = None,
        ssl_cname: str | None = None,
        dns_name_label: str | None = None,
        primary_key: str | None = None,
        secondary_key: str | None = None,
        collect_model_data: bool | None = None,
        cmk_vault_base_url: str | None = None,
        cmk_key_name: str | None = None,
        cmk_key_version: str | None = None,
        vnet_name: str | None = None,
        subnet_name: str | None = None,
    ) -> WebserviceDeploymentConfiguration:
        """Say what a service gets.

        Args:
            cpu_cores: of one process.
            memory_gb: of one process.
            tags: tags to put on it.
            properties: become tags: a deployment has no properties here.
            description: in words.
            auth_enabled: a key is always asked for; False is left aside with a warning.

        Addresses, certificates, networks and insights are the operator's: left aside with a
        warning. Keys and keeping of data cannot be had.
        """
        where = "AciWebservice.deploy_configuration"
        leave_aside(
            where, "The server's address, certificate and network are the operator's.",
            location=location, ssl_enabled=ssl_enabled, enable_app_insights=enable_app_insights,
            ssl_cert_pem_file=ssl_cert_pem_file, ssl_key_pem_file=ssl_key_pem_file,
            ssl_cname=ssl_cname, dns_name_label=dns_name_label, vnet_name=vnet_name,
            subnet_name=subnet_name, cmk_vault_base_url=cmk_vault_base_url,
            cmk_key_name=cmk_key_name, cmk_key_version=cmk_key_version,
        )  # fmt: skip
        leave_aside(
            where, "The service always asks for a key.",
            auth_enabled=auth_enabled is False and "False",
        )  # fmt: skip
        refuse(
            where, "Keys are made by the server, and requests are not kept.",
            primary_key=primary_key, secondary_key=secondary_key,
            collect_model_data=collect_model_data,
        )  # fmt: skip
        return _configuration(
            cpu_cores, memory_gb, {**(properties or {}), **(tags or {})}, description
        )

    def run(self, input_data: Any) -> Any:
        """Ask the service, as `Webservice.run` does."""
        return super().run(input_data)

    def update(
        self,
        image: Any = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str | None = None,
        auth_enabled: bool | None = None,
        ssl_enabled: bool | None = None,
        ssl_cert_pem_file: str | None = None,
        ssl_key_pem_file: str | None = None,
        ssl_cname: str | None = None,
        enable_app_insights: bool | None = None,
        models: Any = None,
        inference_config: Any = None,
    ) -> None:
        """Change the service: another model, tags, description.

        Raises:
            NotSupported: something else is asked for.
        """
        refuse(
            "AciWebservice.update", "Only models, tags and description can be changed.",
            image=image, inference_config=inference_config, properties=properties,
            ssl_cert_pem_file=ssl_cert_pem_file, ssl_key_pem_file=ssl_key_pem_file,
            ssl_cname=ssl_cname, ssl_enabled=ssl_enabled, auth_enabled=auth_enabled is False and 1,
            enable_app_insights=enable_app_insights,
        )  # fmt: skip
        self.update_deployment_state()
        kept = ("model_name", "model_version", "resource_configuration", "limits", "autoscale",
                "data_capture", "description", "tags")  # fmt: skip
        body = {name: self._read[name] for name in kept}
        if body["autoscale"] is None:
            body["replicas"] = self._read["replicas"]
        if models:
            body |= {"model_name": models[0].name, "model_version": models[0].version}
        if tags is not None:
            body["tags"] = dict(tags)
        if description is not None:
            body["description"] = description
        with raised_as(WebserviceException):
            self._read = self._connection.put(self._path(), body)


class LocalWebservice(AciWebservice):
    """A service for trying out: here, one like any other."""

    @staticmethod
    def deploy_configuration(  # type: ignore[override]  # as in the v1 SDK
        port: int | None = None,
    ) -> WebserviceDeploymentConfiguration:
        """Say what a service gets: nothing special."""
        leave_aside("LocalWebservice.deploy_configuration", SAME_PLACE, port=port)
        return _configuration(None, None, {}, None)


class AksWebservice(AciWebservice):
    """A service on Kubernetes of Azure's, which there is not."""

    @staticmethod
    def deploy_configuration(*args: Any, **kwargs: Any) -> NoReturn:
        """Refuse, and say what to do instead."""
        raise NotSupported(
            "AksWebservice.deploy_configuration: use AciWebservice.deploy_configuration; how many "
            "processes serve is said with PUT …/deployments/NAME (replicas)."
        )


def deploy(
    workspace: "Workspace",
    name: str,
    body: dict[str, Any],
    configuration: WebserviceDeploymentConfiguration | None,
    *,
    overwrite: bool,
) -> Webservice:
    """Put a model behind an address.

    Raises:
        WebserviceException: the server refuses, or there is a service of that name.
    """
    Webservice.check_for_existing_webservice(workspace, name, overwrite)
    said = configuration.body if configuration is not None else {}
    connection = workspace.connection
    with raised_as(WebserviceException):
        connection.put(connection.path("deployments", name), {**said, **body})
    return Webservice(workspace, name)


def _configuration(
    cpu_cores: float | None,
    memory_gb: float | None,
    tags: Mapping[str, str],
    description: str | None,
) -> WebserviceDeploymentConfiguration:
    body: dict[str, Any] = {"tags": dict(tags), "description": description or ""}
    resources = ResourceConfiguration(cpu_cores, memory_gb).to_api()
    if resources:
        body["resource_configuration"] = resources
    return WebserviceDeploymentConfiguration(body)
