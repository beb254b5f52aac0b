"""Calls of a run that this stand-in does not have; each says so."""

from azureml.exceptions import not_offered


class NotOffered(object):
    """Raises NotOfferedException, which is a NotImplementedError too."""

    def child_run(self, name=None, run_id=None, outputs=None):
        """Raise: not offered."""
        raise not_offered("Run.child_run")

    def create_children(self, count=None, tag_key=None, tag_values=None):
        """Raise: not offered."""
        raise not_offered("Run.create_children")

    def submit_child(self, config, tags=None, **_ignored):
        """Raise: not offered."""
        raise not_offered("Run.submit_child")

    def take_snapshot(self, file_or_folder_path):
        """Raise: not offered."""
        raise not_offered("Run.take_snapshot")

    def get_environment(self):
        """Raise: not offered."""
        raise not_offered("Run.get_environment")

    def get_secret(self, name):
        """Raise: not offered."""
        raise not_offered("Run.get_secret")
