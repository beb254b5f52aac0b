"""Who is asking."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["user", "run", "node", "deployment", "discovery", "artifacts"]


@dataclass(frozen=True)
class Entered:
    """The workspace that a request's address names, for the user who sends it.

    Attributes:
        name: as the address has it.
        id: of the workspace; empty: there is none such, which nobody is told who may not see it.
        permissions: what the user's roles give there.
    """

    name: str
    id: str
    permissions: frozenset[str] = frozenset()

    @property
    def exists(self) -> bool:
        """Whether there is such a workspace."""
        return bool(self.id)


@dataclass(frozen=True)
class TokenScope:
    """What a token is good for, of all that its user may do.

    Attributes:
        permissions: only these; None: all.
        workspaces: ids of workspaces, only in these; None: everywhere.
    """

    permissions: frozenset[str] | None = None
    workspaces: frozenset[str] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self.permissions is None and self.workspaces is None


WHOLE = TokenScope()
"""The scope of a token that leaves nothing out."""


@dataclass(frozen=True)
class Principal:
    """An authenticated caller.

    Attributes:
        kind: ``user`` (a person or a service account), ``run`` (a script), ``node`` (a runner),
            ``deployment`` (an unverified deployment key, good for scoring only),
            ``discovery`` (good for asking where the services are, and nothing else),
            ``artifacts`` (good for the files of one run, or for the parts of one upload, and for
            nothing else).
        id: user id; run id; node name; for a deployment key the key itself; of ``artifacts``, what
            it may do, and with what.
        workspace_id: the workspace that a run or node belongs to.
        attempt: the attempt that a run or node token was made for.
        name: what to show in events.
        token_id: the API token that was sent, if it was one.
        is_admin: may do everything, within the scope of the token.
        scope: of the token.
        entered: the workspace in the address and what a user may do there.
    """

    kind: Kind
    id: str
    name: str
    workspace_id: str = ""
    attempt: int = 0
    token_id: str = ""
    is_admin: bool = False
    scope: TokenScope = WHOLE
    entered: Entered | None = None

    @property
    def log_names(self) -> dict[str, str]:
        """What lines of the log about its requests have: the run that it belongs to."""
        if self.kind == "run":
            return {"run_id": self.id}
        if self.kind == "node" and self.id.startswith("tw-run_"):
            return {"run_id": self.id.removeprefix("tw-").rsplit("-", 2)[0]}
        return {}
