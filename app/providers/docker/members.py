"""What a swarm says of its members, and what that makes of the engines that the settings name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.providers.base import Capacity, Host, HostState
from app.providers.docker.gpus import count_generic

NAME_LABEL = "trainwright.host"
"""Label of a member that gives it the name used in the settings."""
_NANO = 10**9
_DOWN = frozenset({"down", "disconnected"})


@dataclass(frozen=True)
class Member:
    """A member of a swarm, as its manager shows it.

    Attributes:
        id: the swarm's own; machines that are copies of one share everything else.
        hostname: of its machine.
        address: where the swarm reaches it.
        state: ready; down when its heartbeats stay away; unknown while a manager that has just
            started has not heard of it yet.
        availability: active, pause or drain.
        capacity: what its engine has told; GPUs are its generic resources.
        labels: of the member.
    """

    id: str
    hostname: str
    address: str
    state: str
    availability: str
    capacity: Capacity
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What an engine said when it was asked.

    Attributes:
        member_id: who it is in its swarm; empty: in none.
        error: why nobody answered; empty: it did.
        gpus: how many it finds in its machine.
    """

    member_id: str = ""
    gpus: int = 0
    error: str = ""


def member(found: Mapping[str, Any]) -> Member:
    """Read one entry of the manager's list of nodes."""
    described, spec, status = found["Description"], found["Spec"], found["Status"]
    resources = described.get("Resources") or {}
    return Member(
        id=found["ID"],
        hostname=described.get("Hostname", ""),
        address=status.get("Addr", ""),
        state=status.get("State", "unknown"),
        availability=spec.get("Availability", "active"),
        capacity=Capacity(
            cores=resources.get("NanoCPUs", 0) / _NANO,
            memory_bytes=int(resources.get("MemoryBytes", 0)),
            gpus=count_generic(resources.get("GenericResources") or []),
        ),
        labels=dict(spec.get("Labels") or {}),
    )


def find(name: str, members: Sequence[Member]) -> Member | None:
    """The member that a name of the settings means; None: none, or more than one.

    A machine that left and joined again is there twice, for the first time as one that is down.
    """
    for key in ("label", "id", "hostname"):
        found = [each for each in members if _name(each, key) == name]
        if len(found) > 1:
            found = [each for each in found if each.state not in _DOWN]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _name(each: Member, key: str) -> str | None:
    return {"label": each.labels.get(NAME_LABEL), "id": each.id, "hostname": each.hostname}[key]


def is_down(name: str, members: Sequence[Member]) -> bool:
    """Whether the swarm has lost an engine, or sees it no longer as a member."""
    found = find(name, members)
    return found is None or found.state in _DOWN


def judge(name: str, members: Sequence[Member], answer: Answer) -> Host:
    """What is true of an engine of the settings.

    Args:
        name: its name there.
        members: all members of the swarm.
        answer: what the engine itself said.
    """
    found = find(name, members)
    if found is None:
        return Host(name, Capacity(0.0, 0, 0), HostState.UNKNOWN, _why_unknown(name, members))
    state, detail = _state(found, answer)
    return Host(
        name=name,
        capacity=replace(found.capacity, gpus=max(found.capacity.gpus, answer.gpus)),
        state=state,
        detail=detail,
        address=found.address,
        labels=found.labels,
    )


def _state(found: Member, answer: Answer) -> tuple[HostState, str]:
    if found.state in _DOWN:
        return HostState.DOWN, "The swarm's manager hears nothing of it."
    if found.state != "ready":
        return HostState.UNREACHABLE, "The swarm's manager has not heard of it yet."
    if answer.error:
        return HostState.UNREACHABLE, f"The swarm hears it, but its engine: {answer.error}"
    if answer.member_id != found.id:
        who = f"is member {answer.member_id}" if answer.member_id else "is in no swarm"
        return HostState.UNKNOWN, f"The engine at its address {who}, not {found.id}."
    if found.availability != "active":
        return HostState.DRAINED, f"Its availability in the swarm is {found.availability}."
    return HostState.READY, ""


def _why_unknown(name: str, members: Sequence[Member]) -> str:
    same = [each.id for each in members if each.hostname == name]
    if len(same) > 1:
        return (
            f"Several members of the swarm have this host name: {', '.join(sorted(same))}. Name "
            f"the engine by its id, or give the member a label {NAME_LABEL}."
        )
    return "No member of the swarm has this host name, id or label."
