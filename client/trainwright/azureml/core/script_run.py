"""Runs of a script."""

from trainwright.azureml.core.run import Run


class ScriptRun(Run):
    """A run of a script or a command."""

    def cancel(self) -> None:
        """Ask for its end; what it left in ./outputs is kept."""
        super().cancel()
