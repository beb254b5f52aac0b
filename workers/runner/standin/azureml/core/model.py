"""Registered models."""

import os

from azureml.core.resource_configuration import ResourceConfiguration
from azureml.exceptions import UserErrorException, not_offered

__all__ = ["Model", "ResourceConfiguration"]


class Model(object):
    """A version of a model, as registering it gave it back."""

    class Framework(object):
        """Names of frameworks."""

        CUSTOM = "Custom"
        ONNX = "Onnx"
        SCIKITLEARN = "ScikitLearn"
        TENSORFLOW = "TensorFlow"
        PYTORCH = "PyTorch"

    def __init__(self, workspace, name=None, document=None, **_ignored):
        if document is None:
            raise not_offered("Looking up a model")
        self.workspace = workspace
        self.name = name
        self.version = document.get("version")
        self.id = "{}:{}".format(name, self.version)
        self.tags = document.get("tags", {})
        self.properties = document.get("properties", {})
        self.description = document.get("description", "")
        self.model_framework = document.get("framework")
        self.model_framework_version = document.get("framework_version")

    @staticmethod
    def get_model_path(model_name, version=None, _workspace=None):
        """Return the model's folder inside a deployment.

        Raises:
            UserErrorException: this is no deployment, or it has not that model.
        """
        root = os.environ.get("AZUREML_MODEL_DIR", "")
        for path in (os.path.join(root, model_name, str(version or "")), root):
            if root and os.path.isdir(path):
                return path.rstrip(os.sep)
        raise UserErrorException("AZUREML_MODEL_DIR does not lead to a model " + model_name)

    @staticmethod
    def register(workspace, model_path, model_name, **_ignored):
        """Raise: a script registers with `run.register_model`."""
        raise not_offered("Model.register (use run.register_model; the call)")

    @staticmethod
    def deploy(workspace, name, models, **_ignored):
        """Raise: deployments are made through the API."""
        raise not_offered("Model.deploy")

    def __repr__(self):
        return "Model({!r})".format(self.id)
