"""The one statement that stores values and keeps the summaries of their metrics."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic_core import to_json
from sqlalchemy import ARRAY, String, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.principal import Principal
from app.kernel.direct import DirectPool, Statement
from app.kernel.errors import Conflict

MOST_NAMES = 10_000
"""So many metrics may an attempt of a run have, each with any number of values."""

Point = dict[str, Any]
"""One value as it is stored, by column: what `point` makes of a record."""

# A value that is there already is not returned by the second part, so a batch that comes again
# counts for nothing in the third. Numbers and names in order: two batches cannot wait for each
# other. MLflow's values have no order of their own: of one step and time the greatest is the last,
# NaN the least.
_STORE = """
WITH target AS (
    {target}
), room AS (
    SELECT kept.names + CAST(:given_names AS bigint) <= CAST(:most_names AS bigint) OR (
        SELECT count(*) = 0 OR kept.names + count(*) <= CAST(:most_names AS bigint) FROM (
            SELECT DISTINCT name FROM {given} WHERE NOT EXISTS (
                SELECT FROM metric_summaries held WHERE held.run_id = target.id
                    AND held.attempt = target.attempt AND held.namespace = :namespace
                    AND held.name = given.name)) AS unknown
    ) AS has_room
    FROM target CROSS JOIN LATERAL (
        SELECT count(*) AS names FROM metric_summaries held WHERE held.run_id = target.id
            AND held.attempt = target.attempt AND held.namespace = :namespace) AS kept
), fresh AS (
    INSERT INTO metrics (run_id, attempt, source, seq, namespace, name, type, step, epoch,
        logged_at, value, data)
    SELECT target.id, target.attempt, :source, seq, :namespace, name, type, step, epoch,
        logged_at, value, data
    FROM {given}
    CROSS JOIN target CROSS JOIN room WHERE target.is_open AND room.has_room
    ORDER BY seq
    ON CONFLICT DO NOTHING
    RETURNING seq, name, type, step, logged_at, value, data
), newest AS (
    SELECT DISTINCT ON (name) name, type, value, data, step, logged_at
    FROM (SELECT *, bool_and(step IS NOT NULL) OVER (PARTITION BY name) AS has_steps
        FROM fresh) AS stepped
    ORDER BY name, CASE WHEN has_steps THEN step END DESC, logged_at DESC,
        CASE WHEN :source = 'mlflow' THEN coalesce(value, CASE data->>'value'
            WHEN 'inf' THEN 'Infinity' ELSE '-Infinity' END::float8) END DESC, seq DESC
), per AS (
    SELECT name, count(*) AS count, min(value) AS min, max(value) AS max,
        (array_agg(step ORDER BY value ASC NULLS LAST, step))[1] AS min_step,
        (array_agg(step ORDER BY value DESC NULLS LAST, step))[1] AS max_step
    FROM fresh GROUP BY name
), summed AS (
    INSERT INTO metric_summaries AS kept (run_id, attempt, namespace, name, workspace_id, type,
        count, min, min_step, max, max_step, last, last_data, last_step, last_at)
    SELECT target.id, target.attempt, :namespace, name, target.workspace_id, newest.type,
        per.count, per.min, per.min_step, per.max, per.max_step,
        newest.value, newest.data, newest.step, newest.logged_at
    FROM per JOIN newest USING (name) CROSS JOIN target
    ORDER BY name
    ON CONFLICT (run_id, attempt, namespace, name) DO UPDATE SET
        count = kept.count + excluded.count,
        min = least(kept.min, excluded.min),
        min_step = CASE WHEN kept.min <= excluded.min OR excluded.min IS NULL
            THEN kept.min_step ELSE excluded.min_step END,
        max = greatest(kept.max, excluded.max),
        max_step = CASE WHEN kept.max >= excluded.max OR excluded.max IS NULL
            THEN kept.max_step ELSE excluded.max_step END,
        (type, last, last_data, last_step, last_at) = (
            SELECT CASE WHEN is_newer THEN excluded.type ELSE kept.type END,
                CASE WHEN is_newer THEN excluded.last ELSE kept.last END,
                CASE WHEN is_newer THEN excluded.last_data ELSE kept.last_data END,
                CASE WHEN is_newer THEN excluded.last_step ELSE kept.last_step END,
                CASE WHEN is_newer THEN excluded.last_at ELSE kept.last_at END
            FROM (SELECT CASE WHEN excluded.last_step = kept.last_step
                OR excluded.last_step IS NULL OR kept.last_step IS NULL
                THEN excluded.last_at > kept.last_at OR excluded.last_at = kept.last_at
                    AND (:source <> 'mlflow' OR coalesce(excluded.last, CASE
                        excluded.last_data->>'value' WHEN 'inf' THEN 'Infinity' ELSE '-Infinity'
                        END::float8) >= coalesce(kept.last, CASE kept.last_data->>'value'
                        WHEN 'inf' THEN 'Infinity' ELSE '-Infinity' END::float8))
                ELSE excluded.last_step > kept.last_step END AS is_newer) AS it
        )
)
SELECT is_open, has_room FROM target CROSS JOIN room
"""
_JSON = """json_to_recordset(CAST(:points AS json)) AS given(seq bigint, name text, type text,
        step bigint, epoch bigint, logged_at timestamptz, value float8, data jsonb)"""
# Columns: a third of the work that JSON is, to the server as to us.
_COLUMNS = """unnest(CAST(:seq AS bigint[]), CAST(:name AS text[]), CAST(:type AS text[]),
        CAST(:step AS bigint[]), CAST(:epoch AS bigint[]), CAST(:logged_at AS timestamptz[]),
        CAST(:value AS float8[]), CAST(:data AS jsonb[]))
        AS given(seq, name, type, step, epoch, logged_at, value, data)"""
# Of batches of numbers alone, half the columns are the same everywhere: every element of an array
# costs the driver a look.
_NUMBERS = """(SELECT seq, name, 'scalar' AS type, step, CAST(NULL AS bigint) AS epoch, logged_at,
        value, CAST(NULL AS jsonb) AS data
        FROM unnest(CAST(:seq AS bigint[]), CAST(:name AS text[]), CAST(:step AS bigint[]),
            CAST(:logged_at AS timestamptz[]), CAST(:value AS float8[]))
            AS sent(seq, name, step, logged_at, value)) AS given"""
_ATTEMPT = """
    SELECT id, CAST(:attempt AS bigint) AS attempt, workspace_id, true AS is_open
    FROM runs WHERE id = :run_id
