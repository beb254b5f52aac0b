"""Attempts: giving a run its nodes, and taking them back."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from math import inf
from typing import Any, NamedTuple

from sqlalchemy import Text, column, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.costs import charges
from app.costs.budget import BUDGET_SPENT, MAX_COST_SPENT, Account
from app.kernel.clock import utc_now
from app.kernel.wake import wake
from app.planning.service import wake_planner
from app.runs.children import end_children
from app.runs.states import BlockerCode, Status
from app.runs.transitions import add_event, lock_run, transition
from app.scheduling.forecast import Lasts
from app.scheduling.types import Reason, Waiting
from app.tables.cluster import ClusterNode
from app.tables.run import Attempt, Run, RunEvent, RunFile, RunNode
from app.tables.tracking import RunParam

_FOLLOWED_FIRST, _FOLLOWED_AFTER = 1000, 5000
_FOLLOWED = ("object", "position", "needed", "available", "budget", "period_ends_at")
_NEAR_SECONDS = 60.0
_NEAR_PART = 0.2
_PREEMPTIBLE = frozenset({Status.QUEUED, Status.RUNNING, Status.NOT_RESPONDING})
_GIVES_WAY = ("preempted", "evicted")
_UPLOADS = ("upload", "mlflow")
_CLEARS = {
    Reason.LARGER_THAN_CLUSTER: "max_nodes of the cluster is raised",
    Reason.LARGER_THAN_HOSTS: "hosts are added that have room for all of its nodes",
    Reason.CLUSTER_DISABLED: "the cluster is enabled again",
    Reason.QUOTA: "runs that count on the quota end, or it is raised",
    Reason.BUDGET: "the budget is raised, its period ends, or runs end that keep a part of it",
    Reason.PREEMPTING: "the low-priority runs have stopped",
    Reason.NO_CAPACITY_NOW: "a running run ends, or capacity is added",
    Reason.BEHIND_RUN: "the run ahead has got its nodes",
}

_SPENT = {
    BUDGET_SPENT: "The budget of the workspace is spent; the run was stopped.",
    MAX_COST_SPENT: "The run has cost its max_cost and was stopped.",
}


def node_name(run_id: str, attempt: int, node_index: int) -> str:
    """The deterministic name of a node, so that a crashed creator's successor adopts it."""
    return f"tw-{run_id}-a{attempt}-n{node_index}"


def run_of(node: str) -> str:
    """The id of the run that a node of this name works for."""
    return node.removeprefix("tw-").rsplit("-", 2)[0]


def network_name(run_id: str, attempt: int) -> str:
    """The private network of an attempt's nodes, where nodes have one."""
    return f"tw-{run_id}-a{attempt}"


async def begin(
    session: AsyncSession,
    *,
    run_id: str,
    cluster_node_ids: Sequence[str],
    price_per_node_hour: Decimal,
    reserved: float,
) -> None:
    """Give a queued run its nodes: the rows of the new attempt, before anything is started.

    Drops the placement silently when the run is not queued any more (planned on a stale view).
    """
    run = await lock_run(session, run_id)
    if run.status != Status.QUEUED:
        return
    await _set_uploads_aside(session, run)
    await _take_properties_back(session, run)
    await _take_params_back(session, run)
    reason = f"attempt {run.attempt} of run {run.id}, whose script kept it, was lost"
    await end_children(session, run, Status.FAILED, actor="scheduler", reason=reason)
    run.attempt += 1
    session.add(Attempt(run_id=run.id, number=run.attempt))
    await session.flush()
    places = await session.execute(
        select(ClusterNode.id, ClusterNode.host).where(ClusterNode.id.in_(cluster_node_ids))
    )
    hosts: dict[str, str] = {node_id: host for node_id, host in places}  # noqa: C416
    for index, cluster_node_id in enumerate(cluster_node_ids):
        session.add(
            RunNode(
                name=node_name(run.id, run.attempt, index),
                run_id=run.id,
                attempt=run.attempt,
                node_index=index,
                cluster_node_id=cluster_node_id,
                host=hosts[cluster_node_id],
            )
        )
    await session.execute(
        update(ClusterNode)
        .where(ClusterNode.id.in_(cluster_node_ids))
        .values(run_id=run.id, idle_since=None)
    )
    run.blockers = [blocker(BlockerCode.NODE_STARTING, f"attempt {run.attempt}", "it has started")]
    add_event(
        session,
        run,
        kind="attempt_started",
        actor="scheduler",
        data={"attempt": run.attempt, "nodes": len(cluster_node_ids)},
    )
    await session.flush()
    await charges.begin(
        session, run_id=run.id, price_per_node_hour=price_per_node_hour, reserved=reserved
    )
    await wake(session, Run, run.id)


