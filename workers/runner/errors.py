"""What can end or interrupt the work of a node."""


class Fenced(Exception):
    """The control plane refused this attempt: a newer one owns the work, or it is gone."""


class Stopped(Exception):
    """A stop was asked for while the node was still preparing."""


class GaveUp(Exception):
    """The time to deliver what the ended work left behind is over."""


class PrepareError(Exception):
    """The node cannot start its work; reported as the event `failed`.

    Args:
        code: a stable snake_case reason.
        message: what is wrong, naming the file or object.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class FileLost(Exception):
    """A file is no longer what it was when it was hashed; the message says what became of it."""


class Away(Exception):
    """The control plane did not answer, or asked to try again.

    Args:
        message: what happened.
        status: the HTTP status, if it answered.
    """

    def __init__(self, message: str, status: "int | None" = None) -> None:
        super().__init__(message)
        self.status = status


class Refused(Exception):
    """The control plane answered that this request will never do.

    Args:
        status: the HTTP status.
        problem: members of the problem document, empty when there was none.
    """

    def __init__(self, status: int, problem: "dict[str, object]") -> None:
        detail = problem.get("detail") or problem.get("title") or ""
        super().__init__(f"HTTP {status} {problem.get('code', '')} {detail}".strip())
        self.status = status
        self.problem = problem

    @property
    def code(self) -> str:
        """The problem's stable code, empty when there was none."""
        return str(self.problem.get("code", ""))
