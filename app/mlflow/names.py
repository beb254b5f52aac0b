"""How things of ours are called in MLflow's protocol, and the other way round."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, case, func
from sqlalchemy.orm import InstrumentedAttribute

from app.runs.states import TRACKED, Status
from app.tables.experiment import Experiment
from app.tables.run import Run

DEFAULT_ID = "0"
DEFAULT_NAME = "Default"
"""MLflow's clients begin with experiment 0, which every server has."""
RUN_NAME_TAG = "mlflow.runName"
USER_TAG = "mlflow.user"
USER_ID = "user_id"
"""What a client says of who makes a run, in what it was made with."""
PROMPT_TAG = "mlflow.prompt.is_prompt"
CONTEXT_TAG = "mlflow.data.context"

_STATUSES = {
    Status.NOT_STARTED: "SCHEDULED",
    Status.STARTING: "SCHEDULED",
    Status.PREPARING: "SCHEDULED",
    Status.QUEUED: "SCHEDULED",
    Status.RUNNING: "RUNNING",
    Status.FINALIZING: "RUNNING",
    Status.CANCEL_REQUESTED: "RUNNING",
    Status.NOT_RESPONDING: "RUNNING",
    Status.COMPLETED: "FINISHED",
    Status.FAILED: "FAILED",
    Status.CANCELED: "KILLED",
}
_BY_TEXT = {str(ours): theirs for ours, theirs in _STATUSES.items()}
OURS = {
    "SCHEDULED": Status.STARTING,
    "RUNNING": Status.RUNNING,
    "FINISHED": Status.COMPLETED,
    "FAILED": Status.FAILED,
    "KILLED": Status.CANCELED,
}
"""What a client says of a tracked run → the run's state."""


def experiment_id_of(own_id: str, name: str) -> str:
    """The id under which clients know an experiment."""
    return DEFAULT_ID if name == DEFAULT_NAME else own_id


def experiment_id_column() -> ColumnElement[str]:
    """The same in the database."""
    return case((Experiment.name == DEFAULT_NAME, DEFAULT_ID), else_=Experiment.id)


def status_of(status: str) -> str:
    """A run's state as clients know it."""
    return _BY_TEXT[status]


def status_column() -> ColumnElement[str]:
    """The same in the database."""
    return case(_BY_TEXT, value=Run.status)


def run_name_column() -> ColumnElement[str]:
    """The name of a run; one without has its id for a name."""
    return func.coalesce(func.nullif(Run.display_name, ""), Run.id)


def user_column() -> ColumnElement[str]:
    """Who made the run: as its client says, else whose token it was."""
    said = Run.request[USER_ID].astext
    return func.coalesce(said, Run.tags[USER_TAG].astext, Run.created_by)


def user_tag_column() -> ColumnElement[str | None]:
    """The tag for that; jobs, which no client of MLflow's makes, have it without being told."""
    said: ColumnElement[str | None] = Run.tags[USER_TAG].astext
    return case((Run.kind == TRACKED, said), else_=func.coalesce(said, Run.created_by))


def lifecycle_of(deleted_at: Any) -> str:
    """``active`` or ``deleted``."""
    return "active" if deleted_at is None else "deleted"


def in_view(column: InstrumentedAttribute[Any], view: str) -> Sequence[ColumnElement[bool]]:
    """The condition for what a view shows, as a list of none or one."""
    return {
        "ACTIVE_ONLY": [column.is_(None)],
        "DELETED_ONLY": [column.is_not(None)],
        "ALL": [],
    }[view]


def pairs(mapping: Mapping[str, str | None]) -> list[dict[str, str]]:
    """Keys and values as clients read them."""
    return [{"key": key, "value": value or ""} for key, value in mapping.items()]
