"""Pages of strangers can neither use a browser's network place nor read what a script printed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.logs import service as logs
from tests.live_api import LiveApi, live_api
from tests.made_runs import make_runs

pytestmark = pytest.mark.anyio

PAGE = (
    b"<html><script>alert(1)</script>\r\nHTTP/1.1 200 OK\r\n\x1b]52;c;aGk=\x07::set-env name=X::1\n"
)


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


async def test_foreign_hosts_and_origins_are_refused(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with live_api(
        tmp_path, postgres_url, broker_url, allowed_hosts=["api", "127.0.0.1"]
    ) as api:
        ours = await api.client.get("runs")
        assert ours.status_code == 200
        assert not any(name.startswith("access-control") for name in ours.headers)
        for host in ("evil.example", "api.evil.example", "127.0.0.1.evil.example", "", "api@evil"):
            answer = await api.client.get("runs", headers={"Host": host})
            assert answer.status_code in (400, 421), host
        for origin in ("http://evil.example", "null", "http://api.evil.example", "file://"):
            for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
                headers = {"Origin": origin, "Access-Control-Request-Method": method}
                answer = await api.client.request(method, "runs", headers=headers)
                assert answer.status_code == 403, (origin, method)
                assert not any(name.startswith("access-control") for name in answer.headers)


async def test_a_log_is_no_page(api: LiveApi) -> None:
    (run,) = await make_runs(api, 1)
    async with api.database.session() as session:
        await logs.append(session, run, "user_logs/std_log.txt", PAGE, attempt=1)
    for address in ("logs", "logs?tail=5", "logs?stream=user_logs/std_log.txt&attempt=1"):
        answer = await api.client.get(f"runs/{run}/{address}")
        assert answer.status_code == 200, answer.text
        assert PAGE.splitlines()[0] in answer.content
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "set-env" not in str(answer.headers)


async def test_prometheus_may_call_a_process_by_its_address(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with live_api(tmp_path, postgres_url, broker_url, allowed_hosts=["api"]) as api:
        by_address = {"Host": "172.20.0.7:8470"}
        told = await api.client.get("http://api/metrics", headers=by_address)
        asked_nobody = {**by_address, "Authorization": ""}
        refused = await api.client.get("http://api/metrics", headers=asked_nobody)
        for path in ("healthz", "readyz"):
            looked_at = await api.client.get(f"http://api/{path}", headers={"Host": "localhost"})
            assert looked_at.status_code == 200, "proxies and engines ask by other names"
    assert told.status_code == 200
    assert refused.status_code == 401
