"""Nodes that are rows only: what they print is sent by the test, at times of its choice."""

from dataclasses import dataclass
from typing import Any

import httpx2

from app.auth.principal import Principal
from app.runs.attempts import node_name
from app.tables.run import Attempt, Run, RunNode
from tests.live_api import LiveApi

STDOUT = "user_logs/std_log.txt"
BEGAN = 1_760_000_000_000
"""Milliseconds since 1970 of the moment 0 of a test: 2025-10-09T08:53:20Z."""


@dataclass(frozen=True)
class Node:
    """One node of a run, as the API sees it."""

    api: LiveApi
    index: int
    headers: dict[str, str]

    async def send(
        self, data: bytes, *, offset: int, times: str = "", stream: str = STDOUT
    ) -> httpx2.Response:
        return await self.api.client.post(
            "http://api/v1/node/logs",
            params={"stream": stream, "offset": offset},
            content=data,
            headers={**self.headers, "Log-Times": times},
        )

    async def print(self, *lines: tuple[int, str], offset: int = 0, stream: str = STDOUT) -> int:
        """Send lines, each with its moment in milliseconds; returns the stream's new length."""
        text = "".join(line + "\n" for _, line in lines).encode()
        times, place = [], 0
        for moment, line in lines:
            times.append(f"{place}@{BEGAN + moment}")
            place += len(line.encode()) + 1
        answer = await self.send(text, offset=offset, times=" ".join(times), stream=stream)
        assert answer.status_code == 200, answer.text
        length: int = answer.json()["length_bytes"]
        return length


async def start_nodes(api: LiveApi, run_id: str, count: int, *, attempt: int = 1) -> list[Node]:
    """Give a run an attempt with so many nodes."""
    async with api.database.session() as session:
        run = await session.get_one(Run, run_id)
        run.attempt = attempt
        session.add(Attempt(run_id=run_id, number=attempt))
        await session.flush()
        for index in range(count):
            session.add(
                RunNode(
                    name=node_name(run_id, attempt, index),
                    run_id=run_id,
                    attempt=attempt,
                    node_index=index,
                    state="Running",
                )
            )
        workspace_id = run.workspace_id
    return [
        Node(api, index, _headers(api, node_name(run_id, attempt, index), workspace_id))
        for index in range(count)
    ]


def _headers(api: LiveApi, name: str, workspace_id: str) -> dict[str, Any]:
    signer = api.app.state.signer
    token = signer.issue(Principal(kind="node", id=name, name=name, workspace_id=workspace_id))
    return {"Authorization": f"Bearer {token}"}
