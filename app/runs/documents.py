"""Runs as the API shows them, straight from one statement: for the routes that are asked most.

What a run has as JSON in the database goes into the answer as it is, without a look at it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from orjson import Fragment
from sqlalchemy import Select, Text, bindparam, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from app.costs.charges import COST_OF_RUN
from app.kernel.direct import DirectPool, Statement
from app.kernel.pagination import PageQuery, fetch_page_directly
from app.runs.errors import RunNotFound
from app.runs.ordering import Condition, Order, ordered
from app.runs.repository import filtered
from app.runs.schemas import Blocker, RunError, RunRead
from app.tables.cluster import Cluster
from app.tables.experiment import Experiment
from app.tables.run import Run
from app.tables.tracking import RunParam

Row = Mapping[str, Any]
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE

_PARAMS = (
    select(func.json_object_agg(RunParam.key, aggregate_order_by(RunParam.value, RunParam.key)))
    .where(RunParam.run_id == Run.id)
    .correlate(Run)
    .scalar_subquery()
)
_PLAIN = (
    Run.id,
    Run.kind,
    Run.status,
    Run.display_name,
    Run.description,
    Run.attempt,
    Run.max_attempts,
    Run.node_count,
    Run.priority,
    Run.snapshot_id,
    Run.image_reference,
    Run.outputs_partial,
    Run.creator_run_id,
    Run.created_by,
    Run.created_at,
    Run.updated_at,
    Run.queued_at,
    Run.started_at,
    Run.ended_at,
    Run.deleted_at,
    Run.image_id.label("image_hash"),
    Run.sealed_at.label("logs_sealed_at"),
    Experiment.name.label("experiment_name"),
    Cluster.name.label("cluster_name"),
    COST_OF_RUN.label("cost"),
)
_AS_THEY_ARE = tuple(str(column.key) for column in _PLAIN)
_ORDER = tuple(RunRead.model_fields)
_JSON = ("tags", "properties", "warnings", "request")
_COLUMNS = (
    *_PLAIN,
    Run.event_seq,
    Run.tags,
    Run.properties,
    Run.warnings,
    Run.blockers,
    Run.error,
    Run.request["inputs"].label("inputs"),
    Run.request.op("-", return_type=JSONB)(literal("argv", Text)).label("request"),
    _PARAMS.label("params"),
)


def _of_workspace() -> Select[Any]:
    return (
        select(*_COLUMNS)
        .join(Experiment, Experiment.id == Run.experiment_id)
        .outerjoin(Cluster, Cluster.id == Run.cluster_id)
    )


_ONE = Statement(
    _of_workspace().where(
        Run.workspace_id == bindparam("workspace_id"), Run.id == bindparam("run_id")
    )
)


async def find(direct: DirectPool, workspace_id: str, run_id: str) -> Row:
    """A run of a workspace.

    Raises:
        RunNotFound: there is none such.
    """
    row: Row | None = await direct.row(_ONE, workspace_id=workspace_id, run_id=run_id)
    if row is None:
        raise RunNotFound(run_id)
    return row


async def find_page(
    direct: DirectPool,
    workspace_id: str,
    page: PageQuery,
    *,
    experiment_name: str | None,
    statuses: Sequence[str],
    cluster_name: str | None,
    tags: dict[str, str | None],
    conditions: Sequence[Condition] = (),
    order: Order | None = None,
) -> tuple[list[Row], str]:
    """Runs of a workspace, newest first or by a metric; and the token of the next page."""
    statement = filtered(
        _of_workspace(),
        workspace_id,
        experiment_name=experiment_name,
        statuses=statuses,
        cluster_name=cluster_name,
        tags=tags,
        conditions=conditions,
    )
    if order is None:
        return await fetch_page_directly(
            direct,
            statement,
            keys=[Run.id],
            page=page,
            key_of=lambda row: [row["id"]],
            descending=True,
        )
    by_metric, keys = ordered(statement, workspace_id, order)
    return await fetch_page_directly(
        direct,
        by_metric,
        keys=keys,
        page=page,
        key_of=lambda row: [row["last"], row["id"]],
        descending=order.descending,
    )


def document(row: Row) -> bytes:
    """A run as JSON, which is that of `RunRead`."""
    return orjson.dumps(_shown(row), option=_OPTIONS)


def page_document(rows: Sequence[Row], following: str) -> bytes:
    """A page of runs as JSON, which is that of ``Page[RunRead]``."""
    page = {"items": [_shown(row) for row in rows], "next_page_token": following}
    return orjson.dumps(page, option=_OPTIONS)


def _shown(row: Row) -> dict[str, Any]:
    shown = {name: row[name] for name in _AS_THEY_ARE}
    shown |= {name: Fragment(row[name]) for name in _JSON}
    shown["params"] = Fragment(row["params"] or "{}")
    blockers: list[dict[str, Any]] = orjson.loads(row["blockers"])
    positions = [blocker["position"] for blocker in blockers if "position" in blocker]
    shown["blockers"] = [Blocker.model_validate(found).model_dump() for found in blockers]
    shown["queue_position"] = positions[0] if positions else None
    error = row["error"]
    shown["error"] = error and RunError.model_validate_json(error).model_dump()
    shown["input_datasets"] = [
        {"name": name, **{key: given[key] for key in ("dataset", "version", "mode")}}
        for name, given in orjson.loads(row["inputs"]).items()
    ]
    return {name: shown[name] for name in _ORDER}
