"""Lists that lack what the server cannot show, and lists that change while they are read."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.client.program import Program
from trainwright.azureml.core.model import Model
from trainwright.azureml.core.workspace import Workspace
from trainwright.azureml.data.file_dataset import FileDataset
from trainwright.azureml.exceptions import WebserviceException
from trainwright.connection import Connection


def version(number: int) -> dict[str, Any]:
    """A version of a model."""
    read = {"name": "net", "version": number, "tags": {}, "properties": {}, "framework": "Custom"}
    return {**read, "lineage": {}}


class Lists(BaseHTTPRequestHandler):
    """A server of a model with an odd version, and of a dataset that gets its second version.

    Attributes:
        left_out: the odd version.
        latest: of the dataset: the second one is there once a page of the first was shown.
    """

    left_out: ClassVar[str] = "2"
    latest: ClassVar[int] = 1

    def do_GET(self) -> None:
        """Answer as the API does."""
        asked = urlsplit(self.path)
        names = asked.path.removeprefix("/v1/workspaces/mine/").split("/")
        if names == ["models", "net", "versions"]:
            numbers = {1, 2, 3} - {int(self.left_out)}
            items = [version(number) for number in numbers]
            self._send({"items": items, "next_page_token": "", "left_out": [self.left_out]})
        elif names == ["datasets"]:
            self._send({"items": [{"name": "digits"}], "next_page_token": ""})
        elif names[-1] == "files":
            number = names[3] if names[3] != "latest" else self.latest
            page = parse_qs(asked.query).get("page_token", ["1"])[0]
            file = {"url": f"http://files.example/{number}/{page}"}
            self._send({"items": [file], "next_page_token": "2" if page == "1" else ""})
            type(self).latest = 2
        else:
            number = self.latest if names[3] == "latest" else int(names[3])
            self._send({"name": "digits", "version": number})

    def do_POST(self) -> None:
        """Take what is registered for what is there already."""
        self._send({"version": 1, "state": "Completed"})

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _send(self, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def connection(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """Return a connection to such a server."""
    monkeypatch.setattr(Lists, "latest", 1)
    with ThreadingHTTPServer(("127.0.0.1", 0), Lists) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with Connection(address, workspace="mine") as connection:
            yield connection
        server.shutdown()


@pytest.fixture
def workspace(connection: Connection) -> Workspace:
    return cast("Workspace", SimpleNamespace(connection=connection, name=connection.workspace))


def test_what_a_list_lacks_is_said(connection: Connection, home: Path, tmp_path: Path) -> None:
    path = connection.path("models", "net", "versions")
    with pytest.warns(UserWarning, match="cannot show: 2;"):
        assert len(list(connection.pages(path))) == 2

    place = {"TRAINWRIGHT_URL": connection.url, "TRAINWRIGHT_WORKSPACE": "mine"}
    done = Program(home, tmp_path, place).run("models", "list", "net", "--json")
    assert [read["version"] for read in json.loads(done.stdout)] == [1, 3]
    assert done.stderr == (
        "warning: the list lacks what the server cannot show: 2; its log says why\n"
    )


def test_an_older_version_is_not_taken_for_the_latest(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    [found] = Model.list(workspace, "net", latest=True)
    assert found.version == 3
    monkeypatch.setattr(Lists, "left_out", "3")
    with pytest.raises(WebserviceException, match=r"cannot show \[3\]"):
        Model.list(workspace, "net", latest=True)
    with pytest.raises(WebserviceException, match=r"cannot show \[3\]"):
        Model(workspace, "net", model_framework="Custom")


def test_content_is_compared_with_that_of_one_version(workspace: Workspace) -> None:
    urls = [f"http://files.example/1/{page}" for page in (1, 2)]
    assert FileDataset(urls=urls).register(workspace, "digits").version == 1
