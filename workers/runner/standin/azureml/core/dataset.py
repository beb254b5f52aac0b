"""Datasets: inside a run they come as inputs."""

from azureml.exceptions import not_offered


class Dataset(object):
    """Says where the data is: in the run's inputs."""

    @staticmethod
    def get_by_name(workspace, name, version="latest", **_ignored):
        """Raise: name the dataset as an input of the run instead."""
        raise not_offered(
            "Dataset.get_by_name (name {!r} as an input of the run, then take "
            "run.input_datasets[…]; the call)".format(name)
        )

    @staticmethod
    def get_by_id(workspace, id, **_ignored):
        """Raise: name the dataset as an input of the run instead."""
        raise not_offered("Dataset.get_by_id")
