"""What a swarm and its engines say, judged together."""

from typing import Any

import pytest

from app.providers.base import HostState
from app.providers.docker.members import Answer, Member, is_down, judge, member

GIB = 1024**3


def entry(identity: str, hostname: str, **more: Any) -> Member:
    state, availability = more.get("state", "ready"), more.get("availability", "active")
    return member(
        {
            "ID": identity,
            "Spec": {"Labels": more.get("labels", {}), "Availability": availability},
            "Status": {"State": state, "Addr": "10.0.0.2"},
            "Description": {
                "Hostname": hostname,
                "Resources": {
                    "NanoCPUs": 8 * 10**9,
                    "MemoryBytes": 64 * GIB,
                    "GenericResources": more.get("generic", []),
                },
            },
        }
    )


@pytest.mark.parametrize(
    ("seen", "answer", "state", "said"),
    [
        ({}, Answer("m1"), HostState.READY, ""),
        ({"availability": "drain"}, Answer("m1"), HostState.DRAINED, "drain"),
        ({"availability": "pause"}, Answer("m1"), HostState.DRAINED, "pause"),
        ({"state": "down"}, Answer(error="no route"), HostState.DOWN, "hears nothing"),
        ({"state": "down"}, Answer("m1"), HostState.DOWN, "hears nothing"),
        ({"state": "unknown"}, Answer("m1"), HostState.UNREACHABLE, "not heard of it yet"),
        ({}, Answer(error="no route"), HostState.UNREACHABLE, "no route"),
        ({}, Answer("m9"), HostState.UNKNOWN, "is member m9, not m1"),
        ({}, Answer(""), HostState.UNKNOWN, "is in no swarm"),
    ],
)
def test_the_state_of_an_engine(
    seen: dict[str, Any], answer: Answer, state: HostState, said: str
) -> None:
    found = judge("beta", [entry("m0", "alpha"), entry("m1", "beta", **seen)], answer)

    assert found.state == state
    assert said in found.detail
    assert (found.capacity.cores, found.capacity.memory_bytes) == (8.0, 64 * GIB)


def test_machines_of_one_host_name_are_told_apart_by_id_or_label() -> None:
    clones = [entry("m1", "clone"), entry("m2", "clone", labels={"trainwright.host": "right"})]

    unclear = judge("clone", clones, Answer("m1"))
    assert unclear.state == HostState.UNKNOWN
    assert "m1, m2" in unclear.detail

    assert judge("m1", clones, Answer("m1")).state == HostState.READY
    assert judge("right", clones, Answer("m2")).state == HostState.READY
    assert judge("left", clones, Answer("m1")).state == HostState.UNKNOWN


def test_gpus_are_the_generic_resources_of_that_kind() -> None:
    named = [{"NamedResourceSpec": {"Kind": "NVIDIA-GPU", "Value": f"GPU-{n}"}} for n in range(3)]
    counted = [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 2}}]
    other = [{"DiscreteResourceSpec": {"Kind": "ssd", "Value": 9}}]

    assert entry("m1", "beta", generic=named + other).capacity.gpus == 3
    assert entry("m1", "beta", generic=counted).capacity.gpus == 2


def test_an_engine_that_left_the_swarm_is_down() -> None:
    members = [entry("m0", "alpha"), entry("m1", "beta", state="down")]

    assert is_down("beta", members)
    assert is_down("gamma", members)
    assert not is_down("alpha", members)


def test_a_manager_that_has_just_started_has_lost_nobody() -> None:
    members = [entry("m0", "alpha"), entry("m1", "beta", state="unknown")]

    assert not is_down("beta", members)


def test_a_machine_that_joined_again_is_the_member_that_is_there() -> None:
    members = [entry("m1", "beta", state="down"), entry("m2", "beta")]

    assert judge("beta", members, Answer("m2")).state == HostState.READY
    assert not is_down("beta", members)
    assert is_down("beta", [entry("m1", "beta", state="down"), entry("m2", "beta", state="down")])
