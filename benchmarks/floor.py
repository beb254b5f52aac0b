"""What Python on this machine can do at all: bare FastAPI and asyncpg, one transaction a request.

Started as a server of its own by `floor_server`; its tables are in a schema that goes with it.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import asyncpg
import httpx2
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse

_DSN = "BENCH_FLOOR_DSN"
_FOLDER = "BENCH_FLOOR_FOLDER"
_START_SECONDS = 30.0
_TABLE = """
    DROP SCHEMA IF EXISTS floor CASCADE;
    CREATE SCHEMA floor;
    CREATE TABLE floor.metrics (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run_id text, name text,
        value float8, step bigint, logged_at timestamptz DEFAULT now()
    );
    CREATE TABLE floor.runs (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, experiment text, document jsonb,
        created_at timestamptz DEFAULT now()
    );
    CREATE TABLE floor.events (
        run_id bigint REFERENCES floor.runs (id), seq int, type text, PRIMARY KEY (run_id, seq)
    );
"""
_CREATE_RUN = """
    WITH made AS (
        INSERT INTO floor.runs (experiment, document) VALUES ($1, $2) RETURNING id
    ), told AS (
        INSERT INTO floor.events (run_id, seq, type) SELECT id, 1, 'created' FROM made
    ) SELECT id FROM made
"""
_INSERT = "INSERT INTO floor.metrics (run_id, name, value, step) VALUES ($1, $2, $3, $4)"
_GET_RUN = "SELECT id, experiment, document, created_at FROM floor.runs WHERE id = $1"
_LIST_RUNS = (
    "SELECT id, experiment, document, created_at FROM floor.runs ORDER BY id DESC LIMIT 100"
)
_INSERT_MANY = """
    INSERT INTO floor.metrics (run_id, name, value, step)
    SELECT $1, name, value, step
    FROM unnest($2::text[], $3::float8[], $4::bigint[]) AS given(name, value, step)
"""


@asynccontextmanager
async def _lifespan(application: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ[_DSN], min_size=4, max_size=16) as pool:
        application.state.pool = pool
        yield
        await pool.execute("DROP SCHEMA floor CASCADE")


app = FastAPI(lifespan=_lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    """Nothing but an answer."""
    return {"status": "ok"}


@app.post("/metric")
async def log_metric(request: Request) -> dict[str, int]:
    """One row."""
    body = await request.json()
    await request.app.state.pool.execute(
        _INSERT, "run", body["name"], float(body["value"]), body["step"]
    )
    return {"stored": 1}


@app.post("/metrics")
async def log_metrics(request: Request) -> dict[str, int]:
    """Many rows in one statement."""
    values = (await request.json())["values"]
    columns = ([v["name"] for v in values], [float(v["value"]) for v in values],
               [v["step"] for v in values])  # fmt: skip
    await request.app.state.pool.execute(_INSERT_MANY, "run", *columns)
    return {"stored": len(values)}


@app.post("/runs")
async def create_run(request: Request) -> dict[str, int]:
    """A run and its first event, in one transaction."""
    body = await request.body()
    return {"id": await request.app.state.pool.fetchval(_CREATE_RUN, "bench", body.decode())}


@app.get("/runs/{run_id}")
async def get_run(run_id: int, request: Request) -> dict[str, object]:
    """One run."""
    return dict(await request.app.state.pool.fetchrow(_GET_RUN, run_id))


@app.get("/runs")
async def list_runs(request: Request) -> list[dict[str, object]]:
    """The newest hundred."""
    return [dict(row) for row in await request.app.state.pool.fetch(_LIST_RUNS)]


@app.put("/files/{name}")
async def put_file(name: str, request: Request) -> dict[str, int]:
    """A body into a file."""
    size = 0
    async with await anyio.open_file(Path(os.environ[_FOLDER]) / name, "wb") as target:
        async for chunk in request.stream():
            size += len(chunk)
            await target.write(chunk)
    return {"size": size}


@app.get("/files/{name}")
async def get_file(name: str) -> FileResponse:
    """A file as the body."""
    return FileResponse(Path(os.environ[_FOLDER]) / name)


@contextmanager
def floor_server(dsn: str, folder: Path = Path("/nonexistent")) -> Iterator[str]:
    """Run the floor on a database, and on a folder for files; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "benchmarks.floor:app", "--port", str(port)]
    child = subprocess.Popen(
        [*command, "--log-level", "error", "--no-access-log"],
        env={**os.environ, _DSN: dsn, _FOLDER: str(folder)},
    )
    try:
        _wait_until_ready(address, child)
        yield address
    finally:
        child.terminate()
        child.wait(timeout=30)


def make_tables(dsn: str) -> None:
    """Make the floor's tables anew."""

    async def make() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(_TABLE)
        await connection.close()

    asyncio.run(make())


def _wait_until_ready(address: str, child: "subprocess.Popen[bytes]") -> None:
    ends_at = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends_at and child.poll() is None:
        try:
            if httpx2.get(f"{address}/health", timeout=1, trust_env=False).is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.05)
    raise RuntimeError("the floor did not start")
