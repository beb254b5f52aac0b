"""Run requests on a thread of their own; join those that wait at the same time.

Joining needs no timer: while one call is running others queue up, and the next call takes all of
them that fit together. One client alone is never delayed.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from .decode import Request
from .problems import Problem

Arrays = Dict[str, Any]
Run = Callable[[str, Arrays], Arrays]


@dataclass(frozen=True)
class Limits:
    """How much work is taken on at once."""

    max_waiting: int = 256
    max_batch_rows: int = 64


@dataclass
class _Waiting:
    request: Request
    answer: asyncio.Future[Arrays]


class Batcher:
    """The queue in front of a model. Use from one event loop only."""

    def __init__(self, run: Run, limits: Limits) -> None:
        self._run = run
        self._limits = limits
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._waiting: List[_Waiting] = []
        self._is_busy = False
        self._began: Optional[float] = None
        """When the call of the model that is running began."""
        self._cannot_join: set[str] = set()

    async def predict(self, request: Request) -> Arrays:
        """Return the outputs for one request.

        Raises:
            Problem: 429 when too many wait already.
            Exception: whatever the model raised for this request.
        """
        if len(self._waiting) >= self._limits.max_waiting:
            raise Problem(
                429, "overloaded", "Too many requests are waiting.", headers={"Retry-After": "1"}
            )
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._start()
        return await waiting.answer

    @property
    def longest_seconds(self) -> float:
        """For how long the call of the model that is running has run; 0: none is."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def _start(self) -> None:
        if self._is_busy:
            return
        group = self._take()
        if group:
            self._is_busy = True
            call = asyncio.get_running_loop().run_in_executor(self._pool, self._call, group)
            call.add_done_callback(partial(self._finish, group))

    def _take(self) -> List[_Waiting]:
        """Remove and return the oldest request and those that can be joined to it."""
        self._waiting = [each for each in self._waiting if not each.answer.done()]
        if not self._waiting:
            return []
        first = self._waiting[0]
        key = self._key(first.request)
        rows, group, rest = 0, [], []
        for each in self._waiting:
            fits = rows + each.request.rows <= self._limits.max_batch_rows
            if each is first or (key is not None and fits and self._key(each.request) == key):
                group.append(each)
                rows += each.request.rows
            else:
                rest.append(each)
        self._waiting = rest
        return group

    def _key(self, request: Request) -> Optional[Tuple[Any, ...]]:
        """Return what requests must share to be joined; None for one that must go alone."""
        signature = request.signature
        rows = {array.shape[:1] for array in request.arrays.values()}
        if not signature.is_batched or signature.name in self._cannot_join or len(rows) != 1:
            return None
        shapes = tuple(request.arrays[tensor.name].shape[1:] for tensor in signature.inputs)
        return signature.name, shapes

    def _call(self, group: List[_Waiting]) -> List[Any]:
        """Return for each request its outputs or the exception it met (in the thread)."""
        if len(group) > 1:
            joined = self._call_joined(group)
            if joined is not None:
                return joined
        return [self._call_alone(each) for each in group]

    def _call_joined(self, group: List[_Waiting]) -> Optional[List[Any]]:
        signature = group[0].request.signature
        names = [tensor.name for tensor in signature.inputs]
        arrays = {
            name: np.concatenate([each.request.arrays[name] for each in group]) for name in names
        }
        outputs = self._call_model(signature.name, arrays)
        if isinstance(outputs, Exception):
            return None  # one of them is at fault: each alone, so that only that one fails
        rows = [each.request.rows for each in group]
        if any(array.shape[:1] != (sum(rows),) for array in outputs.values()):
            self._cannot_join.add(signature.name)  # the signature said rows, the model does not
            return None
        edges = np.cumsum([0, *rows]).tolist()
        return [
            {name: array[start:end] for name, array in outputs.items()}
            for start, end in zip(edges, edges[1:])
        ]

    def _call_alone(self, waiting: _Waiting) -> Any:
        if waiting.answer.done():
            return None  # nobody waits for it any more
        return self._call_model(waiting.request.signature.name, waiting.request.arrays)

    def _call_model(self, signature: str, arrays: Arrays) -> Any:
        """Return outputs, or the exception as a value: it belongs to a request, not to the pool."""
        self._began = time.monotonic()
        try:
            return self._run(signature, arrays)
        except Exception as error:
            return error
        finally:
            self._began = None

    def _finish(self, group: List[_Waiting], done: asyncio.Future[List[Any]]) -> None:
        self._is_busy = False
        for each, result in zip(group, done.result()):
            if each.answer.done():
                continue  # its client went away or its deadline passed
            if isinstance(result, Exception):
                each.answer.set_exception(result)
            else:
                each.answer.set_result(result)
        self._start()
