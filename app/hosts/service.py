"""Hosts: what administrators want of them beside what workers see."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, cast

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from app.hosts import repository
from app.hosts.errors import HostBusy, HostFromSettings, HostNotFound, NoSwarm
from app.hosts.schemas import HostDrain, HostLimits, HostPut, HostRead
from app.kernel.errors import invalid_field
from app.kernel.odd_rows import one_of
from app.kernel.pagination import Page, PageQuery
from app.planning.service import wake_planner
from app.providers.base import LOCAL, HostState
from app.tables.host import HostSettings, SeenHost

_LIMITS = ("cores", "memory_bytes", "gpus")
_TABLE = SeenHost.__tablename__


class _Host(NamedTuple):
    name: str
    seen: SeenHost | None
    wanted: HostSettings | None
    node_counts: tuple[int, int]
    """Nodes that are there, and those of them that runs have."""


async def list_page(session: AsyncSession, page: PageQuery) -> Page[HostRead]:
    """Hosts by name, with the nodes that are there now."""
    names, following = await repository.list_names(session, page)
    known = await _known(session, names)
    return Page.of(known, _read, following, table=_TABLE, name_of=lambda host: host.name)


async def get(session: AsyncSession, name: str) -> HostRead:
    """One host.

    Raises:
        HostNotFound: nobody has seen or registered it.
        RowUnreadable: its row is odd.
    """
    known = await _known(session, [name])
    if not known:
        raise HostNotFound(name)
    with one_of(_TABLE, name):
        return _read(known[0])


async def put(session: AsyncSession, name: str, body: HostPut) -> bool:
    """Register an engine, or set the limits of a host; nodes that are there stay.

    Returns:
        Whether it is a new host.

    Raises:
        HostNotFound: there is none, and no engine is given.
        HostFromSettings: an engine is given for a host that the settings name.
        NoSwarm: nodes do not live on engines of a swarm here.
        Invalid: a registered engine's address is missing.
    """
    await wake_planner(session)
    row = await session.get(HostSettings, name)
    seen = await repository.seen(session)
    is_registered = row is not None and row.engine_url is not None
    if body.engine_url is None and is_registered:
        message = "The host is a registered engine: give its engine_url, or DELETE the host."
        raise invalid_field("/engine_url", "engine_url_required", message)
    if body.engine_url is None and name not in seen:
        raise HostNotFound(name)
    if body.engine_url is not None and not is_registered:
        _check_registration(name, seen)
    if row is None:
        row = HostSettings(name=name)
        session.add(row)
    row.engine_url = body.engine_url
    for limit in _LIMITS:
        setattr(row, limit, getattr(body.limits, limit))
    await session.flush()
    return body.engine_url is not None and not is_registered


def _check_registration(name: str, seen: dict[str, SeenHost]) -> None:
    if name in seen and name != LOCAL:
        raise HostFromSettings(
            f"TRAINWRIGHT_DOCKER_ENGINES names host {name!r}: change its engine there."
        )
    if LOCAL in seen:
        raise NoSwarm(
            "Engines can be registered where nodes live on engines of a swarm; here there is one "
            "host. Set TRAINWRIGHT_DOCKER_ENGINES: see docs/engines.md."
        )


async def drain(session: AsyncSession, name: str, body: HostDrain) -> None:
    """Let no more nodes come; what is there leaves.

    Raises:
        HostNotFound: there is no such host.
    """
    await wake_planner(session)
    row = await _row(session, name)
    row.draining_since = row.draining_since or _now()
    row.drain_reason = body.reason
    row.drain_by = None
    if body.deadline_seconds is not None:
        row.drain_by = _now(timedelta(seconds=body.deadline_seconds))
    await session.flush()


async def undrain(session: AsyncSession, name: str) -> None:
    """Let nodes come again.

    Raises:
        HostNotFound: there is no such host.
    """
    await wake_planner(session)
    row = await _row(session, name)
    row.draining_since, row.drain_by, row.drain_reason = None, None, ""
    await session.flush()


async def delete(session: AsyncSession, name: str) -> None:
    """Forget an engine that was registered; nothing happens when there is none.

    Raises:
        HostFromSettings: the settings name the host.
        HostBusy: it is not drained, or nodes are on it.
    """
    await wake_planner(session)
    row = await session.get(HostSettings, name)
    if row is None or row.engine_url is None:
        if name in await repository.seen(session):
            raise HostFromSettings(
                f"The settings name host {name!r}: take it out of TRAINWRIGHT_DOCKER_ENGINES, or "
                "drain it."
            )
        return
    count, _ = (await repository.node_counts(session, [name])).get(name, (0, 0))
    if count or row.draining_since is None:
        raise HostBusy(
            f"Host {name!r} has {count} nodes, and is {'' if row.draining_since else 'not '}being "
            "drained: drain it, wait until it is drained, and repeat."
        )
    await session.delete(row)
    await session.flush()


async def changed_at(session: AsyncSession, name: str) -> datetime | None:
    """When an administrator last changed it; None: never."""
    row = await session.get(HostSettings, name, populate_existing=True)
    return row.updated_at if row else None


async def _row(session: AsyncSession, name: str) -> HostSettings:
    row = await session.get(HostSettings, name)
    if row is None:
        if name not in await repository.seen(session):
            raise HostNotFound(name)
        row = HostSettings(name=name)
        session.add(row)
    return row


async def _known(session: AsyncSession, names: Sequence[str]) -> list[_Host]:
    counts = await repository.node_counts(session, names)
    return [
        _Host(name, seen, wanted, counts.get(name, (0, 0)))
        for name, (seen, wanted) in (await repository.rows(session, names)).items()
        if seen or wanted
    ]


def _read(host: _Host) -> HostRead:
    name, seen, wanted, counts = host
    state, detail = HostState.UNKNOWN.value, "No worker has looked at it yet."
    if seen is not None:
        state, detail = seen.state, seen.detail
    changed_at = seen.state_at if seen else None
    if wanted is not None and wanted.draining_since is not None and state == HostState.READY:
        state = "draining" if counts[0] else HostState.DRAINED.value
        detail = wanted.drain_reason or "It is being drained."
        changed_at = wanted.draining_since
    return HostRead(
        name=name,
        provider=seen.provider if seen else "",
        state=state,
        detail=detail,
        address=seen.address if seen else "",
        cores=seen.cores if seen else 0.0,
        memory_bytes=seen.memory_bytes if seen else 0,
        gpus=seen.gpus if seen else 0,
        limits=HostLimits.model_validate(wanted) if wanted else HostLimits(),
        engine_url=wanted.engine_url if wanted else None,
        draining_since=wanted.draining_since if wanted else None,
        drain_by=wanted.drain_by if wanted else None,
        labels=seen.labels if seen else {},
        cluster_nodes=counts[0],
        running_nodes=counts[1],
        state_transition_time=changed_at or cast("HostSettings", wanted).created_at,
        last_seen_at=seen.seen_at if seen else cast("HostSettings", wanted).created_at,
    )


def _now(later: timedelta = timedelta()) -> datetime:
    # A SQL expression: the database's time, not this host's.
    return func.clock_timestamp() + later  # type: ignore[return-value]
