"""Passing predictions on to replicas, and their answers back: the router of each API process.

Predictions change nothing, so one that meets a replica on its way out is given to another. Where
none is left the deployment is looked up again, for as long as one may be on its way.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from app.auth.signing import Signer
from app.deployments import repository
from app.deployments.capture import Captures
from app.deployments.decide import State
from app.deployments.errors import BodyTooLarge, DeadlineExceeded, NotReady, QueueFull
from app.deployments.keys import replica_token
from app.deployments.loads import LoadKeeper
from app.deployments.measures import Measure, measured
from app.deployments.replica_client import (
    ReplicaAnswer,
    ReplicaClient,
    ReplicaSilent,
    ReplicaUnreachable,
    replica_client,
)
from app.deployments.repository import Answering, Target
from app.deployments.schemas import DeploymentLimits, Traffic
from app.kernel.db import Database
from app.kernel.errors import DomainError

_GRACE_SECONDS = 10.0
"""So much longer than a replica's own limit its answer is waited for."""
_WAIT_SECONDS = 30.0
"""So long a request waits for a replica that is on its way."""
_LOOK_AGAIN_SECONDS = 0.1
_RETRY_AFTER_SECONDS = 1
_MAX_SHADOWS = 64
"""So many copies are under way at a time in a process; more are not made."""
_COMING_STATES = frozenset({State.HEALTHY, State.UNHEALTHY})
_KEPT_OF_REQUEST = (
    "Content-Type",
    "Inference-Header-Content-Length",
    "Traceparent",
    "Tracestate",
)


@dataclass(frozen=True)
class Call:
    """A request for a replica.

    Attributes:
        method: of HTTP.
        path: at the replica.
        body: passed on as it is.
        headers: of the request; a few are passed on.
        request_id: of the request.
    """

    method: str
    path: str
    body: bytes
    headers: Mapping[str, str]
    request_id: str


@asynccontextmanager
async def scoring_router(
    database: Database, signer: Signer, captures: Captures
) -> AsyncIterator["ScoringRouter"]:
    """The router with its pool of connections to replicas; one per API process."""
    async with replica_client() as client:
        router = ScoringRouter(client, database, signer, captures)
        keeping = asyncio.create_task(router.keep())
        writing = asyncio.create_task(captures.write_forever())
        try:
            yield router
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, *router.shadows, return_exceptions=True)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)


