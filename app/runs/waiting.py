"""Why a run waits: its blockers, and when it may start."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import inf
from typing import Any, NamedTuple

from sqlalchemy import Text, column, func, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.costs.budget import Account
from app.kernel.clock import utc_now
from app.kernel.wake import signal
from app.runs.blockers import STARTS, blocker, readable
from app.runs.states import BlockerCode, Status
from app.runs.transitions import RUN_TOPIC, add_event
from app.scheduling.forecast import Lasts
from app.scheduling.types import Reason, Waiting
from app.tables.run import Run, RunEvent

_FOLLOWED_FIRST, _FOLLOWED_AFTER = 1000, 5000
_FOLLOWED = ("object", "position", "needed", "available", "budget", "period_ends_at")
_NEAR_SECONDS = 60.0
_NEAR_PART = 0.2
_ACTOR = "scheduler"
_STEPS = "steps of the run"
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


class Explained(NamedTuple):
    """What waiting runs are to say, where that differs from what they say.

    Attributes:
        changed: blockers by run, of those that wait for another reason than before.
        moved: those whose reason is the same, with other figures.
    """

    changed: Mapping[str, dict[str, Any]]
    moved: "Sequence[Moved]"


class Moved(NamedTuple):
    """A run whose blocker is the same as before, with other figures.

    Attributes:
        run_id: the run.
        blocker: as it is to be.
        error: by how much of it the position is wrong.
    """

    run_id: str
    blocker: dict[str, Any]
    error: float


def explained(
    waiting: Sequence[Waiting],
    *,
    cluster_names: Mapping[str, str],
    before: Mapping[str, list[dict[str, Any]]],
    starts: Mapping[str, Lasts],
    money: Mapping[str, Mapping[str, Any]],
) -> Explained:
    """Say of waiting runs why they wait and when they may start, where that has changed.

    Args:
        waiting: from the plan.
        cluster_names: names of clusters by id.
        before: what the runs said when the plan was made.
        starts: in how many seconds they are thought to start, where that is known.
        money: of those that a budget keeps waiting, the amounts: from `money_lacking`.
    """
    changed: dict[str, dict[str, Any]] = {}
    moved: list[Moved] = []
    for item in waiting:
        found = why(item, cluster_names[item.cluster_id])
        found |= _between(starts.get(item.run_id)) | dict(money.get(item.run_id, {}))
        now = readable(before.get(item.run_id, []))
        if len(now) != 1 or not _same(now[0], found):
            changed[item.run_id] = kept_since(now, found)
        elif any(now[0].get(key) != found.get(key) for key in _FOLLOWED) or not _is_as_good(
            now[0], found
        ):
            kept = found | {"since": now[0]["since"]}
            moved.append(Moved(item.run_id, kept, _error(now[0], found)))
    return Explained(changed, moved)


def kept_since(now: Any, found: dict[str, Any]) -> dict[str, Any]:
    """A blocker; one that is there already, in a run's row, keeps its ``since``."""
    for old in readable(now):
        if (old["code"], old["object"]) == (found["code"], found["object"]):
            return found | {"since": old["since"]}
    return found


def worth_following(moved: Sequence[Moved]) -> dict[str, dict[str, Any]]:
    """Blockers by run, of those that are written now; the others by the next plans.

    Whoever only moves up needs no event, and there may be many: the first ones are written at
    once, and of those behind them the ones that are most wrong.
    """
    rest = sorted(moved[_FOLLOWED_FIRST:], key=lambda item: -item.error)
    written = [*moved[:_FOLLOWED_FIRST], *rest[:_FOLLOWED_AFTER]]
    return {item.run_id: item.blocker for item in written}


