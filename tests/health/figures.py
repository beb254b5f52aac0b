"""Reading of what Prometheus would read."""

from prometheus_client.parser import text_string_to_metric_families

from tests.live_api import LiveApi

NO_PROMTOOL = "promtool is not installed"


def value(text: str, name: str, **labels: str) -> float | None:
    """The sample of this name that has these labels, among others; None: there is none."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return None


async def read(api: LiveApi) -> str:
    """What the API tells."""
    answer = await api.client.get("http://api/metrics")
    assert answer.status_code == 200, answer.text
    return answer.text
