"""What is said of figures holds: in the documentation, the rules for alerts and the dashboard."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import app.deployments.measures
import app.nodes.measures  # noqa: F401  (what a process has loaded, it tells)
from app.kernel.db import PoolUse
from tests.conftest import REPOSITORY
from tests.health.figures import NO_PROMTOOL, read
from tests.live_api import live_api
from workers.health import HealthDoor
from workers.pulse import Pulse

pytestmark = pytest.mark.anyio
FOLDER = REPOSITORY / "observability"
PAGE = REPOSITORY / "docs" / "observability.md"
_NAME = re.compile(r"\b(?:trainwright|process)_[a-z0-9_]+")
_ROW = re.compile(r"^\| ((?:`trainwright_[a-z_]+`(?:, )?)+) \| (\w+) \| ([^|]*)\|", re.MULTILINE)
_OF_HISTOGRAM = ("_bucket", "_sum", "_count")


@pytest.fixture
async def told(tmp_path: Path, postgres_url: str, broker_url: str) -> dict[str, str]:
    """The types of all figures of an API process and of a worker, by name."""
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        text = await read(api)
    door = HealthDoor("127.0.0.1:0", Pulse(), lambda: [PoolUse("direct", 1, 2, 3)])
    try:
        text += httpx2.get(f"http://127.0.0.1:{door.port}/metrics", trust_env=False).text
    finally:
        door.close()
    found = {}
    for family in text_string_to_metric_families(text):
        ending = "_total" if family.type == "counter" else ""
        found[f"{family.name}{ending}"] = family.type
    return found


async def test_the_page_has_every_figure_and_no_other(told: dict[str, str]) -> None:
    documented = {
        name: kind
        for names, kind, _ in _ROW.findall(PAGE.read_text())
        for name in _NAME.findall(names)
    }

    ours = {name: kind for name, kind in told.items() if name.startswith("trainwright_")}

    assert documented == ours


def expressions() -> Iterator[tuple[str, str]]:
    """All that asks for figures, with where it stands."""
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def alerts() -> list[dict[str, str]]:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


async def test_alerts_and_dashboard_ask_for_figures_that_are_told(told: dict[str, str]) -> None:
    asked = {(where, name) for where, text in expressions() for name in _NAME.findall(text)}
    assert len(asked) > 30
    for where, name in asked:
        of_histogram = next((e for e in _OF_HISTOGRAM if name.endswith(e)), "")
        is_told = name in told or told.get(name.removesuffix(of_histogram)) == "histogram"
        assert is_told, f"{where} asks for {name}"


def test_every_alert_says_what_to_do() -> None:
    page = PAGE.read_text()
    for rule in alerts():
        assert f"`{rule['alert']}`" in page, rule["alert"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts.test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
    ids=["rules", "what rules do", "configuration"],
)
def test_prometheus_takes_the_files(arguments: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip(NO_PROMTOOL)
    done = subprocess.run(
        [promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
