"""Sweeps through the API, from the request to the best model."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.tables.run import Run
from app.tables.sweep import Sweep, Trial
from tests.people import somebody
from tests.sweeps.searching import Searching, searching
from tests.waiting import until
from workers.engine import Engine
from workers.reconcile_sweep import SweepReconciler

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[Searching]:
    async with searching(tmp_path, postgres_url, broker_url) as world:
        yield world


def is_over(sweep: dict[str, Any]) -> bool:
    return sweep["ended_at"] is not None


async def test_a_sweep_runs_its_trials_and_names_the_best(world: Searching) -> None:
    made = await world.api.client.post("sweeps", json=world.body(display_name="first"))
    sweep = made.json()
    assert made.headers["location"].endswith(f"/sweeps/{sweep['id']}")
    assert (sweep["status"], sweep["seed"], sweep["best_trial"]) == ("Running", 1, None)
    first, second = await world.trials(sweep["id"], 2)
    run = await world.run(first)
    assert run["display_name"] == "first 0"
    assert run["properties"] == {"sweep_id": sweep["id"], "trial_number": "0"}
    assert run["request"]["script_params"] == {"--lr": repr(first["parameters"]["lr"])}

    await world.log(sweep["id"], first, 0.4, 0.6, 0.5)
    await world.until(sweep["id"], lambda sweep: sweep["best_value"] == 0.6)
    await world.end(sweep["id"], first)
    third = (await world.trials(sweep["id"], 3))[2]
    await world.log(sweep["id"], third, 0.7)
    await world.end(sweep["id"], third)
    await world.end(sweep["id"], second, "Failed")
    done = await world.until(sweep["id"], is_over)

    assert (done["status"], done["end_reason"]) == ("Completed", "max_trials")
    assert (done["trials_count"], done["completed_count"], done["failed_count"]) == (3, 2, 1)
    assert (done["best_trial"], done["best_run_id"]) == (2, third["run_id"])
    best = (await world.api.client.get(f"sweeps/{sweep['id']}/best")).json()
    assert (best["number"], best["value"], best["status"]) == (2, 0.7, "Completed")
    by_value = await world.trials(sweep["id"], order_by="-value")
    assert [(one["number"], one["value"], one["intervals"]) for one in by_value] == [
        (2, 0.7, 1),
        (0, 0.6, 3),
    ]
    assert [one["status"] for one in await world.trials(sweep["id"])] == [
        "Completed",
        "Failed",
        "Completed",
    ]


async def test_pages_tags_and_repeated_requests(world: Searching) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = world.body()
    one = await world.api.client.post("sweeps", json=body, headers=key)
    again = await world.api.client.post("sweeps", json=body, headers=key)
    assert one.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    other = await world.create(algorithm={"type": "grid"}, search_space=GRID)
    first_page = (await world.api.client.get("sweeps", params={"page_size": 1})).json()
    token = first_page["next_page_token"]
    second_page = await world.api.client.get("sweeps", params={"page_size": 1, "page_token": token})
    listed = [first_page["items"][0]["id"], second_page.json()["items"][0]["id"]]
    assert listed == [other, one.json()["id"]]
    await world.trials(other, 2)
    pages = await world.api.client.get(f"sweeps/{other}/trials", params={"page_size": 1})
    assert [item["number"] for item in pages.json()["items"]] == [0]
    assert pages.json()["next_page_token"]

    shown = await world.api.client.get(f"sweeps/{one.json()['id']}")
    assert shown.headers["etag"].partition(".")[0] == one.headers["etag"].partition(".")[0]


GRID = {
    "kind": {"type": "choice", "values": ["it's", "b"]},
    "size": {"type": "choice", "values": [1, 2], "when": {"kind": ["b"]}},
}


async def test_a_grid_is_walked_and_values_go_where_they_are_named(world: Searching) -> None:
    request = {
        **{name: value for name, value in world.request.items() if name != "entry_script"},
        "command": "python train.py --kind ${{search_space.kind}}",
        "arguments": ["--size", "${{ search_space.size }}"],
        "environment_variables": {"KIND": "<${{search_space.kind}}>"},
    }
    sweep_id = await world.create(
        trial=request,
        algorithm={"type": "grid"},
        search_space=GRID,
        limits={"max_trials": 10},
    )
    trials = await world.trials(sweep_id, 3)
    assert [one["parameters"] for one in trials] == [
        {"kind": "it's"},
        {"kind": "b", "size": 1},
        {"kind": "b", "size": 2},
    ]
    first = (await world.run(trials[0]))["request"]
    assert first["command"] == """python train.py --kind 'it'"'"'s'"""
    assert first["arguments"] == ["--size", ""]
    assert first["environment_variables"] == {"KIND": "<it's>"}
    last = (await world.run(trials[2]))["request"]
    assert last["arguments"] == ["--size", "2"]
    assert last.get("script_params", {}) == {}
    for trial in trials:
        await world.end(sweep_id, trial)
    done = await world.until(sweep_id, is_over)
    assert (done["status"], done["end_reason"]) == ("Completed", "grid_exhausted")
    assert done["trials_count"] == 3


async def test_a_policy_ends_a_trial_and_says_what_it_compared(world: Searching) -> None:
    sweep_id = await world.create(
        early_termination={"type": "bandit", "slack_amount": 0.2, "delay_evaluation": 2}
    )
    first, second = await world.trials(sweep_id, 2)
    await world.log(sweep_id, first, 0.5, 0.9)
    await world.log(sweep_id, second, 0.1)  # the policy waits for the second interval
    await world.until(sweep_id, lambda sweep: sweep["best_value"] == 0.9)
    assert (await world.run(second))["status"] == "Starting"
    await world.log(sweep_id, second, 0.6)
    await world.until(sweep_id, lambda sweep: sweep["ended_early_count"] == 1)

    ended = (await world.trials(sweep_id))[1]
    assert ended["termination"] == {
        "policy": "bandit",
        "interval": 2,
        "value": 0.6,
        "threshold": pytest.approx(0.7),
        "is_ended": True,
        "compared": [{"trial": 0, "value": 0.9}, {"trial": 1, "value": 0.6}],
    }
    run = await world.run(second)
    assert run["status"] == "CancelRequested"
    events = (await world.api.client.get(f"runs/{second['run_id']}/events")).json()["items"]
    assert events[-1]["actor"] == f"sweep {sweep_id}"
    assert events[-1]["reason"] == f"bandit of {sweep_id} at interval 2"

    await world.end(sweep_id, second, "Canceled")
    await world.end(sweep_id, first)
    third = (await world.trials(sweep_id, 3))[2]
    # Those that are over are compared as well.
    await world.log(sweep_id, third, 0.2, 0.65)
    await world.until(sweep_id, lambda sweep: sweep["ended_early_count"] == 2)
    await world.end(sweep_id, third, "Canceled")
    done = await world.until(sweep_id, is_over)
    assert (done["status"], done["canceled_count"]) == ("Completed", 2)

    replay = await world.api.client.post(
        f"sweeps/{sweep_id}/replay",
        json={"early_termination": {"type": "bandit", "slack_amount": 0.25}},
    )
    found = replay.json()
    assert replay.status_code == 200, replay.text
    assert (found["trials_count"], found["winner"], found["is_winner_ended"]) == (3, 0, False)
    assert [(one["trial"], one["interval"]) for one in found["ended"]] == [(1, 1), (2, 1)]
    kept = await world.api.client.get(f"sweeps/{sweep_id}/best", params={"include_canceled": False})
    assert kept.json()["number"] == 0


async def test_limits_end_a_sweep(world: Searching) -> None:
    failing = await world.create(
        limits={"max_trials": 9, "max_concurrent_trials": 3, "max_failed_trials": 2}
    )
    trials = await world.trials(failing, 3)
    await world.end(failing, trials[0], "Failed")
    await world.end(failing, trials[1], "Failed")
    await world.until(failing, lambda sweep: sweep["end_reason"] == "max_failed_trials")
    going = [one for one in await world.trials(failing) if one["status"] not in ("Failed",)]
    assert [one["status"] for one in going] == ["CancelRequested"] * len(going)
    for trial in going:
        await world.end(failing, trial, "Canceled")
    assert (await world.until(failing, is_over))["status"] == "Failed"

    slow = await world.create(limits={"max_trials": 9, "max_duration_seconds": 3600})
    trials = await world.trials(slow, 9)
    early = update(Sweep).where(Sweep.id == slow)
    async with world.api.database.session() as session:
        await session.execute(
            early.values(created_at=func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 2))
        )
    await world.look(slow)
    await world.until(slow, lambda sweep: sweep["end_reason"] == "max_duration")
    for trial in trials:
        await world.end(slow, trial, "Canceled")
    assert (await world.until(slow, is_over))["status"] == "Completed"


async def test_a_sweep_is_canceled_with_its_runs(world: Searching) -> None:
    sweep_id = await world.create()
    trials = await world.trials(sweep_id, 2)
    for _ in range(2):
        answer = await world.api.client.post(f"sweeps/{sweep_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "CancelRequested")

    async def is_canceling(trial: dict[str, Any]) -> str:
        return str((await world.run(trial))["status"])

    for trial in trials:
        await world.until(sweep_id, lambda sweep: True)
        while await is_canceling(trial) != "CancelRequested":
            await asyncio.sleep(0.05)
        await world.end(sweep_id, trial, "Canceled")
    done = await world.until(sweep_id, is_over)
    assert (done["status"], done["trials_count"]) == ("Canceled", 2)
    assert (await world.api.client.post(f"sweeps/{sweep_id}/cancel")).status_code == 202


async def test_a_sweep_that_is_over_cannot_be_canceled(world: Searching) -> None:
    sweep_id = await world.create(limits={"max_trials": 1})
    (trial,) = await world.trials(sweep_id, 1)
    await world.end(sweep_id, trial)
    await world.until(sweep_id, is_over)
    answer = await world.api.client.post(f"sweeps/{sweep_id}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "sweep_finished")
    none = await world.api.client.get(f"sweeps/{sweep_id}/best")
    assert (none.status_code, none.json()["code"]) == (404, "no_trial_yet")


async def test_many_workers_propose_no_trial_twice(world: Searching) -> None:
    database, settings = world.api.database, world.api.settings
    others = [
        Engine(
            database, [SweepReconciler(database, settings)], lease_seconds=0.05, poll_seconds=0.01
        )
        for _ in range(3)
    ]
    polling = [asyncio.create_task(engine.poll_forever()) for engine in others]
    try:
        sweep_id = await world.create(limits={"max_trials": 24, "max_concurrent_trials": 12})
        ended = 0
        while ended < 24:
            for trial in await world.trials(sweep_id):
                if trial["status"] == "Starting":
                    await world.end(sweep_id, trial)
                    ended += 1
            others[0].hint("sweeps", sweep_id)
        await world.until(sweep_id, is_over)
    finally:
        for task in polling:
            task.cancel()
        await asyncio.gather(*polling, return_exceptions=True)
        for engine in others:
            await engine.close()
    async with database.session() as session:
        numbers = (
            await session.execute(select(Trial.number).where(Trial.sweep_id == sweep_id))
        ).scalars()
        assert sorted(numbers) == list(range(24))
        made = select(func.count()).where(Run.properties["sweep_id"].astext == sweep_id)
        assert (await session.execute(made)).scalar_one() == 24


async def test_a_sampler_that_learns_starts_from_an_earlier_sweep(world: Searching) -> None:
    earlier = await world.create(limits={"max_trials": 12})
    for trial in await world.trials(earlier, 12):
        await world.log(earlier, trial, float(trial["parameters"]["lr"]))
        await world.end(earlier, trial)
    await world.until(earlier, is_over)

    async def proposals(**values: Any) -> list[float]:
        sweep_id = await world.create(
            algorithm={"type": "tpe"}, limits={"max_trials": 6}, seed=5, **values
        )
        return [trial["parameters"]["lr"] for trial in await world.trials(sweep_id, 6)]

    cold, warm = await proposals(), await proposals(warm_start_from=[earlier])
    assert cold == await proposals()
    assert sum(warm) > sum(cold)


async def test_what_is_refused_later_fails_the_sweep(world: Searching) -> None:
    sweep_id = await world.create(limits={"max_trials": 2, "max_concurrent_trials": 1})
    (trial,) = await world.trials(sweep_id, 1)
    await world.end(sweep_id, trial)
    async with world.api.database.session() as session:
        sweep = await session.get_one(Sweep, sweep_id)
        sweep.spec = {**sweep.spec, "trial": {**sweep.spec["trial"], "cluster_name": "gone"}}
    if len(await world.trials(sweep_id)) == 1:
        await world.look(sweep_id)
    done = await world.until(sweep_id, lambda sweep: is_over(sweep) or sweep["trials_count"] == 2)
    if done["trials_count"] == 1:
        assert (done["status"], done["end_reason"]) == ("Failed", "trial_refused")
        assert "gone" in done["error"]["message"]


@pytest.mark.parametrize(
    ("values", "pointer", "code"),
    [
        ({"search_space": {}}, "/search_space", "too_short"),
        (
            {"search_space": {"lr": {"type": "uniform", "min": 2, "max": 1}}},
            "/search_space/lr",
            "value_error",
        ),
        (
            {"search_space": {"a": {"type": "randint", "upper": 2, "when": {"b": [1]}}}},
            "/search_space",
            "bad_condition",
        ),
        (
            {"constraints": [{"type": "less_than", "left": "lr", "right": "x"}]},
            "/constraints",
            "bad_constraint",
        ),
        (
            {"constraints": [{"type": "sum_at_most", "parameters": ["lr"], "limit": -1}]},
            "/constraints",
            "nothing_left",
        ),
        ({"algorithm": {"type": "grid"}}, "/search_space/lr", "not_in_a_grid"),
        (
            {
                "algorithm": {"type": "bayesian"},
                "search_space": {"lr": {"type": "loguniform", "min": -6, "max": -1}},
            },
            "/search_space/lr",
            "not_bayesian",
        ),
        (
            {
                "algorithm": {"type": "bayesian"},
                "early_termination": {"type": "median_stopping"},
            },
            "/early_termination",
            "not_bayesian",
        ),
        (
            {"algorithm": {"type": "tpe"}, "warm_start_from": ["sweep_none"]},
            "/warm_start_from/0",
            "unknown_sweep",
        ),
        ({"limits": {"max_trials": 1001}}, "/limits/max_trials", "less_than_equal"),
    ],
)
async def test_a_request_that_cannot_be_is_refused(
    world: Searching, values: dict[str, Any], pointer: str, code: str
) -> None:
    answer = await world.api.client.post("sweeps", json=world.body(**values))
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = [(error["pointer"], error["code"]) for error in answer.json()["errors"]]
    assert any(one[0].startswith(pointer) and one[1] == code for one in found), found
    assert (await world.api.client.get("sweeps")).json()["items"] == []


async def test_a_run_that_cannot_be_is_refused_with_its_place(world: Searching) -> None:
    trial = {**world.request, "cluster_name": "none"}
    for query in ({}, {"validate_only": "true"}):
        answer = await world.api.client.post("sweeps", json=world.body(trial=trial), params=query)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert (error["pointer"], error["code"]) == ("/trial/cluster_name", "unknown_cluster")
    trial = {**world.request, "environment_name": "none"}
    answer = await world.api.client.post("sweeps", json=world.body(trial=trial))
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/trial/environment_name", "unknown_environment")
    trial = {**world.request, "arguments": ["${{search_space.momentum}}"]}
    answer = await world.api.client.post("sweeps", json=world.body(trial=trial))
    assert answer.json()["errors"][0]["code"] == "unknown_parameter"
    trial = {**world.request, "entry_script": None, "command": "echo ${{inputs.none}}"}
    answer = await world.api.client.post("sweeps", json=world.body(trial=trial))
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/trial/command", "unknown_placeholder")
    assert (await world.api.client.get("runs")).json()["items"] == []


async def test_a_request_can_be_checked_without_consequences(world: Searching) -> None:
    body = world.body(algorithm={"type": "grid"}, search_space=GRID)
    answer = await world.api.client.post("sweeps", json=body, params={"validate_only": "true"})
    assert answer.status_code == 200, answer.text
    assert (await world.api.client.get("sweeps")).json()["items"] == []
    assert (await world.api.client.get("runs")).json()["items"] == []


async def test_who_may_do_what(world: Searching) -> None:
    sweep_id = await world.create()
    base = f"/v1/workspaces/{world.api.workspace}/sweeps"
    async with somebody(world.api, role="reader") as reader:
        assert (await reader.get(f"{base}/{sweep_id}")).status_code == 200
        made = await reader.post(base, json=world.body())
        assert (made.status_code, made.json()["code"]) == (403, "permission_missing")
        assert (await reader.post(f"{base}/{sweep_id}/cancel")).status_code == 403
    async with somebody(world.api) as stranger:
        assert (await stranger.get(f"{base}/{sweep_id}")).status_code == 404
    missing = await world.api.client.get("sweeps/sweep_none")
    assert (missing.status_code, missing.json()["code"]) == (404, "sweep_not_found")


async def test_the_best_model_is_registered_in_one_call(world: Searching) -> None:
    sweep_id = await world.create(limits={"max_trials": 2})
    first, second = await world.trials(sweep_id, 2)
    body = {"model_name": "digits", "path": "outputs/model"}
    early = await world.api.client.post(f"sweeps/{sweep_id}/best/model", json=body)
    assert (early.status_code, early.json()["code"]) == (404, "no_trial_yet")
    for trial, value in ((first, 0.8), (second, 0.9)):
        await world.log(sweep_id, trial, value)
        put = await world.api.client.put(
            f"runs/{trial['run_id']}/files/outputs/model/saved_model.pb", content=b"x"
        )
        assert put.status_code == 201, put.text
    await world.end(sweep_id, first)
    await world.end(sweep_id, second, "Failed")
    await world.until(sweep_id, is_over)
    key = {"Idempotency-Key": uuid.uuid4().hex}
    answer = await world.api.client.post(f"sweeps/{sweep_id}/best/model", json=body, headers=key)
    assert answer.status_code == 201, answer.text
    assert answer.json()["lineage"]["run_id"] == first["run_id"]
    again = await world.api.client.post(f"sweeps/{sweep_id}/best/model", json=body, headers=key)
    assert again.json()["version"] == answer.json()["version"] == 1


@pytest.mark.fault(10)
async def test_a_sweep_that_cannot_be_looked_at_says_so_and_others_go_on(
    world: Searching,
) -> None:
    odd = await world.create()
    await world.trials(odd, count=2)
    row = update(Sweep).where(Sweep.id == odd)
    async with world.api.database.session() as session:
        await session.execute(row.values(spec=func.jsonb_build_array(Sweep.spec)))

    async def says_so() -> bool:
        async with world.api.database.session() as session:
            said = await session.scalar(select(Sweep.blockers).where(Sweep.id == odd))
        return [one["code"] for one in said or []] == ["failing"]

    await until(says_so)
    await world.trials(await world.create(), count=2)
    async with world.api.database.session() as session:
        await session.execute(row.values(spec=Sweep.spec[0]))
    await world.until(odd, lambda sweep: sweep["blockers"] == [])
    (first, *_) = await world.trials(odd)
    await world.end(odd, first)
    await world.trials(odd, count=3)
