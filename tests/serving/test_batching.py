"""Requests that wait together are joined, and each gets its own answer or error."""

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest

from workers.serving.batching import Batcher, Limits
from workers.serving.decode import Request
from workers.serving.problems import Problem
from workers.serving.signature import Signature, Tensor

pytestmark = pytest.mark.anyio
SIGNATURE = Signature(
    "serving_default", (Tensor("x", "float32", (-1, 1)),), (Tensor("y", "float32", (-1, 1)),)
)


def request(*values: float, signature: Signature = SIGNATURE) -> Request:
    array = np.array(values, dtype=np.float32).reshape(-1, 1)
    return Request("instances", signature, {"x": array})


class Doubler:
    """A model that doubles, refuses 13, and can be held up."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def run(self, signature: str, arrays: dict[str, Any]) -> dict[str, Any]:
        assert self.go.wait(10)
        self.rows.append(len(arrays["x"]))
        if 13 in arrays["x"]:
            raise ValueError("unlucky")
        return {"y": arrays["x"] * 2}


async def outcome(batcher: Batcher, *values: float) -> Any:
    return (await batcher.predict(request(*values)))["y"].ravel().tolist()


async def held_up(batcher: Batcher, model: Doubler, calls: list[tuple[float, ...]]) -> list[Any]:
    """Run these calls so that all but the first wait together."""
    model.go.clear()
    tasks = [asyncio.create_task(outcome(batcher, *values)) for values in calls]
    await asyncio.sleep(0)
    model.go.set()
    async with asyncio.timeout(10):
        return list(await asyncio.gather(*tasks, return_exceptions=True))


async def test_waiting_requests_share_one_call_and_keep_their_rows() -> None:
    model = Doubler()
    batcher = Batcher(model.run, Limits())

    answers = await held_up(batcher, model, [(1,), (2,), (3, 4), (5,)])

    assert answers == [[2.0], [4.0], [6.0, 8.0], [10.0]]
    assert model.rows == [1, 4]


async def test_an_error_meets_only_the_request_it_belongs_to() -> None:
    model = Doubler()
    batcher = Batcher(model.run, Limits())

    first, second, third, fourth = await held_up(batcher, model, [(1,), (2,), (13,), (4,)])

    assert (first, second, fourth) == ([2.0], [4.0], [8.0])
    assert isinstance(third, ValueError)


async def test_a_batch_has_a_largest_size() -> None:
    model = Doubler()
    batcher = Batcher(model.run, Limits(max_batch_rows=2))

    await held_up(batcher, model, [(1,), (2,), (3,), (4,)])

    assert model.rows == [1, 2, 1]


async def test_a_model_that_breaks_its_word_on_rows_is_called_alone() -> None:
    rows: list[int] = []
    go = threading.Event()

    def mean(signature: str, arrays: dict[str, Any]) -> dict[str, Any]:
        assert go.wait(10)
        rows.append(len(arrays["x"]))
        return {"y": arrays["x"].mean(axis=0, keepdims=True)}

    batcher = Batcher(mean, Limits())
    tasks = [asyncio.create_task(outcome(batcher, value)) for value in (1.0, 2.0, 3.0)]
    await asyncio.sleep(0)
    go.set()

    assert await asyncio.gather(*tasks) == [[1.0], [2.0], [3.0]]
    assert rows == [1, 2, 1, 1]


async def test_a_call_of_the_model_is_measured_not_a_row_of_them() -> None:
    measured: list[float] = []

    def slow(signature: str, arrays: dict[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        time.sleep(0.05)
        # Over what this call itself has taken by now.
        measured.append(batcher.longest_seconds - (time.monotonic() - began))
        if len(arrays["x"]) > 1:
            raise ValueError("no batches")
        return {"y": arrays["x"]}

    batcher = Batcher(slow, Limits())
    tasks = [asyncio.create_task(outcome(batcher, float(value))) for value in range(12)]
    await asyncio.gather(*tasks)

    assert len(measured) == 1 + 1 + 11
    assert max(measured) < 0.3
    assert batcher.longest_seconds == 0


async def test_what_nobody_waits_for_is_not_called_after_a_batch_failed() -> None:
    rows: list[int] = []
    go = threading.Event()

    def refusing(signature: str, arrays: dict[str, Any]) -> dict[str, Any]:
        rows.append(len(arrays["x"]))
        if len(rows) > 1:
            assert go.wait(10)
        if len(arrays["x"]) > 1:
            raise ValueError("no batches")
        return {"y": arrays["x"]}

    batcher = Batcher(refusing, Limits())
    tasks = [asyncio.create_task(outcome(batcher, float(value))) for value in range(4)]
    await tasks[0]
    async with asyncio.timeout(10):
        while rows != [1, 3]:
            await asyncio.sleep(0.01)
    tasks[2].cancel()
    await asyncio.sleep(0)
    go.set()

    assert list(await asyncio.gather(tasks[1], tasks[3])) == [[1.0], [3.0]]
    assert rows == [1, 3, 1, 1]


async def test_too_many_waiting_are_refused() -> None:
    model = Doubler()
    model.go.clear()
    batcher = Batcher(model.run, Limits(max_waiting=1))
    tasks = [asyncio.create_task(outcome(batcher, value)) for value in (1.0, 2.0, 3.0)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    model.go.set()

    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert answers[:2] == [[2.0], [4.0]]
    assert isinstance(answers[2], Problem)
    assert answers[2].status == 429
