"""What nodes measure about themselves, as metrics of the run."""

from app.metrics.schemas import MetricRecord
from app.nodes.schemas import MOST_HOST_VALUES, HostSamples

HOST_NAMESPACE = "host"


def host_values(samples: HostSamples, *, node_index: int) -> list[tuple[int, MetricRecord]]:
    """Numbered values; each node has metrics of its own, such as ``node0.cpu_percent``.

    Args:
        samples: as the node sent them; one that is sent again gets the same numbers.
        node_index: the node.
    """
    return [
        (
            sample.number * MOST_HOST_VALUES + place,
            MetricRecord(name=f"node{node_index}.{name}", value=value, time=sample.time),
        )
        for sample in samples.samples
        for place, (name, value) in enumerate(sorted(sample.values.items()))
    ]
