"""Errors of runs."""

from app.kernel.errors import Conflict, FieldError, Gone, NotFound


class RunNotFound(NotFound):
    """There is no such run."""

    code = "run_not_found"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"There is no run {run_id!r} in this workspace.")


class AttemptNotFound(NotFound):
    """The run has had no such attempt."""

    code = "attempt_not_found"

    def __init__(self, run_id: str, attempt: int) -> None:
        super().__init__(
            f"Run {run_id!r} has no attempt {attempt}; GET …/attempts lists those that it has had."
        )


class RunFinished(Conflict):
    """The run is over."""

    code = "run_finished"


class RunNotOver(Conflict):
    """The run goes on, or something of it is still being removed."""

    code = "run_not_over"


class TransitionRefused(Conflict):
    """The state table does not allow it."""

    code = "transition_refused"


class PropertyImmutable(Conflict):
    """A property that is set never changes."""

    code = "property_immutable"


class FileImmutable(Conflict):
    """A file of a run never gets other content."""

    code = "file_immutable"


class FileInTheWay(Conflict):
    """A file of the run would be a folder of another: the two cannot lie in one place."""

    code = "path_conflict"

    def __init__(self, path: str, other: str) -> None:
        message = f"{path!r} cannot lie beside {other!r}: one would be a folder. Take another name."
        super().__init__(message, errors=[FieldError("path/path", self.code, message)])


class AttemptSuperseded(Gone):
    """The attempt of this node is over: the node must end itself."""

    code = "attempt_superseded"
    title = "This attempt is over"
