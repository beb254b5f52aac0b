"""Page tokens are not secret: whoever makes one up gets no error of ours."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.live_api import LiveApi, live_api
from tests.made_runs import make_request
from tests.models.test_models import MODEL, upload

pytestmark = pytest.mark.anyio

KEYS: tuple[list[Any], ...] = (
    ["x"],
    [""],
    [None],
    [True],
    [1.5],
    [2**40],
    [2**70],
    [-1],
    [[1]],
    [{"a": 1}],
    ["\x00"],
    ["\ud800"],
    [1, 2],
    ["a", "b", "c"],
)


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


async def test_made_up_tokens_are_refused_or_lead_somewhere(api: LiveApi) -> None:
    request = await make_request(api)
    for number in range(2):
        await upload(api, "digits", MODEL)
        await api.client.post("runs", json=request)
        await api.client.put(f"experiments/e{number}", json={})
        await api.client.put("secrets/word", json={"value": f"x{number}"})
    for path in ("models/digits/versions", "runs", "experiments", "secrets/word/versions"):
        first = await api.client.get(path, params={"page_size": 1})
        token = first.json()["next_page_token"]
        assert token, path
        padded = token + "=" * (-len(token) % 4)
        binding, *_ = json.loads(base64.urlsafe_b64decode(padded))
        for keys in KEYS:
            made = base64.urlsafe_b64encode(json.dumps([binding, *keys]).encode()).decode()
            answer = await api.client.get(path, params={"page_token": made.rstrip("=")})
            assert answer.status_code in (200, 400, 422), (path, keys, answer.text)
            if answer.status_code == 400:
                assert answer.json()["errors"][0]["code"] == "bad_page_token", (path, keys)
