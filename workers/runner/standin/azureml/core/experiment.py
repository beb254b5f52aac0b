"""The experiment of the run."""

from azureml.exceptions import not_offered


class Experiment(object):
    """An experiment of the run's workspace, by name."""

    def __init__(self, workspace, name, **_ignored):
        self.workspace = workspace
        self.name = name

    def submit(self, config, tags=None, **_ignored):
        """Raise: runs are submitted through the API."""
        raise not_offered("Experiment.submit")

    def start_logging(self, *_ignored, **_also_ignored):
        """Raise: a run is what Trainwright started."""
        raise not_offered("Experiment.start_logging")

    def get_runs(self, type=None, tags=None, properties=None, include_children=False):
        """Raise: runs are listed through the API."""
        raise not_offered("Experiment.get_runs")

    def __repr__(self):
        return "Experiment({!r})".format(self.name)
