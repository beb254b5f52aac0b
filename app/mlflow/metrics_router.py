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
from app.mlflow.refusals import MlflowRoute
from app.mlflow.schemas import Int64

router = APIRouter(prefix="/mlflow/metrics", tags=["mlflow"], route_class=MlflowRoute)
_MOST_RUNS = 100
_MOST_VALUES = 25_000
_MOST_POINTS = 2500
RunIds = Annotated[list[str], Query()]
MaybeRunIds = Annotated[list[str], Query(default_factory=list)]
MetricKey = Annotated[str, Query(min_length=1)]


@router.get("/get-history")
@needs("runs.read", run=True)
async def get_mlflow_metric_history(
    metric_key: MetricKey,
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
    caller: CallerDep,
    session: SessionDep,
    run_id: MaybeRunIds,
    metric_key: str = "",
    max_results: Annotated[int, Query(ge=1)] = _MOST_VALUES,
) -> dict[str, Any]:
    """Values of one metric of several runs."""
    if not run_id:
        raise InvalidParameter("GetMetricHistoryBulk request must specify at least one run_id.")
    if len(run_id) > _MOST_RUNS:
        raise InvalidParameter(
            f"GetMetricHistoryBulk request cannot specify more than {_MOST_RUNS} run_ids. "
            f"Received {len(run_id)} run_ids."
        )
    if not metric_key:
        raise InvalidParameter("GetMetricHistoryBulk request must specify a metric_key.")
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
    metric_key: MetricKey,
    caller: CallerDep,
    session: SessionDep,
    start_step: Int64 | None = None,
    end_step: Int64 | None = None,
    max_results: int = 320,
) -> dict[str, Any]:
    """At most so many values of one metric of each of several runs, evenly chosen."""
    if len(run_ids) > _MOST_RUNS:
        raise InvalidParameter(
            f"GetMetricHistoryBulkInterval request must specify at most {_MOST_RUNS} run_ids. "
            f"Received {len(run_ids)} run_ids."
        )
    if not 1 <= max_results <= _MOST_POINTS:
        raise InvalidParameter(f"max_results must be between 1 and {_MOST_POINTS}.")
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
        raise InvalidParameter(
            "If either start step or end step are specified, both must be specified."
        )
    if start_step is not None and end_step is not None and start_step > end_step:
        raise InvalidParameter(
            f"end_step must be greater than start_step. Found {start_step=} and {end_step=}."
        )
