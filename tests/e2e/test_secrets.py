"""A secret on its way through a whole stack: it reaches the script, and can be found nowhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from app.embedded.layout import Layout
from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e import scripts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

WORKSPACE = "secret-keepers"
CANARY = "canary-71c2f0a9d4-wärme"
LEAKS_ALL = """
import base64, os, pathlib, sys, time
from azureml.core import Run
path = pathlib.Path(os.environ["TRAINWRIGHT_SECRET_DB_FILE"])
value = path.read_text(encoding="utf-8")
print("length", len(value))
print("plain", value)
for part in (value[:5], value[5:]):
    print(part, end="", flush=True)
    time.sleep(0.1)
print()
print("encoded", base64.b64encode(("user:" + value).encode()).decode())
run = Run.get_context()
run.tag("leak", value)
run.log("leak " + value, 1.0)
pathlib.Path("logs/own.log").write_text("own " + value + "\\n", encoding="utf-8")
print("ready", flush=True)
while not pathlib.Path("../go").exists():
    time.sleep(0.05)
raise RuntimeError("cannot log in with " + value)
"""


@pytest.fixture
def workspace(talk: Talk) -> Iterator[str]:
    talk.ask("PUT", f"/v1/workspaces/{WORKSPACE}", expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 1}
    talk.ask("PUT", f"/v1/workspaces/{WORKSPACE}/clusters/cpu", body=body, expect=(200, 201))
    yield f"/v1/workspaces/{WORKSPACE}"
    scripts.cancel_all(talk, workspace=WORKSPACE)


def test_the_value_is_nowhere_but_in_the_scripts_file(
    live_stack: Stack, talk: Talk, workspace: str
) -> None:
    quiet = Talk(live_stack.address, live_stack.token, is_silent=True)
    secret = {"value": CANARY}
    quiet.ask("PUT", f"{workspace}/secrets/db", body=secret, expect=(200, 201))
    run_id = scripts.submit(quiet, LEAKS_ALL, workspace=WORKSPACE, secrets={"DB": {"secret": "db"}})

    def log() -> str:
        address = f"{workspace}/runs/{run_id}/logs"
        return str(quiet.client.get(address, headers=quiet.authorization()).text)

    scripts.await_status(quiet, run_id, "Running", workspace=WORKSPACE, seconds=200)
    scripts.await_true(lambda: "ready" in log(), seconds=60)
    assert processes_with(CANARY) == []
    (go,) = live_stack.data_dir.glob(f"nodes/tw-{run_id}*")
    (go / "go").touch()
    run = scripts.await_status(quiet, run_id, "Failed", workspace=WORKSPACE)

    assert run["error"]["last_lines"][-1] == "RuntimeError: cannot log in with [secret DB]"
    shown = log()
    assert f"length {len(CANARY)}" in shown
    assert "plain [secret DB]\n[secret DB]\n" in shown
    for answer in answers(quiet, f"{workspace}/runs/{run_id}"):
        assert CANARY not in answer
        assert CANARY[:-8] not in answer
    events = quiet.get(f"{workspace}/runs/{run_id}/events")["items"]
    handed = [event for event in events if event["type"] == "secrets_handed_out"]
    assert handed[0]["data"] == {"names": ["DB"]}
    assert CANARY.encode() not in dump(live_stack)
    scripts.await_true(lambda: not go.exists())
    assert files_with(live_stack.data_dir, CANARY) == []
    assert not list(Path("/dev/shm").glob(f"tw-{run_id}*"))
    quiet.close()


def answers(talk: Talk, address: str) -> list[str]:
    """All that can be read of a run."""
    parts = ["", "/events", "/events/stream", "/logs", "/logs?follow=true", "/logs/streams"]
    parts += ["/files", "/files/logs/own.log", "/metrics", "/attempts", "/processes"]
    found: list[Any] = [
        talk.client.get(address + part, headers=talk.authorization()) for part in parts
    ]
    return [answer.text for answer in found]


def processes_with(value: str) -> list[psutil.Process]:
    """Processes that show a value to whoever may look at them."""
    found = []
    for process in psutil.process_iter():
        try:
            shown = [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if any(value in text for text in shown):
            found.append(process)
    return found


def dump(stack: Stack) -> bytes:
    """All rows of the database, as text."""
    url = Layout(stack.data_dir).postgres.url().replace("+psycopg", "")
    found = bytearray()
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (name,) in names.fetchall():
            copy = SQL("COPY {} TO STDOUT").format(Identifier(name))
            with connection.cursor().copy(copy) as rows:
                for part in rows:
                    found += part
    return bytes(found)


def files_with(folder: Path, value: str) -> list[Path]:
    """Files of the stack that hold a value: logs, objects, the database's own."""
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and value.encode() in path.read_bytes():
                found.append(path)
        except FileNotFoundError:
            continue
    return found
