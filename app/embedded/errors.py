"""What can keep the embedded stack from starting, in words for the person at the terminal."""


class EmbeddedError(Exception):
    """The embedded stack cannot start or go on; the message says why and what to do."""


class AlreadyRunning(EmbeddedError):
    """Another supervisor holds the lock of this data folder."""


class PortTaken(EmbeddedError):
    """Something else listens on the address asked for."""


class ChildFailed(EmbeddedError):
    """A child did not become ready, or a one-shot step ended with an error."""
