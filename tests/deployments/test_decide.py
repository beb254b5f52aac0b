"""What to do about a deployment, for every situation it can be in."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from app.deployments.decide import (
    DRAIN_SECONDS,
    LINGER_SECONDS,
    MAX_FAILURES,
    STEADY_SECONDS,
    Launch,
    ReplicaView,
    State,
    View,
    decide,
    restart_pause_seconds,
)


def view(*replicas: ReplicaView, **changes: Any) -> View:
    plain = View(
        generation=1,
        replica_count=1,
        is_deleting=False,
        state=State.TRANSITIONING,
        image_state="Ready",
        image_error=None,
        fits=True,
        replicas=replicas,
    )
    return replace(plain, **changes)


def replica(index: int = 0, start: int = 1, generation: int = 1, **changes: Any) -> ReplicaView:
    plain = ReplicaView(
        name=f"g{generation}-r{index}-{start}",
        generation=generation,
        index=index,
        start=start,
        state="Serving",
        is_alive=True,
        served_seconds=5.0,
    )
    return replace(plain, **changes)


def ended(index: int = 0, start: int = 1, generation: int = 1, **changes: Any) -> ReplicaView:
    result = {"processes": [{"exit_code": 1, "signal": None, "last_lines": ["boom"]}]}
    plain = replica(
        index, start, generation, state="Exited", is_alive=False, served_seconds=None,
        ended_seconds_ago=1000.0, result=result,
    )  # fmt: skip
    return replace(plain, **changes)


def names(situation: View) -> list[str]:
    return [replica.name for replica in situation.replicas]


@pytest.mark.parametrize("image_state", ["Queued", "Building", "Deleted"])
def test_nothing_starts_before_the_environment_is_there(image_state: str) -> None:
    plan = decide(view(image_state=image_state), [])

    assert (plan.state, plan.launch) == (State.TRANSITIONING, ())
    assert plan.check_in_seconds is not None


def test_an_environment_that_cannot_be_built_is_final_and_said() -> None:
    plan = decide(view(image_state="Failed", image_error={"message": "No such package."}), [])

    assert plan.state == State.FAILED
    assert plan.error is not None
    assert plan.error["code"] == "environment_build_failed"
    assert "No such package." in plan.error["message"]


def test_every_place_is_started_once() -> None:
    plan = decide(view(replica_count=3), [])

    assert plan.launch == (Launch(0, 1), Launch(1, 1), Launch(2, 1))
    assert plan.state == State.TRANSITIONING


@pytest.mark.parametrize("state", ["Assigned", "Launched"])
def test_what_is_on_its_way_is_waited_for(state: str) -> None:
    situation = view(replica(state=state, served_seconds=None))

    plan = decide(situation, names(situation))

    assert (plan.state, plan.launch, plan.remove) == (State.TRANSITIONING, (), ())


def test_healthy_when_every_place_serves() -> None:
    situation = view(replica(0), replica(1), replica_count=2)

    plan = decide(situation, names(situation))

    assert (plan.state, plan.launch, plan.remove, plan.error) == (State.HEALTHY, (), (), None)


def test_a_crashed_replica_is_started_again_after_a_pause() -> None:
    fresh = view(ended(served_seconds=5.0, ended_seconds_ago=0.2), state=State.HEALTHY)
    later = view(ended(served_seconds=5.0, ended_seconds_ago=1.1), state=State.UNHEALTHY)

    waiting, starting = decide(fresh, names(fresh)), decide(later, names(later))

    assert (waiting.state, waiting.launch) == (State.UNHEALTHY, ())
    assert waiting.check_in_seconds == pytest.approx(0.8)
    assert starting.launch == (Launch(0, 2),)
    assert starting.error is not None
    assert starting.error["last_lines"] == ["boom"]


def test_one_of_two_places_down_is_unhealthy_and_the_other_stays() -> None:
    situation = view(replica(0), ended(1, served_seconds=9.0), replica_count=2, state=State.HEALTHY)

    plan = decide(situation, names(situation))

    assert (plan.state, plan.launch) == (State.UNHEALTHY, (Launch(1, 2),))
    assert plan.remove == ("g1-r1-1",)


def test_a_restarted_place_is_unhealthy_until_it_serves_again() -> None:
    again = replica(start=2, state="Launched", served_seconds=None)
    situation = view(ended(served_seconds=9.0), again)

    assert decide(situation, names(situation)).state == State.UNHEALTHY


def test_a_first_start_that_fails_is_still_transitioning() -> None:
    situation = view(ended())

    plan = decide(situation, names(situation))

    assert (plan.state, plan.launch) == (State.TRANSITIONING, (Launch(0, 2),))


def test_pauses_grow_to_a_limit() -> None:
    assert [restart_pause_seconds(n) for n in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert restart_pause_seconds(1000) == 60


def test_a_crash_loop_is_final_and_shows_the_last_lines() -> None:
    situation = view(*(ended(start=n) for n in range(1, MAX_FAILURES + 1)))

    plan = decide(situation, names(situation))

    assert (plan.state, plan.launch) == (State.FAILED, ())
    assert plan.error is not None
    assert "boom" in plan.error["message"]
    assert plan.error["last_lines"] == ["boom"]
    assert set(plan.remove) == set(names(situation))


def test_having_served_for_long_wipes_the_slate() -> None:
    starts = [ended(start=n) for n in range(1, MAX_FAILURES)]
    steady = ended(start=MAX_FAILURES, served_seconds=STEADY_SECONDS)

    plan = decide(view(*starts, steady), [])

    assert plan.launch == (Launch(0, MAX_FAILURES + 1),)


def test_a_model_at_fault_is_not_started_again() -> None:
    result = {"processes": [{"exit_code": 3, "last_lines": ["cannot serve this model: no"]}]}

    plan = decide(view(ended(result=result)), [])

    assert (plan.state, plan.launch) == (State.FAILED, ())
    assert plan.error is not None
    assert "cannot serve this model" in plan.error["message"]


def test_failed_stays_failed_and_keeps_its_reason() -> None:
    situation = view(ended(), state=State.FAILED)

    plan = decide(situation, names(situation))

    assert (plan.state, plan.error, plan.launch) == (State.FAILED, None, ())
    assert plan.check_in_seconds is None


def test_a_new_generation_of_a_failed_deployment_is_tried() -> None:
    situation = view(ended(), state=State.FAILED, generation=2)

    assert decide(situation, names(situation)).launch == (Launch(0, 1),)


def test_the_old_generation_serves_until_the_new_one_is_healthy() -> None:
    old, new = replica(generation=1), replica(generation=2)
    coming = view(old, replace(new, state="Launched", served_seconds=None), generation=2)
    there = view(old, new, generation=2)

    assert decide(coming, names(coming)).remove == ()
    assert decide(there, names(there)).drain == (old.name,)
    drained = replace(old, state="Draining", ended_seconds_ago=0.0)
    draining = view(drained, new, generation=2)
    assert decide(draining, names(draining)).remove == ()
    over = view(replace(drained, ended_seconds_ago=DRAIN_SECONDS + 1), new, generation=2)
    assert decide(over, names(over)).remove == (old.name,)


def test_the_old_generation_serves_on_when_the_new_one_fails() -> None:
    old = replica(generation=1)
    new = [ended(start=n, generation=2) for n in range(1, MAX_FAILURES + 1)]
    situation = view(old, *new, generation=2)

    plan = decide(situation, names(situation))

    assert plan.state == State.FAILED
    assert old.name not in plan.remove


def test_fewer_replicas_means_the_last_go() -> None:
    situation = view(replica(0), replica(1), replica(2), replica_count=1, state=State.HEALTHY)

    plan = decide(situation, names(situation))

    assert (plan.state, plan.drain) == (State.HEALTHY, ("g1-r1-1", "g1-r2-1"))


def test_what_does_not_fit_the_host_is_unschedulable_and_looked_at_again() -> None:
    plan = decide(view(fits=False), [])

    assert (plan.state, plan.launch) == (State.UNSCHEDULABLE, ())
    assert plan.error is not None
    assert plan.check_in_seconds is not None


def test_an_ended_runner_may_deliver_its_last_lines() -> None:
    fresh = view(ended(is_alive=True, ended_seconds_ago=1.0, served_seconds=5.0))
    stuck = view(ended(is_alive=True, ended_seconds_ago=LINGER_SECONDS + 1))

    assert decide(fresh, names(fresh)).remove == ()
    assert decide(stuck, names(stuck)).remove == tuple(names(stuck))


def test_deleting_takes_everything_and_then_is_gone() -> None:
    situation = view(replica(0), ended(1), is_deleting=True, image_state="Failed")

    first, last = decide(situation, names(situation)), decide(view(is_deleting=True), [])

    assert set(first.remove) == set(names(situation))
    assert (first.is_gone, first.launch) == (False, ())
    assert last.is_gone


@pytest.mark.parametrize(
    ("result", "code", "word"),
    [
        (None, "replica_lost", "went away"),
        ({"ended_at": 1.0}, "replica_lost", "went away"),
        ({"failed": {"code": "readiness_timeout", "message": "late"}}, "readiness_timeout", "late"),
        ({"processes": [{"exit_code": None, "signal": 9}]}, "replica_exited", "signal 9"),
        ({"processes": [{"exit_code": 7}]}, "replica_exited", "code 7"),
    ],
)
def test_how_a_replica_ended_is_said(result: dict[str, Any] | None, code: str, word: str) -> None:
    plan = decide(view(ended(result=result)), [])

    assert plan.error is not None
    assert plan.error["code"] == code
    assert word in plan.error["message"]


def test_in_every_situation_the_plan_makes_sense() -> None:
    states = ("Assigned", "Launched", "Serving", "Exited", "Lost")
    for state, is_alive, served, count, status, image, fits, deleting in product(
        states, (True, False), (None, 5.0, 500.0), (1, 2), State, ("Ready", "Building", "Failed"),
        (True, False), (True, False),
    ):  # fmt: skip
        is_live = state in ("Assigned", "Launched", "Serving")
        one = replica(
            state=state, is_alive=is_alive, served_seconds=served,
            ended_seconds_ago=None if is_live else 99.0,
        )  # fmt: skip
        situation = view(
            one, replica_count=count, state=status, image_state=image, fits=fits,
            is_deleting=deleting,
        )  # fmt: skip

        plan = decide(situation, names(situation))

        assert not (plan.launch and (deleting or image != "Ready"))
        assert plan.state != State.HEALTHY or (state == "Serving" and count == 1)
        assert set(plan.remove) <= set(names(situation))
        assert plan.is_gone is False
        assert all(launch.index > 0 or launch.start == 2 for launch in plan.launch)
        if one.name in plan.remove and not deleting:
            assert not is_live or plan.state == State.FAILED


def test_a_replica_that_ran_out_of_memory_says_so() -> None:
    process = {"exit_code": None, "signal": "SIGKILL", "oom": True, "last_lines": ["loading"]}
    killed = ended(result={"processes": [process]}, served_seconds=5.0)

    plan = decide(view(killed), [])

    assert plan.error is not None
    assert plan.error["code"] == "out_of_memory"
    assert "resource_configuration" in plan.error["message"]


def test_a_place_that_was_drained_starts_anew_without_a_failure() -> None:
    drained = replica(state="Draining", is_alive=False, ended_seconds_ago=100.0)
    situation = view(drained, state=State.HEALTHY, is_elastic=True)

    plan = decide(situation, [])

    assert (plan.state, plan.launch, plan.error) == (State.HEALTHY, (Launch(0, 2),), None)


def test_an_elastic_deployment_stays_healthy_while_more_replicas_come() -> None:
    situation = view(replica(0), replica_count=3, state=State.HEALTHY, is_elastic=True)

    plan = decide(situation, names(situation))

    assert (plan.state, plan.launch) == (State.HEALTHY, (Launch(1, 1), Launch(2, 1)))
    assert decide(replace(situation, is_elastic=False), []).state == State.TRANSITIONING


def test_no_replicas_are_healthy_when_none_are_wanted() -> None:
    situation = view(replica(0), replica_count=0, state=State.HEALTHY, is_elastic=True)

    plan = decide(situation, names(situation))

    assert (plan.state, plan.launch, plan.drain) == (State.HEALTHY, (), ("g1-r0-1",))


def test_what_is_silent_is_removed_at_once_and_replaced() -> None:
    failed = {"failed": {"code": "replica_silent", "message": "no heartbeat"}}
    silent = replica(state="Lost", is_alive=True, ended_seconds_ago=1.1, result=failed)

    plan = decide(view(silent), [silent.name])

    assert plan.remove == (silent.name,)
    assert plan.launch == (Launch(0, 2),)
    assert plan.error is not None
    assert plan.error["code"] == "replica_silent"
