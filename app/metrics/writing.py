"""The one statement that stores values and keeps the summaries of their metrics."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, BigInteger, DateTime, Float, String, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession


class Point(NamedTuple):
    """One value as it is stored: `value`, or `data` (JSON text) for all but finite numbers."""

    seq: int
    name: str
    type: str
    step: int | None
    epoch: int | None
    logged_at: Any
    value: float | None
    data: str | None


# A value that is there already is not returned by the first part, so a batch that comes again
# counts for nothing in the second. Names in order: two batches cannot wait for each other.
_STORE = text("""
WITH fresh AS (
    INSERT INTO metrics (run_id, attempt, source, seq, namespace, name, type, step, epoch,
        logged_at, value, data)
    SELECT :run_id, :attempt, :source, seq, :namespace, name, type, step, epoch, logged_at,
        value, data::jsonb
    FROM unnest(:seqs, :names, :types, :steps, :epochs, :times, :values, :datas)
        AS given(seq, name, type, step, epoch, logged_at, value, data)
    ON CONFLICT DO NOTHING
    RETURNING seq, name, type, step, logged_at, value, data
), newest AS (
    SELECT DISTINCT ON (name) name, type, value, data, step, logged_at
    FROM (SELECT *, bool_and(step IS NOT NULL) OVER (PARTITION BY name) AS has_steps
        FROM fresh) AS stepped
    ORDER BY name, CASE WHEN has_steps THEN step END DESC, logged_at DESC, seq DESC
), per AS (
    SELECT name, count(*) AS count, min(value) AS min, max(value) AS max,
        (array_agg(step ORDER BY value ASC NULLS LAST, step))[1] AS min_step,
        (array_agg(step ORDER BY value DESC NULLS LAST, step))[1] AS max_step
    FROM fresh GROUP BY name
)
INSERT INTO metric_summaries AS kept (run_id, attempt, namespace, name, workspace_id, type, count,
    min, min_step, max, max_step, last, last_data, last_step, last_at)
SELECT :run_id, :attempt, :namespace, name, runs.workspace_id, newest.type, per.count,
    per.min, per.min_step, per.max, per.max_step,
    newest.value, newest.data, newest.step, newest.logged_at
FROM per JOIN newest USING (name) JOIN runs ON runs.id = :run_id
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
        FROM (SELECT CASE WHEN excluded.last_step = kept.last_step OR excluded.last_step IS NULL
            OR kept.last_step IS NULL THEN excluded.last_at >= kept.last_at
            ELSE excluded.last_step > kept.last_step END AS is_newer) AS it
    )
""").bindparams(
    bindparam("seqs", type_=ARRAY(BigInteger)),
    bindparam("names", type_=ARRAY(String)),
    bindparam("types", type_=ARRAY(String)),
    bindparam("steps", type_=ARRAY(BigInteger)),
    bindparam("epochs", type_=ARRAY(BigInteger)),
    bindparam("times", type_=ARRAY(DateTime(timezone=True))),
    bindparam("values", type_=ARRAY(Float(53))),
    bindparam("datas", type_=ARRAY(String)),
)
_COLUMNS = ("seqs", "names", "types", "steps", "epochs", "times", "values", "datas")


async def store_points(
    connection: AsyncConnection | AsyncSession,
    *,
    run_id: str,
    attempt: int,
    source: str,
    namespace: str,
    points: Sequence[Point],
) -> None:
    """Store values that are not there yet, and bring the summaries up to date.

    Args:
        connection: with the transaction.
        run_id: the run.
        attempt: the attempt that logged them.
        source: who sends; with `Point.seq` the name of a value.
        namespace: empty for the script's own.
        points: at least one, in the order in which they were logged.
    """
    columns = dict(zip(_COLUMNS, map(list, zip(*points, strict=True)), strict=True))
    given = {"run_id": run_id, "attempt": attempt, "source": source, "namespace": namespace}
    await connection.execute(_STORE, {**given, **columns})
