"""Sweeps whose runs a test plays: it logs their values and says how they end."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, update

from app.kernel.wake import wake
from app.tables.run import Run
from app.tables.sweep import Sweep
from tests.live_api import LiveApi, live_api
from tests.made_runs import make_request
from tests.waiting import until
from workers.reconcile_sweep import SweepReconciler


@dataclass
class Searching:
    """An installation in which sweeps go on, and runs do what the test says."""

    api: LiveApi
    request: dict[str, Any]

    def body(self, **values: Any) -> dict[str, Any]:
        """A request for a sweep that is accepted."""
        return {
            "trial": self.request,
            "search_space": {"lr": {"type": "uniform", "min": 0, "max": 1}},
            "algorithm": {"type": "random"},
            "objective": {"primary_metric": "acc", "goal": "maximize"},
            "limits": {"max_trials": 3, "max_concurrent_trials": 2},
            "seed": 1,
            **values,
        }

    async def create(self, **values: Any) -> str:
        answer = await self.api.client.post("sweeps", json=self.body(**values))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def sweep(self, sweep_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.api.client.get(f"sweeps/{sweep_id}")).json()
        return found

    async def until(self, sweep_id: str, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the sweep is so."""
        seen: dict[str, Any] = {}

        async def is_so() -> bool:
            seen.update(await self.sweep(sweep_id))
            return what(seen)

        try:
            await until(is_so, seconds=60)
        except AssertionError:
            raise AssertionError(f"it never came to that: {seen}") from None
        return seen

    async def trials(self, sweep_id: str, count: int = 0, **query: str) -> list[dict[str, Any]]:
        """The trials, once there are so many."""
        found: list[dict[str, Any]] = []

        async def are_there() -> bool:
            answer = await self.api.client.get(f"sweeps/{sweep_id}/trials", params=query)
            found[:] = answer.json()["items"]
            return len(found) >= count

        await until(are_there, seconds=60)
        return found

    async def log(self, sweep_id: str, trial: dict[str, Any], *values: float) -> None:
        """Let the script of a trial log these values."""
        body = {
            "source": uuid.uuid4().hex,
            "first_seq": 0,
            "values": [{"name": "acc", "value": value} for value in values],
        }
        answer = await self.api.client.post(f"runs/{trial['run_id']}/metrics", json=body)
        assert answer.status_code == 201, answer.text
        await self.look(sweep_id)

    async def end(self, sweep_id: str, trial: dict[str, Any], status: str = "Completed") -> None:
        """Let the run of a trial come to its end."""
        ended = update(Run).where(Run.id == trial["run_id"])
        async with self.api.database.session() as session:
            await session.execute(ended.values(status=status, ended_at=func.clock_timestamp()))
        await self.look(sweep_id)

    async def look(self, sweep_id: str) -> None:
        """Have the sweep looked at now."""
        async with self.api.database.session() as session:
            await wake(session, Sweep, sweep_id)

    async def run(self, trial: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = (await self.api.client.get(f"runs/{trial['run_id']}")).json()
        return found


@asynccontextmanager
async def searching(
    tmp_path: Path, postgres_url: str, broker_url: str, **settings: Any
) -> AsyncIterator[Searching]:
    """An installation for the block."""

    def reconcilers(app: Any) -> list[Any]:
        return [SweepReconciler(app.state.database, app.state.settings)]

    async with live_api(
        tmp_path, postgres_url, broker_url, reconcilers=reconcilers, **settings
    ) as api:
        yield Searching(api, await make_request(api))
