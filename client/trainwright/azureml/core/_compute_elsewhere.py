"""Kinds of compute that only Azure has; each says what to do instead."""

from typing import Any

from trainwright.azureml._unsupported import refuse


class _NotHere:
    """A kind of compute that only Azure has."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.provisioning_configuration()

    @classmethod
    def provisioning_configuration(cls, *args: Any, **kwargs: Any) -> None:
        """Refuse, and say what to do instead."""
        refuse(cls.__name__, "Use AmlCompute: clusters are all there is here.", compute=True)

    attach_configuration = provisioning_configuration


class AksCompute(_NotHere):
    """Kubernetes of Azure's."""


class ComputeInstance(_NotHere):
    """A machine to develop on."""


class RemoteCompute(_NotHere):
    """A machine of one's own."""


class DataFactoryCompute(_NotHere):
    """Azure's Data Factory."""


class DatabricksCompute(_NotHere):
    """Azure's Databricks."""


class HDInsightCompute(_NotHere):
    """Azure's HDInsight."""
