"""Decisions about a deployment: pure functions of what was loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

UNSERVABLE_EXIT_CODE = 3
"""The serving program ends so when the model itself is at fault: starting again is no use."""
MAX_FAILURES = 5
KEPT_STARTS = 2 * MAX_FAILURES
"""So many starts of a place are looked back at; what was before them decides nothing."""
STEADY_SECONDS = 60.0
"""A replica that has served for so long starts with a clean slate when it ends."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
LINGER_SECONDS = 30.0
"""So long an ended replica's runner may take to deliver the last lines of its log."""
DRAIN_SECONDS = 3.0
"""So long a replica that gets no new requests may take to answer those that it has."""
CHECK_SECONDS = 10.0
WAIT_SECONDS = 1.0
CAPACITY_CHECK_SECONDS = 30.0


class State(StrEnum):
    """States of a deployment (contract, 2.9)."""

    TRANSITIONING = "Transitioning"
    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"
    UNSCHEDULABLE = "Unschedulable"
    FAILED = "Failed"


LIVE_STATES = frozenset({"Assigned", "Launched", "Serving"})
LOST = "Lost"
"""It went away, or it is silent and given up; its runner has nothing more to deliver."""
DRAINING = "Draining"
"""It gets no new requests and goes away; whatever becomes of it is no failure."""


@dataclass(frozen=True)
class ReplicaView:
    """What is known of one replica.

    Attributes:
        name: of its row and of its node.
        generation: of the deployment's wish that it was made for.
        index: its place, 0 first.
        start: counts the starts of this place in its generation.
        state: as in its row, or Lost when the provider does not see what should be there.
        is_alive: whether its runner lives.
        served_seconds: how long it served until its end, or has served; None: never.
        ended_seconds_ago: since it ended, or began to drain; None: it has not.
        result: what the runner reported at the end.
    """

    name: str
    generation: int
    index: int
    start: int
    state: str
    is_alive: bool
    served_seconds: float | None = None
    ended_seconds_ago: float | None = None
    result: dict[str, Any] | None = None

    @property
    def is_live(self) -> bool:
        """Whether it serves or is on its way there."""
        return self.state in LIVE_STATES


@dataclass(frozen=True)
class View:
    """What is known of a deployment.

    Attributes:
        generation: counts the changes that need new replicas.
        replica_count: how many are wanted.
        is_elastic: whether their number follows the load: then it stays healthy while more come.
        is_deleting: whether it goes away.
        state: as it is now.
        image_state: of its environment.
        image_error: why the environment could not be built.
        fits: whether one replica fits this host at all.
        replicas: those that are not removed, of all generations, and ended ones of this one.
    """

    generation: int
    replica_count: int
    is_deleting: bool
    state: str
    image_state: str
    image_error: dict[str, Any] | None
    fits: bool
    replicas: Sequence[ReplicaView]
    is_elastic: bool = False


@dataclass(frozen=True)
class Launch:
    """A replica to be made."""

    index: int
    start: int


@dataclass(frozen=True)
class Plan:
    """What to do now.

    Attributes:
        state: that the deployment has now.
        error: why it is not healthy, if it is final or a replica ended.
        launch: replicas to be made.
        drain: names of replicas that get no more requests, and are removed later.
        remove: names of replicas to be taken away.
        is_gone: whether nothing is left of a deployment that is being deleted.
        check_in_seconds: when to look again.
    """

    state: State
    error: dict[str, Any] | None = None
    launch: tuple[Launch, ...] = ()
    drain: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    is_gone: bool = False
    check_in_seconds: float | None = CHECK_SECONDS


@dataclass(frozen=True)
class _Place:
    """What to do about one place among the wanted replicas."""

    is_serving: bool = False
    has_served: bool = False
    launch: Launch | None = None
    error: dict[str, Any] | None = None
    is_final: bool = False
    wait_seconds: float = CHECK_SECONDS
    remove: tuple[str, ...] = field(default=())


def decide(view: View, removable: Sequence[str]) -> Plan:
    """Say what to do for a deployment now.

    Args:
        view: what is known.
        removable: names of replicas of which something may still be left at the provider.
    """
    left = tuple(removable)
    if view.is_deleting:
        return Plan(
            State.TRANSITIONING, remove=left, is_gone=not left, check_in_seconds=WAIT_SECONDS
        )
    ended = _ended(view, left)
    waiting = _waits_for_image(view, ended)
    if waiting is not None:
        return waiting
    places = [_place(view, index) for index in range(view.replica_count)]
    final = next((place.error for place in places if place.is_final), None)
    if final is not None or (view.state == State.FAILED and not _is_new(view)):
        doomed = _of_generation(view, left)
        return Plan(State.FAILED, error=final, remove=doomed, check_in_seconds=None)
    if not view.fits and not any(place.is_serving for place in places):
        return Plan(
            State.UNSCHEDULABLE,
            error={
                "code": "resources_exceed_host",
                "message": "One replica asks for more cores or memory than this machine has;"
                " deploy with a smaller resource_configuration.",
            },
            remove=ended,
            check_in_seconds=CAPACITY_CHECK_SECONDS,
        )
    return _running(view, places, ended, left)


