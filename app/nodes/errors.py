"""Errors of the node protocol."""

from app.kernel.errors import Conflict


class RecordsGap(Conflict):
    """Records were sent that do not join the ones that are here."""

    code = "records_gap"
    title = "Records are missing in between"

    def __init__(self, *, expected: int) -> None:
        super().__init__(
            f"Record {expected} comes next; number from there.", extensions={"expected": expected}
        )
