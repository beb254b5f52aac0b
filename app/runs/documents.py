"""Runs as the API shows them, straight from one statement: for the routes that are asked most.

What a run has as JSON in the database goes into the answer as it is, without a look at it.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson
import structlog
from orjson import Fragment
from sqlalchemy import Select, Text, bindparam, case, func, literal, literal_column, null, select
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from app.costs.charges import COST_OF_RUN
from app.kernel.direct import DirectPool, Statement
from app.kernel.odd_rows import ODD, ODD_ROWS, one_of, shown
from app.kernel.pagination import (
    PageQuery,
    binding_of,
    cut_page,
    fetch_page_directly,
    keys_after,
)
from app.runs.blockers import readable
from app.runs.errors import RunNotFound
from app.runs.ordering import Condition, Order, ordered
from app.runs.repository import filtered
from app.runs.schemas import Blocker, RunError, RunRead, estimate_of
from app.tables.cluster import Cluster
from app.tables.experiment import Experiment
from app.tables.run import Run
from app.tables.tracking import RunParam

Row = Mapping[str, Any]
_log = structlog.get_logger(__name__)
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE

_PARAMS = (
    select(func.json_object_agg(RunParam.key, aggregate_order_by(RunParam.value, RunParam.key)))
    .where(RunParam.run_id == Run.id)
    .correlate(Run)
    .scalar_subquery()
)
_BY_FIELD: dict[str, Any] = {
    "cost": COST_OF_RUN,
    "image_hash": Run.image_id,
    "logs_sealed_at": Run.sealed_at,
    "experiment_name": Experiment.name,
    "cluster_name": Cluster.name,
    "params": _PARAMS,
    "trace_id": func.substr(Run.traceparent, 4, 32),
    "queue_position": null(),  # this and the next stand in the blockers
    "estimate": null(),
    "input_datasets": Run.request["inputs"],
    "request": case(
        (
            func.jsonb_typeof(Run.request) == "object",
            Run.request.op("-", return_type=JSONB)(literal("argv", Text)),
        ),
        else_=func.jsonb_build_object(),
    ),
}
_JSON = ("tags", "properties", "warnings", "request")
# In the order of the answer, so that it is made by replacing what is not shown as it is.
_FIELDS: Iterable[Any] = (
    _BY_FIELD[name] if name in _BY_FIELD else getattr(Run, name) for name in RunRead.model_fields
)
_COLUMNS = (
    *(column.label(name) for name, column in zip(RunRead.model_fields, _FIELDS, strict=True)),
    Run.event_seq,
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


@lru_cache(maxsize=100)
def _newest(limit: int, *, is_later: bool) -> Statement:
    """Newest first, and after a run if it is a later page.

    The limit is no parameter: where it is one, the database plans anew for every page.
    """
    statement = (
        _of_workspace()
        .where(Run.workspace_id == bindparam("workspace_id"), Run.deleted_at.is_(None))
        .order_by(Run.id.desc())
        .limit(literal_column(str(limit)))
    )
    return Statement(statement.where(Run.id < bindparam("after")) if is_later else statement)


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


async def find_newest(
    direct: DirectPool, workspace_id: str, page: PageQuery
) -> tuple[list[Row], str]:
    """All runs of a workspace, newest first; and the token of the next page, as `find_page` has it.

    Raises:
        BadRequest: the token is not one of this listing.
    """
    binding = _binding_of_all(workspace_id)
    after = keys_after(page, binding)
    statement = _newest(page.page_size + 1, is_later=after is not None)
    rows = await direct.rows(
        statement, workspace_id=workspace_id, after=None if after is None else after[0]
    )
    return cut_page(rows, page, lambda row: [row["id"]], binding)


@lru_cache(maxsize=1000)
def _binding_of_all(workspace_id: str) -> str:
    everything = filtered(
        _of_workspace(),
        workspace_id,
        experiment_name=None,
        statuses=(),
        cluster_name=None,
        tags={},
    )
    return binding_of(everything)


def document(row: Row) -> bytes:
    """A run as JSON, which is that of `RunRead`.

    Raises:
        RowUnreadable: its row is odd.
    """
    with one_of(Run.__tablename__, row["id"]):
        return orjson.dumps(_shown(row), option=_OPTIONS)


def page_document(rows: Sequence[Row], following: str) -> bytes:
    """A page of runs as JSON, which is that of ``Page[RunRead]``."""
    items, left_out = shown(
        rows, _shown, table=Run.__tablename__, name_of=lambda row: str(row["id"])
    )
    page = {"items": items, "next_page_token": following, "left_out": left_out}
    return orjson.dumps(page, option=_OPTIONS)


def _shown(row: Row) -> dict[str, Any]:
    run = dict(row)
    del run["event_seq"]
    for name in _JSON:
        run[name] = Fragment(run[name])
    run["params"] = Fragment(run["params"] or "{}")
    if run["blockers"] == "[]":
        run["blockers"] = []
    else:
        run |= _of_blockers(readable(orjson.loads(run["blockers"])))
    if run["error"] is not None:
        run["error"] = RunError.model_validate_json(run["error"]).model_dump()
    inputs = run["input_datasets"]
    run["input_datasets"] = [] if inputs == "{}" else _inputs(inputs, run_id=run["id"])
    return run


def _of_blockers(blockers: list[dict[str, Any]]) -> dict[str, Any]:
    positions = [blocker["position"] for blocker in blockers if "position" in blocker]
    estimate = estimate_of(blockers)
    return {
        "blockers": [Blocker.model_validate(found).model_dump() for found in blockers],
        "queue_position": positions[0] if positions else None,
        "estimate": None if estimate is None else estimate.model_dump(),
    }


def _inputs(text: str | None, *, run_id: str) -> list[dict[str, Any]]:
    try:
        return [
            {"name": name, **{key: given[key] for key in ("dataset", "version", "mode")}}
            for name, given in orjson.loads(text or "null").items()
        ]
    except ODD as error:
        # Of one run, and the page has many.
        ODD_ROWS.labels(Run.__tablename__).inc()
        _log.warning("run_unreadable", run_id=run_id, error=type(error).__name__)
        return []