def restart_pause_seconds(failures: int) -> float:
    """How long to wait before a place is started again after so many failures in a row."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** max(0, failures - 1), LONGEST_PAUSE_SECONDS)


def _waits_for_image(view: View, ended: tuple[str, ...]) -> Plan | None:
    if view.image_state == "Ready":
        return None
    if view.image_state == "Failed":
        cause = (view.image_error or {}).get("message", "")
        error = {
            "code": "environment_build_failed",
            "message": f"The serving environment could not be built. {cause}".strip(),
        }
        return Plan(State.FAILED, error=error, remove=ended, check_in_seconds=None)
    return Plan(State.TRANSITIONING, remove=ended, check_in_seconds=WAIT_SECONDS)


def _running(
    view: View, places: Sequence[_Place], ended: tuple[str, ...], left: tuple[str, ...]
) -> Plan:
    launch = tuple(place.launch for place in places if place.launch is not None)
    pause = min((place.wait_seconds for place in places), default=CHECK_SECONDS)
    if any(replica.state == DRAINING and replica.name in left for replica in view.replicas):
        pause = min(pause, WAIT_SECONDS)
    if all(place.is_serving for place in places):
        surplus = _surplus(view)
        drain = tuple(r.name for r in surplus if r.state == "Serving" and r.name in left)
        over = {r.name for r in surplus if r.state not in ("Serving", DRAINING)}
        return Plan(
            State.HEALTHY,
            drain=drain,
            remove=tuple(name for name in left if name in over or name in ended),
            check_in_seconds=min(pause, WAIT_SECONDS) if drain else pause,
        )
    broken = next((place for place in places if place.error is not None), None)
    has_served = any(place.has_served for place in places)
    if view.is_elastic and broken is None and has_served:
        return Plan(State.HEALTHY, launch=launch, remove=ended, check_in_seconds=pause)
    state = State.UNHEALTHY if broken is not None and has_served else State.TRANSITIONING
    error = broken.error if broken else None
    return Plan(state, error=error, launch=launch, remove=ended, check_in_seconds=pause)


def _place(view: View, index: int) -> _Place:
    made = sorted(
        (r for r in view.replicas if r.generation == view.generation and r.index == index),
        key=lambda replica: replica.start,
    )
    has_served = any(replica.served_seconds is not None for replica in made)
    starts = [replica for replica in made if replica.state != DRAINING]
    if not starts:
        start = made[-1].start + 1 if made else 1
        return _Place(has_served=has_served, launch=Launch(index, start), wait_seconds=WAIT_SECONDS)
    latest = starts[-1]
    failed = _failures(starts)
    error = _ending(failed[-1]) if failed else None
    if latest.is_live:
        is_serving = latest.state == "Serving"
        return _Place(
            is_serving=is_serving, has_served=has_served, error=None if is_serving else error
        )
    if _is_unservable(latest) or len(failed) >= MAX_FAILURES:
        return _Place(has_served=has_served, error=error or _ending(latest), is_final=True)
    pause = restart_pause_seconds(len(failed))
    remaining = pause - (latest.ended_seconds_ago or 0.0)
    if remaining > 0:
        return _Place(has_served=has_served, error=_ending(latest), wait_seconds=remaining)
    return _Place(
        has_served=has_served,
        error=_ending(latest),
        launch=Launch(index, made[-1].start + 1),
        wait_seconds=WAIT_SECONDS,
    )


def _failures(starts: Sequence[ReplicaView]) -> list[ReplicaView]:
    """The ended starts since the last one that had served for a good while."""
    failed: list[ReplicaView] = []
    for replica in starts:
        if (replica.served_seconds or 0.0) >= STEADY_SECONDS:
            failed.clear()
        if not replica.is_live:
            failed.append(replica)
    return failed


def _ended(view: View, left: tuple[str, ...]) -> tuple[str, ...]:
    """Ended and drained replicas whose runner is gone, or has had its time."""
    over = {
        replica.name
        for replica in view.replicas
        if not replica.is_live
        and (
            not replica.is_alive
            or replica.state == LOST
            or (replica.ended_seconds_ago or 0.0)
            > (DRAIN_SECONDS if replica.state == DRAINING else LINGER_SECONDS)
        )
    }
    return tuple(name for name in left if name in over)


def _surplus(view: View) -> list[ReplicaView]:
    return [
        replica
        for replica in view.replicas
        if replica.generation != view.generation or replica.index >= view.replica_count
    ]


def _of_generation(view: View, left: tuple[str, ...]) -> tuple[str, ...]:
    """Replicas of the generation that failed; an older one that serves goes on serving."""
    own = {replica.name for replica in view.replicas if replica.generation == view.generation}
    return tuple(name for name in left if name in own)


def _is_new(view: View) -> bool:
    return not any(replica.generation == view.generation for replica in view.replicas)


def _is_unservable(replica: ReplicaView) -> bool:
    processes = (replica.result or {}).get("processes", [])
    codes = [process.get("exit_code") for process in processes]
    return replica.served_seconds is None and UNSERVABLE_EXIT_CODE in codes


def _ending(replica: ReplicaView) -> dict[str, Any]:
    """How a replica ended, for people."""
    result = replica.result or {}
    if result.get("failed"):
        failed = result["failed"]
        return {"code": failed["code"], "message": failed["message"], "replica": replica.name}
    for process in result.get("processes", []):
        code, signal = process.get("exit_code"), process.get("signal")
        how = f"was ended by signal {signal}" if signal else f"exited with code {code}"
        if process.get("oom"):
            how += ", because the replica's memory was used up; raise resource_configuration"
        lines = process.get("last_lines") or []
        message = f"The serving process {how}." + (f" Last line: {lines[-1]}" if lines else "")
        return {
            "code": "out_of_memory" if process.get("oom") else "replica_exited",
            "message": message,
            "replica": replica.name,
            "last_lines": lines,
        }
    return {
        "code": "replica_lost",
        "message": "The serving process and its runner went away.",
        "replica": replica.name,
    }
