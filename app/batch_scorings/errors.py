"""What can be wrong with batch scorings."""

from app.kernel.errors import Conflict, NotFound


class BatchScoringNotFound(NotFound):
    """There is no such batch scoring."""

    code = "batch_scoring_not_found"

    def __init__(self, batch_scoring_id: str) -> None:
        super().__init__(f"There is no batch scoring {batch_scoring_id!r} in this workspace.")


class BatchScoringFinished(Conflict):
    """The batch scoring is over."""

    code = "batch_scoring_finished"
