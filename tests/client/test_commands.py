"""Commands in pipes: what they print, where, and how they end."""

import asyncio
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import (
    BaseHTTPRequestHandler,
    HTTPServer,
    SimpleHTTPRequestHandler,
    ThreadingHTTPServer,
)
from importlib.metadata import entry_points
from pathlib import Path
from typing import ClassVar

import pytest

from app.admin import secrets
from app.cli import cli
from app.tables.run import Run
from tests.client.program import Program
from tests.served import Served
from trainwright.connection import Connection


@pytest.fixture
def job(program: Program, connection: Connection, tmp_path: Path) -> Path:
    """Return a folder with a script, and a cluster to run it on."""
    connection.put(connection.path("clusters", "cpu"), {"vm_size": "small"})
    folder = tmp_path / "folder" / "job"
    folder.mkdir()
    (folder / "train.py").write_text(f"print({str(tmp_path)!r})\n")
    (folder / "trainwright.yaml").write_text("entry_script: train.py\n")
    return folder


def test_a_token_is_kept_used_and_forgotten(program: Program, connection: Connection) -> None:
    stranger = program.without("TRAINWRIGHT_URL", "TRAINWRIGHT_TOKEN", "TRAINWRIGHT_WORKSPACE")
    stranger.run("whoami", code=2)
    wrong = stranger.run("login", connection.url, "--with-token", code=3, given="twt_wrong\n")
    assert wrong.stderr.startswith("error: ")
    stranger.run("login", connection.url, "--with-token", given=f"{connection.token}\n")
    stranger.run("workspace", "use", connection.workspace)

    shown = json.loads(stranger.run("whoami", "--json").stdout)

    assert (shown["url"], shown["workspace"]) == (connection.url, connection.workspace)
    stranger.run("logout")
    stranger.run("whoami", code=2)


def test_why_a_run_failed_is_said_in_one_line(
    program: Program, connection: Connection, served: Served
) -> None:
    mlflow = connection.path("mlflow", "api", "2.0", "mlflow", "runs", "create")
    run = connection.post(mlflow, {"experiment_id": "0"})["run"]["info"]["run_id"]
    error = {"code": "process_failed", "message": "It ended.", "role": "worker", "rank": 1}

    async def fail() -> None:
        async with served.api.database.session() as session:
            row = await session.get_one(Run, run)
            row.status, row.error = "Failed", {**error, "node": "node 1", "exit_code": 3}

    asyncio.run_coroutine_threadsafe(fail(), served.loop).result()
    said = program.run("why", run).stdout
    assert "It ended. (role worker, rank 1, node 1, exit code 3)" in said


def test_metrics_that_no_float_holds_are_shown(program: Program, connection: Connection) -> None:
    mlflow = connection.path("mlflow", "api", "2.0", "mlflow", "runs", "create")
    run = connection.post(mlflow, {"experiment_id": "0"})["run"]["info"]["run_id"]
    value = {"name": "combinations", "type": "json", "value": 10**400}
    batch = {"source": "laptop", "first_seq": 0, "values": [value]}
    connection.post(connection.path("runs", run, "metrics"), batch)

    assert "1e+400" in program.run("metrics", run).stdout
    assert "no numbers" in program.run("metrics", run, "--plot", code=2).stderr


def test_the_token_is_asked_for_and_not_shown(program: Program, connection: Connection) -> None:
    stranger = program.without("TRAINWRIGHT_URL", "TRAINWRIGHT_TOKEN", "TRAINWRIGHT_WORKSPACE")
    assert "no terminal" in stranger.run("login", connection.url, code=2).stderr
    with stranger.terminal("login", connection.url) as terminal:
        terminal.await_text(f"Token for {connection.url}: ")
        terminal.type(f"{connection.token}\n")
        assert terminal.await_end() == 0
    assert "Logged in" in terminal.shown
    assert connection.token not in terminal.shown


