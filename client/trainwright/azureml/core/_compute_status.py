"""A cluster as it should be, and as it is."""

from typing import Any

Sizes = list[dict[str, Any]]
"""Sizes of nodes, by the v1 SDK's names."""


class AmlComputeProvisioningConfiguration:
    """A cluster as it should be.

    Attributes:
        body: as the API takes it.
    """

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body


class AmlComputeStatus:
    """A moment of a cluster's life.

    Attributes:
        allocation_state: Steady or Resizing.
        provisioning_state: Creating, Succeeded, Failed or Deleting.
        current_node_count: nodes that are there.
        target_node_count: nodes that are wanted.
        node_state_counts: nodes by state.
        scale_settings: min_nodes, max_nodes, idle_seconds_before_scaledown.
        errors: what went wrong lately.
    """

    def __init__(self, read: dict[str, Any]) -> None:
        self._read = read
        self.allocation_state: str = read["allocation_state"]
        self.allocation_state_transition_time: str = read["allocation_state_transition_time"]
        self.provisioning_state: str = read["provisioning_state"]
        self.provisioning_state_transition_time: str = read["provisioning_state_transition_time"]
        self.current_node_count: int = read["current_node_count"]
        self.target_node_count: int = read["target_node_count"]
        self.node_state_counts: dict[str, int] = read["node_state_counts"]
        self.scale_settings: dict[str, Any] = read["scale_settings"]
        self.errors: list[dict[str, Any]] = read["errors"]
        self.vm_size: str = read["vm_size"]
        self.vm_priority: str = read["vm_priority"]
        self.creation_time: str = read["created_at"]
        self.modified_time: str = read["updated_at"]

    def serialize(self) -> dict[str, Any]:
        """All of it as a dictionary, by the v1 SDK's names."""
        settings = self.scale_settings
        return {
            "currentNodeCount": self.current_node_count,
            "targetNodeCount": self.target_node_count,
            "nodeStateCounts": {
                f"{name}NodeCount": count for name, count in self.node_state_counts.items()
            },
            "allocationState": self.allocation_state,
            "allocationStateTransitionTime": self.allocation_state_transition_time,
            "errors": self.errors or None,
            "creationTime": self.creation_time,
            "modifiedTime": self.modified_time,
            "provisioningState": self.provisioning_state,
            "provisioningStateTransitionTime": self.provisioning_state_transition_time,
            "scaleSettings": {
                "minNodeCount": settings["min_nodes"],
                "maxNodeCount": settings["max_nodes"],
                "nodeIdleTimeBeforeScaleDown": f"PT{settings['idle_seconds_before_scaledown']}S",
            },
            "vmPriority": self.vm_priority.capitalize(),
            "vmSize": self.vm_size,
        }


def sizes_of(items: Sizes) -> Sizes:
    """Sizes as the v1 SDK has them, from those of the API."""
    return [
        {
            "name": one["name"],
            "vCPUs": one["cores"],
            "gpus": one["gpus"],
            "memoryGB": one["memory_gb"],
        }
        for one in items
    ]
