"""What keeps an installation from being saved or brought back."""


class BackupError(Exception):
    """It cannot be saved or brought back; the message says why and what to do."""
