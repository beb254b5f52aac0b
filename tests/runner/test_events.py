"""Events on their way: whoever waits for one learns what became of it."""

from pathlib import Path

import pytest

from tests.runner.node_api import TOKEN, NodeApi
from workers.runner.api import Endpoint
from workers.runner.control import Control
from workers.runner.events import EventSender


def test_who_waits_learns_of_a_token_that_cannot_be_read(tmp_path: Path, api: NodeApi) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    sender = EventSender(Endpoint(api.url, str(token), Control()))
    sender.start()
    assert sender.post("started").wait() == {"command": "continue"}
    api.token = "another"
    token.unlink()

    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            sender.post("finished").wait()
