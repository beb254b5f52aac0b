"""Searching runs: all of it is done by the database."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    and_,
    any_,
    exists,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.orm import aliased

from app.auth.principal import Principal
from app.kernel.direct import DirectPool
from app.mlflow import names, run_documents
from app.mlflow.access import seen_by
from app.mlflow.moments import milliseconds_of
from app.mlflow.pages import binding_of, offset_of, page_of
from app.mlflow.schemas import RunSearch
from app.mlflow.search.conditions import (
    LISTED_TEXT,
    NULLABLE_TEXT,
    attribute_of,
    number_condition,
    text_condition,
)
from app.mlflow.search.grammar import Comparison, Name, Order, parse_filter, parse_order
from app.mlflow.search.metric_values import (
    Summary,
    has_infinity_first,
    metric_condition,
    metric_order,
    number_order,
    summary_of,
)
from app.tables.experiment import Experiment
from app.tables.run import Run
from app.tables.tracking import RunDataset, RunParam

_RUN = Run.__table__.c
"""Columns alone: what the mapper puts around them costs more than the comparison."""
_STARTED = func.coalesce(Run.started_at, Run.created_at)
_TEXTS: dict[str, ColumnElement[str]] = {
    "run_id": Run.id.expression,
    "run_name": names.run_name_column(),
    "status": names.status_column(),
    "user_id": names.user_column(),
    "artifact_uri": func.concat("mlflow-artifacts:/", Run.experiment_id, "/", Run.id, "/artifacts"),
}
_NUMBERS: dict[str, ColumnElement[float]] = {
    "start_time": milliseconds_of(_STARTED),
    "end_time": milliseconds_of(Run.ended_at.expression),
}
_OTHER_NAMES = {
    "created": "start_time",
    "Created": "start_time",
    "run name": "run_name",
    "Run name": "run_name",
    "Run Name": "run_name",
}
_ALL: dict[str, ColumnElement[Any]] = {**_TEXTS, **_NUMBERS}
_DATASET_TEXTS: dict[str, ColumnElement[str]] = {
    "name": RunDataset.name.expression,
    "digest": RunDataset.digest.expression,
    "context": RunDataset.tags[names.CONTEXT_TAG].astext,
}


async def search_runs(
    direct: DirectPool, principal: Principal, workspace_id: str, asked: RunSearch
) -> dict[str, Any]:
    """Runs of some experiments that a filter selects, a page of them.

    A run's own token finds its own run and those that its script made.

    Raises:
        InvalidParameter: the filter, the order or the token is none.
    """
    binding = binding_of(asked.experiment_ids, asked.filter, asked.order_by, asked.run_view_type)
    offset = offset_of(asked.page_token, binding)
    found = _Search(
        select(_RUN.id).where(
            seen_by(principal, workspace_id),
            _in_experiments(workspace_id, asked.experiment_ids),
            *names.in_view(Run.deleted_at, asked.run_view_type),
        )
    )
    for comparison in parse_filter(asked.filter):
        found = found.narrowed(comparison)
    ids = await _ids(direct, found, asked, workspace_id=workspace_id, offset=offset)
    page, more = page_of(ids, offset=offset, limit=asked.max_results, binding=binding)
    return {"runs": await run_documents.find(direct, page, workspace_id), **more}


def _in_experiments(workspace_id: str, experiment_ids: Sequence[str]) -> ColumnElement[bool]:
    named = _RUN.experiment_id == any_(literal(list(experiment_ids), ARRAY(Text)))
    if names.DEFAULT_ID not in experiment_ids:
        return named
    default = select(Experiment.id).where(
        Experiment.workspace_id == workspace_id, Experiment.name == names.DEFAULT_NAME
    )
    return or_(named, _RUN.experiment_id == default.scalar_subquery())


async def _ids(
    direct: DirectPool, found: "_Search", asked: RunSearch, *, workspace_id: str, offset: int
) -> list[str]:
    """Ids in order, one more than asked for if there are more.

    What lacks the metric that comes first in the order comes last. So if enough runs have numbers
    there, and no infinity comes before these, they are the answer, and the index in the metric's
    order gives them without a look at all.
    """
    orders = parse_order(asked.order_by)
    limit = asked.max_results + 1
    if orders and orders[0].name.entity == "metric":
        having = found.ordered(orders, is_first_there=True).offset(offset).limit(limit)
        is_late = has_infinity_first(workspace_id, orders[0]).label("is_late")
        rows = await direct.select(having.add_columns(is_late))
        if len(rows) == limit and not rows[0]["is_late"]:
            return [row["id"] for row in rows]
    everything = found.ordered(orders).offset(offset).limit(limit)
    return [row["id"] for row in await direct.select(everything)]


class _Search(NamedTuple):
    """A statement over runs, and under which name it has joined which metric."""

    statement: Select[Any]
    joined: Mapping[str, Summary] = MappingProxyType({})

    def narrowed(self, it: Comparison) -> "_Search":
        """The runs of these for which a comparison holds."""
        key = it.name.key
        if it.name.entity == "metric":
            search, summary = self._with_metric(key)
            return search._where(metric_condition(summary, it))
        if it.name.entity == "param":
            return self._where(_param_condition(it))
        if it.name.entity == "tag":
            return self._where(text_condition(_tag(key), it, NULLABLE_TEXT))
        if it.name.entity == "dataset":
            column = attribute_of(it.name, _DATASET_TEXTS, entity="dataset")
            read = exists().where(RunDataset.run_id == _RUN.id)
            return self._where(read.where(text_condition(column, it, LISTED_TEXT)))
        name = _known(it.name)
        attribute_of(name, _ALL)
        if name.key in _NUMBERS:
            return self._where(number_condition(_NUMBERS[name.key], it))
        return self._where(text_condition(_TEXTS[name.key], it, LISTED_TEXT))

    def ordered(self, orders: Sequence[Order], *, is_first_there: bool = False) -> Select[Any]:
        """In the order asked for, what has no value last; then the newest first, then by id.

        Args:
            orders: what was asked for.
            is_first_there: leave out runs without a number of the first, a metric.
        """
        search = self
        parts: list[ColumnElement[Any]] = []
        for part in orders:
            column: ColumnElement[Any]
            if part.name.entity == "metric":
                must_be_there = is_first_there and not parts
                search, summary = search._with_metric(part.name.key, is_optional=not must_be_there)
                if must_be_there:
                    search = search._where(summary.last.is_not(None))
                    parts.append(number_order(summary, part))
                else:
                    parts += metric_order(summary, part)
                continue
            if part.name.entity == "param":
                param = aliased(RunParam)
                of_run = and_(param.run_id == _RUN.id, param.key == part.name.key)
                search = search._replace(statement=search.statement.outerjoin(param, of_run))
                column = param.value.expression
            elif part.name.entity == "tag":
                column = _tag(part.name.key)
            else:
                column = attribute_of(_known(part.name), _ALL)
            parts.append((column.desc() if part.is_descending else column.asc()).nulls_last())
        return search.statement.order_by(*parts, _STARTED.desc(), _RUN.id)

    def _where(self, condition: ColumnElement[bool]) -> "_Search":
        return self._replace(statement=self.statement.where(condition))

    def _with_metric(self, name: str, *, is_optional: bool = False) -> tuple["_Search", Summary]:
        summary = self.joined.get(name)
        if summary is not None:
            return self, summary
        summary = summary_of(len(self.joined))
        of_run = and_(summary.of_run, summary.name == name)
        statement = self.statement.join(summary.table, of_run, isouter=is_optional)
        return _Search(statement, {**self.joined, name: summary}), summary


def _param_condition(it: Comparison) -> ColumnElement[bool]:
    param = aliased(RunParam)
    of_run = and_(param.run_id == _RUN.id, param.key == it.name.key)
    if it.operator in ("IS NULL", "IS NOT NULL"):
        found = exists().where(of_run)
        return ~found if it.operator == "IS NULL" else found
    return exists().where(of_run, text_condition(param.value, it, NULLABLE_TEXT))


def _tag(key: str) -> ColumnElement[str]:
    if key == names.RUN_NAME_TAG:
        return names.run_name_column()
    if key == names.USER_TAG:
        return names.user_column()
    found: ColumnElement[str] = Run.tags[key].astext
    return found


def _known(name: Name) -> Name:
    return Name(name.entity, _OTHER_NAMES.get(name.key, name.key))
