"""GPUs that an engine tells of."""

from typing import Any

import pytest

from app.providers.docker.gpus import count


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, 0),
        ({"DiscoveredDevices": None, "GenericResources": None}, 0),
        (
            {
                "DiscoveredDevices": [
                    {"Source": "cdi", "ID": "nvidia.com/gpu=0"},
                    {"Source": "cdi", "ID": "nvidia.com/gpu=1"},
                    {"Source": "cdi", "ID": "nvidia.com/gpu=all"},
                    {"Source": "cdi", "ID": "nvidia.com/gpu=GPU-4cf8db2d"},
                    {"Source": "cdi", "ID": "vendor.com/net=0"},
                ]
            },
            2,
        ),
        ({"GenericResources": [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 4}}]}, 4),
    ],
)
def test_each_is_counted_once(info: dict[str, Any], expected: int) -> None:
    assert count(info) == expected