class ScoringRouter:
    """Chooses a replica for each request.

    Attributes:
        captures: what of them is kept.
    """

    def __init__(
        self,
        client: ReplicaClient,
        database: Database,
        signer: Signer,
        captures: Captures,
    ) -> None:
        self._client = client
        self._database = database
        self._signer = signer
        self.captures = captures
        self._loads = LoadKeeper(database)
        self._shadows: set[asyncio.Task[None]] = set()
        self._turn = itertools.count()
        self._waiting: Counter[str] = Counter()

    @property
    def shadows(self) -> set[asyncio.Task[None]]:
        """Copies of requests that are under way."""
        return self._shadows

    async def keep(self) -> None:
        """Note the loads until cancelled."""
        await self._loads.note_forever()

    async def answer(self, target: Target, call: Call) -> tuple[str, ReplicaAnswer]:
        """The answer of the deployment that the traffic rules choose, and who gave it.

        Copies go where the rules say; their answers are dropped.

        Args:
            target: the deployment that was asked.
            call: what to ask.

        Raises:
            BodyTooLarge: the deployment takes no such body.
            QueueFull: too many wait for a replica already.
            NotReady: no replica could be reached, and none is on its way.
            DeadlineExceeded: the replica gave no answer in time.
        """
        rules = Traffic.model_validate(target.deployment.traffic)
        chosen = await self._chosen(target, rules)
        for name, percent in rules.shadow.items():
            if 100 * random.random() < percent and len(self._shadows) < _MAX_SHADOWS:  # noqa: S311
                copy = asyncio.create_task(self._shadow(target, name, call))
                self._shadows.add(copy)
                copy.add_done_callback(self._shadows.discard)
        with measured(chosen, is_shadow=False) as measure:
            answer = await self.forward(chosen, call)
            note(measure, answer)
        self._capture(chosen, measure, call, answer)
        return f"{chosen.deployment.name}/{measure.version}", answer

    async def _chosen(self, target: Target, rules: Traffic) -> Target:
        point = 100 * random.random()  # noqa: S311
        for name, percent in rules.shares.items():
            point -= percent
            if point < 0:
                return await self._find(target, name) or target
        return target

    async def _find(self, target: Target, name: str) -> Target | None:
        workspace_id = target.deployment.workspace_id
        return await repository.find_target_of(self._database.direct, workspace_id, name)

    async def _shadow(self, target: Target, name: str, call: Call) -> None:
        with suppress(DomainError, SQLAlchemyError):
            other = await self._find(target, name)
            if other is None:
                return
            with measured(other, is_shadow=True) as measure:
                answer = await self.forward(other, call)
                note(measure, answer)
            self._capture(other, measure, call, answer)

    def _capture(self, target: Target, measure: Measure, call: Call, answer: ReplicaAnswer) -> None:
        if call.method == "POST":  # what is read of a deployment is no prediction
            self.captures.note(
                target,
                measure,
                answer,
                path=call.path,
                body=call.body,
                headers=call.headers,
                request_id=call.request_id,
            )

    async def forward(self, target: Target, call: Call) -> ReplicaAnswer:
        """The answer of a replica, whatever it says.

        Args:
            target: the deployment and the replicas that it has now.
            call: what to ask.

        Raises:
            BodyTooLarge: the deployment takes no such body.
            QueueFull: too many wait for a replica already, or every replica's queue is full.
            NotReady: no replica could be reached, and none is on its way.
            DeadlineExceeded: the replica gave no answer in time.
        """
        with self._loads.counts(target.deployment.id):
            return await self._forward(target, call)

    async def _forward(self, target: Target, call: Call) -> ReplicaAnswer:
        row = target.deployment
        limits = DeploymentLimits.model_validate(row.limits)
        if limits.max_body_bytes is not None and len(call.body) > limits.max_body_bytes:
            raise BodyTooLarge(len(call.body), limits.max_body_bytes)
        tried: set[str] = set()
        answer = await self._ask_each(target, call, limits, tried)
        if answer is not None:
            return answer
        if not row.replica_count:
            await self._loads.note()  # somebody asks: the first replica is to be started now
        ends_at = time.monotonic() + _WAIT_SECONDS
        with self._waits(row.id, limits.max_waiting):
            while _is_coming(target) and time.monotonic() < ends_at:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                found = await repository.find_target_by_id(self._database.direct, row.id)
                if found is None:
                    break
                target = found
                answer = await self._ask_each(target, call, limits, tried)
                if answer is not None:
                    return answer
        raise NotReady(_why(target), retry_after_seconds=_RETRY_AFTER_SECONDS)

    @contextmanager
    def _waits(self, deployment_id: str, max_waiting: int) -> Iterator[None]:
        if self._waiting[deployment_id] >= max_waiting:
            raise QueueFull(max_waiting, retry_after_seconds=_RETRY_AFTER_SECONDS)
        self._waiting[deployment_id] += 1
        try:
            yield
        finally:
            self._waiting[deployment_id] -= 1
            if not self._waiting[deployment_id]:
                del self._waiting[deployment_id]

    async def _ask_each(
        self, target: Target, call: Call, limits: DeploymentLimits, tried: set[str]
    ) -> ReplicaAnswer | None:
        """The first good answer; else that of a full replica; None: nobody could be asked.

        Args:
            target: the replicas.
            call: what to ask.
            limits: of the deployment.
            tried: replicas that are gone; grows.
        """
        full: ReplicaAnswer | None = None
        for replica in self._in_turn(target.replicas):
            if replica.name in tried:
                continue
            try:
                answer = await self._ask(replica, call, limits)
            except ReplicaSilent as error:
                raise DeadlineExceeded(
                    limits.timeout_seconds, retry_after_seconds=_RETRY_AFTER_SECONDS
                ) from error
            except ReplicaUnreachable:
                tried.add(replica.name)
                continue
            if answer.status == 401:
                tried.add(replica.name)  # another process got the port of a replica that has ended
                continue
            if answer.status != 429:
                return answer
            full = answer
        return full

    async def _ask(self, replica: Answering, call: Call, limits: DeploymentLimits) -> ReplicaAnswer:
        kept = {key: call.headers[key] for key in _KEPT_OF_REQUEST if key in call.headers}
        token = replica_token(self._signer, replica.name, made_at=replica.created_at)
        return await self._client.ask(
            call.method,
            replica.address,
            replica.port,
            call.path,
            body=call.body,
            headers={**kept, "Authorization": f"Bearer {token}"},
            silence_seconds=limits.timeout_seconds + _GRACE_SECONDS,
        )

    def _in_turn(self, replicas: tuple[Answering, ...]) -> tuple[Answering, ...]:
        if not replicas:
            return ()
        first = next(self._turn) % len(replicas)
        return replicas[first:] + replicas[:first]


def note(measure: Measure, answer: ReplicaAnswer) -> None:
    """Note what the measure of a prediction is to know of its answer."""
    measure.status = answer.status
    measure.version = answer.headers.get("Model-Version", measure.version)


def _is_coming(target: Target) -> bool:
    row = target.deployment
    return not row.deleting and row.state in _COMING_STATES


def _why(target: Target) -> str:
    row = target.deployment
    if row.deleting:
        return f"Deployment {row.name!r} is being deleted."
    cause = f" {row.error['message']}" if row.error else ""
    return f"Deployment {row.name!r} is {row.state}: no replica can answer now.{cause}"
