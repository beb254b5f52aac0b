"""MLflow's calls about the history of metrics."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.auth.needs import needs
from app.kernel.db import SessionDep
from app.mlflow import histories
from app.mlflow.access import CallerDep, find_run
from app.mlflow.errors import InvalidParameter
from app.mlflow.pages import binding_of, offset_of, page_of
from app.mlflow.schemas import Int64

router = APIRouter(prefix="/mlflow/metrics", tags=["mlflow"])
_MOST_RUNS = 100
_MOST_VALUES = 25_000
_MOST_POINTS = 2500
RunIds = Annotated[list[str], Query(max_length=_MOST_RUNS)]


@router.get("/get-history")
@needs("runs.read", run=True)
async def get_mlflow_metric_history(
    metric_key: str,
    caller: CallerDep,
    session: SessionDep,
    run_id: str = "",
    run_uuid: str = "",
    max_results: Annotated[int | None, Query(ge=1)] = None,
    page_token: str = "",
) -> dict[str, Any]:
    """Values of one metric of a run, in the order of their steps."""
    run = await find_run(session, caller, run_id or run_uuid)
    binding = binding_of(run.id, metric_key)
    offset = offset_of(page_token, binding)
    limit = min(max_results or _MOST_VALUES, _MOST_VALUES)
    rows = await histories.values(session, run, metric_key, offset=offset, limit=limit + 1)
    page, more = page_of(rows, offset=offset, limit=limit, binding=binding)
    return {"metrics": [histories.document(row) for row in page], **more}


@router.get("/get-history-bulk")
@needs("runs.read", run=True)
async def get_mlflow_metric_histories(
    run_id: RunIds,
    metric_key: str,
    caller: CallerDep,
    session: SessionDep,
    max_results: Annotated[int, Query(ge=1)] = _MOST_VALUES,
) -> dict[str, Any]:
    """Values of one metric of several runs."""
    found: list[dict[str, Any]] = []
    for one in sorted(set(run_id)):
        run = await find_run(session, caller, one)
        left = min(max_results, _MOST_VALUES) - len(found)
        rows = await histories.values(session, run, metric_key, offset=0, limit=max(left, 0))
        found += [histories.document(row, run_id=run.id) for row in rows]
    return {"metrics": found}


@router.get("/get-history-bulk-interval")
@needs("runs.read", run=True)
async def get_mlflow_metric_intervals(
    run_ids: RunIds,
    metric_key: str,
    caller: CallerDep,
    session: SessionDep,
    start_step: Int64 | None = None,
    end_step: Int64 | None = None,
    max_results: Annotated[int, Query(ge=1, le=_MOST_POINTS)] = 320,
) -> dict[str, Any]:
    """About so many values of one metric of several runs, at evenly chosen steps."""
    _check_interval(start_step, end_step)
    runs = [await find_run(session, caller, one) for one in sorted(set(run_ids))]
    rows = await histories.sampled(
        session, runs, metric_key, first=start_step, last=end_step, most=max_results
    )
    return {"metrics": _with_runs(rows)}


def _with_runs(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [histories.document(row, run_id=row.run_id) for row in rows]


def _check_interval(start_step: int | None, end_step: int | None) -> None:
    if (start_step is None) != (end_step is None):
        raise InvalidParameter("If either start_step or end_step are specified, both must be.")
    if start_step is not None and end_step is not None and start_step > end_step:
        raise InvalidParameter(
            f"end_step must be greater than start_step. Found {start_step=} and {end_step=}."
        )