async def write_blockers(
    session: AsyncSession, blockers: Mapping[str, dict[str, Any]], *, with_event: bool
) -> None:
    """Write the one blocker of queued runs, in one statement.

    Whoever is being changed just now is left to the next plan.

    Args:
        session: the transaction.
        blockers: by run.
        with_event: whether that they are blocked is an event of theirs.
    """
    new = func.jsonb_each(literal(dict(blockers), JSONB)).table_valued(
        column("key", Text), column("value", JSONB), name="new"
    )
    free = (
        select(Run.id, new.c.value)
        .join(new, new.c.key == Run.id)
        .where(Run.status == Status.QUEUED)
        .with_for_update(of=Run, key_share=True, skip_locked=True)
        .cte("free")
    )
    written = update(Run).where(Run.id == free.c.id).execution_options(synchronize_session=False)
    shown = func.jsonb_build_array(free.c.value)
    if not with_event:
        await session.execute(written.values(blockers=shown))
        return
    moved = (
        written.values(blockers=shown, event_seq=Run.event_seq + 1)
        .returning(Run.id, Run.event_seq, Run.status, Run.blockers)
        .cte("moved")
    )
    data = func.jsonb_build_object("blockers", moved.c.blockers)
    event = select(
        moved.c.id, moved.c.event_seq, literal("blocked"), moved.c.status, literal(_ACTOR), data
    )
    # A number that is taken already is a row that something else than this program has changed.
    added = (
        insert(RunEvent)
        .from_select(["run_id", "seq", "type", "status", "actor", "data"], event)
        .on_conflict_do_nothing()
        .returning(RunEvent.run_id)
    )
    for run_id in (await session.execute(added)).scalars():
        signal(session, RUN_TOPIC, run_id)


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
    for key in STARTS:
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


def note_provider(session: AsyncSession, run: Run, provider: str, error: str | None) -> None:
    """Write on a locked run that its nodes cannot be looked after, or that they can again.

    Args:
        session: the transaction.
        run: from `lock_run`.
        provider: its name.
        error: what is wrong with it; None: nothing.
    """
    code = BlockerCode.PROVIDER_UNAVAILABLE
    blockers = [found for found in readable(run.blockers) if found["code"] != code]
    if error is not None:
        blockers.append(provider_away(provider, error))
    set_blockers(session, run, blockers)


def provider_away(provider: str, error: str) -> dict[str, Any]:
    """The blocker of a run whose nodes cannot be looked after."""
    code = BlockerCode.PROVIDER_UNAVAILABLE
    return blocker(code, f"provider {provider}", "the provider works again", detail=error)


def not_written(error: str) -> dict[str, Any]:
    """The blocker of a run whose nodes could not be written down."""
    clears = "its rows are as they should be: every plan tries again"
    return blocker(BlockerCode.NOT_WRITTEN, "rows of the run", clears, detail=error)


def unreadable(error: str) -> dict[str, Any]:
    """The blocker of a run whose row the planner cannot work with."""
    clears = "its row is as it should be: every plan looks again"
    return blocker(BlockerCode.FAILING, "row of the run", clears, detail=error)


def note_failing(session: AsyncSession, run: Run, error: str | None) -> None:
    """Write on a locked run that looks at it end with an error, or that they do no more.

    Args:
        session: the transaction.
        run: from `lock_run`.
        error: the type of the error; None: there was none.
    """
    clears = "a look at the run ends without an error: it is tried again, ever more seldom"
    found = blocker(BlockerCode.FAILING, _STEPS, clears, detail=error)
    blockers = [one for one in readable(run.blockers) if not _is_failing(one)]
    set_blockers(session, run, blockers if error is None else [*blockers, found])


def is_failing(run: Run) -> bool:
    """Whether the last that was written of the run is that looks at it end with an error."""
    return any(_is_failing(one) for one in readable(run.blockers))


def _is_failing(one: Mapping[str, Any]) -> bool:
    return (one["code"], one["object"]) == (BlockerCode.FAILING, _STEPS)


def set_blockers(session: AsyncSession, run: Run, blockers: list[dict[str, Any]]) -> None:
    """Replace the blockers of a locked run; one that stays keeps its ``since``."""
    before = {(b["code"], b["object"]): b for b in readable(run.blockers)}
    after = []
    for found in blockers:
        old = before.get((found["code"], found["object"]))
        after.append(found | {"since": old["since"]} if old else found)
    if after == run.blockers:
        return
    is_new = {(b["code"], b["object"]) for b in after} != set(before)
    run.blockers = after
    if is_new and after:
        add_event(session, run, kind="blocked", actor=_ACTOR, data={"blockers": after})