async def _set_uploads_aside(session: AsyncSession, run: Run) -> None:
    # What the script of a lost attempt uploaded: the next one uploads under the same names, with
    # other content where training is not exact to the bit. Logs of lost attempts go there too.
    if not run.attempt:
        return
    aside = func.concat(f"attempts/{run.attempt}/", RunFile.path)
    there = aliased(RunFile)
    is_taken = select(there.path).where(there.run_id == run.id, there.path == aside).exists()
    await session.execute(
        update(RunFile)
        .where(RunFile.run_id == run.id, RunFile.origin.in_(_UPLOADS))
        .where(RunFile.attempt == run.attempt)
        .where(~is_taken)
        .values(path=aside)
        .execution_options(synchronize_session=False)
    )


async def _take_properties_back(session: AsyncSession, run: Run) -> None:
    # Properties never change, but those that a lost attempt added are the next one's to add.
    found = await session.execute(
        select(RunEvent.data["added_properties"]).where(
            RunEvent.run_id == run.id,
            RunEvent.type == "updated",
            RunEvent.data.contains({"attempt": run.attempt}),
        )
    )
    gone = {key for keys in found.scalars() for key in keys}
    run.properties = {key: value for key, value in run.properties.items() if key not in gone}


async def _take_params_back(session: AsyncSession, run: Run) -> None:
    # Parameters are written once as well.
    if run.attempt:
        await session.execute(
            delete(RunParam).where(RunParam.run_id == run.id, RunParam.attempt == run.attempt)
        )


async def release_nodes(session: AsyncSession, run: Run) -> None:
    """Give the cluster its nodes back, and have it planned anew."""
    statement = (
        update(ClusterNode)
        .where(ClusterNode.run_id == run.id)
        .values(run_id=None, idle_since=func.clock_timestamp())
        .returning(ClusterNode.id)
    )
    released = (await session.execute(statement)).all()
    await charges.end(session, run.id)
    if released:
        await wake_planner(session)


async def nodes_of(
    session: AsyncSession, run_id: str, attempt: int | None = None
) -> Sequence[RunNode]:
    """Nodes of one attempt of a run, or of all of them, by attempt and index."""
    statement = select(RunNode).where(RunNode.run_id == run_id)
    if attempt is not None:
        statement = statement.where(RunNode.attempt == attempt)
    statement = statement.order_by(RunNode.attempt, RunNode.node_index)
    statement = statement.execution_options(populate_existing=True)
    return (await session.execute(statement)).scalars().all()


async def current(session: AsyncSession, run: Run) -> Attempt | None:
    """The run's latest attempt; None before the first."""
    return await session.get(Attempt, (run.id, run.attempt), populate_existing=True)


async def age_seconds(session: AsyncSession, run: Run) -> float:
    """Seconds since the current attempt began, by database time."""
    age = func.extract("epoch", func.clock_timestamp() - Attempt.created_at)
    statement = select(age).where(Attempt.run_id == run.id, Attempt.number == run.attempt)
    return float((await session.execute(statement)).scalar_one_or_none() or 0.0)


async def seconds_since_told_to_give_way(session: AsyncSession, run: Run) -> float:
    """Seconds since the current attempt was told to give up its nodes, by database time."""
    age = func.extract("epoch", func.clock_timestamp() - func.max(RunEvent.created_at))
    statement = select(age).where(RunEvent.run_id == run.id, RunEvent.type.in_(_GIVES_WAY))
    return float((await session.execute(statement)).scalar_one_or_none() or 0.0)


async def end(
    session: AsyncSession, run: Run, *, outcome: str, error: dict[str, Any] | None
) -> None:
    """Write how the current attempt ended."""
    await session.execute(
        update(Attempt)
        .where(Attempt.run_id == run.id, Attempt.number == run.attempt)
        .values(outcome=outcome, error=error, ended_at=func.clock_timestamp())
    )


