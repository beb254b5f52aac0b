"""Sweeps whose trials are refused, retried or deleted, and requests that cannot be."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from app.tables.run import Run
from app.tables.sweep import Sweep
from tests.sweeps.searching import Searching, searching
from tests.sweeps.test_sweeps import is_over

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[Searching]:
    async with searching(tmp_path, postgres_url, broker_url) as world:
        yield world


async def test_trials_that_fit_go_on_and_the_others_wait(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with searching(tmp_path, postgres_url, broker_url, max_active_runs=2) as world:
        sweep_id = await world.create(limits={"max_trials": 3})
        waiting = await world.until(sweep_id, lambda sweep: bool(sweep["blockers"]))
        assert waiting["trials_count"] == 2
        assert [one["code"] for one in waiting["blockers"]] == ["quota"]
        trials = await world.trials(sweep_id)
        await world.end(sweep_id, trials[0])
        done = await world.until(sweep_id, lambda sweep: sweep["trials_count"] == 3)
        assert done["blockers"] == []


async def test_a_second_attempt_is_judged_and_keeps_what_the_first_reached(
    world: Searching,
) -> None:
    sweep_id = await world.create(early_termination={"type": "bandit", "slack_amount": 0.2})
    first, second = await world.trials(sweep_id, 2)
    await world.log(sweep_id, first, 0.9, 0.9)
    await world.log(sweep_id, second, 0.85, 0.85)
    await world.until(sweep_id, lambda sweep: sweep["best_value"] == 0.9)
    again = update(Run).where(Run.id == second["run_id"]).values(attempt=Run.attempt + 1)
    async with world.api.database.session() as session:
        await session.execute(again)
    await world.log(sweep_id, second, 0.1)
    await world.until(sweep_id, lambda sweep: sweep["ended_early_count"] == 1)
    ended = (await world.trials(sweep_id))[1]
    assert (ended["value"], ended["intervals"]) == (0.85, 1)
    assert (ended["termination"]["interval"], ended["termination"]["value"]) == (1, 0.1)

    for trial in (first, second):
        await world.end(sweep_id, trial, "Canceled" if trial is second else "Completed")
    await world.trials(sweep_id, 3)
    answer = await world.api.client.post(
        f"sweeps/{sweep_id}/replay",
        json={"early_termination": {"type": "bandit", "slack_amount": 0.2}},
    )
    (replayed,) = answer.json()["ended"]
    shown = {key: replayed[key] for key in ("trial", "interval", "value", "threshold")}
    assert shown == {
        "trial": 1,
        **{key: ended["termination"][key] for key in shown if key != "trial"},
    }


async def test_a_trial_that_is_no_run_is_refused_and_those_before_it_stay(
    world: Searching,
) -> None:
    trial = {
        **world.request,
        "environment_variables": {"LONG": "${{search_space.text}}" * 40},
    }
    space = {"text": {"type": "choice", "values": ["a", "x" * 1000]}}
    values = {"trial": trial, "search_space": space, "algorithm": {"type": "grid"}}
    sweep_id = await world.create(**values)
    refused = await world.until(sweep_id, lambda sweep: sweep["error"] is not None)
    assert (refused["trials_count"], refused["error"]["code"]) == (1, "invalid")

    space["text"]["values"] = ["x" * 1000]
    answer = await world.api.client.post("sweeps", json=world.body(**values))
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "/trial/environment_variables/LONG"


async def test_what_trials_share_is_fixed_when_the_sweep_is_made(world: Searching) -> None:
    put = world.api.client.put
    await put("environments/shared", json={"python_version": "3.11", "pip_packages": ["six==1.16"]})
    sweep_id = await world.create(trial={**world.request, "environment_name": "shared"})
    changed = await put("environments/shared", json={"python_version": "3.11"})
    assert changed.status_code == 200, changed.text
    shown = (await world.sweep(sweep_id))["trial"]
    assert shown["environment"]["pip_packages"] == ["six==1.16"]
    for trial in await world.trials(sweep_id, 2):
        request = (await world.run(trial))["request"]
        assert request["environment"]["pip_packages"] == ["six==1.16"]


async def test_the_next_best_model_where_the_best_run_is_gone(world: Searching) -> None:
    sweep_id = await world.create(limits={"max_trials": 2})
    first, second = await world.trials(sweep_id, 2)
    for trial, value in ((first, 0.8), (second, 0.9)):
        await world.log(sweep_id, trial, value)
        await world.api.client.put(f"runs/{trial['run_id']}/files/outputs/m.pb", content=b"x")
        await world.end(sweep_id, trial)
    await world.until(sweep_id, is_over)
    async with world.api.database.session() as session:
        await session.execute(delete(Run).where(Run.id == second["run_id"]))
    register = f"sweeps/{sweep_id}/best/model"
    missing = {"model_name": "digits", "path": "outputs/none"}
    answer = await world.api.client.post(register, json=missing)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/path")
    body = {"model_name": "digits", "path": "outputs"}
    answer = await world.api.client.post(register, json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["lineage"]["run_id"] == first["run_id"]
    async with world.api.database.session() as session:
        await session.execute(delete(Run).where(Run.id == first["run_id"]))
    answer = await world.api.client.post(register, json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "no_trial_yet")


async def test_requests_at_the_edge(world: Searching) -> None:
    many = {f"k{number}": "v" for number in range(50)}
    numbers = {"type": "choice", "values": list(range(1, 41))}

    async def errors(**values: Any) -> list[tuple[str, str]]:
        answer = await world.api.client.post(
            "sweeps", json=world.body(**values), params={"validate_only": "true"}
        )
        assert answer.status_code in (200, 422), answer.text
        return [(one["pointer"], one["code"]) for one in answer.json().get("errors", [])]

    trial = {**world.request, "properties": many}
    assert await errors(trial=trial) == [("/trial/properties", "too_long")]
    assert await errors(trial={**world.request, "tags": many}) == []
    found = await errors(warm_start_from=["sweep_none"])
    assert found == [("/warm_start_from", "not_learned_from")]
    steps = {"x": {"type": "quniform", "min": 0, "max": 1e300, "q": 1e-300}}
    assert await errors(search_space=steps) == [("/search_space/x", "value_error")]
    for value in (10**400, "1e999"):
        text = f'{{"type": "choice", "values": [1, {value}]}}'
        raw = world.api.client.build_request("POST", "sweeps", json=world.body()).content
        answer = await world.api.client.post(
            "sweeps",
            content=raw.replace(b'{"type":"uniform","min":0,"max":1}', text.encode()),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["pointer"] == "/search_space/lr/values/1"
    sparse = [{"type": "sum_at_most", "parameters": ["a", "b"], "limit": 2}]
    space = {"a": numbers, "b": numbers}
    grid = {"algorithm": {"type": "grid"}, "search_space": space, "constraints": sparse}
    assert await errors(**grid) == []
    seldom = await errors(search_space=space, constraints=sparse)
    assert seldom == [("/constraints", "nothing_left")]


async def test_constraints_that_leave_nothing_midway_end_a_sweep_in_peace(
    world: Searching,
) -> None:
    sweep_id = await world.create(limits={"max_trials": 3, "max_concurrent_trials": 1})
    (trial,) = await world.trials(sweep_id, 1)
    never = [{"type": "sum_at_most", "parameters": ["lr"], "limit": -1}]
    async with world.api.database.session() as session:
        sweep = await session.get_one(Sweep, sweep_id)
        sweep.spec = {**sweep.spec, "constraints": never}
    await world.log(sweep_id, trial, 0.5)
    await world.end(sweep_id, trial)
    done = await world.until(sweep_id, is_over)
    assert (done["status"], done["end_reason"]) == ("Completed", "nothing_left")
    assert (done["completed_count"], done["error"]) == (1, None)


async def test_of_a_trial_that_logs_without_end_the_first_intervals_are_compared(
    world: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.sweeps.schemas._MOST_INTERVALS", 3)
    sweep_id = await world.create(early_termination={"type": "bandit", "slack_amount": 0.2})
    first, second = await world.trials(sweep_id, 2)
    await world.log(sweep_id, first, 0.9, 0.9, 0.9)
    await world.log(sweep_id, second, 0.8, 0.8, 0.8)
    await world.log(sweep_id, first, 5.0, 5.0)
    await world.log(sweep_id, second, 0.8, 0.8)
    await world.until(sweep_id, lambda sweep: sweep["best_value"] == 5.0)
    for trial in (first, second):
        await world.end(sweep_id, trial)
    done = await world.until(sweep_id, lambda sweep: sweep["completed_count"] == 2)

    assert done["ended_early_count"] == 0
    shown = [(one["intervals"], one["value"]) for one in await world.trials(sweep_id)]
    assert shown[:2] == [(5, 5.0), (5, 0.8)]
    answer = await world.api.client.post(
        f"sweeps/{sweep_id}/replay",
        json={"early_termination": {"type": "bandit", "slack_amount": 0.05}},
    )
    assert answer.json()["intervals_count"] == 6
    assert [one["interval"] for one in answer.json()["ended"]] == [1]