"""
_CURRENT = """
    SELECT runs.id, attempt, workspace_id, status <> ALL (:closed) AS is_open
    FROM runs JOIN workspaces ON workspaces.id = workspace_id
    WHERE runs.id = :run_id AND workspaces.name = :workspace
        AND :only_workspace_id IN ('', workspace_id)
"""
_TRACKED = """
    SELECT runs.id, runs.attempt, runs.workspace_id, runs.deleted_at IS NULL
        AND (runs.kind = 'tracked' OR runs.status <> ALL (:closed)) AS is_open
    FROM runs JOIN workspaces ON workspaces.id = runs.workspace_id
        LEFT JOIN runs own ON own.id = :script_run_id
    WHERE runs.id = :run_id AND workspaces.name = :workspace
        AND :only_workspace_id IN ('', runs.workspace_id)
        AND (:script_run_id = '' OR (own.attempt = :script_attempt
            AND own.id IN (runs.id, runs.creator_run_id)))
"""
_OF_ATTEMPT = text(_STORE.replace("{target}", _ATTEMPT.strip()).replace("{given}", _JSON))


class TooManyMetrics(Conflict):
    """A run has as many metrics as it may."""

    code = "too_many_metrics"
    title = "Too many metrics"

    def __init__(self) -> None:
        super().__init__(
            f"A run has at most {MOST_NAMES} metrics: log under names that are there already; what"
            " differs from value to value belongs into step."
        )


class _Store:
    """The statement for one way of naming the run."""

    def __init__(self, target: str) -> None:
        self._any = _direct(target, _COLUMNS)
        self._numbers = _direct(target, _NUMBERS)

    async def __call__(
        self, direct: DirectPool, points: Sequence[Point], **given: Any
    ) -> Mapping[str, Any] | None:
        """Store these; the row says whether the run is open, and has room for their names."""
        is_plain = all("value" in point and point.get("epoch") is None for point in points)
        statement = self._numbers if is_plain else self._any
        columns: dict[str, list[Any]] = {
            name: [point.get(name) for point in points]
            for name in (_OF_NUMBERS if is_plain else _OF_ANY)
        }
        if not is_plain:
            columns["data"] = [
                to_json(point["data"]).decode() if "data" in point else None for point in points
            ]
        return await direct.row(statement, namespace="", **given, **columns, **_names(points))


def _direct(target: str, given: str) -> Statement:
    closed = bindparam("closed", type_=ARRAY(String))
    store = _STORE.replace("{target}", target.strip()).replace("{given}", given)
    return Statement(text(store).bindparams(closed))


_OF_NUMBERS = ("seq", "name", "step", "logged_at", "value")
_OF_ANY = (*_OF_NUMBERS, "type", "epoch")
_store_current = _Store(_CURRENT)
_store_tracked = _Store(_TRACKED)


async def store_points(
    session: AsyncSession,
    *,
    run_id: str,
    attempt: int,
    source: str,
    namespace: str,
    points: Sequence[Point],
) -> None:
    """Store values that are not there yet, and bring the summaries up to date; all or none.

    Args:
        session: the transaction.
        run_id: the run.
        attempt: the attempt that logged them.
        source: who sends; with its number the name of a value.
        namespace: empty for the script's own.
        points: at least one, in the order in which they were logged.

    Raises:
        TooManyMetrics: the attempt would have more metrics than `MOST_NAMES`.
    """
    given = {
        "run_id": run_id,
        "attempt": attempt,
        "source": source,
        "namespace": namespace,
        "points": to_json(points).decode(),
        **_names(points),
    }
    row = (await session.execute(_OF_ATTEMPT, given)).one()
    if not row.has_room:
        raise TooManyMetrics


async def store_current(
    direct: DirectPool,
    *,
    principal: Principal,
    workspace: str,
    run_id: str,
    closed: Collection[str],
    source: str,
    points: Sequence[Point],
) -> bool | None:
    """The same for the current attempt of a run that is named from outside, in one round trip.

    Args:
        direct: connections to the database.
        principal: who asks; a run may speak of itself only, which its caller has checked.
        workspace: name of the run's workspace.
        run_id: the run.
        closed: states in which a run takes no values any more.
        source: who sends.
        points: at least one, in the order in which they were logged.

    Returns:
        Whether the run took them; None when there is no such run for this caller.

    Raises:
        TooManyMetrics: it would have more metrics than `MOST_NAMES`.
    """
    row = await _store_current(
        direct,
        points,
        workspace=workspace,
        only_workspace_id=principal.workspace_id,
        run_id=run_id,
        closed=list(closed),
        source=source,
    )
    if row is not None and row["is_open"] and not row["has_room"]:
        raise TooManyMetrics
    return None if row is None else row["is_open"]


async def store_tracked(
    direct: DirectPool,
    *,
    principal: Principal,
    workspace: str,
    run_id: str,
    closed: Collection[str],
    source: str,
    points: Sequence[Point],
) -> bool:
    """The same for what a tracking client logs: to a run of its own, or of a user's choice.

    Args:
        direct: connections to the database.
        principal: who asks; a script, while its attempt is the present one, may speak of its
            run and of those that it made.
        workspace: name of the run's workspace.
        run_id: the run.
        closed: states in which a job takes no values any more; other runs take them always.
        source: who sends.
        points: at least one, in the order in which they were logged.

    Returns:
        Whether they are stored; if not, the caller may not write there, or nobody may.

    Raises:
        TooManyMetrics: the run would have more metrics than `MOST_NAMES`.
    """
    row = await _store_tracked(
        direct,
        points,
        workspace=workspace,
        only_workspace_id=principal.workspace_id,
        script_run_id=principal.id if principal.kind == "run" else "",
        script_attempt=principal.attempt,
        run_id=run_id,
        closed=list(closed),
        source=source,
    )
    if row is not None and row["is_open"] and not row["has_room"]:
        raise TooManyMetrics
    return row is not None and row["is_open"]


def _names(points: Sequence[Point]) -> dict[str, Any]:
    return {"given_names": len({point["name"] for point in points}), "most_names": MOST_NAMES}
