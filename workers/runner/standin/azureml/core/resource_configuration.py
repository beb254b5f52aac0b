"""What a model needs when it is served."""


class ResourceConfiguration(object):
    """Cores, memory in GB, GPUs."""

    def __init__(self, cpu=None, memory_in_gb=None, gpu=None):
        self.cpu = cpu
        self.memory_in_gb = memory_in_gb
        self.gpu = gpu

    def to_document(self):
        """Return it in the API's form."""
        values = {"cpu": self.cpu, "memory_gb": self.memory_in_gb, "gpu": self.gpu}
        return {name: value for name, value in values.items() if value is not None}
