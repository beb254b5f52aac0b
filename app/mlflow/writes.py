"""What clients log to a run: metrics, parameters, tags, what was read and made.

Metrics have no number of their own in MLflow's protocol, so a value is named by what it says: the
same value at the same step and time is the same value, however often it is delivered.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.principal import Principal
from app.kernel.db import Database
from app.kernel.tags import merged_tags
from app.metrics.writing import Point, store_points, store_tracked
from app.mlflow import names
from app.mlflow.access import Caller, check_active, check_current, find_run
from app.mlflow.errors import InvalidParameter, NoSuchResource
from app.mlflow.moments import from_milliseconds
from app.mlflow.run_schemas import BatchLog, DatasetInputSent, MetricSent, ModelLinkSent
from app.mlflow.schemas import ParamSent
from app.runs.errors import RunFinished
from app.runs.states import TERMINAL, TRACKED
from app.runs.transitions import lock_run
from app.tables.run import Run
from app.tables.tracking import LoggedModel, LoggedModelMetric, RunDataset, RunModel, RunParam

_SOURCE = "mlflow"


async def log_batch(session: AsyncSession, caller: Caller, body: BatchLog) -> None:
    """Log all of it or nothing.

    Raises:
        InvalidParameter: a parameter is there twice, or has another value already.
        NoSuchResource: there is no such run for the caller.
        RunFinished: it is a job that is over.
    """
    run = await writable_run(session, caller, body.run)
    if body.metrics or body.params:
        check_open(run)
    _check_distinct([param.key for param in body.params])
    if body.tags:
        # They lock the run: before its metrics, as for what its nodes send, so that the two do not
        # wait for each other.
        await set_tags(session, run.id, {tag.key: tag.value for tag in body.tags})
    await log_metrics(session, caller, run, body.metrics)
    await log_params(session, caller, run, body.params)


async def writable_run(session: AsyncSession, caller: Caller, run_id: str) -> Run:
    """A run that the caller may write to.

    Raises:
        InvalidParameter: it was deleted.
        NoSuchResource: there is none such for the caller.
        AttemptSuperseded: another attempt has taken over.
    """
    run = await find_run(session, caller, run_id)
    check_active(run)
    await check_current(session, caller, run)
    return run


def check_open(run: Run) -> None:
    """Refuse to add to the history of a job that is over.

    Raises:
        RunFinished: it is.
    """
    if run.kind != TRACKED and run.status in TERMINAL:
        raise RunFinished(
            f"Run {run.id} is {run.status}: nothing more can be logged to it. Log to a new run."
        )


async def log_metrics_at_once(
    database: Database,
    principal: Principal,
    *,
    workspace: str,
    run_id: str,
    metrics: Sequence[MetricSent],
) -> bool:
    """Store values in one round trip, if they are of a run alone and nothing is in the way.

    Returns:
        Whether they are stored; if not, the longer way says what is wrong.
    """
    if not run_id or not metrics or any(metric.model_id for metric in metrics):
        return False
    points = {made["seq"]: made for made in map(_point, metrics)}
    return await store_tracked(
        database.direct,
        principal=principal,
        workspace=workspace,
        run_id=run_id,
        closed=TERMINAL,
        source=_SOURCE,
        points=list(points.values()),
    )


async def log_metrics(
    session: AsyncSession, caller: Caller, run: Run, metrics: Sequence[MetricSent]
) -> None:
    """Store values of metrics; what is stored already is left alone."""
    if not metrics:
        return
    points = {made["seq"]: made for made in map(_point, metrics)}
    await store_points(
        session,
        run_id=run.id,
        attempt=run.attempt,
        source=_SOURCE,
        namespace="",
        points=list(points.values()),
    )
    of_models = [metric for metric in metrics if metric.model_id]
    if of_models:
        await _store_model_metrics(session, caller, run, of_models)


async def log_params(
    session: AsyncSession, caller: Caller, run: Run, params: Sequence[ParamSent]
) -> None:
    """Write parameters once.

    Raises:
        InvalidParameter: one of them has another value already.
    """
    values = {param.key: param.value for param in params}
    if not values:
        return
    rows = [
        {"run_id": run.id, "key": key, "value": values[key], "attempt": caller.attempt}
        for key in sorted(values)
    ]
    added = insert(RunParam).values(rows).on_conflict_do_nothing().returning(RunParam.key)
    new = set((await session.execute(added)).scalars())
    if len(new) == len(values):
        return
    statement = select(RunParam.key, RunParam.value).where(
        RunParam.run_id == run.id, RunParam.key.in_(values.keys() - new)
    )
    for key, held in await session.execute(statement):
        if held != values[key]:
            raise _changed(run, key, held, values[key])


async def set_tags(session: AsyncSession, run_id: str, tags: dict[str, str]) -> None:
    """Set tags of a run; the tag for its name changes its name.

    Raises:
        TooManyTags: there would be too many.
    """
    run = await lock_run(session, run_id)
    name = tags.pop(names.RUN_NAME_TAG, None)
    if name:
        run.display_name = name
    run.tags = merged_tags(run.tags, tags)


async def delete_tag(session: AsyncSession, run_id: str, key: str) -> None:
    """Remove a tag of a run; the tag for its name goes with the name alone, which stays.

    Raises:
        NoSuchResource: it has none such.
    """
    if key == names.RUN_NAME_TAG:
        return
    run = await lock_run(session, run_id)
    if key not in run.tags:
        raise NoSuchResource(f"No tag with name: {key} in run with id {run_id}")
    run.tags = merged_tags(run.tags, {key: None})


async def log_datasets(
    session: AsyncSession, run: Run, datasets: Sequence[DatasetInputSent]
) -> None:
    """Note what the run has read; the same dataset again changes nothing."""
    found = {
        (sent.dataset.name, sent.dataset.digest): {
            "run_id": run.id,
            "name": sent.dataset.name,
            "digest": sent.dataset.digest,
            "source_type": sent.dataset.source_type,
            "source": sent.dataset.source,
            "schema": sent.dataset.schema_,
            "profile": sent.dataset.profile,
            "tags": {tag.key: tag.value for tag in sent.tags},
        }
        for sent in datasets
    }
    if found:
        places = {key: place for place, key in enumerate(found)}
        next_place = (
            select(func.coalesce(func.max(RunDataset.place) + 1, 0))
            .where(RunDataset.run_id == run.id)
            .scalar_subquery()
        )
        rows = [{**found[key], "place": next_place + places[key]} for key in sorted(found)]
        await session.execute(insert(RunDataset).values(rows).on_conflict_do_nothing())


async def link_models(
    session: AsyncSession,
    caller: Caller,
    run: Run,
    links: Sequence[ModelLinkSent],
    *,
    is_output: bool,
) -> None:
    """Note which logged models the run has read or made.

    Raises:
        NoSuchResource: there is no such logged model.
    """
    steps = {link.model_id: link.step for link in links}
    if not steps:
        return
    await _check_models(session, caller, list(steps))
    rows = [
        {"run_id": run.id, "model_id": model_id, "is_output": is_output, "step": steps[model_id]}
        for model_id in sorted(steps)
    ]
    await session.execute(insert(RunModel).values(rows).on_conflict_do_nothing())


async def _store_model_metrics(
    session: AsyncSession, caller: Caller, run: Run, metrics: Sequence[MetricSent]
) -> None:
    await _check_models(session, caller, [metric.model_id or "" for metric in metrics])
    found = {
        (metric.model_id, _seq(metric)): {
            "model_id": metric.model_id,
            "seq": _seq(metric),
            "run_id": run.id,
            "name": metric.key,
            "value": None if math.isnan(metric.value) else metric.value,
            "step": metric.step,
            "logged_at": from_milliseconds(metric.timestamp),
            "dataset_name": metric.dataset_name,
            "dataset_digest": metric.dataset_digest,
        }
        for metric in metrics
    }
    rows = [found[key] for key in sorted(found, key=str)]
    await session.execute(insert(LoggedModelMetric).values(rows).on_conflict_do_nothing())


async def _check_models(session: AsyncSession, caller: Caller, model_ids: Sequence[str]) -> None:
    wanted = set(model_ids)
    statement = select(func.count()).where(
        LoggedModel.workspace_id == caller.workspace.id, LoggedModel.id.in_(wanted)
    )
    if (await session.execute(statement)).scalar_one() < len(wanted):
        raise NoSuchResource(f"Logged model not found: one of {', '.join(sorted(wanted))}")


def _point(metric: MetricSent) -> Point:
    made: Point = {
        "seq": _seq(metric),
        "name": metric.key,
        "type": "scalar",
        "step": metric.step,
        "logged_at": from_milliseconds(metric.timestamp),
    }
    if math.isfinite(metric.value):
        made["value"] = metric.value
    else:
        made["data"] = {"value": str(metric.value)}
    return made


def _seq(metric: MetricSent) -> int:
    """63 bits of a hash of all that makes the value what it is."""
    says = f"{metric.key}\0{metric.step}\0{metric.timestamp}\0{metric.value!r}"
    says += f"\0{metric.dataset_name}\0{metric.dataset_digest}"
    digest = hashlib.blake2b(says.encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def _check_distinct(keys: Sequence[str]) -> None:
    found = sorted(key for key, count in Counter(keys).items() if count > 1)
    if found:
        raise InvalidParameter(
            f"Duplicate parameter keys have been submitted: {found}. Please ensure the request "
            "contains only one param value per param key."
        )


def _changed(run: Run, key: str, held: str, value: str) -> InvalidParameter:
    return InvalidParameter(
        f"Changing param values is not allowed. Param with key='{key}' was already logged with "
        f"value='{held}' for run ID='{run.id}'. Attempted logging new value '{value}'."
    )