def test_a_reader_that_has_seen_enough_is_no_failure(program: Program) -> None:
    for arguments in (["vm-sizes"], ["vm-sizes", "--json"], ["whoami"], ["--help"]):
        done = program.run_unread(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments


def test_a_command_whose_errors_nobody_reads_does_its_work_or_says_that_it_did_not(
    program: Program, connection: Connection
) -> None:
    done = program.run_unread("secrets", "set", "quiet", unread="stderr", given="hunter2\n")
    assert (done.returncode, done.stdout) == (0, "")
    assert [one["name"] for one in connection.pages(connection.path("secrets"))] == ["quiet"]
    refused = program.run_unread("run", "show", "run_none", unread="stderr")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert program.run_unread("runs", "--limit", "0", unread="stderr").returncode != 0


def test_a_server_that_is_away_has_an_exit_code_of_its_own(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    done = program.run("--retry-seconds=0", "runs", code=4, TRAINWRIGHT_URL=url)
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {url} cannot be reached")
    assert len(done.stderr.splitlines()) == 2


def test_what_is_no_server_of_ours_is_told(program: Program, tmp_path: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "me").write_text("<html>")
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert "no JSON" in program.run("whoami", code=2, TRAINWRIGHT_URL=url).stderr
        (tmp_path / "v1" / "me").unlink()
        (tmp_path / "v1" / "me").mkdir()
        assert f"sent to {url}/v1/me/" in program.run("whoami", code=2, TRAINWRIGHT_URL=url).stderr
        (tmp_path / "v1" / "me").rmdir()
        assert "HTTP status 404" in program.run("whoami", code=3, TRAINWRIGHT_URL=url).stderr
        server.shutdown()


class Shifting(BaseHTTPRequestHandler):
    """A server whose dataset has a newer version each time that the latest is asked for."""

    asked: ClassVar[list[str]] = []
    latest: ClassVar[int] = 0

    def do_GET(self) -> None:
        """Answer as the API does."""
        path = self.path.removeprefix("/v1/workspaces/mine/")
        self.asked.append(path)
        if path.startswith("runs"):
            self._send(json.dumps({"items": [RUN], "next_page_token": "more"}).encode())
            return
        version = path.removeprefix("datasets/digits/versions/").split("/")[0]
        if version == "latest":
            type(self).latest += 1
            version = str(self.latest)
        content = version.encode() * 3
        if "/files/" in path:
            self._send(content)
        elif path.endswith("/files"):
            digest = hashlib.sha256(content).hexdigest()
            names = ("a b/1?", "2")
            items = [{"path": name, "size_bytes": 3, "sha256": digest} for name in names]
            self._send(json.dumps({"items": items}).encode())
        else:
            self._send(json.dumps({"version": int(version)}).encode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _send(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


RUN = {
    "id": "run_1",
    "status": "Completed",
    "experiment_name": "mine",
    "display_name": "x",
    "created_at": None,
    "started_at": None,
    "ended_at": None,
}


@pytest.fixture
def shifting(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the address of such a server."""
    monkeypatch.setattr(Shifting, "asked", [])
    monkeypatch.setattr(Shifting, "latest", 0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Shifting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_download_is_of_one_version(home: Path, tmp_path: Path, shifting: str) -> None:
    place = {"TRAINWRIGHT_URL": shifting, "TRAINWRIGHT_WORKSPACE": "mine"}
    Program(home, tmp_path, place).run("dataset", "download", "digits")

    assert (tmp_path / "digits" / "a b" / "1?").read_text() == "111"
    assert (tmp_path / "digits" / "2").read_text() == "111"


def test_no_page_is_asked_for_that_is_not_shown(home: Path, tmp_path: Path, shifting: str) -> None:
    place = {"TRAINWRIGHT_URL": shifting, "TRAINWRIGHT_WORKSPACE": "mine"}
    Program(home, tmp_path, place).run("runs", "--limit", "2")
    assert Shifting.asked == ["runs?page_size=2", "runs?page_size=2&page_token=more"]


def test_what_the_server_refuses_is_one_line_and_what_to_do(program: Program) -> None:
    done = program.run("run", "show", "run_none", code=3)
    assert done.stdout == ""
    assert done.stderr == "error: There is no run 'run_none' in this workspace.\n"
    program.run("runs", "--limit", "0", code=2)
    program.run("cluster", "create", "cpu", "--vm-size", "nonsense", code=3)


def test_clusters(program: Program) -> None:
    made = json.loads(
        program.run("cluster", "create", "cpu", "--vm-size", "small", "--json").stdout
    )
    assert made["scale_settings"]["min_nodes"] == 0
    program.run("cluster", "resize", "cpu", "--max-nodes", "7")
    listed = json.loads(program.run("cluster", "list", "--json").stdout)
    assert [item["scale_settings"]["max_nodes"] for item in listed] == [7]
    assert "cpu" in program.run("cluster", "show", "cpu").stdout
    program.run("cluster", "resize", "cpu", code=2)
    program.run("cluster", "delete", "cpu")


def test_a_folder_becomes_a_run(program: Program, connection: Connection, job: Path) -> None:
    first = program.run(
        *("submit", job, "--detach", "--name", "größe", "--nodes", "1"),
        *("-p", "--epochs=5", "-p", "--rate=0.1", "-p", "--data={dataset: digits}"),
        *("-e", "A=1", "--tag", "kind=test", "--set", "max_attempts=1"),
        code=3,  # there is no such dataset
    )
    assert "digits" in first.stderr

    run_id = program.run(
        *("submit", job, "--detach", "--name", "größe", "-p", "--epochs=5", "-p", "--rate=0.1"),
        *("-e", "A=1", "--tag", "kind=test", "--set", "max_attempts=1"),
    ).stdout.strip()

    run = connection.get(connection.path("runs", run_id))
    request = run["request"]
    assert (run["experiment_name"], run["display_name"]) == ("job", "größe")
    assert run["max_attempts"] == 1
    assert run["tags"] == {"kind": "test"}
    assert request["script_params"] == {"--epochs": 5, "--rate": 0.1}
    assert request["environment_variables"] == {"A": "1"}
    again = program.run("submit", job, "--detach")
    assert "0 B had to be sent" in again.stderr
    listed = program.run("runs", "--experiment", "job").stdout
    assert run_id in listed
    assert "größe" in listed
    assert run_id in program.run("why", run_id).stdout
    events = program.run("events", run_id, "--json").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in events[:2]] == [1, 2]
    program.run("run", "cancel", run_id)
    assert json.loads(program.run("run", "show", run_id, "--json").stdout)["id"] == run_id


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("entry_script: [", "is no YAML"),
        ("- a list", "is no mapping"),
        ("entry_script: a.py\nsnapshot_id: x", "leave it out"),
        ("command: a\nenvironment: {framework_version: 2.10}", "is a number"),
        ("command: a\ntags: {since: 2026-01-01}", "tags.since is a date"),
        ("!!python/object/apply:os.system ['true']", "is no YAML"),
        ("tags: {a: b}", "Nothing says what to run"),
    ],
)
def test_a_job_that_makes_no_sense_is_told(
    program: Program, job: Path, text: str, said: str
) -> None:
    (job / "trainwright.yaml").write_text(text)
    done = program.run("submit", job, code=2)
    assert said in done.stderr
    assert done.stderr.startswith("error: ")


def test_every_field_that_is_wrong_is_named(program: Program, job: Path) -> None:
    done = program.run("submit", job, "--set", "node_count=0", "--set", "nonsense=1", code=3)
    assert "/node_count" in done.stderr
    assert "/nonsense" in done.stderr


def test_names_of_others_do_not_reach_the_terminal(
    program: Program, connection: Connection
) -> None:
    connection.patch(
        connection.path(), {"description": "\x1b]0;title\x07[red]bold[/red] \u202eabc"}
    )
    with program.terminal("workspace", "list", columns=40) as terminal:
        assert terminal.await_end() == 0
    assert "\x1b]" not in terminal.shown
    assert "\u202e" not in terminal.shown
    assert "[red]" in terminal.shown
    plain = program.run("workspace", "list", NO_COLOR="1").stdout
    assert "\x1b" not in plain
    assert "\\x1b]0;title\\x07[red]bold[/red]" in plain


def test_the_shell_completes_names(program: Program, connection: Connection) -> None:
    done = program.run(
        _TRAINWRIGHT_COMPLETE="complete_bash",
        COMP_WORDS=f"trainwright workspace use {connection.workspace[:6]}",
        COMP_CWORD="3",
    )
    assert connection.workspace in done.stdout.splitlines()
    for shell in ("bash", "zsh", "fish"):
        script = program.run(
            "--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
        )
        assert "trainwright" in script.stdout


def test_any_call_can_be_made(program: Program) -> None:
    assert json.loads(program.run("request", "GET", "/v1/me").stdout)["kind"] == "user"
    done = program.run("request", "PUT", "experiments/mine", "-d", '{"description": "x"}')
    assert json.loads(done.stdout)["name"] == "mine"
    program.run("request", "PUT", "experiments/mine", "-d", "{", code=2)
    program.run("request", "PUT", "experiments/mine", "-d", '{"x": 1}', code=3)


def test_secrets_go_in_and_do_not_come_out(
    program: Program, connection: Connection, tmp_path: Path
) -> None:
    done = program.run("secrets", "set", "password", given="hunter2-hunter2\n")
    assert "version 1" in done.stderr
    (tmp_path / "key").write_bytes(b"\xff\x00key")
    program.run("secrets", "set", "key", "--file", tmp_path / "key", "--description", "bytes")
    program.run("secrets", "set", "nothing", code=2)

    listed = program.run("secrets", "list", "--json").stdout

    assert [item["name"] for item in json.loads(listed)] == ["key", "password"]
    assert "hunter2" not in listed
    program.run("secrets", "delete", "key")
    assert [i["name"] for i in connection.pages(connection.path("secrets"))] == ["password"]


def test_every_command_of_the_server_is_added() -> None:
    added = {point.name for point in entry_points(group="trainwright.commands")}
    named = (
        info.name or getattr(info.callback, "__name__", "") for info in cli.registered_commands
    )
    keys = {f"secrets.{info.name}" for info in secrets.registered_commands}
    assert added == set(named) - {"secrets"} | keys


def test_the_commands_of_the_server_are_there_where_it_is_installed(program: Program) -> None:
    assert "Run the API alone" in program.run("api", "--help").stdout
    listed = program.run("--help").stdout
    for name in ("up", "api", "worker", "migrate", "token"):
        assert f" {name} " in listed


def test_aliases_of_models_and_what_they_name(
    program: Program, connection: Connection, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for text in ("one", "three"):
        (folder / "weights.txt").write_text(text)
        program.run("models", "register", "plain", "--folder", folder, "--framework", "custom")

    program.run("models", "alias", "plain", "champion", "1")
    compared = json.loads(
        program.run("models", "compare", "plain", "champion", "2", "--json").stdout
    )

    assert (compared["left"]["version"], compared["size_difference_bytes"]) == (1, 2)
    assert "size (bytes)" in program.run("models", "compare", "plain", "1", "2").stdout
    assert "intact: 1 files" in program.run("models", "verify", "plain", "champion").stderr
    assert "plain:1" in program.run("models", "lineage", "plain", "champion").stdout
    program.run("models", "unalias", "plain", "champion")
    program.run("models", "lineage", "plain", "champion", code=3)