async def explain_waiting(
    session: AsyncSession,
    waiting: Sequence[Waiting],
    *,
    cluster_names: Mapping[str, str],
    before: Mapping[str, list[dict[str, Any]]],
    starts: Mapping[str, Lasts],
    money: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write on waiting runs why they wait and when they may start, where that has changed.

    Args:
        session: the transaction.
        waiting: from the plan.
        cluster_names: names of clusters by id.
        before: what the runs said when the plan was made.
        starts: in how many seconds they are thought to start, where that is known.
        money: of those that a budget keeps waiting, the amounts: from `money_lacking`.
    """
    moved: list[_Moved] = []
    for item in waiting:
        found = why(item, cluster_names[item.cluster_id])
        found |= _between(starts.get(item.run_id)) | dict(money.get(item.run_id, {}))
        now = before.get(item.run_id, [])
        if len(now) == 1 and _same(now[0], found):
            if any(now[0].get(key) != found.get(key) for key in _FOLLOWED) or not _is_as_good(
                now[0], found
            ):
                kept = found | {"since": now[0]["since"]}
                moved.append(_Moved(item.run_id, kept, _error(now[0], found)))
            continue
        run = await lock_run(session, item.run_id)
        if run.status == Status.QUEUED:
            set_blockers(session, run, [found])
    await _follow(session, moved)


class _Moved(NamedTuple):
    """A run whose blocker is the same as before, with other figures.

    Attributes:
        run_id: the run.
        blocker: as it is to be.
        error: by how much of it the position is wrong.
    """

    run_id: str
    blocker: dict[str, Any]
    error: float


async def _follow(session: AsyncSession, moved: Sequence[_Moved]) -> None:
    # Whoever only moves up needs no event, and there may be many: the first ones are written at
    # once, and of those behind them the ones that are most wrong; the others by the next plans.
    rest = sorted(moved[_FOLLOWED_FIRST:], key=lambda item: -item.error)
    written = [*moved[:_FOLLOWED_FIRST], *rest[:_FOLLOWED_AFTER]]
    if not written:
        return
    blockers = {item.run_id: item.blocker for item in written}
    new = func.jsonb_each(literal(blockers, JSONB)).table_valued(
        column("key", Text), column("value", JSONB), name="new"
    )
    # Whoever is being changed just now is left to the next plan.
    free = (
        select(Run.id, new.c.value)
        .join(new, new.c.key == Run.id)
        .where(Run.status == Status.QUEUED)
        .with_for_update(of=Run, key_share=True, skip_locked=True)
        .cte("free")
    )
    statement = (
        update(Run)
        .where(Run.id == free.c.id)
        .values(blockers=func.jsonb_build_array(free.c.value))
        .execution_options(synchronize_session=False)
    )
    await session.execute(statement)


def _same(now: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    # Whoever is ahead changes all the time: that is no other reason.
    if now.get("code") == found["code"] == BlockerCode.BEHIND_RUN:
        return True
    return all(now.get(key) == found[key] for key in ("code", "object"))


def _error(now: Mapping[str, Any], found: Mapping[str, Any]) -> float:
    if now["object"] != found["object"]:
        return inf
    position: int = found["position"]
    return abs(int(now.get("position") or 0) - position) / position


def money_lacking(*, needed: float, account: Account, left: float, currency: str) -> dict[str, Any]:
    """What the blocker of a run says that a budget keeps waiting.

    Args:
        needed: would be kept for the run.
        account: of its workspace.
        left: what may still be kept for anybody; what runs beyond its part may make it negative.
        currency: of all amounts.
    """
    ends_at = account.period_ends_at
    return {
        "needed": round(needed, 2),
        "available": round(max(0.0, left), 2),
        "budget": account.amount,
        "currency": currency,
        "period_ends_at": ends_at.isoformat() if ends_at else None,
    }


def _between(start: Lasts | None) -> dict[str, str | None]:
    if start is None:
        return {}
    return {"starts_after": _moment(start.shortest), "starts_before": _moment(start.longest)}


def _moment(seconds: float) -> str | None:
    return None if seconds == inf else (utc_now() + timedelta(seconds=seconds)).isoformat()


def _is_as_good(now: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether what a run says of its start is near enough to what is known now.

    It moves all the time, and is only worth writing where somebody would notice.
    """
    for key in ("starts_after", "starts_before"):
        before, after = now.get(key), found.get(key)
        if (before is None) != (after is None):
            return False
        if before is not None and after is not None:
            then, so_far = datetime.fromisoformat(after), datetime.fromisoformat(before)
            away_seconds = max(0.0, (then - utc_now()).total_seconds())
            off_seconds = abs((then - so_far).total_seconds())
            if off_seconds > max(_NEAR_SECONDS, _NEAR_PART * away_seconds):
                return False
    return True


def why(item: Waiting, cluster_name: str) -> dict[str, Any]:
    """What keeps a gang waiting, as its run says it."""
    thing = {
        Reason.BEHIND_RUN: f"run {item.object}",
        Reason.PREEMPTING: f"run {item.object}" if item.object else "low-priority runs",
        Reason.QUOTA: f"quota {item.object}",
        Reason.BUDGET: "budget of the workspace",
        Reason.LARGER_THAN_HOSTS: "hosts",
    }.get(item.reason)
    if item.reason is Reason.NO_CAPACITY_NOW and not item.object:
        thing = "hosts"
    code = BlockerCode(item.reason.value)
    return blocker(
        code, thing or f"cluster {cluster_name}", _CLEARS[item.reason], position=item.position
    )


async def preempt(session: AsyncSession, *, run_id: str, for_run_id: str) -> None:
    """Have a run give up its nodes for another, and wait for others; the attempt does not count.

    Nothing happens when it is not running any more, or being stopped already.
    """
    because = f"Its nodes were needed by run {for_run_id}, which has a higher priority."
    await _give_way(session, run_id, kind="preempted", because=because, for_run_id=for_run_id)


async def evict(session: AsyncSession, *, run_id: str, host: str, because: str) -> None:
    """Have a run leave a host, as `preempt` does.

    Args:
        session: the transaction.
        run_id: the run.
        host: that it has to leave.
        because: why, as a sentence.
    """
    await _give_way(session, run_id, kind="evicted", because=because, host=host)


async def _give_way(
    session: AsyncSession, run_id: str, *, kind: str, because: str, **facts: str
) -> None:
    if await _is_changing(session, run_id):
        return  # it may be about to give its nodes back: the next plan sees
    run = await lock_run(session, run_id)
    attempt = await current(session, run)
    if run.status not in _PREEMPTIBLE or attempt is None or attempt.gives_way_because is not None:
        return
    attempt.gives_way_because = because
    run.max_attempts += 1
    add_event(
        session, run, kind=kind, actor="scheduler", reason=because,
        data={"attempt": run.attempt, **facts},
    )  # fmt: skip
    await session.flush()
    await wake(session, Run, run.id)


async def stop_spending(session: AsyncSession, *, run_id: str, code: str) -> None:
    """Have a run end because money is spent: its processes are told, and have their grace.

    Nothing happens when it changes just now, or is ending already.

    Args:
        session: the transaction, which holds the planner's row.
        run_id: the run.
        code: why, from `app.costs.budget`; the run's error has it.
    """
    if await _is_changing(session, run_id):
        return
    run = await lock_run(session, run_id)
    if run.status not in _PREEMPTIBLE:
        return
    message = _SPENT[code]
    run.error = {"code": code, "message": message}
    transition(session, run, Status.CANCEL_REQUESTED, actor="scheduler", reason=message)
    await session.flush()
    await wake(session, Run, run.id)


async def _is_changing(session: AsyncSession, run_id: str) -> bool:
    # Whoever changes it may wait for the planner's row: waiting for them would be for ever.
    free = select(Run.id).where(Run.id == run_id).with_for_update(key_share=True, skip_locked=True)
    return (await session.execute(free)).first() is None


def note_provider(session: AsyncSession, run: Run, provider: str, error: str | None) -> None:
    """Write on a locked run that its nodes cannot be looked after, or that they can again.

    Args:
        session: the transaction.
        run: from `lock_run`.
        provider: its name.
        error: what is wrong with it; None: nothing.
    """
    code = BlockerCode.PROVIDER_UNAVAILABLE
    blockers = [found for found in run.blockers if found["code"] != code]
    if error is not None:
        blockers.append(
            blocker(code, f"provider {provider}", "the provider works again", detail=error)
        )
    set_blockers(session, run, blockers)


def blocker(code: BlockerCode, thing: str, clears_when: str, **more: Any) -> dict[str, Any]:
    """One reason why a run is not running.

    Args:
        code: from the closed list.
        thing: what is in the way, e.g. ``cluster gpucluster``.
        clears_when: what will clear it.
        more: further facts.
    """
    since = utc_now().isoformat()
    return {"code": str(code), "object": thing, "since": since, "clears_when": clears_when} | more


def set_blockers(session: AsyncSession, run: Run, blockers: list[dict[str, Any]]) -> None:
    """Replace the blockers of a locked run; one that stays keeps its ``since``."""
    before = {(b["code"], b["object"]): b for b in run.blockers}
    after = []
    for found in blockers:
        old = before.get((found["code"], found["object"]))
        after.append(found | {"since": old["since"]} if old else found)
    if after == run.blockers:
        return
    is_new = {(b["code"], b["object"]) for b in after} != set(before)
    run.blockers = after
    if is_new and after:
        add_event(session, run, kind="blocked", actor="scheduler", data={"blockers": after})
