"""Why a sweep proposes no trial just now, and why it never will again."""

import structlog

from app.costs.charges import CENT_DIGITS
from app.kernel.errors import DomainError
from app.runs.blockers import blocker, readable
from app.runs.quota import TooManyRuns
from app.runs.states import BlockerCode
from app.sweeps.decide import Decision
from app.sweeps.money import Purse
from app.tables.sweep import Sweep

_log = structlog.get_logger(__name__)


def note_blockers(sweep: Sweep, decision: Decision, purse: Purse | None) -> None:
    """Write that a sweep waits for money, or that it waits for nothing.

    What keeps the trials waiting that are about to be proposed stays until they are.
    """
    if purse is not None and decision.waits_for_money:
        found = blocker(
            BlockerCode.BUDGET,
            "max_cost of the sweep",
            "trials that go on cost less than was kept for them",
            needed=round(purse.next_cost, CENT_DIGITS),
            available=round(max(0.0, purse.available), CENT_DIGITS),
        )
        _set(sweep, found)
    elif decision.proposes == 0:
        sweep.blockers = []


def note_refusal(sweep: Sweep, error: DomainError) -> bool:
    """Write why a trial was refused.

    Returns:
        Whether that is the end of it; False: it is proposed again later.
    """
    if isinstance(error, TooManyRuns):
        most = "max_active_runs of the workspace"
        _set(sweep, blocker(BlockerCode.QUOTA, most, "a run of the workspace ends"))
    if not error.retryable:
        sweep.error = {"code": error.code, "message": error.detail}
        _log.warning("trial_refused", sweep=sweep.id, code=error.code)
    return not error.retryable


def note_failing(sweep: Sweep, error: str) -> None:
    """Write that looks at a sweep end with an error.

    Args:
        sweep: the sweep.
        error: the type of the error.
    """
    clears = "a look at the sweep ends without an error: it is tried again, ever more seldom"
    _set(sweep, blocker(BlockerCode.FAILING, "steps of the sweep", clears, detail=error))


def _set(sweep: Sweep, found: dict[str, object]) -> None:
    since = [one["since"] for one in readable(sweep.blockers) if one["code"] == found["code"]]
    sweep.blockers = [found | {"since": since[0]} if since else found]
