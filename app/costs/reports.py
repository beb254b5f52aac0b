"""Reports of costs, a page at a time.

Costs grow while they are read. So a token holds the two moments that the first page was made for:
all pages are about the same costs, and nothing is left out or comes twice.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncSession

from app.costs import charges
from app.costs.charges import By, Place
from app.costs.schemas import CostRead, CostReport
from app.kernel.clock import database_now
from app.kernel.config import Settings
from app.kernel.pagination import (
    PageQuery,
    bad_token,
    binding_of_listing,
    cut_page,
    keys_after,
    moment_of,
)
from app.kernel.plain_text import mended

_KEYS = 4
_COST = re.compile(r"[0-9]{1,20}(\.[0-9]{1,60})?", re.ASCII)


class Between(NamedTuple):
    """Two moments.

    Attributes:
        since, until: the moments.
        is_open: the later one is now.
        asked: what the caller said of them.
    """

    since: datetime
    until: datetime
    is_open: bool
    asked: str


class _Start(NamedTuple):
    since: datetime
    until: datetime
    after: Place | None


async def report(
    session: AsyncSession,
    settings: Settings,
    *,
    by: By,
    between: Between,
    page: PageQuery,
    whose: str,
    conditions: Sequence[ColumnElement[bool]],
) -> CostReport:
    """Sums of costs, the dearest first.

    Args:
        session: to read in.
        settings: have the currency.
        by: what is summed up.
        between: only what was held between them counts.
        page: what the client asked for.
        whose: says in words what the conditions say, so that a token of others' is refused.
        conditions: about `Charge` and `Workspace`.

    Raises:
        BadRequest: the token is not one of this report.
    """
    binding = binding_of_listing(f"costs of {whose} by {by}, {between.asked}")
    start = _start(page, binding, between, now=await database_now(session))
    rows = await charges.totals(
        session,
        by=by,
        since=start.since,
        until=start.until,
        conditions=conditions,
        after=start.after,
        most=page.page_size + 1,
    )
    moments = [start.since.isoformat(), start.until.isoformat()]
    shown, following = cut_page(
        list(rows), page, lambda row: [*moments, f"{row.exact_cost:f}", row.name], binding
    )
    return CostReport(
        currency=settings.currency,
        since=start.since,
        until=None if between.is_open else start.until,
        cost=rows[0].total if rows else 0.0,
        items=[CostRead.model_validate(row) for row in shown],
        next_page_token=following,
    )


def _start(page: PageQuery, binding: str, between: Between, *, now: datetime) -> _Start:
    keys = keys_after(page, binding)
    if keys is None:
        # What is yet to come would be other costs on the next page.
        return _Start(between.since, max(between.since, min(between.until, now)), None)
    since, until, cost, name = map(str, keys) if len(keys) == _KEYS else [""] * _KEYS
    began, ended = moment_of(since), moment_of(until)
    if began is None or ended is None or not _COST.fullmatch(cost):
        raise bad_token()
    return _Start(began, ended, Place(Decimal(cost), mended(name)))
