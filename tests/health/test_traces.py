"""One trace a run: from the client's own span to the end of its processes."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.providers.base import NodeRefused
from app.providers.fake.faults import Fault, Verb
from tests.health.collector import Collector, Received, collecting
from tests.runs.test_faults import World, fake_world, started
from tests.waiting import until

pytestmark = pytest.mark.anyio
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT = "00f067aa0ba902b7"


@dataclass
class Traced:
    """An installation that tells a collector."""

    world: World
    collector: Collector

    async def spans(self, trace_id: str, *wanted: str) -> dict[str, Received]:
        """The spans of a trace by name, once those that are wanted have come."""
        found: dict[str, Received] = {}

        async def have_come() -> bool:
            found.update({span.name: span for span in self.collector.of(trace_id)})
            return set(wanted) <= found.keys()

        try:
            await until(have_come)
        except AssertionError:
            raise AssertionError(f"there are only {sorted(found)}") from None
        return found


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
async def traced(
    tmp_path: Path,
    postgres_url: str,
    broker_url: str,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Traced]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    async with fake_world(
        tmp_path, postgres_url, broker_url, gpus=0, otlp_endpoint=collector.url
    ) as world:
        yield Traced(world, collector)


async def order_of(world: World, node: str) -> dict[str, Any]:
    """What a node's runner is told to do."""
    answer = await world.api.client.get(
        "http://api/v1/node/order",
        headers={"Authorization": f"Bearer {world.fake.specs[node].token}"},
    )
    found: dict[str, Any] = answer.json()
    return found


async def test_a_run_is_one_trace_below_the_span_of_its_client(traced: Traced) -> None:
    world = traced.world
    world.api.client.headers["traceparent"] = f"00-{TRACE}-{CLIENT}-01"
    run_id = await world.submit()
    del world.api.client.headers["traceparent"]
    node = await started(world, run_id)
    order = await order_of(world, node)
    now = time.time()
    process = {"exit_code": 0, "started_at": now, "ended_at": now + 1}
    await world.say(node, "exited", processes=[process])
    await world.say(node, "finished")
    done = await world.until(run_id, lambda run: run["status"] == "Completed")

    wanted = (
        "hand to a worker", "prepare", "wait in the queue", "attempt 1", "start nodes",
        "launch node", "set up node", "run scripts", "process 0", "finalize",
    )  # fmt: skip
    spans = await traced.spans(TRACE, *wanted, "POST /v1/workspaces/{workspace}/runs")

    assert done["trace_id"] == TRACE
    submission = spans["POST /v1/workspaces/{workspace}/runs"]
    assert submission.service == "trainwright-api"
    assert submission.parent_id == CLIENT
    (root,) = [span for span in traced.collector.of(TRACE) if span.parent_id == submission.span_id]
    assert root.name == "run"
    attempt = spans["attempt 1"]
    assert attempt.parent_id == root.span_id
    assert attempt.service == "trainwright-worker"
    for name in ("hand to a worker", "prepare", "wait in the queue"):
        assert spans[name].parent_id == root.span_id, name
    for name in ("start nodes", "launch node", "set up node", "process 0", "finalize"):
        assert spans[name].parent_id == attempt.span_id, name
    assert spans["set up node"].service == "trainwright-runner"
    assert spans["process 0"].ended_ns - spans["process 0"].began_ns == pytest.approx(1e9, abs=1e4)
    for span in spans.values():
        assert span.began_ns <= span.ended_ns
        assert not span.is_error
    in_order = ("hand to a worker", "prepare", "wait in the queue", "start nodes", "finalize")
    for earlier, later in pairwise(in_order):
        assert spans[earlier].ended_ns <= spans[later].began_ns, later
    given = f"00-{TRACE}-{attempt.span_id}-01"
    assert order["environment"]["TRACEPARENT"] == given
    assert order["traceparent"] == given


async def test_a_run_whose_client_has_no_trace_begins_one(traced: Traced) -> None:
    refusal = NodeRefused("such a node cannot be")
    traced.world.fake.faults.add(Fault(Verb.ENSURE, error=refusal, times=None))
    run_id = await traced.world.submit()

    failed = await traced.world.until(run_id, lambda run: run["status"] == "Failed")

    submission = "POST /v1/workspaces/{workspace}/runs"
    spans = await traced.spans(failed["trace_id"], submission, "attempt 1")
    assert spans[submission].parent_id == ""
    assert spans["attempt 1"].is_error
    listed = (await traced.world.api.client.get("runs")).json()["items"]
    assert [run["trace_id"] for run in listed] == [failed["trace_id"]]


async def test_what_its_client_does_not_want_kept_is_not_told(traced: Traced) -> None:
    trace_id = TRACE[::-1]
    headers = {"traceparent": f"00-{trace_id}-{CLIENT}-00"}
    await traced.world.api.client.get("runs", headers=headers)
    headers = {"traceparent": f"00-{trace_id}-{CLIENT}-01"}
    await traced.world.api.client.get("experiments", headers=headers)

    spans = await traced.spans(trace_id, "GET /v1/workspaces/{workspace}/experiments")

    assert len(spans) == 1
