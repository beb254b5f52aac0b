"""Searching runs: all of it is done by the database."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Select,
    Text,
    and_,
    any_,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.orm import aliased

from app.auth.principal import Principal
from app.kernel.direct import DirectPool, Statement
from app.mlflow import names, run_documents
from app.mlflow.access import seen
from app.mlflow.moments import milliseconds_of
from app.mlflow.pages import binding_of, offset_of, page_of
from app.mlflow.run_rows import in_order
from app.mlflow.run_schemas import RunSearch
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
_WORKSPACE = bindparam("workspace_id", type_=Text)
_OFFSET = bindparam("offset", type_=Integer)
_MOST_KNOWN = 500
_LONGEST_KNOWN = 2000
"""Characters: longer ones are made anew each time, so that what is remembered stays small."""
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
    wanted = _Wanted(
        asked.filter,
        tuple(asked.order_by),
        asked.run_view_type,
        limit=asked.max_results + 1,
        has_offset=offset > 0,
        has_default=names.DEFAULT_ID in asked.experiment_ids,
        is_script=principal.kind == "run",
    )
    is_short = len(wanted.filter) + sum(map(len, wanted.order_by)) <= _LONGEST_KNOWN
    ways = _known_ways(wanted) if is_short else map(Statement, _ways(wanted))
    given = {
        "workspace_id": workspace_id,
        "experiment_ids": asked.experiment_ids,
        "script_run_id": principal.id,
        "offset": offset,
    }
    rows: list[Any] = []
    for way in ways:
        rows = await direct.rows(way, **given)
        if rows:
            break
    page, more = page_of(rows, offset=offset, limit=asked.max_results, binding=binding)
    return {"runs": run_documents.documents(page), **more}


class _Wanted(NamedTuple):
    """What makes the statements of a search, apart from values that are parameters of all."""

    filter: str
    order_by: tuple[str, ...]
    view: str
    limit: int
    """It is no parameter: where it is one, the database plans anew for every search."""
    has_offset: bool
    has_default: bool
    is_script: bool


@lru_cache(maxsize=_MOST_KNOWN)
def _known_ways(wanted: _Wanted) -> list[Statement]:
    return [Statement.of_shape(way) for way in _ways(wanted)]


def _ways(wanted: _Wanted) -> list[Select[Any]]:
    """The statements of a search; each is to be tried if the one before finds nothing.

    What lacks the metric that comes first in the order comes last. So if enough runs have numbers
    there, and no infinity comes before these, they are the answer, and the index in the metric's
    order gives them without a look at all.
    """
    found = _Search(
        select(_RUN.id).where(
            seen(_WORKSPACE, bindparam("script_run_id") if wanted.is_script else None),
            _in_experiments(has_default=wanted.has_default),
            *names.in_view(Run.deleted_at, wanted.view),
        )
    )
    for comparison in parse_filter(wanted.filter):
        found = found.narrowed(comparison)
    orders = parse_order(wanted.order_by)

    def cut(ids: Select[Any]) -> Select[Any]:
        from_there = ids.offset(_OFFSET) if wanted.has_offset else ids
        return from_there.limit(literal_column(str(wanted.limit)))

    ways = [_documents(cut(found.ordered(orders)))]
    if orders and orders[0].name.entity == "metric":
        having = cut(found.ordered(orders, is_first_there=True))
        is_late = has_infinity_first(_WORKSPACE, orders[0])
        ways.insert(0, _documents(having, is_late=is_late, count=wanted.limit))
    return ways


def _documents(
    ids: Select[Any], *, is_late: ColumnElement[bool] | None = None, count: int = 0
) -> Select[Any]:
    """What is shown of these runs, in their order.

    Args:
        ids: of the runs.
        is_late: if this holds, nothing.
        count: nothing as well if there are not so many; 0: however many there are.
    """
    gathered = select(func.array(ids.scalar_subquery(), type_=ARRAY(Text)).label("ids"))
    page = gathered.cte("page").prefix_with("MATERIALIZED")
    found = in_order(page)
    if is_late is None:
        return found
    return found.where(func.cardinality(page.c.ids) == literal_column(str(count)), ~is_late)


def _in_experiments(*, has_default: bool) -> ColumnElement[bool]:
    named = _RUN.experiment_id == any_(bindparam("experiment_ids", type_=ARRAY(Text)))
    if not has_default:
        return named
    default = select(Experiment.id).where(
        Experiment.workspace_id == _WORKSPACE, Experiment.name == names.DEFAULT_NAME
    )
    return or_(named, _RUN.experiment_id == default.scalar_subquery())


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


def _tag(key: str) -> ColumnElement[Any]:
    if key == names.RUN_NAME_TAG:
        return names.run_name_column()
    if key == names.USER_TAG:
        return names.user_tag_column()
    found: ColumnElement[str] = Run.tags[key].astext
    return found


def _known(name: Name) -> Name:
    return Name(name.entity, _OTHER_NAMES.get(name.key, name.key))
