"""Errors of clusters."""

from app.kernel.errors import Conflict, NotFound


class ClusterNotFound(NotFound):
    """There is no such cluster."""

    code = "cluster_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no cluster {name!r} in this workspace.")


class ClusterBusy(Conflict):
    """Runs, sweeps or batch scorings use the cluster, so it cannot go."""

    code = "cluster_busy"


class ClusterDeleting(Conflict):
    """The cluster is being deleted."""

    code = "cluster_deleting"


class VmSizeNotFound(NotFound):
    """There is no such size."""

    code = "vm_size_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no vm_size {name!r}; GET /v1/vm-sizes lists those there are.")
