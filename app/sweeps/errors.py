"""What can be wrong with sweeps."""

from app.kernel.errors import Conflict, Invalid, NotFound


class SweepNotFound(NotFound):
    """There is no such sweep."""

    code = "sweep_not_found"

    def __init__(self, sweep_id: str) -> None:
        super().__init__(f"There is no sweep {sweep_id!r} in this workspace.")


class SweepFinished(Conflict):
    """The sweep is over."""

    code = "sweep_finished"


class NoTrialYet(NotFound):
    """No trial of the sweep is as it is asked for."""

    code = "no_trial_yet"


class NothingToCompare(NotFound):
    """Too few trials have logged the primary metric."""

    code = "nothing_to_compare"


class ReplayRefused(Invalid):
    """The replay would take too long."""

    code = "replay_too_large"
